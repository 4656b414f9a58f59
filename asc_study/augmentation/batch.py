"""Augmentations of a training batch, in place where it can be.

Every one is a frozen model of its settings, whose call takes ``(features, one_hot, rng)`` and returns the pair that
training goes on with: features (batch, frequency, time, channel) float32, labels (batch, classes) float32, whose rows
sum to 1. The arrays that are passed in are used up. All random values of a batch are drawn from ``rng`` before the
first is applied. The loops over values are compiled at their first use and run without the interpreter's lock.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError
from asc_study.base.schema import Strict

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]


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

    Widths are U{0..floor(ratio * size)}; ``frequency_mask_bands`` and ``time_mask_frames`` replace a ratio by a fixed
    largest width. Positions are uniform. With ``per_channel`` every channel has masks of its own, as in the authors'
    code. The defaults mask up to a tenth of each dimension, as the paper's text does; the authors' code has 12 bands
    and 39 frames.
    """

    frequency_mask_ratio: float | None = Field(0.1, ge=0, lt=1)
    time_mask_ratio: float | None = Field(0.1, ge=0, lt=1)
    frequency_mask_bands: int | None = Field(None, ge=0)
    time_mask_frames: int | None = Field(None, ge=0)
    per_channel: bool = True
    mask_value: float = Field(0.0, ge=-1000, le=1000)

    @model_validator(mode="before")
    @classmethod
    def _width_replaces_ratio(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping):
            return settings
        chosen = dict(settings)
        for ratio, width in (
            ("frequency_mask_ratio", "frequency_mask_bands"),
            ("time_mask_ratio", "time_mask_frames"),
        ):
            given = [chosen[name] for name in (ratio, width) if chosen.get(name) is not None]
            if len(given) == 2:
                raise ValueError(
                    f"spec_augment.{width} replaces spec_augment.{ratio}, got both, {given[1]} and {given[0]}: "
                    "leave one of them out"
                )
            if ratio in chosen and not given:
                raise ValueError(
                    f"spec_augment needs one of {ratio} and {width}, got neither: give a {ratio} of 0 to switch that "
                    "mask off"
                )
            if chosen.get(width) is not None:
                chosen[ratio] = None
        return chosen

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Mask ``features`` in place.

        Raises
        ------
        InputError
            If a width is given that is larger than its axis.
        """
        clips, bands, frames, channels = features.shape
        shape = (clips, channels if self.per_channel else 1)
        widest_band = _widest("frequency_mask_bands", self.frequency_mask_bands, self.frequency_mask_ratio, bands)
        widest_span = _widest("time_mask_frames", self.time_mask_frames, self.time_mask_ratio, frames)
        low, high = _spans(rng, shape, bands, widest_band)
        start, stop = _spans(rng, shape, frames, widest_span)
        compiled(_mask)(features, low, high, start, stop, np.float32(self.mask_value))
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
        """Crop in place; the kept frames move to the front of the memory of ``features``, without gaps.

        Raises
        ------
        InputError
            If the clips have fewer frames.
        """
        clips, bands, available, channels = features.shape
        if self.frames > available:
            raise InputError(
                f"random_crop.frames must be at most the {available} frames of a clip, got {self.frames}: lower it"
            )
        starts = rng.integers(0, available - self.frames, clips, endpoint=True)
        features = np.ascontiguousarray(features)
        shape = (clips, bands, self.frames, channels)
        if self.frames < available:
            compiled(_move_to_front)(features.reshape(clips, bands, -1), starts * channels, self.frames * channels)
        return features.reshape(-1)[: math.prod(shape)].reshape(shape), one_hot


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


def _widest(name: str, width: int | None, ratio: float | None, size: int) -> int:
    """Return the largest width of a mask along an axis of that size, from the setting that is given."""
    if width is None:
        return math.floor((ratio or 0.0) * size + 1e-9)  # 0.29 * 100 is 28.999...
    if width > size:
        axis = name.rpartition("_")[2]
        raise InputError(f"spec_augment.{name} must be at most the {size} {axis} of a clip, got {width}: lower it")
    return width


def _spans(rng: np.random.Generator, shape: tuple[int, ...], size: int, widest: int) -> tuple[IndexArray, IndexArray]:
    """Draw the first index, and the one after the last, of masks along an axis of that size."""
    width = rng.integers(0, widest, shape, endpoint=True)
    start = rng.integers(0, size - width, endpoint=True)
    return start, start + width


def _mask(
    features: FloatArray, low: IndexArray, high: IndexArray, start: IndexArray, stop: IndexArray, value: np.float32
) -> None:
    """Fill bands low..high and frames start..stop; a single column of those, (clips, 1), serves all channels."""
    clips, bands, _, channels = features.shape
    for clip in range(clips):
        for channel in range(channels):
            mask = min(channel, low.shape[1] - 1)
            for band in range(low[clip, mask], high[clip, mask]):
                features[clip, band, :, channel] = value
            for band in range(bands):
                features[clip, band, start[clip, mask] : stop[clip, mask], channel] = value


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


def _mix(clips: FloatArray, weight: FloatArray) -> None:
    """Mix clip i of the first half with clip i of the second half, in place."""
    half = len(weight)
    for clip in range(half):
        first, second, share = clips[clip], clips[half + clip], weight[clip]
        for index in range(first.size):
            first[index] = (first[index] - second[index]) * share + second[index]
