"""Frequency jitter: the range of the mel bands is drawn anew for each clip."""

import numpy as np
from pydantic import Field

from asc_study.augmentation.batch import BatchAugmentation, FloatArray


class FrequencyJitter(BatchAugmentation):
    """Move the lowest band by U(-``low_bands``, ``low_bands``), the highest alike, and all others in proportion.

    Schmid et al. (DCASE 2023, after Koutini et al. 2022) draw the highest frequency of the mel bands within 500 Hz of
    15,500 Hz: 2.6 of 256 bands on the mel scale, on which the edges of bands are equally far apart. Stored features are
    interpolated between neighbouring bands; beyond the last band there is the last band.
    """

    low_bands: float = Field(0.0, ge=0)
    high_bands: float = Field(2.6, ge=0)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Interpolate in place."""
        bands = features.shape[1]
        for clip, (low, high) in zip(features, self.draw(len(features), rng), strict=True):
            place = np.clip(np.linspace(low, bands - 1 + high, bands), 0, bands - 1)
            below = np.minimum(place.astype(np.int64), max(bands - 2, 0))
            share = (place - below).astype(np.float32)[:, np.newaxis, np.newaxis]
            above = np.minimum(below + 1, bands - 1)
            clip[...] = clip[below] + share * (clip[above] - clip[below])
        return features, one_hot

    def draw(self, clips: int, rng: np.random.Generator) -> FloatArray:
        """By how many bands the lowest and the highest band of each clip move up: (clips, 2)."""
        most = np.array([self.low_bands, self.high_bands])
        return rng.uniform(-most, most, (clips, 2)).astype(np.float32)
