"""Augmentations of your own, one of batches and one of waveforms: copy this file, fill in yours, and check them.

    python own_augmentations.py

A study file beside it names them ``own_augmentations:Gain`` and ``own_augmentations:Roll`` (own_parts.yaml), and their
settings can be set, gridded and searched like those of the built-in ones. Announced by an installed package, they have
names like the built-in ones. In its pyproject.toml:

    [project.entry-points."asc_study.batch_augmentations"]
    my-gain = "own_augmentations:Gain"
    [project.entry-points."asc_study.waveform_augmentations"]
    my-roll = "own_augmentations:Roll"
"""

from typing import Any

import numpy as np
from pydantic import Field

from asc_study import BatchAugmentation, WaveformAugmentation


class Gain(BatchAugmentation):
    """Scale the features of each clip by U(1 - spread, 1 + spread)."""

    spread: float = Field(0.2, ge=0, lt=1)

    def __call__(
        self, features: np.ndarray, one_hot: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scale (clips, frequency, time, channel) in place; every draw is from `rng`."""
        features *= rng.uniform(1 - self.spread, 1 + self.spread, (len(features), 1, 1, 1)).astype(np.float32)
        return features, one_hot


class Roll(WaveformAugmentation):
    """A copy that begins later, at U(0, seconds), and ends with what was cut off; `seed` and `copies` are inherited."""

    seconds: float = Field(1.0, gt=0)

    def __call__(self, waveform: np.ndarray, sample_rate: int, rng: np.random.Generator, **_: Any) -> np.ndarray:
        """Return an array of its own, (samples, channels); the clip is not changed."""
        return np.roll(waveform, -rng.integers(1, max(2, round(self.seconds * sample_rate))), axis=0)


if __name__ == "__main__":
    from asc_study.testing import check_batch_augmentation, check_waveform_augmentation

    check_batch_augmentation(Gain())
    check_waveform_augmentation(Roll())
    print("Gain and Roll keep the contracts of augmentations")
