"""The challenge's own CNN of DCASE 2020 Task 1b, which its systems were measured against (Heittola et al. 2020)."""

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from asc_study.models import Architecture
from asc_study.models.options import ModelOptions

if TYPE_CHECKING:
    import keras


class ChallengeCnnOptions(ModelOptions):
    """Options of the CNN: ``dropout`` is the rate after both pools and after the dense layer."""

    dropout: float = Field(0.3, ge=0, lt=1)


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: ChallengeCnnOptions) -> "keras.Model":
    """Build the model; with 40 bands, one input channel and ten classes it has 116,118 parameters.

    The second pool of the original spans all of its 100 frames (10 s): here it spans those of a clip of any length.
    """
    import keras
    from keras import layers

    def convolve(x: Any, filters: int) -> Any:
        x = layers.Conv2D(options.filters(filters), 7, padding="same")(x)
        # Statistics of each band, not of each channel: axis 1, as in the original.
        return layers.ReLU()(layers.BatchNormalization(axis=1, momentum=options.batch_norm_momentum)(x))

    inputs = keras.Input(input_shape, name="features")
    x = layers.Dropout(options.dropout)(layers.MaxPooling2D(5)(convolve(inputs, 32)))
    x = keras.ops.max(layers.MaxPooling2D((4, 1))(convolve(x, 64)), axis=2)
    x = layers.Flatten()(layers.Dropout(options.dropout)(x))
    x = layers.Dropout(options.dropout)(layers.Dense(options.filters(100), activation="relu")(x))
    x = layers.Dense(num_classes)(x)
    return keras.Model(inputs, layers.Softmax(dtype="float32", name="probabilities")(x), name="dcase2020_task1b")


DCASE2020_TASK1B: Final = Architecture(build, ChallengeCnnOptions, smallest_input=(20, 5))
