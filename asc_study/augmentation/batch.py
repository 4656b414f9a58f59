"""Augmentations of a training batch: plain NumPy, in place where it can be.

Every one is a frozen model of its settings, whose call takes ``(features, one_hot, rng)`` and returns the pair that
training goes on with: features (batch, frequency, time, channel) float32, labels (batch, classes) float32, whose rows
sum to 1. The arrays that are passed in are used up. All random values of a batch are drawn from ``rng`` before the
first is applied. The work is done clip by clip, because a clip fits in the processor's cache and a batch does not.
"""

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from asc_study.errors import InputError
from asc_study.schema import Strict

FloatArray = npt.NDArray[np.float32]


class BatchAugmentation(Strict):
    """Base of the augmentations: strict settings and the call that applies them."""

    #: Clips that have to be passed in for each one that comes out.
    clips_per_sample: ClassVar[int] = 1

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Augment one batch; see the module for the contract."""
        raise NotImplementedError


class SpecAugment(BatchAugmentation):
    """One frequency mask and one time mask for each clip (section 3; Park et al. 2019).

    Widths are U{0..floor(ratio * size)}, positions uniform. With ``per_channel`` every channel has masks of its own, as
    in the authors' code. The defaults mask up to a tenth of each dimension, as the paper's text does.
    """

    frequency_mask_ratio: float = Field(0.1, ge=0, lt=1)
    time_mask_ratio: float = Field(0.1, ge=0, lt=1)
    per_channel: bool = True
    mask_value: float = Field(0.0, ge=-1000, le=1000)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Mask ``features`` in place."""
        clips, bands, frames, channels = features.shape
        shape = (clips, channels if self.per_channel else 1)
        low, high = _spans(rng, shape, bands, self.frequency_mask_ratio)
        start, stop = _spans(rng, shape, frames, self.time_mask_ratio)
        for clip, mask in np.ndindex(shape):
            masked = features[clip, :, :, mask] if self.per_channel else features[clip]
            masked[low[clip, mask] : high[clip, mask]] = self.mask_value
            masked[:, start[clip, mask] : stop[clip, mask]] = self.mask_value
        return features, one_hot


class ChannelConfusion(BatchAugmentation):
    """Swap the left and the right channel of a clip with a probability (section 3; Task 1b)."""

    probability: float = Field(0.5, ge=0, le=1)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Swap in place; channels are left, right pairs: static, delta, delta-delta.

        Raises
        ------
        InputError
            If the channels do not come in pairs.
        """
        clips, bands, frames, channels = features.shape
        if channels % 2:
            raise InputError(
                f"channel_confusion needs stereo clips, got {channels} feature channels: leave it out for mono clips"
            )
        for clip in np.flatnonzero(rng.random(clips) < self.probability):
            pairs = features[clip].reshape(bands, frames, channels // 2, 2)
            pairs[...] = pairs[..., ::-1].copy()
        return features, one_hot


class RandomCrop(BatchAugmentation):
    """Keep that many consecutive frames of each clip, from a uniform position (section 3: 400 of 423)."""

    frames: int = Field(400, ge=1)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Crop; the result is a view of ``features``.

        Raises
        ------
        InputError
            If the clips have fewer frames.
        """
        clips, _, available, channels = features.shape
        if self.frames > available:
            raise InputError(
                f"random_crop.frames must be at most the {available} frames of a clip, got {self.frames}: lower it"
            )
        starts = rng.integers(0, available - self.frames, clips, endpoint=True)
        features = np.ascontiguousarray(features)
        # Moving all values of a clip ahead puts the wanted frames first in every band. On one axis NumPy does it in one
        # pass; on three it would make a copy of the clip first, because source and target overlap.
        for values, skipped in zip(features.reshape(clips, -1), starts * channels, strict=True):
            values[: values.size - skipped] = values[skipped:]
        return features[:, :, : self.frames], one_hot


class Mixup(BatchAugmentation):
    """Mix two batches to one: lambda * first + (1 - lambda) * second, lambda ~ Beta(alpha, alpha) for each clip.

    Section 3; Zhang et al. 2018. The first half of the clips passed in is mixed with the second half.
    """

    clips_per_sample: ClassVar[int] = 2

    alpha: float = Field(0.4, gt=0)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Mix 2 B clips in place; the result is a view of the first B.

        Raises
        ------
        InputError
            If the number of clips is odd.
        """
        if len(features) % 2:
            raise InputError(f"mixup needs an even number of clips, got {len(features)}: pass two equal batches")
        half = len(features) // 2
        weight = rng.beta(self.alpha, self.alpha, half).astype(np.float32)
        for first, second, share in zip(features[:half], features[half:], weight, strict=True):
            first -= second
            first *= share
            first += second
        weight = weight[:, np.newaxis]
        return features[:half], weight * one_hot[:half] + (1 - weight) * one_hot[half:]


def _spans(
    rng: np.random.Generator, shape: tuple[int, ...], size: int, ratio: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw the first index, and the one after the last, of masks along an axis of that size."""
    widest = math.floor(ratio * size + 1e-9)  # 0.29 * 100 is 28.999...
    width = rng.integers(0, widest, shape, endpoint=True)
    start = rng.integers(0, size - width, endpoint=True)
    return start, start + width
