"""An architecture, a waveform augmentation and a batch augmentation of one's own, for own_parts.yaml."""

from typing import Any

import numpy as np
from pydantic import Field

from asc_study.augmentation.batch import BatchAugmentation, FloatArray
from asc_study.augmentation.waveform import Waveform, WaveformAugmentation
from asc_study.models import Architecture
from asc_study.models.options import ModelOptions


class Options(ModelOptions):
    """The options of the architecture: `width` and `batch_norm_momentum` are inherited."""

    dropout: float = Field(0.2, ge=0, lt=1)


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: Options) -> Any:
    """Map (batch, frequency, time, channel) to class probabilities."""
    import keras
    from keras import layers

    inputs = keras.Input(input_shape, name="features")
    x = inputs
    for filters in (16, 32):
        x = layers.Conv2D(options.filters(filters), 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=options.batch_norm_momentum)(x))
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(options.dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax", dtype="float32")(x), name="tiny")


TINY = Architecture(build, Options, smallest_input=(4, 4))


class Reverse(WaveformAugmentation):
    """Copies that run backwards."""

    def __call__(self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, **_: Any) -> Waveform:
        """Return (samples, channels)."""
        return np.ascontiguousarray(waveform[::-1])


class Gain(BatchAugmentation):
    """Scale the features of each clip by U(1 - spread, 1 + spread)."""

    spread: float = Field(0.2, ge=0, lt=1)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Scale (batch, frequency, time, channel) in place."""
        features *= rng.uniform(1 - self.spread, 1 + self.spread, (len(features), 1, 1, 1)).astype(np.float32)
        return features, one_hot
