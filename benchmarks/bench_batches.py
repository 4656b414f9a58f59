"""Training batches in samples/s against a loop written from the description of the authors' generator.

Run with ``python benchmarks/bench_batches.py``. Clips are noise of the size of Task 1a: 128 bands, 431 frames, mono.
Both sides make batches of 32 from 64 clips: masks on every channel, a crop of 400 frames, mixup. Runs alternate, so
that a busy machine slows both; figures are medians. The authors' generator holds a lock, so threads do not speed it up.
"""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from asc_study.augmentation import compose
from asc_study.features.logmel import with_deltas
from asc_study.features.store import FeatureStore
from asc_study.training.batches import TrainingBatches

CLIPS, BATCH, CROP, ALPHA = 256, 32, 400, 0.4
PIPELINE = {"spec_augment": {}, "random_crop": {"frames": CROP}, "mixup": {"alpha": ALPHA}}
ROUNDS = 9

Array = npt.NDArray[np.float32]


def authors_deltas(static: Array) -> Array:
    shape = list(static.shape)
    shape[2] -= 4
    slopes = np.zeros(shape, static.dtype)
    for step in (1, 2):
        ahead = static[:, :, 2 + step : static.shape[2] - 2 + step]
        behind = static[:, :, 2 - step : static.shape[2] - 2 - step]
        slopes += step * (ahead - behind) / 10
    return slopes


def authors_load(static: Array) -> Array:
    first = authors_deltas(static)
    second = authors_deltas(first)
    return np.concatenate((static[:, :, 4:-4], first[:, :, 2:-2], second), axis=-1)


def authors_mask(spectrogram: Array, axis: int, ratio: float, rng: np.random.Generator) -> Array:
    masked = spectrogram.copy()
    size = masked.shape[axis]
    width = int(rng.integers(0, int(ratio * size) + 1))
    start = int(rng.integers(0, size - width + 1))
    if axis == 0:
        masked[start : start + width] = 0
    else:
        masked[:, start : start + width] = 0
    return masked


def authors_batch(
    clips: Array, labels: Array, chosen: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[Array, Array]:
    weight = rng.beta(ALPHA, ALPHA, BATCH).astype(np.float32)
    first, second = clips[chosen[:BATCH]], clips[chosen[BATCH:]]
    for half in (first, second):
        for index in range(BATCH):
            for channel in range(half.shape[3]):
                half[index, :, :, channel] = authors_mask(half[index, :, :, channel], 0, 0.1, rng)
                half[index, :, :, channel] = authors_mask(half[index, :, :, channel], 1, 0.1, rng)
            start = int(rng.integers(0, half.shape[2] - CROP))
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
    pipeline = compose(PIPELINE)
    batches = TrainingBatches(store, range(CLIPS), labels, batch_size=BATCH, augmentation=pipeline)
    static = stored[: 2 * BATCH].astype(np.float32)
    in_memory = np.stack([with_deltas(clip) for clip in stored[: 2 * BATCH]])
    order = np.arange(2 * BATCH)

    def only_augmentation() -> Array:
        """What `TrainingBatches` does, with the deltas made beforehand."""
        features = np.empty((BATCH, 128, CROP, 3), np.float32)
        for start in range(0, BATCH, 2):
            chosen = np.r_[start : start + 2, BATCH + start : BATCH + start + 2]
            features[start : start + 2], _ = pipeline(in_memory[chosen], labels[chosen], rng)
        return features

    def authors_with_loading() -> object:
        return authors_batch(authors_load(static.copy()), labels, order, rng)

    threads = ThreadPoolExecutor(2)
    contenders: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "masks, crop, mixup": (lambda: authors_batch(in_memory, labels, order, rng), only_augmentation),
        "with loading and deltas": (authors_with_loading, lambda: batches[0]),
        "the same, ours in two threads": (authors_with_loading, lambda: list(threads.map(batches.__getitem__, (0, 1)))),
    }
    print(f"{'training batches, samples/s':<30}{'authors':>10}{'ours':>10}{'ratio':>8}")
    for name, pair in contenders.items():
        seconds: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for side, make in enumerate(pair):
                start = time.perf_counter()
                make()
                seconds[side].append(time.perf_counter() - start)
        theirs, mine = (BATCH / statistics.median(times) for times in seconds)
        mine *= 2 if "two threads" in name else 1
        print(f"{name:<30}{theirs:>10.0f}{mine:>10.0f}{mine / theirs:>8.1f}")


if __name__ == "__main__":
    main()
