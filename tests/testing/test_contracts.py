"""The suites for own parts: what breaks a contract is found and named."""

import threading
from typing import Any, ClassVar

import numpy as np
import pytest

from asc_study import testing
from asc_study.augmentation.batch import BatchAugmentation
from asc_study.augmentation.waveform import Ingredients, WaveformAugmentation
from asc_study.base.errors import InputError
from asc_study.testing import check_batch_augmentation, check_waveform_augmentation, check_worker_backend
from asc_study.workers.pool import run_parallel


def test_the_suites_are_listed() -> None:
    assert testing.__all__ == sorted(testing._HOMES)
    with pytest.raises(ImportError, match="cannot import name 'check_everything'"):
        from asc_study.testing import check_everything  # noqa: F401


class Gain(BatchAugmentation):
    """One that keeps the contract."""

    def __call__(self, features, one_hot, rng):
        features *= rng.uniform(0.5, 1.5, (len(features), 1, 1, 1)).astype(np.float32)
        return features, one_hot


class WideType(Gain):
    def __call__(self, features, one_hot, rng):
        return features * rng.uniform(0.5, 1.5, (len(features), 1, 1, 1)), one_hot


class Fewer(Gain):
    def __call__(self, features, one_hot, rng):
        return features[: max(1, len(features) // 2)], one_hot[: max(1, len(features) // 2)]


class Transposed(Gain):
    def __call__(self, features, one_hot, rng):
        return np.ascontiguousarray(features.transpose(0, 2, 1, 3)), one_hot


class RaggedCrop(Gain):
    def __call__(self, features, one_hot, rng):
        return features[:, :, : -rng.integers(1, 9)], one_hot


class NotFinite(Gain):
    def __call__(self, features, one_hot, rng):
        features[0, 0, 0, 0] = np.nan
        return features, one_hot


class HeavyLabels(Gain):
    def __call__(self, features, one_hot, rng):
        return features, 2 * one_hot


class GlobalState(Gain):
    def __call__(self, features, one_hot, rng):
        features *= np.random.uniform(0.5, 1.5)  # noqa: NPY002
        return features.astype(np.float32), one_hot


class Forgetful(Gain):
    calls: ClassVar[list[int]] = []

    def __call__(self, features, one_hot, rng):
        self.calls.append(1)
        return features * np.float32(len(self.calls)), one_hot


class Fixed(Gain):
    def __call__(self, features, one_hot, rng):
        return features * np.float32(0.5), one_hot


class Overflowing(Gain):
    def __call__(self, features, one_hot, rng):
        if features.base is not None:
            features.base[...] = 0
        return super().__call__(features, one_hot, rng)


class InOrderOfMemory(Gain):
    def __call__(self, features, one_hot, rng):
        features, _ = super().__call__(features, one_hot, rng)
        return features * np.float32(features.strides[-1] == 4), one_hot


class Shared(Gain):
    place: ClassVar[dict[str, Any]] = {}

    def __call__(self, features, one_hot, rng):
        self.place["rng"] = rng
        threading.Event().wait(0.001)
        return super().__call__(features, one_hot, self.place["rng"])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (WideType, "features must be float32, got float64"),
        (Fewer, "one sample for each clips_per_sample .1. clips, got 1 features of 2"),
        (Transposed, r"bands and channels must stay, got \(24, 16, 6\)"),
        (RaggedCrop, "samples of all calls must have one shape"),
        (NotFinite, "features must be finite"),
        (HeavyLabels, "labels must be at least 0 and sum to 1"),
        (GlobalState, "must draw from the generator that is passed, not from numpy.random"),
        (Forgetful, "the same generator state must give the same result"),
        (Fixed, "another generator state must give another result: draw from `rng`, or check with draws=False"),
        (Overflowing, "nothing outside the arrays that are passed may be changed"),
        (InOrderOfMemory, "depend on values, not on their order in memory"),
        (Shared, "calls in several threads must not disturb each other"),
    ],
)
def test_what_breaks_the_contract_of_a_batch_augmentation_is_named(broken, message):
    check_batch_augmentation(Gain())
    with pytest.raises(AssertionError, match=message):
        check_batch_augmentation(broken())


def test_what_is_no_part_is_refused():
    with pytest.raises(AssertionError, match="must be an object of a subclass of BatchAugmentation"):
        check_batch_augmentation(Gain)
    with pytest.raises(AssertionError, match="must be an object of a subclass of WaveformAugmentation"):
        check_waveform_augmentation(Gain())

    class Local(Gain):
        pass

    with pytest.raises(AssertionError, match="must go to other processes, .*: define its class at the top level"):
        check_batch_augmentation(Local())


class Roll(WaveformAugmentation):
    """One that keeps the contract."""

    def __call__(self, waveform, sample_rate, rng, **_):
        return np.roll(waveform, rng.integers(1, 4000), axis=0)


class Shorter(Roll):
    def __call__(self, waveform, sample_rate, rng, **_):
        return waveform[1:].copy()


class InPlace(Roll):
    def __call__(self, waveform, sample_rate, rng, **_):
        waveform *= 0.5
        return waveform


class View(Roll):
    def __call__(self, waveform, sample_rate, rng, **_):
        return waveform[::-1]


class Unchanged(Roll):
    def __call__(self, waveform, sample_rate, rng, **_):
        return waveform.copy()


class Normalised(Roll):
    def __call__(self, waveform, sample_rate, rng, **_):
        with np.errstate(invalid="ignore"):
            return (waveform / np.abs(waveform).max()).astype(np.float32)


class EachChannel(Roll):
    def __call__(self, waveform, sample_rate, rng, **_):
        return np.stack([np.roll(one, rng.integers(1, 4000)) for one in waveform.T], axis=1)


class Nobody(Roll):
    def rows(self, sound):
        return np.arange(len(sound.clips) + 1)


class Itself(Roll):
    def partner(self, sound, row, rng):
        return row


class Clock(Roll):
    made: ClassVar[list[int]] = []

    def prepare(self, sound):
        self.made.append(1)
        return Ingredients(str(len(self.made)), None)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Shorter, "a copy must be as long as the clip"),
        (InPlace, "the clip must not be changed"),
        (View, "a copy must have memory of its own"),
        (Unchanged, "a copy must sound different"),
        (Normalised, "a copy of silence must be finite"),
        (EachChannel, "channels must share the draws: draw once for all, or check with channels_alike=False"),
        (Nobody, "`rows` must be positions of training clips"),
        (Itself, "a partner must be another training clip or None"),
        (Clock, "`prepare` must give the same digest"),
    ],
)
def test_what_breaks_the_contract_of_a_waveform_augmentation_is_named(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_waveform_augmentation(broken())


def test_an_augmentation_that_keeps_the_contract_passes():
    check_waveform_augmentation(Roll())
    check_waveform_augmentation(EachChannel(), channels_alike=False)


def all_at_once(function, calls, *, jobs):
    yield from list(run_parallel(function, calls, jobs=jobs))


def twice(function, calls, *, jobs):
    for result in run_parallel(function, calls, jobs=jobs):
        yield result
        yield result


def swallowing(function, calls, *, jobs):
    try:
        yield from run_parallel(function, calls, jobs=jobs)
    except InputError:
        return


def always_here(function, calls, *, jobs):
    return run_parallel(function, calls, jobs=min(jobs, 1))


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (twice, "each call must give its result once"),
        (swallowing, "the exception of a call must be raised"),
        (always_here, "several jobs must run in processes of their own"),
        (all_at_once, "a result must be given as soon as it is there"),
    ],
)
def test_what_breaks_the_contract_of_a_worker_backend_is_named(backend, message, monkeypatch):
    monkeypatch.setattr("asc_study.testing.worker_backends._PATIENCE_SECONDS", 1)
    with pytest.raises(AssertionError, match=message):
        check_worker_backend(backend)
