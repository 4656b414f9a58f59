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
    # The layers know their shapes for the length that the model was built with, which may be open: find them anew.
    shapes: dict[int, tuple[int, ...]] = {}
    total = 0
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            layer = node.operation
            if node.is_input:
                shape: tuple[int, ...] = (1, *input_shape)
            else:
                received = [shapes[id(tensor)] for tensor in node.input_tensors]
                shape = layer.compute_output_shape(received[0] if len(received) == 1 else received)
            shapes[id(node.output_tensors[0])] = shape
            if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
                # Every value of a kernel is used once for each position of the output, each time the layer is used.
                total += math.prod(shape[1:-1]) * math.prod(layer.kernel.shape)
    return total
