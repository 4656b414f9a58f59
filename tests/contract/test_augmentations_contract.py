"""What every registered batch augmentation has to hold."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from asc_study.augmentation import AUGMENTATIONS, batch_augmentations, compose

CLIPS, BANDS, FRAMES, CHANNELS, CLASSES = 8, 16, 24, 6, 5

#: Settings for those whose defaults do not fit clips as short as the ones here.
SETTINGS = {"random_crop": {"frames": 20}}


def batch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, CLIPS)]
    return rng.random((CLIPS, BANDS, FRAMES, CHANNELS), np.float32), labels


@pytest.fixture(params=AUGMENTATIONS)
def augment(request: pytest.FixtureRequest):
    return compose(batch_augmentations({request.param: SETTINGS.get(request.param, {})})).steps[0]


def test_shapes_and_types(augment) -> None:
    features, labels = augment(*batch(), np.random.default_rng(0))
    assert features.dtype == labels.dtype == np.float32
    assert len(features) == len(labels) == CLIPS // augment.clips_per_sample
    assert features.shape[1] == BANDS
    assert 1 <= features.shape[2] <= FRAMES
    assert features.shape[3] == CHANNELS
    assert np.isfinite(features).all()


def test_labels_still_sum_to_one(augment) -> None:
    _, labels = augment(*batch(), np.random.default_rng(1))
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    assert (labels >= 0).all()


def test_the_same_generator_state_gives_the_same_result(augment) -> None:
    first = augment(*batch(), np.random.default_rng(2))
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    second = augment(*batch(), np.random.default_rng(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_generator_state_gives_another_result(augment) -> None:
    results = [augment(*batch(), np.random.default_rng(seed))[0] for seed in range(4)]
    assert any(not np.array_equal(results[0], other) for other in results[1:])


def test_global_random_state_is_neither_used_nor_changed(augment) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    augment(*batch(), np.random.default_rng(3))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_nothing_outside_the_passed_arrays_is_changed(augment) -> None:
    features, labels = batch()
    around = np.full((CLIPS + 2, BANDS, FRAMES, CHANNELS), 7, np.float32)
    around[1:-1] = features
    labels_around = np.full((CLIPS + 2, CLASSES), 7, np.float32)
    labels_around[1:-1] = labels
    augment(around[1:-1], labels_around[1:-1], np.random.default_rng(4))
    for edge in (around[0], around[-1], labels_around[0], labels_around[-1]):
        assert (edge == 7).all()


def test_the_result_depends_on_values_not_on_memory_order(augment) -> None:
    features, labels = batch()
    expected, _ = augment(features.copy(), labels, np.random.default_rng(5))
    planar = np.ascontiguousarray(features.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    result, _ = augment(planar, labels, np.random.default_rng(5))
    np.testing.assert_array_equal(result, expected)


def test_threads_do_not_disturb_each_other(augment) -> None:
    expected, _ = augment(*batch(), np.random.default_rng(6))
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: augment(*batch(), np.random.default_rng(6))[0], range(40)))
    for result in results:
        np.testing.assert_array_equal(result, expected)
