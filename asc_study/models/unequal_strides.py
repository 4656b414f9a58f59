"""Depthwise convolutions that step further along frequency than along time (or the other way round), on TensorFlow.

TensorFlow has them in oneDNN alone, which it uses by itself on processors with instructions for networks (AVX-512 VNNI
and later); its own operation refuses them. There the convolution is made at every place and the places between the
steps are left out: the same values, from layers of Keras that are what they are, so stored models open everywhere. It
costs the operations of the places that are left out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

#: Whether operations are only written down now, to be run by something else.
_WRITTEN: ContextVar[bool] = ContextVar("written", default=False)


@contextmanager
def as_written() -> Iterator[None]:
    """Leave strides to the operation: for a graph that is converted and not run by TensorFlow."""
    token = _WRITTEN.set(True)
    try:
        yield
    finally:
        _WRITTEN.reset(token)


def allow_unequal_strides() -> None:
    """Let depthwise convolutions of Keras on TensorFlow have two strides, whatever computes; to be called once or more.

    Keras' own function stands in between: what its layers and ``keras.ops.depthwise_conv`` call.
    """
    from keras.src import backend

    own = backend.nn.depthwise_conv
    if getattr(own, "_has_two_strides", False):
        return

    def depthwise_conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        if (
            isinstance(strides, int)
            or len(set(strides)) == 1
            or data_format == "channels_first"
            or dilation_rate not in (1, (1, 1), [1, 1])
            or _WRITTEN.get()
            or _computed_natively()
        ):
            return own(inputs, kernel, strides, padding, data_format, dilation_rate)
        if padding.lower() == "same":
            inputs = _padded(inputs, kernel.shape[:2], strides)
        everywhere = own(inputs, kernel, 1, "valid", data_format, 1)
        return everywhere[:, :: strides[0], :: strides[1]]

    depthwise_conv._has_two_strides = True  # type: ignore[attr-defined]
    backend.nn.depthwise_conv = depthwise_conv


@lru_cache
def _computed_natively() -> bool:
    """Whether TensorFlow computes such a convolution here, forwards and backwards."""
    import tensorflow as tf

    with tf.init_scope():
        inputs, kernel = tf.ones((1, 4, 4, 2)), tf.ones((3, 3, 2, 1))
        try:
            with tf.GradientTape() as tape:
                tape.watch((inputs, kernel))
                made = tf.nn.depthwise_conv2d(inputs, kernel, (1, 2, 1, 1), "VALID")
            tape.gradient(made, (inputs, kernel))
        except (tf.errors.OpError, ValueError):
            return False
    return True


def _padded(inputs: Any, kernel: tuple[int, int], strides: tuple[int, int]) -> Any:
    """Zeros around as TensorFlow's "same" has them for these strides."""
    import tensorflow as tf

    around = [(0, 0)]
    for axis, extent, stride in zip((1, 2), kernel, strides, strict=True):
        size = tf.shape(inputs)[axis]
        zeros = tf.maximum((-(-size // stride) - 1) * stride + extent - size, 0)
        around.append((zeros // 2, zeros - zeros // 2))
    return tf.pad(inputs, [*around, (0, 0)])
