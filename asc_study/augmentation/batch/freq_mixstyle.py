"""Freq-MixStyle: each band gets something of the level and the contrast that it has in another clip."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from asc_study.augmentation.batch import BatchAugmentation, FloatArray, IndexArray
from asc_study.base.compiled import compiled

#: Added to a variance before its root.
_EPSILON = 1e-6


class FreqMixStyle(BatchAugmentation):
    """Mix mean and standard deviation of each band with those of another clip of the batch, in a share of the batches.

    Schmid et al., DCASE 2022 and 2023, after MixStyle (Zhou et al. 2021): x' = (x - mu) / sigma * s + m, where m and s
    are lambda times a clip's own mu and sigma over time, and 1 - lambda times those of a clip drawn without repetition;
    lambda ~ Beta(``alpha``, ``alpha``) for each clip; sigma is the root of the unbiased variance + 1e-6. A batch is
    mixed with ``probability``. Devices differ in these numbers, scenes less. Labels stay.

    Each channel has numbers of its own; the authors' features have one channel, without deltas.
    """

    needs_whole_batch: ClassVar[bool] = True

    probability: float = Field(0.4, ge=0, le=1)
    alpha: float = Field(0.3, gt=0)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Mix in place if the clips are contiguous."""
        is_mixed, weight, other = self.draw(len(features), rng)
        if is_mixed:
            features = np.ascontiguousarray(features)
            compiled(_mix_styles)(features, weight, other, _EPSILON)
        return features, one_hot

    def draw(self, clips: int, rng: np.random.Generator) -> tuple[bool, FloatArray, IndexArray]:
        """Whether the batch is mixed, what each clip's own numbers count, of 1, and with which clip it is mixed."""
        is_mixed = bool(rng.random() < self.probability)
        return is_mixed, rng.beta(self.alpha, self.alpha, clips).astype(np.float32), rng.permutation(clips)


def _mix_styles(clips: FloatArray, weight: FloatArray, other: IndexArray, epsilon: float) -> None:
    count, bands, frames, channels = clips.shape
    mean = np.zeros((count, bands, channels))
    deviation = np.zeros((count, bands, channels))
    for clip in range(count):
        for band in range(bands):
            values = clips[clip, band]
            for channel in range(channels):
                total = 0.0
                for t in range(frames):
                    total += values[t, channel]
                centre = total / frames
                squares = 0.0
                for t in range(frames):
                    squares += (values[t, channel] - centre) ** 2
                mean[clip, band, channel] = centre
                deviation[clip, band, channel] = np.sqrt(squares / max(frames - 1, 1) + epsilon)
    for clip in range(count):
        own, partner = weight[clip], other[clip]
        for band in range(bands):
            values = clips[clip, band]
            for channel in range(channels):
                centre, spread = mean[clip, band, channel], deviation[clip, band, channel]
                scale = (own * spread + (1 - own) * deviation[partner, band, channel]) / spread
                level = own * centre + (1 - own) * mean[partner, band, channel]
                for t in range(frames):
                    values[t, channel] = (values[t, channel] - centre) * scale + level
