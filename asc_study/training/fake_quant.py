"""How a network of ordinary layers is made to compute with 8 bits in training, and what of that predicts.

What is simulated is what LiteRT does with an int8 file. What it does poorly with 8 bits is rounded in neither: sums and
products between normalised maps, the softmax and the mean before it.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import keras
from keras import layers, ops

from asc_study.base.errors import InputError
from asc_study.models.low_complexity_blocks import SCALAR_PREFIX
from asc_study.settings.continuation import QuantisationConfig
from asc_study.training.rounding import ROUNDED, RoundedActivation, RoundedWeights

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
            steps[id(node.output_tensors[0])] = part.step
            return keras.quantizers.fake_quant_with_min_max_vars(arguments[0], *part.range())
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
    kinds = ", ".join(kind.__name__ for kind in (*ROUNDED, *_FLOAT))
    raise InputError(
        f"quantisation_aware rounds the weights of {kinds}, got layer {part.name!r} ({type(part).__name__}): build the "
        "network of those, or leave quantisation_aware out"
    )


def _is_rounded(part: Any) -> bool:
    return type(part) in ROUNDED and not part.name.startswith(SCALAR_PREFIX)


def _is_relu(part: Any) -> bool:
    if isinstance(part, layers.ReLU):
        return part.max_value in (None, 6.0) and not part.negative_slope and not part.threshold
    return isinstance(part, layers.Activation) and part.activation is keras.activations.relu


def _rounded_gate(gate: Any, inputs: Any) -> Any:
    rounded = keras.quantizers.fake_quant_with_min_max_vars(ops.sigmoid(inputs), 0.0, 255 / 256)
    return inputs * rounded if gate is keras.activations.silu else rounded


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
