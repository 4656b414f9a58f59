"""A training batch in one pass over memory: read, deltas, masks, channel swap, crop and mixup, a band at a time.

Step by step, every augmentation passes over all clips of a batch again; here a band of a clip stays in the processor's
cache from its stored bits to the sample. The values are those of the steps to the last bit: the same random values are
drawn in the same order, and the arithmetic is the same. It serves pipelines of built-in augmentations; others go step
by step (`asc_study.training.batches`). A whole batch is drawn in one call and made in another, both without the
interpreter's lock, into memory that the system has given before, so that threads wait neither for the interpreter nor
for pages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.augmentation import Pipeline
from asc_study.augmentation.batch import BatchAugmentation, FloatArray
from asc_study.augmentation.batch.channel_confusion import ChannelConfusion, require_pairs
from asc_study.augmentation.batch.mixup import Mixup
from asc_study.augmentation.batch.random_crop import RandomCrop
from asc_study.augmentation.batch.spec_augment import SpecAugment
from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError
from asc_study.features.deltas import bits_of_floats
from asc_study.features.store import FeatureStore
from asc_study.training.reused_memory import ReusedMemory

#: The augmentations that one pass can do, in the only order in which it does them.
_ORDER: Final[tuple[type[BatchAugmentation], ...]] = (SpecAugment, ChannelConfusion, RandomCrop, Mixup)

IntArray = npt.NDArray[np.int64]


@dataclass
class Drawn:
    """The random values of a batch; clips are numbered (pass, sample).

    Attributes
    ----------
    masks
        First band, the one after the last, first frame, the one after the last: (4, passes, samples, columns), where a
        column is for a channel, or for all, and there is none without masks.
    swapped
        (passes, samples): 1 where left and right change places.
    starts
        (passes, samples): the first frame that is kept.
    shares
        (samples,): what the first clip counts, of 1.
    """

    masks: IntArray
    swapped: IntArray
    starts: IntArray
    shares: FloatArray


class FusedAugmentation:
    """The one pass for a pipeline and a store. Made by `fused`."""

    def __init__(self, pipeline: Pipeline, store: FeatureStore) -> None:
        steps = {type(step): step for step in pipeline.steps}
        self._masks: Any = steps.get(SpecAugment)
        self._swap: Any = steps.get(ChannelConfusion)
        self._crop: Any = steps.get(RandomCrop)
        self._mixup: Any = steps.get(Mixup)
        self._store = store
        self._values, self._begins = store.as_one_array()
        self._clip_shape = store.input_shape
        self._room = ReusedMemory()

    @property
    def masks_value(self) -> float | None:
        """What stands in masks; None without masks."""
        return float(np.float32(self._masks.mask_value)) if self._masks else None

    @property
    def swaps(self) -> bool:
        """Whether channels can change places."""
        return self._swap is not None

    @property
    def mixes(self) -> bool:
        """Whether a sample is made from two clips."""
        return self._mixup is not None

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Bands, frames and channels of a sample."""
        bands, frames, channels = self._clip_shape
        return bands, self._crop.frames if self._crop else frames, channels

    def __call__(
        self, clips: IntArray, one_hot: FloatArray, rng: np.random.Generator, at_a_time: int
    ) -> tuple[FloatArray, FloatArray]:
        """Make the samples of a batch.

        Parameters
        ----------
        clips
            (passes, samples): which clips of the store each sample is made from.
        one_hot
            (passes, samples, classes) labels of these clips.
        rng
            The batch's generator.
        at_a_time
            For how many samples values are drawn at once, as `Pipeline.samples_at_a_time` says.
        """
        drawn = self.draw(clips.shape, rng, at_a_time)
        out = self._room.take((clips.shape[1], *self.sample_shape))
        bits, *widening = bits_of_floats(self._values)
        value = np.float32(self._masks.mask_value if self._masks else 0)
        compiled(_fused_loop(self._store.shape[2]))(
            bits, self._begins[clips], self._store.shape[1], *widening, drawn.masks, value, drawn.swapped,
            drawn.starts, drawn.shares, out,
        )  # fmt: skip
        return out, self.labels(one_hot, drawn)

    def labels(self, one_hot: FloatArray, drawn: Drawn) -> FloatArray:
        """The labels of samples, (samples, classes), from those of their clips, (passes, samples, classes)."""
        first: FloatArray = one_hot[0]
        if self._mixup is None:
            return first
        mixed: FloatArray = self._mixup.mixed_labels(first, one_hot[1], drawn.shares)
        return mixed

    def draw(self, clips: tuple[int, ...], rng: np.random.Generator, at_a_time: int) -> Drawn:
        """Draw all random values of a batch of (passes, samples) clips; ``rng`` and ``at_a_time`` as for a call."""
        passes, samples = clips
        bands, frames, channels = self._clip_shape
        columns = 0 if self._masks is None else channels if self._masks.per_channel else 1
        widest = self._masks.widest(bands, frames) if self._masks else (0, 0)
        last_start = self._crop.last_start(frames) if self._crop else 0
        if self._swap:
            require_pairs(channels)
        drawn = Drawn(
            np.empty((4, passes, samples, columns), np.int64),
            np.zeros(clips, np.int64),
            np.zeros(clips, np.int64),
            np.empty(samples, np.float32),
        )
        compiled(_draw)(
            rng, at_a_time, (bands, frames), widest, self._swap.probability if self._swap else -1.0, last_start,
            self._mixup.alpha if self._mixup else 0.0, drawn.masks, drawn.swapped, drawn.starts, drawn.shares,
        )  # fmt: skip
        return drawn


def fused(pipeline: Pipeline, store: FeatureStore) -> FusedAugmentation | None:
    """The one pass for batches of a store; None if it is not `fusable`."""
    return FusedAugmentation(pipeline, store) if fusable(pipeline, deltas=store.deltas) else None


def fusable(pipeline: Pipeline, *, deltas: bool) -> bool:
    """Whether a pipeline has none but steps of the one pass, in its order, and networks are given deltas."""
    known = [_ORDER.index(type(step)) for step in pipeline.steps if type(step) in _ORDER]
    return deltas and len(known) == len(pipeline.steps) and known == sorted(set(known))


def require_fusable(pipeline: Pipeline, *, deltas: bool) -> None:
    """Raise `InputError` if a device cannot make the batches of a pipeline."""
    if not fusable(pipeline, deltas=deltas):
        got = ", ".join(type(step).__name__ for step in pipeline.steps) if deltas else "features without deltas"
        names = ", ".join(part.__name__ for part in _ORDER)
        raise InputError(
            f"training.batches: device makes batches of features with deltas and of {names}, got {got}: set "
            "training.batches to host"
        )


def _draw(
    rng: np.random.Generator,
    at_a_time: int,
    sizes: tuple[int, int],
    widest: tuple[int, int],
    swap: float,
    last_start: int,
    alpha: float,
    masks: IntArray,
    swapped: IntArray,
    starts: IntArray,
    shares: FloatArray,
) -> None:
    """Draw what the steps draw, in their order, for some samples after the others.

    A ``swap`` below 0 and an ``alpha`` of 0 say that there is no such step. NumPy's generator draws the same here, but
    for a number from 0 to 0, for which it takes nothing from the stream elsewhere.
    """
    _, passes, samples, columns = masks.shape
    for first in range(0, samples, at_a_time):
        last = min(first + at_a_time, samples)
        for axis in range(2):
            low, high = masks[2 * axis], masks[2 * axis + 1]
            for number in range(passes):
                for sample in range(first, last):
                    for column in range(columns):
                        width = rng.integers(0, widest[axis] + 1) if widest[axis] else 0
                        high[number, sample, column] = width
            for number in range(passes):
                for sample in range(first, last):
                    for column in range(columns):
                        room = sizes[axis] - high[number, sample, column]
                        begin = rng.integers(0, room + 1) if room else 0
                        low[number, sample, column] = begin
                        high[number, sample, column] += begin
        if swap >= 0:
            for number in range(passes):
                for sample in range(first, last):
                    swapped[number, sample] = rng.random() < swap
        if last_start:
            for number in range(passes):
                for sample in range(first, last):
                    starts[number, sample] = rng.integers(0, last_start + 1)
        if alpha:
            for sample in range(first, last):
                shares[sample] = rng.beta(alpha, alpha)


@lru_cache
def _fused_loop(channels: int) -> Callable[..., None]:
    """The loop that makes a sample: to the compiler, the number of channels is a constant."""
    features = 3 * channels

    def fill(
        stored: npt.NDArray[np.signedinteger[Any]],
        clips: IntArray,
        frames_of_clip: int,
        shift: int,
        mask: np.int32,
        scale: np.float32,
        masks: IntArray,
        value: np.float32,
        swapped: IntArray,
        starts: IntArray,
        shares: FloatArray,
        out: FloatArray,
    ) -> None:
        """Make the samples ``out`` (samples, bands, frames, features).

        The bits of a clip, (bands, frames of the clip, channels), begin in ``stored`` where ``clips`` says, (passes,
        samples).
        """
        samples, bands, frames, _ = out.shape
        passes = len(clips)
        columns = masks.shape[3]
        wide = np.empty(frames + 8, np.float32)
        wide_bits = wide.view(np.int32)
        slopes = np.empty(frames + 4, np.float32)  # ten times the deltas, as in `ten_slopes`
        rows = np.empty((2, features, frames), np.float32)
        for sample in range(samples):
            share = shares[sample]
            for band in range(bands):
                for number in range(passes):
                    skipped, swap = starts[number, sample], swapped[number, sample]
                    row_of_band = clips[number, sample] + channels * (frames_of_clip * band + skipped)
                    for channel in range(channels):
                        source = stored[row_of_band + channel :]
                        for t in range(frames + 8):
                            wide_bits[t] = (np.int32(source[channels * t]) << np.int32(shift)) & mask
                        for t in range(frames + 8):
                            wide[t] *= scale
                        for t in range(frames + 4):
                            far = wide[t + 4] - wide[t]
                            slopes[t] = far + far + wide[t + 3] - wide[t + 1]
                        static = rows[number, channel ^ swap]
                        delta = rows[number, (channels + channel) ^ swap]
                        accelerated = rows[number, (2 * channels + channel) ^ swap]
                        for t in range(frames):
                            far = slopes[t + 4] - slopes[t]
                            change = far + far + slopes[t + 3] - slopes[t + 1]
                            static[t] = wide[t + 4]
                            delta[t] = slopes[t + 2] * np.float32(0.1)
                            accelerated[t] = change * np.float32(0.01)
                        if columns:
                            for order in range(3):
                                feature = order * channels + channel
                                column = min(feature, columns - 1)
                                row = rows[number, feature ^ swap]
                                if masks[0, number, sample, column] <= band < masks[1, number, sample, column]:
                                    row[:] = value
                                else:
                                    begin = max(masks[2, number, sample, column] - skipped, 0)
                                    end = min(masks[3, number, sample, column] - skipped, frames)
                                    for t in range(begin, end):
                                        row[t] = value
                target = out[sample, band].reshape(-1)
                if passes == 1:
                    for t in range(frames):
                        for feature in range(features):
                            target[features * t + feature] = rows[0, feature, t]
                else:
                    for t in range(frames):
                        for feature in range(features):
                            one, other = rows[0, feature, t], rows[1, feature, t]
                            target[features * t + feature] = (one - other) * share + other

    return fill
