"""Resnet: a pre-activation residual path for each half of the bands (section 2.2; after McDonnell and Gao 2020)."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from asc_study.models import Architecture
from asc_study.models.options import ModelOptions

if TYPE_CHECKING:
    import keras

_STACKS: Final = 4
_BLOCKS_PER_STACK: Final = 2

#: Time is halved by the stem and by every stack but the first; frequency is never subsampled.
_DOWNSAMPLE: Final = (1, 2)


class ResnetOptions(ModelOptions):
    """Options of the Resnets.

    ``l2`` is the weight decay; ``attention`` is the gate before the global pool that the final submission adds to one
    of its Resnet-d (section 5.3).
    """

    l2: float = Field(1e-3, ge=0)
    attention: bool = False


def build(
    input_shape: tuple[int, int | None, int],
    num_classes: int,
    options: ResnetOptions,
    *,
    stem_filters: int = 24,
    name: str = "resnet",
) -> "keras.Model":
    """Build the model, whose first convolution has ``stem_filters`` filters at width 1.

    At width 1, with ten classes and three input channels it has 3,246,108 trainable parameters.
    """
    import keras
    from keras import layers

    from asc_study.models.blocks import add_zero_channels, frequency_halves, pooled_probabilities

    def convolve(x: Any, filters: int, kernel_size: int = 3, strides: tuple[int, int] = (1, 1)) -> Any:
        return layers.Conv2D(
            filters,
            kernel_size,
            strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(options.l2),
        )(x)

    def normalise(x: Any) -> Any:
        return layers.BatchNormalization(center=False, scale=False, momentum=options.batch_norm_momentum)(x)

    def residual_block(x: Any, filters: int, strides: tuple[int, int]) -> Any:
        change = convolve(layers.ReLU()(normalise(x)), filters, strides=strides)
        change = convolve(layers.ReLU()(normalise(change)), filters)
        if strides != (1, 1):
            x = layers.AveragePooling2D(3, strides, padding="same")(x)
            x = add_zero_channels(x, filters - x.shape[-1])
        return layers.Add()([change, x])

    def path(x: Any) -> Any:
        filters = options.filters(stem_filters)
        x = convolve(layers.BatchNormalization(momentum=options.batch_norm_momentum)(x), filters, strides=_DOWNSAMPLE)
        for stack in range(_STACKS):
            for block in range(_BLOCKS_PER_STACK):
                starts_stack = stack > 0 and block == 0
                x = residual_block(x, filters << stack, _DOWNSAMPLE if starts_stack else (1, 1))
        return x

    inputs = keras.Input(input_shape, name="features")
    x = layers.Concatenate(axis=1)([path(half) for half in frequency_halves(inputs)])
    x = convolve(layers.ReLU()(normalise(x)), 32 * options.filters(stem_filters), kernel_size=1)
    x = convolve(normalise(x), num_classes, kernel_size=1)
    return keras.Model(inputs, pooled_probabilities(normalise(x), attention=options.attention), name=name)


#: The Resnet-d: twice the filters of the Resnet (section 2.2), 12,966,444 trainable parameters.
build_d: Final = partial(build, stem_filters=48, name="resnet_d")


RESNET: Final = Architecture(build, ResnetOptions, smallest_input=(2, 1), stem_filters=24)
RESNET_D: Final = Architecture(build_d, ResnetOptions, smallest_input=(2, 1), stem_filters=48)
