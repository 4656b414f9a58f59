"""CutMix: a piece of one clip is put into another."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from asc_study.augmentation.batch import BatchAugmentation, FloatArray, IndexArray


class CutMix(BatchAugmentation):
    """Replace a piece of a clip by that of another one, and its label by their shares (Yun et al. 2019).

    The piece takes 1 - lambda of the clip, lambda ~ Beta(``alpha``, ``alpha``), around a uniform place; what lies
    outside of the clip is cut off, and labels are weighted by what is left. By default it is a stretch of time with all
    bands, for a scene goes on in time; with ``whole_bands: false`` it is a rectangle, as in pictures. That masks filled
    from another clip help to tell scenes apart is in Wang et al. 2021 (SpecAugment++). The first half of the clips
    passed in gets pieces of the second half.
    """

    clips_per_sample: ClassVar[int] = 2

    probability: float = Field(0.5, ge=0, le=1)
    alpha: float = Field(1.0, gt=0)
    whole_bands: bool = True

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Cut 2 B clips in place; the result is a view of the first B."""
        half = len(features) // 2
        bands, frames = features.shape[1:3]
        share = np.zeros((half, 1), np.float32)
        for clip, (low, high, start, stop) in enumerate(self.draw(features.shape, rng)):
            piece = np.s_[low:high, start:stop]
            features[clip][piece] = features[half + clip][piece]
            share[clip] = (high - low) * (stop - start) / (bands * frames)
        return features[:half], (1 - share) * one_hot[:half] + share * one_hot[half:]

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> IndexArray:
        """Each piece, for clips of a shape: first band and the one after the last, and frames alike: (clips / 2, 4)."""
        clips, bands, frames, _ = shape
        half = clips // 2
        is_cut = rng.random(half) < self.probability
        area = (1 - rng.beta(self.alpha, self.alpha, half)) * is_cut
        centre = rng.random((2, half))
        if self.whole_bands:
            low, high = np.zeros(half, np.int64), np.where(is_cut, bands, 0)
            start, stop = _span(centre[1], area, frames)
        else:
            (low, high), (start, stop) = (
                _span(place, np.sqrt(area), size) for place, size in zip(centre, (bands, frames), strict=True)
            )
        return np.stack([low, high, start, stop], axis=1)


def _span(centre: npt.NDArray[np.float64], share: npt.NDArray[np.float64], size: int) -> tuple[IndexArray, IndexArray]:
    """First index, and the one after the last, of pieces of an axis of that size, cut off at its ends."""
    first = np.round((centre - share / 2) * size).astype(np.int64)
    last = np.round((centre + share / 2) * size).astype(np.int64)
    return np.clip(first, 0, size), np.clip(last, 0, size)
