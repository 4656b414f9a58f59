"""What a model costs: parameters, bytes and multiply-accumulate operations."""

import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import layers

from asc_study.base.errors import InputError
from asc_study.models.low_complexity_blocks import SCALAR_PREFIX

_log = logging.getLogger(__name__)

_CONVOLUTIONS: Final = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_COUNTED: Final = (
    *_CONVOLUTIONS,
    layers.Dense,
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
)

#: Layers without weights that multiply nothing by what was learned.
_FREE: Final = (
    *(layers.InputLayer, layers.Identity, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax),
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.MaxPooling1D, layers.MaxPooling2D),
    *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D),
    *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D),
    *(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Cropping1D, layers.Cropping2D),
    *(layers.Reshape, layers.Permute, layers.Flatten, layers.RepeatVector, layers.UpSampling1D, layers.UpSampling2D),
    *(layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout),
    *(layers.Rescaling, layers.UnitNormalization),
)

#: Functions of `keras.ops` of which the same is true.
_FREE_OPERATIONS: Final = frozenset(
    {
        *("Abs", "Add", "Cast", "Clip", "Concatenate", "Divide", "Exp", "ExpandDims", "Flip", "GetItem", "Log", "Max"),
        *("FakeQuantWithMinMaxVars", "Maximum", "Mean", "Min", "Minimum", "Multiply", "Negative", "OnesLike", "Pad"),
        *(
            "Power",
            "Relu",
            "Reshape",
            "Rsqrt",
            "Sigmoid",
            "Silu",
            "Softmax",
            "Split",
            "Sqrt",
            "Square",
            "Squeeze",
            "Stack",
        ),
        *("Stack", "Subtract", "Sum", "Swapaxes", "Tanh", "Transpose", "TrueDivide", "Var", "ZerosLike"),
    }
)


@dataclass(frozen=True)
class ModelSize:
    """What one model stores.

    Attributes
    ----------
    parameters
        All stored values, the running statistics of batch normalisation included.
    trainable_parameters
        Those of them that training changes by gradients, which DCASE counts from 2022 on.
    weight_bytes
        Bytes of all parameters in their own types.
    nonzero_bytes
        The same without parameters that are exactly zero (the size rule of DCASE 2020 Task 1b).
    """

    parameters: int
    trainable_parameters: int
    weight_bytes: int
    nonzero_bytes: int


@dataclass(frozen=True)
class ModelCost(ModelSize):
    """What one model stores, and what it does for one clip.

    Attributes
    ----------
    macs
        Multiply-accumulates of the convolutions and dense layers (`count_macs`).
    torchinfo_macs
        The same by the rule of the DCASE challenges from 2022 on (`count_torchinfo_macs`).
    """

    macs: int
    torchinfo_macs: int


def model_size(model: keras.Model) -> ModelSize:
    """Count what ``model`` stores."""
    values = [np.asarray(weight) for weight in model.weights]
    return ModelSize(
        parameters=sum(value.size for value in values),
        trainable_parameters=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        weight_bytes=sum(value.nbytes for value in values),
        nonzero_bytes=sum(int(np.count_nonzero(value)) * value.itemsize for value in values),
    )


def model_cost(model: keras.Model, input_shape: tuple[int, int, int]) -> ModelCost:
    """Count what ``model`` stores, and what it does for one clip of ``input_shape`` (frequency, time, channel).

    Raises
    ------
    InputError
        On a layer of a type of which the cost is not known.
    """
    return ModelCost(
        **asdict(model_size(model)),
        macs=count_macs(model, input_shape),
        torchinfo_macs=count_torchinfo_macs(model, input_shape),
    )


def mac_metrics(model: keras.Model, input_shape: tuple[int, int, int]) -> dict[str, float]:
    """The metrics of both counts; none, and a warning, if the cost of a layer is not known: training is not in vain."""
    try:
        return {
            "cost/macs": count_macs(model, input_shape),
            "cost/torchinfo_macs": count_torchinfo_macs(model, input_shape),
        }
    except InputError as error:
        _log.warning("multiply-accumulates are not reported: %s", error)
        return {}


def count_macs(model: keras.Model, input_shape: tuple[int, int, int]) -> int:
    """Count the multiply-accumulates of every convolution and dense layer of a functional model, for one clip.

    Every value of a kernel is used once for each position of the output, each time the layer is used; additions of
    biases, normalisation and activations are not counted. The clip's length matters: a crop of 400 frames costs less
    than a whole clip.

    Raises
    ------
    InputError
        On a layer of a type of which the cost is not known.
    """
    return sum(
        math.prod(shape[1:-1]) * math.prod(layer.kernel.shape)
        for layer, shape in _uses(model, input_shape)
        if isinstance(layer, (*_CONVOLUTIONS, layers.Dense)) and not _is_scalar(layer)
    )


def count_torchinfo_macs(model: keras.Model, input_shape: tuple[int, int, int]) -> int:
    """Count as ``total_mult_adds`` of torchinfo does for one clip: the rule of the DCASE challenges from 2022 on.

    A convolution is (weights + biases) x positions of the output; a dense layer or a normalisation its weights and
    biases once; a parameter that stands by itself, activations, pooling and additions nothing.

    Raises
    ------
    InputError
        On a layer of a type of which the cost is not known.
    """
    total = 0
    for layer, shape in _uses(model, input_shape):
        if not _is_scalar(layer):
            values = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
            total += values * (math.prod(shape[1:-1]) if isinstance(layer, _CONVOLUTIONS) else 1)
    return total


def _uses(model: keras.Model, input_shape: tuple[int, int, int]) -> Iterator[tuple[keras.Layer, tuple[int, ...]]]:
    """Every use of a layer with weights, with the shape of its output for one clip of ``input_shape``."""
    # The layers know their shapes for the length that the model was built with, which may be open: find them anew.
    model = getattr(model, "_functional", model)  # what a Sequential is inside
    found: dict[int, keras.KerasTensor] = {}
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            part = node.operation
            if node.is_input:
                made = [keras.KerasTensor((1, *input_shape), node.output_tensors[0].dtype)]
            else:
                arguments, options = node.arguments.fill_in(found)
                made = keras.tree.flatten(part.compute_output_spec(*arguments, **options))
            found |= {id(tensor): spec for tensor, spec in zip(node.output_tensors, made, strict=True)}
            if isinstance(part, keras.Model):
                yield from _uses(part, found[id(node.input_tensors[0])].shape[1:])
            elif isinstance(part, _COUNTED):
                yield part, made[0].shape
            elif not isinstance(part, _FREE) and not _is_free_operation(part):
                raise InputError(
                    f"the cost of layer {part.name!r} ({type(part).__name__}) is not known: build the model from "
                    "convolutions, dense layers, normalisation, pooling, activations and sums, one by one"
                )


def _is_free_operation(part: Any) -> bool:
    """Whether it is a function of Keras that works on each value by itself, sums or moves them."""
    module, name = type(part).__module__, type(part).__name__
    return module.startswith(("keras.src.ops.", "keras.src.quantizers.")) and name in _FREE_OPERATIONS


def _is_scalar(layer: keras.Layer) -> bool:
    return bool(layer.name.startswith(SCALAR_PREFIX))
