"""Networks that compute with 8 bits in training: what rounds, and how a network of ordinary layers is made to.

What is simulated is what LiteRT does with an int8 file: weights of convolutions and dense layers are symmetric, a scale
for each output channel; activations have one range for a whole tensor. What LiteRT cannot do well in 8 bits, or the
file would leave in float32 anyway, is not rounded: sums and products between normalised maps, gates, the softmax.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import keras
import numpy as np
from keras import layers, ops

from asc_study.base.errors import InputError
from asc_study.models.low_complexity_blocks import SCALAR_PREFIX
from asc_study.settings.continuation import QuantisationConfig

#: Steps of a weight on each side of zero.
_WEIGHT_STEPS: Final = 127

#: Steps of the range of an activation.
_ACTIVATION_STEPS: Final = 255

#: Least range of an activation: one that is always zero has a scale, too.
_LEAST_RANGE: Final = 1e-6

#: Layers whose weights are rounded -> axes of the kernel that one output channel extends over.
_ROUNDED: Final[dict[type[layers.Layer], tuple[int, ...]]] = {
    layers.Conv2D: (0, 1, 2),
    layers.DepthwiseConv2D: (0, 1),
    layers.Dense: (0,),
}

#: Layers with weights that stay in float32.
_FLOAT: Final = (layers.BatchNormalization, layers.GroupNormalization, layers.LayerNormalization)

#: Layers whose output has the range of their input: the int8 operators have one scale for both.
_SAME_RANGE: Final = (
    *(layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalMaxPooling2D, layers.ZeroPadding2D),
    *(layers.Cropping2D, layers.Reshape, layers.Permute, layers.Flatten, layers.Dropout, layers.SpatialDropout2D),
)

#: Means, which an int8 file rounds if what they are of is rounded.
_MEANS: Final = ("GlobalAveragePooling2D", "Mean")

#: Gates whose sigmoid an int8 file rounds to steps of 1/256 if what they are of is rounded.
_GATES: Final = (keras.activations.sigmoid, keras.activations.silu)

#: What an operation that rounds is called in a model that predicts.
_FAKE_QUANT: Final = "FakeQuantWithMinMaxVars"


class RoundedActivation(layers.Layer):  # type: ignore[misc]
    """Round a tensor to 256 steps of a range that it learns by looking.

    Parameters
    ----------
    momentum
        Of the running mean of least and greatest values; in the first steps it is the mean of those seen.
    observed_steps
        Steps of training after which the range stands still.
    """

    def __init__(self, momentum: float, observed_steps: int) -> None:
        super().__init__(dtype="float32")
        self._momentum, self._observed_steps = momentum, observed_steps

    def build(self, _: Any) -> None:
        """Make the range, and the number of steps seen."""
        for name in ("least", "greatest", "steps"):
            setattr(self, name, self.add_weight(name=name, shape=(), initializer="zeros", trainable=False))
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The rounded tensor; in training the range moves first."""
        if training:
            seen = ops.stop_gradient(inputs)
            kept = ops.minimum(self._momentum, self.steps / (self.steps + 1))
            kept = ops.where(self.steps < self._observed_steps, kept, 1.0)
            # Zero is in every range: it is what is padded with.
            self.least.assign(kept * self.least + (1 - kept) * ops.minimum(ops.min(seen), 0.0))
            self.greatest.assign(kept * self.greatest + (1 - kept) * ops.maximum(ops.max(seen), 0.0))
            self.steps.assign_add(1.0)
        low, high = self.least, ops.maximum(self.greatest, _LEAST_RANGE)
        return keras.quantizers.fake_quant_with_min_max_vars(inputs, low, high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape

    def range(self) -> tuple[float, float]:
        """The range as it is now."""
        return float(ops.convert_to_numpy(self.least)), max(float(ops.convert_to_numpy(self.greatest)), _LEAST_RANGE)


class RoundedWeights(layers.Layer):  # type: ignore[misc]
    """A convolution or dense layer with rounded weights; a batch normalisation behind it is part of them.

    Parameters
    ----------
    layer
        Of a type of `_ROUNDED`; built.
    normalisation
        The batch normalisation that alone uses its output, if any.
    """

    def __init__(self, layer: layers.Layer, normalisation: layers.BatchNormalization | None = None) -> None:
        super().__init__(dtype="float32")
        self._axes = _axes(layer)
        # Not the layer itself: Keras would count its weights as weights of this one.
        self._kind, self._settings = type(layer), layer.get_config()
        has_bias = layer.use_bias or normalisation is not None
        self.kernel = self.add_weight(name="kernel", shape=layer.kernel.shape)
        self.bias = self.add_weight(name="bias", shape=_channels(layer)) if has_bias else None
        kernel = layer.kernel.value
        bias: Any = layer.bias.value if layer.use_bias else 0.0
        if normalisation is not None:
            scale, shift = _affine(normalisation)
            bias = bias * scale + shift
            if self._kind is layers.DepthwiseConv2D:
                scale = ops.reshape(scale, kernel.shape[-2:])
            kernel = kernel * scale
        self.kernel.assign(kernel)
        if self.bias is not None:
            self.bias.assign(ops.broadcast_to(bias, self.bias.shape))
        self.built = True

    def rounded(self) -> Any:
        """The kernel on its steps; its gradient is that of the kernel itself."""
        kernel, step = ops.convert_to_tensor(self.kernel), ops.stop_gradient(self._step())
        return kernel + ops.stop_gradient(ops.round(kernel / step) * step - kernel)

    def _step(self) -> Any:
        """What a weight of each output channel is a multiple of."""
        largest = ops.max(ops.abs(ops.convert_to_tensor(self.kernel)), axis=self._axes, keepdims=True)
        return ops.maximum(largest, 1e-12) / _WEIGHT_STEPS

    def call(self, inputs: Any) -> Any:
        """What the layer computes with them, without its activation."""
        kernel, own = self.rounded(), self._settings
        if self._kind is layers.Dense:
            outputs = ops.matmul(inputs, kernel)
        else:
            convolve = ops.depthwise_conv if self._kind is layers.DepthwiseConv2D else ops.conv
            outputs = convolve(inputs, kernel, own["strides"], own["padding"], dilation_rate=own["dilation_rate"])
        return outputs if self.bias is None else outputs + self.bias

    def compute_output_spec(self, inputs: Any) -> Any:
        """As the layer itself."""
        return keras.KerasTensor(self._twin().compute_output_shape(inputs.shape), "float32")

    def plain(self, input_step: float) -> tuple[layers.Layer, list[Any]]:
        """An ordinary layer that computes the same, and its weights, which are to be set when it is built.

        Its bias is a multiple of the steps of input and weights, as in a file: a difference of some thousandths of an
        output's step moves one output in some hundreds, and that is many behind twenty layers.
        """
        kernel = ops.convert_to_numpy(self.rounded())
        if self.bias is None:
            return self._twin(), [kernel]
        step = input_step * ops.convert_to_numpy(self._step()).astype(np.float64).ravel()
        return self._twin(), [kernel, np.round(ops.convert_to_numpy(self.bias) / step) * step]

    def _twin(self) -> layers.Layer:
        own = {"use_bias": self.bias is not None, "activation": None, "dtype": "float32", "trainable": True}
        return self._kind.from_config(self._settings | own)


def rounded_network(model: keras.Model, settings: QuantisationConfig, steps: int) -> keras.Model:
    """A network that computes with the weights of ``model``, rounded, to be trained for so many steps.

    Parameters
    ----------
    model
        A functional model of ordinary layers. Its layers without rounded weights are taken over.
    settings, steps
        How ranges move, and in how many steps of training.

    Raises
    ------
    InputError
        If it has weights of which it is not known how an int8 file rounds them.
    """
    plan = _Plan(model)
    rounded: dict[int, RoundedWeights] = {}
    observed = math.ceil((1 - settings.frozen_share) * steps)

    ranges: dict[int, RoundedActivation] = {}

    def use(node: Any, arguments: Any, options: Any) -> Any:
        part = node.operation
        if node.is_input or id(part) in plan.folded:
            result = arguments[0]
        elif _is_rounded(part):
            if id(part) not in rounded:
                rounded[id(part)] = RoundedWeights(part, plan.normalisation(node))
            result = rounded[id(part)](arguments[0])
            if plan.relu_inside(part):
                result = layers.ReLU()(result)
        else:
            if isinstance(part, layers.BatchNormalization):
                part.trainable = False  # its statistics are those that it was trained with
            gate = plan.gates.get(id(node))
            result = _rounded_gate(gate, arguments[0]) if gate else part(*arguments, **options)
        outputs = keras.tree.flatten(result)
        for place, tensor in enumerate(node.output_tensors):
            if id(tensor) in plan.ranges:
                ranges[id(tensor)] = RoundedActivation(settings.range_momentum, observed)
                outputs[place] = ranges[id(tensor)](outputs[place])
            elif isinstance(part, _SAME_RANGE) and id(node.input_tensors[0]) in ranges:
                ranges[id(tensor)] = ranges[id(node.input_tensors[0])]
                if isinstance(part, layers.AveragePooling2D):  # its means are rounded to the steps of its input
                    outputs[place] = ranges[id(tensor)](outputs[place], training=False)
        if _is_rounded(part) and not plan.relu_inside(part) and part.activation is not keras.activations.linear:
            activated = layers.Activation(part.activation)(outputs[0])
            outputs = [RoundedActivation(settings.range_momentum, observed)(activated)]
        return outputs

    return _rebuilt(model, use)


def plain_network(model: keras.Model) -> keras.Model:
    """What `rounded_network` made, as a model of Keras' own layers and operations that computes the same."""
    twins: dict[int, layers.Layer] = {}
    steps: dict[int, float] = {}

    def use(node: Any, arguments: Any, options: Any) -> Any:
        part = node.operation
        if node.is_input:
            return arguments[0]
        if isinstance(part, RoundedActivation):
            low, high = part.range()
            steps[id(node.output_tensors[0])] = (high - low) / _ACTIVATION_STEPS
            return keras.quantizers.fake_quant_with_min_max_vars(arguments[0], low, high)
        if isinstance(part, _SAME_RANGE):
            steps[id(node.output_tensors[0])] = steps.get(id(node.input_tensors[0]), 0.0)
        if not isinstance(part, RoundedWeights):
            return part(*arguments, **options)
        if id(part) in twins:
            return twins[id(part)](arguments[0])
        twins[id(part)], weights = part.plain(steps[id(node.input_tensors[0])])
        result = twins[id(part)](arguments[0])
        twins[id(part)].set_weights(weights)
        return result

    return _rebuilt(model, use)


def is_rounded(model: keras.Model) -> bool:
    """Whether a model was trained with 8 bits, and holds the ranges for an int8 file."""
    operations = getattr(model, "operations", ())
    return any(type(operation).__name__ == _FAKE_QUANT for operation in operations)


class _Plan:
    """What of a network is rounded, found out before it is rebuilt.

    Attributes
    ----------
    folded
        Ids of the batch normalisations that become part of a convolution.
    ranges
        Ids of the tensors that get a range.
    gates
        Ids of the nodes that are gates of a rounded tensor, with the function.
    """

    def __init__(self, model: keras.Model) -> None:
        nodes = _nodes(model)
        self._users: dict[int, list[Any]] = {}
        self._uses = Counter(id(node.operation) for node in nodes)
        for node in nodes:
            for tensor in node.input_tensors:
                self._users.setdefault(id(tensor), []).append(node)
        for tensor in keras.tree.flatten(model.outputs):
            self._users.setdefault(id(tensor), []).append(None)
        self.folded: set[int] = set()
        self.ranges: set[int] = set()
        same_range: set[int] = set()
        for node in nodes:
            _require_known(node.operation)
            if _is_rounded(node.operation):
                self.ranges.add(id(self._end(node)))
            if _is_rounded(node.operation) or isinstance(node.operation, _SAME_RANGE):
                self.ranges.update({id(tensor) for tensor in node.input_tensors} - same_range)
            if isinstance(node.operation, _SAME_RANGE):
                same_range.update(id(tensor) for tensor in node.output_tensors)
        self.gates: dict[int, Any] = {}
        for node in nodes:
            if node.is_input or id(node.input_tensors[0]) not in self.ranges | same_range:
                continue
            if type(node.operation).__name__ in _MEANS and not self._is_decision(node):
                self.ranges.add(id(node.output_tensors[0]))
            if (gate := getattr(node.operation, "activation", None)) in _GATES and not _is_rounded(node.operation):
                self.gates[id(node)] = gate

    def normalisation(self, node: Any) -> layers.BatchNormalization | None:
        """The batch normalisation that becomes part of a layer."""
        user = self._only_user(node.output_tensors[0])
        part = user.operation if user else None
        alike = isinstance(part, layers.BatchNormalization) and part.axis in (-1, len(node.output_tensors[0].shape) - 1)
        once = alike and self._uses[id(part)] == self._uses[id(node.operation)] == 1
        return part if once and node.operation.activation is keras.activations.linear else None

    def relu_inside(self, part: layers.Layer) -> bool:
        """Whether a ReLU is a setting of the layer itself."""
        return part.activation is keras.activations.relu

    def _end(self, node: Any) -> Any:
        """What an int8 operator puts out: behind the normalisation and the ReLU that are part of it."""
        end = node.output_tensors[0]
        if normalisation := self.normalisation(node):
            self.folded.add(id(normalisation))
            end = self._only_user(end).output_tensors[0]
        user = self._only_user(end)
        return user.output_tensors[0] if user and _is_relu(user.operation) else end

    def _is_decision(self, node: Any) -> bool:
        """Whether only a softmax uses it: the file computes both in float32."""
        user = self._only_user(node.output_tensors[0])
        return user is not None and isinstance(user.operation, layers.Softmax)

    def _only_user(self, tensor: Any) -> Any:
        users = self._users.get(id(tensor), [])
        return users[0] if len(users) == 1 else None


def _require_known(part: Any) -> None:
    """Raise `InputError` for a layer with weights of which it is not known how a file rounds them."""
    if not isinstance(part, layers.Layer) or not part.weights or _is_rounded(part) or isinstance(part, _FLOAT):
        return
    if part.name.startswith(SCALAR_PREFIX):
        return
    kinds = ", ".join(kind.__name__ for kind in (*_ROUNDED, *_FLOAT))
    raise InputError(
        f"quantisation_aware rounds the weights of {kinds}, got layer {part.name!r} ({type(part).__name__}): build the "
        "network of those, or leave quantisation_aware out"
    )


def _is_rounded(part: Any) -> bool:
    return type(part) in _ROUNDED and not part.name.startswith(SCALAR_PREFIX)


def _is_relu(part: Any) -> bool:
    if isinstance(part, layers.ReLU):
        return part.max_value in (None, 6.0) and not part.negative_slope and not part.threshold
    return isinstance(part, layers.Activation) and part.activation is keras.activations.relu


def _rounded_gate(gate: Any, inputs: Any) -> Any:
    rounded = keras.quantizers.fake_quant_with_min_max_vars(ops.sigmoid(inputs), 0.0, 255 / 256)
    return inputs * rounded if gate is keras.activations.silu else rounded


def _axes(layer: layers.Layer) -> tuple[int, ...]:
    return _ROUNDED[type(layer)]


def _channels(layer: layers.Layer) -> tuple[int]:
    shape = layer.kernel.shape
    return (shape[-2] * shape[-1],) if isinstance(layer, layers.DepthwiseConv2D) else (shape[-1],)


def _affine(normalisation: layers.BatchNormalization) -> tuple[Any, Any]:
    """What a batch normalisation multiplies each channel by, and adds, when it predicts."""
    scale = ops.rsqrt(normalisation.moving_variance.value + normalisation.epsilon)
    if normalisation.scale:
        scale = scale * normalisation.gamma.value
    shift = -normalisation.moving_mean.value * scale
    return scale, shift + normalisation.beta.value if normalisation.center else shift


def _nodes(model: keras.Model) -> list[Any]:
    """The uses of all operations, those first that others need."""
    return [node for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True) for node in nodes]


def _rebuilt(model: keras.Model, use: Callable[[Any, Any, Any], Any]) -> keras.Model:
    """The same graph with what ``use`` (of a node, its arguments and options) makes of each operation."""
    found: dict[int, Any] = {}
    inputs: dict[int, Any] = {}
    for node in _nodes(model):
        if node.is_input:
            (tensor,) = node.output_tensors
            arguments: Any = (keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=node.operation.name),)
            options: Any = {}
            inputs[id(tensor)] = arguments[0]
        else:
            arguments, options = node.arguments.fill_in(found)
        made = keras.tree.flatten(use(node, arguments, options))
        found |= {id(tensor): value for tensor, value in zip(node.output_tensors, made, strict=True)}
    (first,), (last,) = model.inputs, model.outputs
    return keras.Model(inputs[id(first)], found[id(last)], name=model.name)
