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
        weight = rng.beta(self.alpha, self.alpha, half).astype(np.float32)
        features = np.ascontiguousarray(features)
        compiled(_mix)(features.reshape(len(features), -1), weight)
        weight = weight[:, np.newaxis]
        return features[:half], weight * one_hot[:half] + (1 - weight) * one_hot[half:]


def _mix(clips: FloatArray, weight: FloatArray) -> None:
    """Mix clip i of the first half with clip i of the second half, in place."""
    half = len(weight)
    for clip in range(half):
        first, second, share = clips[clip], clips[half + clip], weight[clip]
        for index in range(first.size):
            first[index] = (first[index] - second[index]) * share + second[index]
