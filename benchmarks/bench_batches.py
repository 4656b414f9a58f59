"""Training batches in samples/s against a loop written from the description of the authors' generator.

Run with ``python benchmarks/bench_batches.py``. Clips are noise of the size of Task 1a: 128 bands, 431 frames, mono.
Both sides make batches of 32 from 64 clips: masks on every channel, a crop of 400 frames, mixup. Ours always load and
make deltas; a pipeline of built-in augmentations is one pass over memory, one with a part of someone's own goes step by
step. Ratios are to the authors' loop with the deltas of all clips in memory, to their loop with loading, and to our one
pass in one thread. Runs alternate, so that a busy machine slows all; figures are medians. The authors' generator holds
a lock, so threads do not speed it up.
Where the description leaves a choice the loop takes the faster one: it masks in place, mixes in float32 and reads no
files.
"""

import os
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from measured import keep

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from asc_study.augmentation import Pipeline, batch_augmentations, compose
from asc_study.augmentation.batch import BatchAugmentation
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


class Unchanged(BatchAugmentation):
    """An augmentation that is not built in, and costs nothing."""

    def __call__(self, features: Array, one_hot: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return what was passed."""
        return features, one_hot


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


def main() -> None:
    rng = np.random.default_rng(0)
    stored = rng.random((CLIPS, 128, 431, 1)).astype(np.float16)
    store = FeatureStore([stored], [(0, index) for index in range(CLIPS)])
    labels = np.eye(10, dtype=np.float32)[rng.integers(0, 10, CLIPS)]
    pipeline = compose(batch_augmentations(PIPELINE))
    ours, steps = (
        TrainingBatches(store, range(CLIPS), labels, batch_size=BATCH, augmentation=chosen)
        for chosen in (pipeline, Pipeline((*pipeline.steps[:-1], Unchanged(), pipeline.steps[-1])))
    )
    with_deltas_of_all = np.stack([with_deltas(clip) for clip in stored])
    static = stored.astype(np.float32)

    def chosen(step: int) -> npt.NDArray[np.int64]:
        return np.arange(2 * BATCH * step, 2 * BATCH * (step + 1)) % CLIPS

    def with_loading(step: int) -> object:
        return authors_batch(authors_load(static[chosen(step)]), labels, np.arange(2 * BATCH))

    def in_threads(pool: ThreadPoolExecutor, count: int) -> Make:
        return lambda step: list(pool.map(ours.__getitem__, [(step + more) % len(ours) for more in range(count)]))

    contenders: dict[str, tuple[Make, int]] = {
        "authors, deltas in memory": (lambda step: authors_batch(with_deltas_of_all, labels, chosen(step)), 1),
        "authors, loading and deltas": (with_loading, 1),
        "ours, step by step": (steps.__getitem__, 1),
        "ours, one pass": (ours.__getitem__, 1),
    }
    pools = {count: ThreadPoolExecutor(count) for count in (2, 4, 8, 16) if count <= (os.cpu_count() or 1)}
    for count, pool in pools.items():
        contenders[f"ours, one pass, {count} threads"] = in_threads(pool, 16 * count), 16 * count
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for make, _ in contenders.values():
        make(0)
    for repeat in range(ROUNDS):
        for name, (make, _) in contenders.items():
            start = time.perf_counter()
            make(repeat % len(ours))
            seconds[name].append(time.perf_counter() - start)
    rates = {name: count * BATCH / statistics.median(seconds[name]) for name, (_, count) in contenders.items()}
    authors = list(rates)[:2]
    print(f"{'training batches':<30}{'samples/s':>10}{'in memory':>12}{'loading':>10}{'one pass':>10}")
    for name, rate in rates.items():
        ratios = [rate / rates[other] for other in (*authors, "ours, one pass")]
        print(f"{name:<30}{rate:>10.0f}{ratios[0]:>11.1f}x{ratios[1]:>9.1f}x{ratios[2]:>9.2f}x")
    print(keep("batches", [(name, rate, "samples/s") for name, rate in rates.items()]))


if __name__ == "__main__":
    main()
