"""MobNet: a small MobileNet-v2 for each half of the bands (section 2.2; Sandler et al. 2018; the authors' code)."""

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from asc_study.models import Architecture
from asc_study.models.options import ModelOptions

if TYPE_CHECKING:
    import keras

#: Filters at width 1: of the first convolution, of each group of inverted residuals, and of the last one of a path.
_STEM: Final = 32
_GROUPS: Final = (32, 40, 48)
_PATH_END: Final = 56
_JOINED: Final = 48

_BLOCKS_PER_GROUP: Final = 3

#: An inverted residual widens its input by this factor for the depthwise convolution.
_EXPANSION: Final = 2


class MobnetOptions(ModelOptions):
    """Options of the MobNet.

    ``dropout`` is the rate before the last convolution, ``l2`` the weight decay of the two convolutions after the join.
    """

    dropout: float = Field(0.3, ge=0, lt=1)
    l2: float = Field(1e-3, ge=0)


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: MobnetOptions) -> "keras.Model":
    """Build the model; at width 1, with three classes and six input channels it has 145,328 trainable parameters."""
    import keras
    from keras import layers

    from asc_study.models.blocks import frequency_halves, pooled_probabilities

    def normalise(x: Any, learned: bool = True) -> Any:
        return layers.BatchNormalization(center=learned, scale=learned, momentum=options.batch_norm_momentum)(x)

    def convolve(x: Any, filters: int, kernel_size: int = 1, strides: int = 1) -> Any:
        return normalise(layers.Conv2D(filters, kernel_size, strides, padding="same")(x))

    def inverted_residual(x: Any, filters: int, *, starts_group: bool) -> Any:
        change = layers.ReLU()(convolve(x, _EXPANSION * x.shape[-1]))
        change = layers.DepthwiseConv2D(3, strides=2 if starts_group else 1, padding="same")(change)
        change = convolve(layers.ReLU()(normalise(change)), filters)
        return change if starts_group else layers.Add()([change, x])

    def path(x: Any) -> Any:
        x = layers.ReLU()(convolve(x, options.filters(_STEM), kernel_size=3, strides=2))
        for base in _GROUPS:
            for block in range(_BLOCKS_PER_GROUP):
                x = inverted_residual(x, options.filters(base), starts_group=block == 0)
        return layers.ReLU()(convolve(x, options.filters(_PATH_END)))

    def convolve_joined(x: Any, filters: int) -> Any:
        return layers.Conv2D(
            filters,
            1,
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(options.l2),
        )(x)

    inputs = keras.Input(input_shape, name="features")
    x = layers.Concatenate(axis=1)([path(half) for half in frequency_halves(inputs)])
    x = convolve_joined(layers.ReLU()(normalise(x, learned=False)), options.filters(_JOINED))
    x = convolve_joined(normalise(layers.Dropout(options.dropout)(x), learned=False), num_classes)
    return keras.Model(inputs, pooled_probabilities(normalise(x, learned=False)), name="mobnet")


MOBNET: Final = Architecture(build, MobnetOptions, smallest_input=(2, 1), stem_filters=32)
