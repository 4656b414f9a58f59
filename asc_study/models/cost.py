"""What a model costs: parameters, bytes and multiply-accumulate operations."""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers


@dataclass(frozen=True)
class ModelCost:
    """The cost of one model.

    Attributes
    ----------
    parameters
        All stored values, the running statistics of batch normalisation included.
    trainable_parameters
        Those of them that training changes by gradients.
    weight_bytes
        Bytes of all parameters in their own types.
    nonzero_bytes
        The same without parameters that are exactly zero (the size rule of DCASE 2020 Task 1b).
    macs
        Multiply-accumulates of the convolutions and dense layers for one clip.
    """

    parameters: int
    trainable_parameters: int
    weight_bytes: int
    nonzero_bytes: int
    macs: int


def model_cost(model: keras.Model, input_shape: tuple[int, int, int]) -> ModelCost:
    """Count what ``model`` stores, and what it does for one clip of ``input_shape`` (frequency, time, channel)."""
    values = [np.asarray(weight) for weight in model.weights]
    return ModelCost(
        parameters=sum(value.size for value in values),
        trainable_parameters=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        weight_bytes=sum(value.nbytes for value in values),
        nonzero_bytes=sum(int(np.count_nonzero(value)) * value.itemsize for value in values),
        macs=count_macs(model, input_shape),
    )


def count_macs(model: keras.Model, input_shape: tuple[int, int, int]) -> int:
    """Count the multiply-accumulates of every convolution and dense layer of a functional model, for one clip.

    The clip's length matters: a crop of 400 frames costs less than a whole clip.
    """
    # The layers know their sizes for the length that the model was built with, which may be open: build it again.
    sized = keras.models.clone_model(model, input_tensors=keras.Input(input_shape))
    total = 0
    for layer in sized.layers:
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
            # Every value of a kernel is used once for each position of the output, at each place the layer is used.
            for node in layer._inbound_nodes:
                positions = math.prod(node.output_tensors[0].shape[1:-1])
                total += positions * math.prod(layer.kernel.shape)
    return total
