"""A multilayer perceptron on the frames of an embedding, as the challenge's own system of DCASE 2020 Task 1a is."""

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from asc_study.base.schema import Strict
from asc_study.models import Architecture

if TYPE_CHECKING:
    import keras


class EmbeddingMlpOptions(Strict):
    """Options of the perceptron.

    ``width`` scales its ``hidden_units``, one number a layer; ``dropout`` is the rate after each of these layers.
    """

    width: float = Field(1.0, gt=0, le=16)
    hidden_units: list[Annotated[int, Field(ge=1, le=65536)]] = Field([512, 128], max_length=16)
    dropout: float = Field(0.0, ge=0, lt=1)


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: EmbeddingMlpOptions) -> "keras.Model":
    """Build the model: each frame is classified by itself, a clip's probabilities are the mean of those of its frames.

    With 512 values a frame and ten classes it has 329,610 parameters. The baseline of Task 1a (Heittola et al. 2020)
    learns from single frames, as this does with ``random_crop: {frames: 1}``; else the loss is that of the mean.
    """
    import keras
    from keras import layers

    values, _, channels = input_shape
    inputs = keras.Input(input_shape, name="features")
    x = layers.Reshape((-1, values * channels))(layers.Permute((2, 1, 3))(inputs))
    for units in options.hidden_units:
        x = layers.Dense(max(1, round(units * options.width)), activation="relu")(x)
        x = layers.Dropout(options.dropout)(x)
    x = layers.Softmax(dtype="float32", name="frames")(layers.Dense(num_classes)(x))
    x = layers.GlobalAveragePooling1D(dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, x, name="embedding_mlp")


EMBEDDING_MLP: Final = Architecture(build, EmbeddingMlpOptions, smallest_input=(1, 1))
