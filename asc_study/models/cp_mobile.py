"""CP-Mobile: inverted residuals with global response normalisation (Schmid et al., DCASE 2023), and the DCASE baseline.

The baseline of the DCASE challenges of 2024 and 2025 is the same network without that normalisation, narrower at its
end, and with other strides: ``variant: dcase2024``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from asc_study.models import Architecture
from asc_study.models.options import ModelOptions

if TYPE_CHECKING:
    import keras

#: Blocks of each stage; a stage has channels of its own.
_STAGES: Final = (3, 2, 1)


@dataclass(frozen=True)
class Variant:
    """What tells one network of this family from another.

    Attributes
    ----------
    multiplier
        Of the channels, from stage to stage.
    expansion
        Of a block's channels for its depthwise convolution.
    strides
        Number of a block, from 1 on -> its strides in frequency and time; of others (1, 1).
    response_normalisation
        Whether blocks end in it.
    """

    multiplier: float
    expansion: float
    strides: dict[int, tuple[int, int]]
    response_normalisation: bool


VARIANTS: Final = {
    "cp_mobile": Variant(2.3, 3.0, {2: (2, 2), 4: (2, 1)}, response_normalisation=True),
    "dcase2024": Variant(1.8, 2.1, {3: (1, 2), 4: (2, 1)}, response_normalisation=False),
}


class CpMobileOptions(ModelOptions):
    """Options of CP-Mobile.

    ``variant`` says which network: CP-Mobile, or the baseline of DCASE 2024 and 2025. ``base_channels``, times
    ``width``, are those of the first stage; ``multiplier`` and ``expansion`` are the variant's own unless they are
    given. Channels are multiples of 8.
    """

    variant: Literal["cp_mobile", "dcase2024"] = "cp_mobile"
    base_channels: int = Field(32, ge=8)
    multiplier: float | None = Field(None, ge=1, le=8)
    expansion: float | None = Field(None, ge=1, le=8)
    batch_norm_momentum: float = Field(0.9, ge=0, lt=1)


def divisible_by_8(value: float) -> int:
    """Return the multiple of 8 that is nearest to ``value``, at least 8 and not less than nine tenths of it."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: CpMobileOptions) -> "keras.Model":
    """Build the model; with ten classes, one input channel it has 126,952 trainable parameters, the baseline 61,148."""
    import keras
    from keras import layers

    from asc_study.models.blocks import pooled_probabilities
    from asc_study.models.low_complexity_blocks import convolve, convolve_each, normalise, response_normalisation

    variant = VARIANTS[options.variant]
    multiplier = options.multiplier or variant.multiplier
    expansion = options.expansion or variant.expansion
    first = options.base_channels * options.width
    channels = [divisible_by_8(first * multiplier**stage) for stage in range(len(_STAGES))]

    def activate(x: Any) -> Any:
        return layers.ReLU()(normalise(x, options.batch_norm_momentum))

    def shortcut(x: Any, strides: tuple[int, int]) -> Any:
        if strides == (1, 1):
            return x
        # Zeros at the edge count in the mean, which they do not with "same".
        return layers.AveragePooling2D(3, strides)(layers.ZeroPadding2D(1)(x))

    def block(x: Any, filters: int, number: int) -> Any:
        strides = variant.strides.get(number, (1, 1))
        change = activate(convolve(x, divisible_by_8(x.shape[-1] * expansion)))
        change = activate(convolve_each(change, (3, 3), strides))
        change = normalise(convolve(change, filters), options.batch_norm_momentum)
        if x.shape[-1] == filters:
            change = layers.Add()([change, shortcut(x, strides)])
        if variant.response_normalisation:
            change = response_normalisation(change, f"block_{number}")
        return layers.ReLU()(change)

    inputs = keras.Input(input_shape, name="features")
    x = activate(convolve(inputs, channels[0] // 4, 3, (2, 2)))
    x = activate(convolve(x, channels[0], 3, (2, 2)))
    stages = [filters for filters, blocks in zip(channels, _STAGES, strict=True) for _ in range(blocks)]
    for number, filters in enumerate(stages, 1):
        x = block(x, filters, number)
    x = normalise(convolve(x, num_classes), options.batch_norm_momentum)
    return keras.Model(inputs, pooled_probabilities(x), name="cp_mobile")


CP_MOBILE: Final = Architecture(build, CpMobileOptions, smallest_input=(1, 1))
