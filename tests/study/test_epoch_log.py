"""The epochs of a run: each once in the store, whatever that does meanwhile, and nobody waits for it."""

import threading
import time
from collections.abc import Callable

import pytest

from asc_study.store.leases import TakenOver
from asc_study.store.spool import Head, Spool
from asc_study.store.tracking import Tracker
from asc_study.study import epoch_log
from asc_study.study.epoch_log import EpochLog

HEAD = Head("s", "one seed 0", "0" * 32, "f00")


@pytest.fixture
def begin(tracker: Tracker) -> Callable[[], Spool]:
    def opened() -> Spool:
        spool = Spool(tracker.create_run("s", "one", {}, {}))
        spool.open(HEAD)
        return spool

    return opened


def steps_of(tracker: Tracker, spool: Spool) -> list[tuple[int, float]]:
    history = tracker.client.get_metric_history(spool.run_id, "epoch/train_loss")
    return [(one.step, one.value) for one in history]


def test_an_epoch_is_in_the_store_before_its_checkpoint(tracker: Tracker, begin: Callable[[], Spool]) -> None:
    spool = begin()
    with EpochLog(tracker, spool) as epochs:
        for epoch in range(2):
            epochs.add(epoch, {"train_loss": float(epoch)})
            assert steps_of(tracker, spool)[-1] == (epoch + 1, epoch)


def test_epochs_that_are_trained_again_elsewhere_are_there_once(
    tracker: Tracker, begin: Callable[[], Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without the checkpoint, or with one that is ahead of the store, has a spool of its own."""
    spool = begin()
    with EpochLog(tracker, spool) as epochs:
        for epoch in range(3):
            epochs.add(epoch, {"train_loss": 1.0})
    spool.remove()
    spool.open(HEAD)
    with EpochLog(tracker, spool) as epochs:
        epochs.begin([{"train_loss": 2.0}] * 2)
        for epoch in range(2, 5):
            epochs.add(epoch, {"train_loss": 2.0})
    assert steps_of(tracker, spool) == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0)]


def test_an_answer_that_is_lost_on_its_way_makes_no_epoch_twice(
    tracker: Tracker, begin: Callable[[], Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, log_batch, lost = begin(), tracker.client.log_batch, [True, True]

    def unheard(*given: object, **named: object) -> None:
        log_batch(*given, **named)
        if lost:
            lost.pop()
            raise ConnectionError("reset by peer")

    monkeypatch.setattr(epoch_log, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(tracker.client, "log_batch", unheard)
    with EpochLog(tracker, spool) as epochs:
        for epoch in range(4):
            epochs.add(epoch, {"train_loss": 1.0})
            time.sleep(0.2)
    assert [step for step, _ in steps_of(tracker, spool)] == [1, 2, 3, 4]
    tracker.log_steps(spool.run_id, spool.steps)
    assert [step for step, _ in steps_of(tracker, spool)] == [1, 2, 3, 4]


def test_a_store_that_hangs_is_said_and_training_goes_on(
    tracker: Tracker, begin: Callable[[], Spool], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is refused: a request has no answer for minutes."""
    hangs, answers = threading.Event(), threading.Event()

    def look() -> bool:
        if hangs.is_set():
            answers.wait(60)
        return True

    monkeypatch.setattr(epoch_log, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(epoch_log, "_SILENCE_SECONDS", 0.3)
    spool = begin()
    with EpochLog(tracker, spool, is_ours=look) as epochs:
        epochs.add(0, {"train_loss": 1.0})
        hangs.set()
        began = time.monotonic()
        for epoch in range(1, 4):
            epochs.add(epoch, {"train_loss": 1.0})
        assert time.monotonic() - began < 5
        said = capfd.readouterr().err
        assert said.count("does not answer (no answer for 0 s): training goes on, its metrics wait on this disk") == 1
        answers.set()
        deadline = time.monotonic() + 20
        while len(steps_of(tracker, spool)) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert capfd.readouterr().err.count("answers again: what waited is delivered") == 1
    assert [step for step, _ in steps_of(tracker, spool)] == [1, 2, 3, 4]


def test_said_within_half_a_minute() -> None:
    """A refusal is found by the next look, a store that hangs by its silence; an epoch may last for hours."""
    assert epoch_log._LOOK_SECONDS + epoch_log._SILENCE_SECONDS < 30


def test_a_run_that_is_taken_over_delivers_nothing_more(tracker: Tracker, begin: Callable[[], Spool]) -> None:
    spool = begin()
    with EpochLog(tracker, spool, is_ours=lambda: False) as epochs, pytest.raises(TakenOver):
        epochs.add(0, {"train_loss": 1.0})
    assert steps_of(tracker, spool) == []
