"""What a model costs: parameters, bytes and multiply-accumulate operations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import layers

from asc_study.base.errors import InputError

#: Layers whose kernels are used once for each position of their output.
_COUNTED: Final = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.Dense)


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
        Multiply-accumulates for one clip, see `count_macs`.
    """

    parameters: int
    trainable_parameters: int
    weight_bytes: int
    nonzero_bytes: int
    macs: int


def model_cost(model: keras.Model, input_shape: tuple[int, int, int]) -> ModelCost:
    """Count what ``model`` stores, and what it does for one clip of ``input_shape`` (frequency, time, channel).

    Raises
    ------
    InputError
        As `count_macs`.
    """
    values = [np.asarray(weight) for weight in model.weights]
    return ModelCost(
        parameters=sum(value.size for value in values),
        trainable_parameters=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        weight_bytes=sum(value.nbytes for value in values),
        nonzero_bytes=sum(int(np.count_nonzero(value)) * value.itemsize for value in values),
        macs=count_macs(model, input_shape),
    )


def count_macs(model: keras.Model, input_shape: tuple[int, int, int], *, kernels_only: bool = False) -> int:
    """Count the multiply-accumulates of a functional model for one clip, models inside of it included.

    The rule is that of the DCASE challenges from 2022 on (torchinfo's ``total_mult_adds``): kernel and bias of a
    convolution or dense layer once for each position of its output, each time that it is used; scale and offset of a
    batch normalisation once; nothing else. The clip's length matters: a crop of 400 frames costs less than a whole
    clip.

    Parameters
    ----------
    model
        The model; its input may have any number of frames.
    input_shape
        Frequency bands, frames and channels of the clip.
    kernels_only
        Whether biases and batch normalisation are left out, as in tables of systems of 2020.

    Raises
    ------
    InputError
        If the model has a layer whose multiplications are not known: nothing may pass for free.
    """
    total, _ = _count(model, [keras.KerasTensor((1, *input_shape))], kernels_only)
    return total


def _count(model: keras.Model, given: Sequence[Any], kernels_only: bool) -> tuple[int, list[Any]]:
    """The multiply-accumulates of a model for inputs of these shapes, and its outputs."""
    if isinstance(model, keras.Sequential):
        model = model._functional
    # The layers know their shapes for the length that the model was built with, which may be open: find them anew.
    known = dict(zip(map(id, model.inputs), given, strict=True))
    total = 0
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            if node.is_input:
                continue
            layer = node.operation
            received = [known[id(tensor)] for tensor in node.input_tensors]
            if isinstance(layer, keras.Model) and hasattr(layer, "inputs"):
                macs, made = _count(layer, received, kernels_only)
            else:
                arguments, named = node.arguments.fill_in(known)
                made = keras.tree.flatten(layer.compute_output_spec(*arguments, **named))
                macs = _macs_of_layer(layer, made[0].shape, kernels_only)
            total += macs
            known.update(zip(map(id, node.output_tensors), made, strict=True))
    return total, [known[id(tensor)] for tensor in model.outputs]


def _macs_of_layer(layer: Any, output_shape: tuple[int, ...], kernels_only: bool) -> int:
    weights = getattr(layer, "weights", [])
    if isinstance(layer, _COUNTED):
        counted = [layer.kernel] if kernels_only else weights
        once: int = sum(math.prod(weight.shape) for weight in counted)
        return math.prod(output_shape[1:-1]) * once
    if isinstance(layer, layers.BatchNormalization):
        learned = [] if kernels_only else [weight for weight in (layer.gamma, layer.beta) if weight is not None]
        return sum(math.prod(weight.shape) for weight in learned)
    for weight in weights:
        # A vector scales or shifts channels; what joins several dimensions is a product of matrices.
        if "kernel" in weight.name or sum(size > 1 for size in weight.shape) > 1:
            raise InputError(
                f"the multiply-accumulates of a {type(layer).__name__} are not known, got one as layer {layer.name!r}: "
                f"build the model of {', '.join(kind.__name__ for kind in _COUNTED)} and layers without kernels"
            )
    return 0
