"""Layers that compute with 8 bits in training, as an int8 file does: of weights, and of activations.

Weights of convolutions and dense layers are symmetric, with a scale for each output channel; an activation has one
range for a whole tensor (Jacob et al. 2018).
"""

from typing import Any, Final

import keras
import numpy as np
from keras import layers, ops

#: Steps of a weight on each side of zero.
_WEIGHT_STEPS: Final = 127

#: Steps of the range of an activation.
_ACTIVATION_STEPS: Final = 255

#: Least range of an activation: one that is always zero has a scale, too.
_LEAST_RANGE: Final = 1e-6

#: Layers whose weights are rounded -> axes of the kernel that one output channel extends over.
ROUNDED: Final[dict[type[layers.Layer], tuple[int, ...]]] = {
    layers.Conv2D: (0, 1, 2),
    layers.DepthwiseConv2D: (0, 1),
    layers.Dense: (0,),
}


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

    @property
    def step(self) -> float:
        """What a value is a multiple of."""
        low, high = self.range()
        return (high - low) / _ACTIVATION_STEPS

    def range(self) -> tuple[float, float]:
        """The range as it is now."""
        return float(ops.convert_to_numpy(self.least)), max(float(ops.convert_to_numpy(self.greatest)), _LEAST_RANGE)


class RoundedWeights(layers.Layer):  # type: ignore[misc]
    """A convolution or dense layer with rounded weights; a batch normalisation behind it is part of them.

    Parameters
    ----------
    layer
        Of a type of `ROUNDED`; built.
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


def _axes(layer: layers.Layer) -> tuple[int, ...]:
    return ROUNDED[type(layer)]


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
