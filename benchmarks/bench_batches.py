"""Training batches in samples/s against a loop written from the description of the authors' generator.

Run with ``python benchmarks/bench_batches.py``. Clips are noise of the size of Task 1a: 128 bands, 431 frames, mono.
Both sides make batches of 32 from 64 clips: masks on every channel, a crop of 400 frames, mixup. Runs alternate, so
that a busy machine slows both; figures are medians. The authors' generator holds a lock, so threads do not speed it up.
Where the description leaves a choice the loop takes the faster one: it masks in place, mixes in float32 and reads no
files.
"""

import os
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from asc_study.augmentation import batch_augmentations, compose
from asc_study.features.deltas import with_deltas
from asc_study.features.store import FeatureStore
from asc_study.training.batches import TrainingBatches

CLIPS, BATCH, CROP, ALPHA = 256, 32, 400, 0.4
BANDS_MASKED, FRAMES_MASKED = 12, 39
MASKS = {"frequency_mask_bands": BANDS_MASKED, "time_mask_frames": FRAMES_MASKED}
PIPELINE = {"spec_augment": MASKS, "random_crop": {"frames": CROP}, "mixup": {"alpha": ALPHA}}
ROUNDS = 25

Array = npt.NDArray[np.float32]
Make = Callable[[int], object]


def authors_deltas(static: Array) -> Array:
    near = (static[:, :, 2:] - static[:, :, :-2]) / 10
    return near[:, :, 1:-1] + (static[:, :, 4:] - static[:, :, :-4]) / 5


def authors_load(static: Array) -> Array:
    first = authors_deltas(static)
    second = authors_deltas(first)
    return np.concatenate((static[:, :, 4:-4], first[:, :, 2:-2], second), axis=-1)


def authors_mask(spectrogram: Array, axis: int, widest: int) -> Array:
    width = random.randrange(widest + 1)
    start = random.randrange(spectrogram.shape[axis] - width)
    if axis == 0:
        spectrogram[start : start + width] = 0
    else:
        spectrogram[:, start : start + width] = 0
    return spectrogram


def authors_batch(clips: Array, labels: Array, chosen: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    weight = np.random.beta(ALPHA, ALPHA, BATCH).astype(np.float32)  # noqa: NPY002 - what a script of 2020 uses
    first, second = clips[chosen[:BATCH]], clips[chosen[BATCH:]]
    for half in (first, second):
        for index in range(BATCH):
            for channel in range(half.shape[3]):
                half[index, :, :, channel] = authors_mask(half[index, :, :, channel], 0, BANDS_MASKED)
                half[index, :, :, channel] = authors_mask(half[index, :, :, channel], 1, FRAMES_MASKED)
            start = random.randrange(half.shape[2] - CROP)
            half[index, :, :CROP] = half[index, :, start : start + CROP]
    first, second = first[:, :, :CROP], second[:, :, :CROP]
    scale = weight[:, np.newaxis]
    features = first * scale[..., np.newaxis, np.newaxis] + second * (1 - scale)[..., np.newaxis, np.newaxis]
    return features, labels[chosen[:BATCH]] * scale + labels[chosen[BATCH:]] * (1 - scale)


class FromMemory(TrainingBatches):
    """Our batches with the deltas of all clips made beforehand, as the authors' generator has them."""

    def __init__(self, clips: Array, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clips = clips

    def _load(self, positions: npt.NDArray[np.integer[Any]], out: Array) -> None:
        for position, clip in zip(positions, out, strict=True):
            clip[...] = self._clips[position]


def main() -> None:
    rng = np.random.default_rng(0)
    stored = rng.random((CLIPS, 128, 431, 1)).astype(np.float16)
    store = FeatureStore([stored], [(0, index) for index in range(CLIPS)])
    labels = np.eye(10, dtype=np.float32)[rng.integers(0, 10, CLIPS)]
    options = {"batch_size": BATCH, "augmentation": compose(batch_augmentations(PIPELINE))}
    batches = TrainingBatches(store, range(CLIPS), labels, **options)
    with_our_deltas = np.stack([with_deltas(clip) for clip in stored])
    from_memory = FromMemory(with_our_deltas, store, range(CLIPS), labels, **options)
    static = stored.astype(np.float32)

    def chosen(step: int) -> npt.NDArray[np.int64]:
        return np.arange(2 * BATCH * step, 2 * BATCH * (step + 1)) % CLIPS

    def authors_with_loading(step: int) -> object:
        return authors_batch(authors_load(static[chosen(step)]), labels, np.arange(2 * BATCH))

    threads = ThreadPoolExecutor(2)
    contenders: dict[str, tuple[Make, Make]] = {
        "masks, crop, mixup": (
            lambda step: authors_batch(with_our_deltas, labels, chosen(step)),
            from_memory.__getitem__,
        ),
        "with loading and deltas": (authors_with_loading, batches.__getitem__),
        "the same, ours in two threads": (
            authors_with_loading,
            lambda step: list(threads.map(batches.__getitem__, (step, (step + 1) % len(batches)))),
        ),
    }
    print(f"{'training batches, samples/s':<30}{'authors':>10}{'ours':>10}{'ratio':>8}")
    for name, pair in contenders.items():
        for make in pair:
            make(0)
        seconds: list[list[float]] = [[], []]
        for repeat in range(ROUNDS):
            for side, make in enumerate(pair):
                start = time.perf_counter()
                make(repeat % len(batches))
                seconds[side].append(time.perf_counter() - start)
        theirs, mine = (BATCH / statistics.median(times) for times in seconds)
        mine *= 2 if "two threads" in name else 1
        print(f"{name:<30}{theirs:>10.0f}{mine:>10.0f}{mine / theirs:>8.1f}")


if __name__ == "__main__":
    main()
