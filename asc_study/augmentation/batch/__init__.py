"""Augmentations of a training batch, in place where it can be.

Every one is a frozen model of its settings, whose call takes ``(features, one_hot, rng)`` and returns the pair that
training goes on with: features (batch, frequency, time, channel) float32, labels (batch, classes) float32, whose rows
sum to 1. The arrays that are passed in are used up. All random values of a batch are drawn from ``rng`` before the
first is applied. The loops over values are compiled at their first use and run without the interpreter's lock.

A call gets ``clips_per_sample`` clips for each of its samples: the first clip of every sample, then the second ones.
The caller says how many samples (`asc_study.augmentation.Pipeline.samples_at_a_time`): two, whose clips stay in the
processor's cache, one where a batch ends or shapes are tried. An augmentation that looks at a batch as a whole says so
by ``needs_whole_batch`` and gets all samples of the batch at once, as do those that are applied beside it.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asc_study.base.schema import Strict

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]


class BatchAugmentation(Strict):
    """Base of the augmentations: strict settings and the call that applies them."""

    #: Clips that have to be passed in for each one that comes out.
    clips_per_sample: ClassVar[int] = 1

    #: Whether a call has to get the whole batch, not the clips of a few samples: it mixes or compares across the batch.
    needs_whole_batch: ClassVar[bool] = False

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Augment the clips of some samples, or of a batch; see the module for the contract."""
        raise NotImplementedError
