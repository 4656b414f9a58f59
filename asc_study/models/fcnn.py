"""FCNN: a VGG-like fully convolutional network with channel attention (section 2.2; sizes of the authors' code).

The layout of its convolutions is data, shared with the small FCNN of Task 1b (here) and the fsFCNN (`fsfcnn`).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, field_validator

from asc_study.models import Architecture
from asc_study.models.options import ModelOptions

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Stage:
    """Convolutions with batch normalisation and ReLU, one after the other, and the max pool after the last.

    Attributes
    ----------
    filters
        Of each convolution, at width 1.
    pool_strides
        Of the max pool, in frequency and time; None for no pool.
    dropouts
        How many of the convolutions, from the first on, are followed by dropout.
    """

    filters: tuple[int, ...]
    pool_strides: tuple[int, int] | None
    dropouts: int = 0


@dataclass(frozen=True)
class Layout:
    """What tells one fully convolutional network from another.

    Attributes
    ----------
    stages
        The convolutions: the first of all is 5x5, the others are 3x3.
    first_strides
        Of the first convolution, in frequency and time.
    same_padding
        True pads as Keras' "same" does; False puts equal zeros on both sides of a convolution, and none for a pool.
    pool_size
        Height and width of the max pools.
    extra_padding
        Rows and columns of zeros more on each side before the last convolution.
    """

    stages: tuple[Stage, ...]
    first_strides: tuple[int, int]
    same_padding: bool
    pool_size: int
    extra_padding: int = 0


_FCNN: Final = Layout(
    stages=(Stage((144, 144), (2, 2)), Stage((288, 288), (2, 2)), Stage((576, 576, 576, 576), (2, 2), dropouts=3)),
    first_strides=(2, 2),
    same_padding=False,
    pool_size=2,
)


class FcnnOptions(ModelOptions):
    """Options of the FCNN.

    ``dropout`` is the rate after each convolution of the last block but its last; ``attention`` is the gate before the
    global pool.
    """

    dropout: float = Field(0.3, ge=0, lt=1)
    attention: bool = True


class SmallFcnnOptions(FcnnOptions):
    """Options of the small FCNN.

    ``block_filters`` are the filters of the three pairs of convolutions at width 1: the default is the model of the
    authors' code, [36, 72, 96] that of their published weights. ``doubled_padding`` pads twice before the last 3x3
    convolution, as the model of the published weights does and their code does not: the same parameters, other outputs.
    """

    block_filters: list[int] = [48, 84, 120]
    doubled_padding: bool = False

    @field_validator("block_filters")
    @classmethod
    def _three_positive_numbers(cls, value: list[int]) -> list[int]:
        if len(value) != 3 or min(value) < 1:
            raise ValueError(
                f"`block_filters` must be three whole numbers of at least 1, got {value}: "
                "give the filters of each pair of convolutions, such as [48, 84, 120]"
            )
        return value


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: FcnnOptions) -> "keras.Model":
    """Build the model; at width 1, with ten classes and three input channels it has 11,780,329 trainable parameters."""
    return build_layout(_FCNN, input_shape, num_classes, options, name="fcnn")


def build_small(input_shape: tuple[int, int | None, int], num_classes: int, options: SmallFcnnOptions) -> "keras.Model":
    """Build the FCNN of Task 1b, with two convolutions in its last block and one dropout between them.

    At width 1, with three classes and six input channels it has 349,438 trainable parameters.
    """
    low, middle, high = options.block_filters
    stages = (Stage((low, low), (2, 2)), Stage((middle, middle), (2, 2)), Stage((high, high), (2, 2), dropouts=1))
    layout = replace(_FCNN, stages=stages, extra_padding=int(options.doubled_padding))
    return build_layout(layout, input_shape, num_classes, options, name="small_fcnn")


def build_layout(
    layout: Layout, input_shape: tuple[int, int | None, int], num_classes: int, options: FcnnOptions, *, name: str
) -> "keras.Model":
    """Build batch normalisation, the convolutions of ``layout`` and the classifier."""
    import keras

    inputs = keras.Input(input_shape, name="features")
    return keras.Model(inputs, classify(convolutions(inputs, layout, options), num_classes, options), name=name)


def convolutions(x: Any, layout: Layout, options: FcnnOptions) -> Any:
    """Normalise (batch, frequency, time, channel) and apply the convolutions and pools of ``layout``."""
    from keras import layers

    padding = "same" if layout.same_padding else "valid"
    last = sum(len(stage.filters) for stage in layout.stages)
    x = layers.BatchNormalization(momentum=options.batch_norm_momentum)(x)
    done = 0
    for stage in layout.stages:
        for position, base in enumerate(stage.filters):
            done += 1
            kernel_size, strides = (5, layout.first_strides) if done == 1 else (3, (1, 1))
            if not layout.same_padding:
                extra = layout.extra_padding if done == last else 0
                x = layers.ZeroPadding2D(kernel_size // 2 + extra)(x)
            x = layers.Conv2D(
                options.filters(base),
                kernel_size,
                strides,
                padding=padding,
                use_bias=False,
                kernel_initializer="he_normal",
            )(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=options.batch_norm_momentum)(x))
            if position < stage.dropouts:
                x = layers.Dropout(options.dropout)(x)
        if stage.pool_strides:
            x = layers.MaxPooling2D(layout.pool_size, stage.pool_strides, padding=padding)(x)
    return x


def classify(x: Any, num_classes: int, options: FcnnOptions) -> Any:
    """Turn feature maps into class probabilities: 1x1 convolution, attention, global pool and softmax."""
    from keras import layers

    from asc_study.models.blocks import pooled_probabilities

    x = layers.Conv2D(num_classes, 1, use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.ReLU()(layers.BatchNormalization(center=False, scale=False, momentum=options.batch_norm_momentum)(x))
    x = layers.BatchNormalization(center=False, scale=False, momentum=options.batch_norm_momentum)(x)
    return pooled_probabilities(x, attention=options.attention)


FCNN: Final = Architecture(build, FcnnOptions, smallest_input=(15, 15), stem_filters=144)
SMALL_FCNN: Final = Architecture(build_small, SmallFcnnOptions, smallest_input=(15, 15), stem_filters=48)
