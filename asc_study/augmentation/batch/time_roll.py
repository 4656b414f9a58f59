"""Time roll: clips begin elsewhere."""

import numpy as np
from pydantic import Field

from asc_study.augmentation.batch import BatchAugmentation, FloatArray, IndexArray


class TimeRoll(BatchAugmentation):
    """Shift each clip by U{-``frames``..``frames``} frames; what falls off at one end comes back at the other.

    Of the systems of DCASE 2023 to 2025 (Schmid et al.), who roll the waveform: by up to 4,000 samples at 32 kHz, which
    are 8 frames of 500, or by 0.1 s.
    """

    frames: int = Field(8, ge=1)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Roll in place."""
        for clip, shift in zip(features, self.draw(len(features), rng), strict=True):
            clip[...] = np.roll(clip, shift, axis=1)
        return features, one_hot

    def draw(self, clips: int, rng: np.random.Generator) -> IndexArray:
        """By how many frames each clip is shifted to the right: (clips,)."""
        return rng.integers(-self.frames, self.frames, clips, endpoint=True)
