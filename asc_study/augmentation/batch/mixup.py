"""Mixup: two batches become one."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from asc_study.augmentation.batch import BatchAugmentation, FloatArray
from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError


class Mixup(BatchAugmentation):
    """Mix two batches to one: lambda * first + (1 - lambda) * second, lambda ~ Beta(alpha, alpha) for each clip.

    Section 3; Zhang et al. 2018. The first half of the clips passed in is mixed with the second half.
    """

    clips_per_sample: ClassVar[int] = 2

    alpha: float = Field(0.4, gt=0)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Mix 2 B clips in place; the result is a view of the first B, without a copy if they are contiguous.

        Raises
        ------
        InputError
            If the number of clips is odd.
        """
        if len(features) % 2:
            raise InputError(f"mixup needs an even number of clips, got {len(features)}: pass two equal batches")
        half = len(features) // 2
        weight = self.draw(features.shape, rng)
        features = np.ascontiguousarray(features)
        compiled(_mix)(features.reshape(len(features), -1), weight)
        return features[:half], self.mixed_labels(one_hot[:half], one_hot[half:], weight)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
        """What the first clip of each pair counts, of 1, for clips of a shape: (clips / 2,)."""
        return rng.beta(self.alpha, self.alpha, shape[0] // 2).astype(np.float32)

    def mixed_labels(self, first: FloatArray, second: FloatArray, weight: FloatArray) -> FloatArray:
        """The labels of mixed clips."""
        weight = weight[:, np.newaxis]
        return weight * first + (1 - weight) * second


def _mix(clips: FloatArray, weight: FloatArray) -> None:
    """Mix clip i of the first half with clip i of the second half, in place."""
    half = len(weight)
    for clip in range(half):
        first, second, share = clips[clip], clips[half + clip], weight[clip]
        for index in range(first.size):
            first[index] = (first[index] - second[index]) * share + second[index]
