"""Random crop: a stretch of each clip."""

import math

import numpy as np
from pydantic import Field

from asc_study.augmentation.batch import BatchAugmentation, FloatArray, IndexArray
from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError


class RandomCrop(BatchAugmentation):
    """Keep that many consecutive frames of each clip, from a uniform position (section 3: 400 of 423)."""

    frames: int = Field(400, ge=1)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Crop in place; the kept frames move to the front of the memory of ``features``, without gaps.

        Raises
        ------
        InputError
            If the clips have fewer frames.
        """
        clips, bands, available, channels = features.shape
        starts = self.draw(features.shape, rng)
        features = np.ascontiguousarray(features)
        shape = (clips, bands, self.frames, channels)
        if self.frames < available:
            compiled(_move_to_front)(features.reshape(clips, bands, -1), starts * channels, self.frames * channels)
        return features.reshape(-1)[: math.prod(shape)].reshape(shape), one_hot

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> IndexArray:
        """The first frame that is kept of each clip, for clips of a shape: (clips,)."""
        clips, _, available, _ = shape
        return rng.integers(0, self.last_start(available), clips, endpoint=True)

    def last_start(self, available: int) -> int:
        """The last frame that can be the first one kept, of clips of so many frames.

        Raises
        ------
        InputError
            If clips have fewer frames than are kept.
        """
        if self.frames > available:
            raise InputError(
                f"random_crop.frames must be at most the {available} frames of a clip, got {self.frames}: lower it"
            )
        return available - self.frames


def _move_to_front(rows: FloatArray, skipped: IndexArray, kept: int) -> None:
    """Move ``kept`` values of every row to the front of the memory; a clip's rows begin after its ``skipped``."""
    clips, bands, size = rows.shape
    values = rows.reshape(-1)
    for clip in range(clips):
        for band in range(bands):
            row = clip * bands + band
            target, source = row * kept, row * size + skipped[clip]
            if source >= target + kept:  # slices that do not overlap are copied many values at a time
                to, from_ = values[target : target + kept], values[source : source + kept]
                for index in range(kept):
                    to[index] = from_[index]
            else:
                for index in range(kept):
                    values[target + index] = values[source + index]
