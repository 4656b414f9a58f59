"""The contract of a batch augmentation, checked by calls like those of the batch loader."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from asc_study.augmentation import Pipeline
from asc_study.augmentation.batch import BatchAugmentation, FloatArray
from asc_study.testing.rules import check_part, require, same, without_global_draws

_BATCH, _CLASSES = 8, 5

#: What lies in memory around the arrays that are passed, and must stay there.
_AROUND: Final = 7.0

#: Tolerance of the sum of a float32 row.
_SUM: Final = 1e-5

Batch = tuple[FloatArray, FloatArray]


def check_batch_augmentation(
    augmentation: BatchAugmentation, *, shape: tuple[int, int, int] = (16, 24, 6), draws: bool = True
) -> None:
    """Check that a batch augmentation keeps its contract; takes no data and well below a second.

    Parameters
    ----------
    augmentation
        With the settings to check it with.
    shape
        Frequency bands, frames and channels of a clip; the channels are left and right of static, delta, delta-delta.
    draws
        Whether its result depends on the random generator.

    Raises
    ------
    AssertionError
        At the first rule that it breaks: the rule, what it has, what to do.
    """
    require(
        isinstance(augmentation, BatchAugmentation),
        f"a batch augmentation must be an object of a subclass of BatchAugmentation, got {augmentation!r:.80}",
    )
    check_part(augmentation)
    _check_form(augmentation, shape)
    samples = Pipeline((augmentation,)).samples_at_a_time(_BATCH)
    _check_draws(augmentation, shape, samples, draws)
    _check_memory(augmentation, shape, samples)
    _check_threads(augmentation, shape, samples)


def _clips(augmentation: BatchAugmentation, shape: tuple[int, int, int], samples: int) -> Batch:
    count, rng = samples * augmentation.clips_per_sample, np.random.default_rng(0)
    labels = np.eye(_CLASSES, dtype=np.float32)[rng.integers(0, _CLASSES, count)]
    return rng.random((count, *shape), np.float32), labels


def _result(augmentation: BatchAugmentation, shape: tuple[int, int, int], samples: int, seed: int) -> Batch:
    return augmentation(*_clips(augmentation, shape, samples), np.random.default_rng(seed))


def _check_form(augmentation: BatchAugmentation, shape: tuple[int, int, int]) -> None:
    shapes = set()
    for samples in sorted({1, Pipeline((augmentation,)).samples_at_a_time(_BATCH), 3, _BATCH}):
        given = samples * augmentation.clips_per_sample
        made = _result(augmentation, shape, samples, seed=samples)
        require(isinstance(made, tuple) and len(made) == 2, f"a call must return (features, one_hot), got {made!r:.80}")
        features, one_hot = made
        for name, array in (("features", features), ("one_hot", one_hot)):
            require(
                isinstance(array, np.ndarray) and array.dtype == np.float32,
                f"{name} must be float32, got {getattr(array, 'dtype', type(array))}: use float32 draws",
            )
            require(
                len(array) == samples,
                f"a call must give one sample for each clips_per_sample ({augmentation.clips_per_sample}) clips, got "
                f"{len(array)} {name} of {given} clips",
            )
        require(
            features.ndim == 4 and (features.shape[1], features.shape[3]) == (shape[0], shape[2]),
            f"bands and channels must stay, got {features.shape[1:]} from {shape}",
        )
        require(
            1 <= features.shape[2] <= shape[1],
            f"frames must become no more, and not all be cut off, got {features.shape[2]} from {shape[1]}",
        )
        require(bool(np.isfinite(features).all()), "features must be finite")
        require(one_hot.shape[1:] == (_CLASSES,), f"labels must keep their classes, got {one_hot.shape[1:]}")
        require(
            bool((one_hot >= 0).all()) and bool(np.allclose(one_hot.sum(axis=1), 1, atol=_SUM)),
            f"labels must be at least 0 and sum to 1, got {one_hot[0].tolist()}: weigh them like the clips",
        )
        shapes.add(features.shape[1:])
    require(len(shapes) == 1, f"samples of all calls must have one shape, got {sorted(shapes)}")


def _check_draws(augmentation: BatchAugmentation, shape: tuple[int, int, int], samples: int, draws: bool) -> None:
    with without_global_draws("a batch augmentation"):
        first = _result(augmentation, shape, samples, seed=2)
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    require(
        _all_same(first, _result(augmentation, shape, samples, seed=2)),
        "the same generator state must give the same result: draw from `rng` alone, keep nothing between calls",
    )
    others = [_result(augmentation, shape, samples, seed=seed) for seed in range(3, 11)]
    varies = not all(_all_same(first, other) for other in others)
    require(
        varies == draws,
        "another generator state must give another result: draw from `rng`, or check with draws=False"
        if draws
        else "without draws another generator state must give the same result: check with draws=True",
    )


def _check_memory(augmentation: BatchAugmentation, shape: tuple[int, int, int], samples: int) -> None:
    features, one_hot = _clips(augmentation, shape, samples)
    expected, _ = augmentation(features.copy(), one_hot.copy(), np.random.default_rng(5))
    # As in the loader: the clips lie in the memory of the batch, other samples before them.
    around = np.full((len(features) + 2, *shape), _AROUND, np.float32)
    labels_around = np.full((len(features) + 2, _CLASSES), _AROUND, np.float32)
    around[1:-1], labels_around[1:-1] = features, one_hot
    augmentation(around[1:-1], labels_around[1:-1], np.random.default_rng(5))
    for edge in (around[0], around[-1], labels_around[0], labels_around[-1]):
        require(bool((edge == _AROUND).all()), "nothing outside the arrays that are passed may be changed")
    planar = np.ascontiguousarray(features.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    result, _ = augmentation(planar, one_hot.copy(), np.random.default_rng(5))
    require(same(result, expected), "the result must depend on values, not on their order in memory")


def _check_threads(augmentation: BatchAugmentation, shape: tuple[int, int, int], samples: int) -> None:
    expected = _result(augmentation, shape, samples, seed=6)
    with ThreadPoolExecutor(4) as threads:
        results = threads.map(lambda _: _result(augmentation, shape, samples, seed=6), range(40))
        undisturbed = all(_all_same(expected, result) for result in results)
    require(undisturbed, "calls in several threads must not disturb each other: keep nothing between calls")


def _all_same(first: Sequence[FloatArray], second: Sequence[FloatArray]) -> bool:
    return all(same(one, other) for one, other in zip(first, second, strict=True))
