"""TF-SepNet: convolutions over frequency and over time, each on half of the channels (Cai et al. 2024)."""

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from asc_study.models import Architecture
from asc_study.models.options import ModelOptions

if TYPE_CHECKING:
    import keras

#: Channels of the blocks between two residual normalisations, as multiples of the base, after the stem's 2.
_GROUPS: Final = ((1.0, 1.0), (1.5, 1.5), (2.0, 2.0), (2.5, 2.5, 2.5))


class TfSepnetOptions(ModelOptions):
    """Options of TF-SepNet.

    ``base_channels`` is the network's c, before ``width``: 64 for TF-SepNet-64. Half of it is a whole number of
    channels. ``dropout`` is the rate at the end of each half of a block.
    """

    base_channels: int = Field(64, ge=2)
    dropout: float = Field(0.1, ge=0, lt=1)
    batch_norm_momentum: float = Field(0.9, ge=0, lt=1)


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: TfSepnetOptions) -> "keras.Model":
    """Build the model; with ten classes and one input channel it has 126,848 trainable parameters."""
    import keras
    from keras import layers, ops

    from asc_study.models.blocks import pooled_probabilities
    from asc_study.models.low_complexity_blocks import convolve, convolve_each, normalise, residual_normalisation

    def activate(x: Any) -> Any:
        return layers.ReLU()(normalise(x, options.batch_norm_momentum))

    def shuffled_halves(x: Any) -> Any:
        """Interleave the halves of the channels, and halve what that gives: each gets something of both."""
        bands, _, channels = x.shape[1:]
        x = layers.Permute((1, 2, 4, 3))(layers.Reshape((bands, -1, 2, channels // 2))(x))
        return ops.split(layers.Reshape((bands, -1, channels))(x), 2, axis=-1)

    def one_way(x: Any, kernel_size: tuple[int, int], axis: int) -> Any:
        """Convolve along one axis, average over it, mix the channels, and add the input to what is left."""
        change = ops.mean(activate(convolve_each(x, kernel_size)), axis=axis, keepdims=True)
        return layers.Dropout(options.dropout)(activate(convolve(change, x.shape[-1]))) + x

    def block(x: Any, filters: int) -> Any:
        if x.shape[-1] != filters:
            x = activate(convolve(x, filters))
        over_frequency, over_time = shuffled_halves(x)
        return layers.Concatenate()([one_way(over_frequency, (3, 1), axis=1), one_way(over_time, (1, 3), axis=2)])

    inputs = keras.Input(input_shape, name="features")
    half = options.filters(options.base_channels / 2)
    x = activate(convolve(inputs, half, 3, (2, 2)))
    x = activate(convolve_each(x, (3, 3), (2, 2), multiplier=4))
    x = residual_normalisation(x)
    for number, multiples in enumerate(_GROUPS):
        if number:
            x = layers.MaxPooling2D(2)(x)
        for multiple in multiples:
            x = block(x, 2 * options.filters(multiple * options.base_channels / 2))
        x = residual_normalisation(x)
    # Drawn as Keras does: by a fan out of few classes, logits of normalised maps would start far from alike.
    x = layers.Conv2D(num_classes, 1, use_bias=False)(x)
    return keras.Model(inputs, pooled_probabilities(x), name="tf_sepnet")


TF_SEPNET: Final = Architecture(build, TfSepnetOptions, smallest_input=(29, 29))
