"""Blocks of the low-complexity networks: layers that pad, draw and normalise as the PyTorch code of their authors does.

Only layers and operations of Keras: a saved model opens without this package.
"""

from typing import Any, Final

from keras import initializers, layers, ops

#: PyTorch's: Keras has 1e-3.
_EPSILON: Final = 1e-5

#: What the layer of `learned_scalar` is called: a parameter that stands by itself, no dense layer of the network.
SCALAR_PREFIX: Final = "learned_scalar"


def convolve(x: Any, filters: int, kernel_size: int = 1, strides: tuple[int, int] = (1, 1)) -> Any:
    """Convolve without bias; drawn by Kaiming's normal distribution, fan out = filters x kernel area."""
    return layers.Conv2D(filters, kernel_size, strides, use_bias=False, kernel_initializer=_kaiming())(
        _pad(x, (kernel_size, kernel_size))
    )


def convolve_each(
    x: Any, kernel_size: tuple[int, int], strides: tuple[int, int] = (1, 1), *, multiplier: int = 1
) -> Any:
    """Convolve every channel by itself, into ``multiplier`` channels each, without bias.

    The fan out that weights are drawn by is that of all channels, as PyTorch counts it for grouped convolutions too.
    """
    return layers.DepthwiseConv2D(
        kernel_size,
        strides,
        depth_multiplier=multiplier,
        use_bias=False,
        depthwise_initializer=_kaiming(x.shape[-1]),
    )(_pad(x, kernel_size))


def normalise(x: Any, momentum: float) -> Any:
    """Batch normalisation of channels with PyTorch's epsilon."""
    return layers.BatchNormalization(momentum=momentum, epsilon=_EPSILON)(x)


def learned_scalar(like: Any, name: str) -> Any:
    """One trained value, initially 0, of shape (batch, 1, 1, 1), for a network whose feature maps are ``like``."""
    one = ops.ones_like(ops.mean(like, axis=(1, 2, 3), keepdims=True))
    # A dense layer of the constant 1 is its weight.
    return layers.Dense(1, use_bias=False, kernel_initializer="zeros", name=f"{SCALAR_PREFIX}_{name}")(one)


def response_normalisation(x: Any, name: str) -> Any:
    """Global response normalisation (Woo et al. 2023) with one gamma and one beta for all channels (CP-Mobile).

    y = gamma n x + beta + x, where n is the L2 norm of a channel over frequency and time, divided by the mean norm of
    all channels + 1e-6; gamma and beta are 0 at first.
    """
    # In float32, as a sum of squares leaves the range of half precision; the root has no gradient at exactly 0.
    energy = ops.sum(ops.square(ops.cast(x, "float32")), axis=(1, 2), keepdims=True)
    norm = ops.sqrt(ops.maximum(energy, 1e-24))
    share = ops.cast(norm / (ops.mean(norm, axis=-1, keepdims=True) + 1e-6), x.dtype)
    return learned_scalar(x, f"gamma_{name}") * (share * x) + learned_scalar(x, f"beta_{name}") + x


def residual_normalisation(x: Any, weight: float = 0.1) -> Any:
    """``weight`` x + (x - mean) / sqrt(var + 1e-5), over channels and time of each clip and frequency.

    Of Kim et al. 2021 (BC-ResNet for DCASE); x keeps its level by the first term.
    """
    wide = ops.cast(x, "float32")
    centred = wide - ops.mean(wide, axis=(2, 3), keepdims=True)
    variance = ops.mean(ops.square(centred), axis=(2, 3), keepdims=True)
    return ops.cast(weight * wide + centred / ops.sqrt(variance + _EPSILON), x.dtype)


def _kaiming(channels: int = 1) -> Any:
    return initializers.VarianceScaling(2.0 / channels, mode="fan_out", distribution="untruncated_normal")


def _pad(x: Any, kernel_size: tuple[int, int]) -> Any:
    """Zeros alike on both sides, as PyTorch pads; Keras' "same" has fewer of them where strides meet even sizes."""
    height, width = (size // 2 for size in kernel_size)
    return layers.ZeroPadding2D((height, width))(x) if height or width else x
