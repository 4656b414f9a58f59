"""An architecture that is traced in no time and still has all that a checkpoint keeps: statistics and dropout."""

from typing import TYPE_CHECKING

from asc_study.base.schema import Strict
from asc_study.models import Architecture

if TYPE_CHECKING:
    import keras


class TinyOptions(Strict):
    """There is nothing to set."""


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: TinyOptions) -> "keras.Model":
    import keras

    inputs = keras.Input(input_shape, name="features")
    x = keras.layers.Conv2D(8, 3, strides=(1, 2), padding="same", use_bias=False)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.Dropout(0.1)(x)
    x = keras.layers.Conv2D(num_classes, (input_shape[0], 1))(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Softmax(name="probabilities")(x), name="tiny")


TINY = Architecture(build, TinyOptions, (1, 1))
