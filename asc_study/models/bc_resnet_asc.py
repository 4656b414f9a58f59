"""BC-ResNet-ASC: broadcasted residuals and residual normalisation (Kim et al., DCASE 2021; easy_dcase_task1)."""

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from asc_study.base.errors import InputError
from asc_study.models import Architecture
from asc_study.models.options import ModelOptions

if TYPE_CHECKING:
    import keras

#: Channels of the blocks between two residual normalisations, as multiples of the base, after the stem's 2.
_GROUPS: Final = ((1.0, 1.0), (1.5, 1.5), (2.0, 2.0), (2.5, 2.5, 2.5))

#: Groups that a max pool comes before.
_POOLED: Final = (1, 2)


class BcResnetOptions(ModelOptions):
    """Options of BC-ResNet-ASC.

    ``base_channels`` is the network's c, before ``width``. ``sub_bands`` is the number of equal bands that are
    normalised each by itself after a convolution over frequency; the bands of the input, divided by 2, 4 and 8
    (rounded as the strides do), must be multiples of it. ``dropout`` is the rate of whole channels in each block.
    """

    base_channels: int = Field(32, ge=1)
    sub_bands: int = Field(1, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    batch_norm_momentum: float = Field(0.9, ge=0, lt=1)


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: BcResnetOptions) -> "keras.Model":
    """Build the model; with ten classes and one input channel it has 53,952 trainable parameters."""
    import keras
    from keras import layers

    from asc_study.models.blocks import pooled_probabilities
    from asc_study.models.low_complexity_blocks import convolve, convolve_each, normalise, residual_normalisation

    def batch_normalise(x: Any) -> Any:
        return normalise(x, options.batch_norm_momentum)

    def normalise_bands(x: Any) -> Any:
        if x.shape[1] % options.sub_bands:
            raise InputError(
                f"`sub_bands` must divide the bands of every feature map, got {options.sub_bands} for {x.shape[1]}: "
                "give a number that does, such as 1 or 4, or other `features.n_mels`"
            )
        bands = keras.ops.split(x, options.sub_bands, axis=1) if options.sub_bands > 1 else [x]
        normalised = [batch_normalise(band) for band in bands]
        return layers.Concatenate(axis=1)(normalised) if len(normalised) > 1 else normalised[0]

    def block(x: Any, filters: int) -> Any:
        transition = x.shape[-1] != filters
        change = layers.ReLU()(batch_normalise(convolve(x, filters))) if transition else x
        over_frequency = normalise_bands(convolve_each(change, (3, 1)))
        change = keras.ops.mean(over_frequency, axis=1, keepdims=True)
        change = layers.Activation("silu")(batch_normalise(convolve_each(change, (1, 3))))
        change = layers.SpatialDropout2D(options.dropout)(convolve(change, filters))
        change = over_frequency + change
        return layers.ReLU()(change if transition else change + x)

    inputs = keras.Input(input_shape, name="features")
    x = convolve(inputs, options.filters(2 * options.base_channels), 5, (2, 2))
    x = residual_normalisation(x)
    for number, multiples in enumerate(_GROUPS):
        if number in _POOLED:
            x = layers.MaxPooling2D(2)(x)
        for multiple in multiples:
            x = block(x, options.filters(multiple * options.base_channels))
        x = residual_normalisation(x)
    # Drawn as Keras does: by a fan out of few classes, logits of normalised maps would start far from alike.
    x = layers.Conv2D(num_classes, 1, use_bias=False)(x)
    return keras.Model(inputs, pooled_probabilities(x), name="bc_resnet_asc")


BC_RESNET_ASC: Final = Architecture(build, BcResnetOptions, smallest_input=(7, 7))
