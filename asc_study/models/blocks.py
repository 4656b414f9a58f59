"""Blocks that more than one architecture is made of."""

from typing import Any

from keras import layers


def channel_attention(x: Any, units: int) -> Any:
    """Weigh the channels of ``x`` by a gate that all of them decide on (section 2.2; Woo et al. 2018).

    A shared pair of dense layers with ``units`` hidden units sees the average and the maximum of every channel; the
    sigmoid of the sum of the two answers multiplies the channel.
    """
    channels = x.shape[-1]
    squeeze = layers.Dense(units, activation="relu", kernel_initializer="he_normal", name="attention_squeeze")
    excite = layers.Dense(channels, kernel_initializer="he_normal", name="attention_excite")
    average = excite(squeeze(layers.GlobalAveragePooling2D(keepdims=True)(x)))
    maximum = excite(squeeze(layers.GlobalMaxPooling2D(keepdims=True)(x)))
    gate = layers.Activation("sigmoid", name="attention")(layers.Add()([average, maximum]))
    return layers.Multiply()([x, gate])


def pooled_probabilities(x: Any, *, attention: bool = False) -> Any:
    """Average the map of every class over frequency and time, after the gate if ``attention``, and take the softmax."""
    if attention:
        x = channel_attention(x, units=max(1, x.shape[-1] // 2))
    x = layers.GlobalAveragePooling2D()(x)
    # Whatever the precision of the layers before: probabilities of half precision do not sum to one.
    return layers.Softmax(dtype="float32", name="probabilities")(x)


def frequency_halves(x: Any) -> tuple[Any, Any]:
    """Split (batch, frequency, time, channel) into its lower and its upper bands."""
    lower = x.shape[1] // 2
    upper = x.shape[1] - lower
    return (
        layers.Cropping2D(((0, upper), (0, 0)), name="lower_bands")(x),
        layers.Cropping2D(((lower, 0), (0, 0)), name="upper_bands")(x),
    )


def add_zero_channels(x: Any, count: int) -> Any:
    """Append ``count`` channels of zeros."""
    # Read as channels-first, the last axis is the one that 2-D padding calls width: no layer of our own is needed.
    return layers.ZeroPadding2D(((0, 0), (0, count)), data_format="channels_first")(x)
