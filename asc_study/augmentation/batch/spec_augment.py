"""SpecAugment: masks over bands and frames."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from asc_study.augmentation.batch import BatchAugmentation, FloatArray, IndexArray
from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError


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
        compiled(_mask)(features, *self.draw(features.shape, rng), np.float32(self.mask_value))
        return features, one_hot

    def draw(
        self, shape: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[IndexArray, IndexArray, IndexArray, IndexArray]:
        """The masks of clips of a shape: first band and the one after the last, first frame and the one after the last.

        Each is (clips, channels), or (clips, 1) where all channels share a mask.
        """
        clips, bands, frames, channels = shape
        masks = (clips, channels if self.per_channel else 1)
        widest_band, widest_span = self.widest(bands, frames)
        return *_spans(rng, masks, bands, widest_band), *_spans(rng, masks, frames, widest_span)

    def widest(self, bands: int, frames: int) -> tuple[int, int]:
        """The largest widths of a frequency mask and of a time mask, in bands and in frames.

        Raises
        ------
        InputError
            If a width is given that is larger than its axis.
        """
        return (
            _widest("frequency_mask_bands", self.frequency_mask_bands, self.frequency_mask_ratio, bands),
            _widest("time_mask_frames", self.time_mask_frames, self.time_mask_ratio, frames),
        )


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
