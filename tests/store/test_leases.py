"""Leases: of two processes that share nothing but the store one writes into a run, and each run is made once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asc_study.base.contract import Tag
from asc_study.store import claims, leases
from asc_study.store.claims import heard_of_lately, settle_abandoned, signs_of_life
from asc_study.store.leases import Lease, TakenOver
from asc_study.store.tracking import Tracker

TAGS = {Tag.STUDY: "s", Tag.KIND: "train", Tag.SIGNATURE: "f00"}


@contextmanager
def machine(name: str, folder: Path) -> Iterator[None]:
    """Another host with locks of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASC_STUDY_STATE", str(folder / name))
        patch.setattr("socket.gethostname", lambda: name)
        yield


def created(tracker: Tracker, name: str, folder: Path) -> tuple[Lease, str]:
    with machine(name, folder):
        lease = Lease(tracker)
        return lease, lease.create("s", "row", TAGS, {}, known=())


def test_a_lease_that_was_taken_writes_nothing_more(tracker: Tracker, tmp_path: Path) -> None:
    first, run_id = created(tracker, "here", tmp_path)
    first.require()
    first.write(tracker.log_metrics, run_id, {"a": 1.0})
    with machine("there", tmp_path):
        Lease(tracker).take(run_id, {})
    assert first.is_lost()
    with pytest.raises(TakenOver):
        first.write(tracker.log_metrics, run_id, {"a": 2.0})
    (record,) = tracker.runs("s")
    assert record.metrics == {"a": 1.0}
    assert record.tags[Tag.HOST] == "there"
    assert record.tags[Tag.OWNER].startswith("there ")


def test_name_and_sign_of_life_are_written_in_one_call(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is taken over is never RUNNING with the old sign: a third machine would end it."""
    run_id = tracker.create_run("s", "row", TAGS | {Tag.LOCKS: "gone", Tag.HEARTBEAT: f"{time.time() - 9999:.0f}"}, {})
    seen: list[bool] = []
    set_tags, update = tracker.client.log_batch, tracker.client.update_run

    def look() -> None:
        record = tracker.run(run_id)
        assert record
        seen.append(heard_of_lately(record) == (Tag.OWNER in record.tags))

    def told(*given: object, **named: object) -> None:
        set_tags(*given, **named)
        look()

    def updated(*given: object, **named: object) -> None:
        update(*given, **named)
        look()

    monkeypatch.setattr(tracker.client, "log_batch", told)
    monkeypatch.setattr(tracker.client, "update_run", updated)
    tracker.finish(run_id, "KILLED")
    Lease(tracker).take(run_id, {})
    assert seen == [True, True]


@pytest.mark.parametrize("older", ["here", "there"])
def test_of_two_that_create_a_run_at_once_one_keeps_it(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: str
) -> None:
    """Whichever clock is fast: both have created theirs before either looks."""
    both, runs = threading.Barrier(2), Tracker.runs
    met: set[int] = set()

    def looked(self: Tracker, *given: str, **named: str) -> object:
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            both.wait(timeout=30)
        return runs(self, *given, **named)

    monkeypatch.setattr(Tracker, "runs", looked)
    ids: dict[str, str] = {}

    def begin(name: str) -> None:
        own = Tracker(tracker.uri)
        create = own.client.create_run
        offset = 0 if name == older else 300_000
        own.client.create_run = lambda *given, **named: create(
            *given, start_time=int(time.time() * 1000) + offset, **named
        )
        ids[name] = Lease(own).create("s", "row", TAGS, {}, known=())

    threads = [threading.Thread(target=begin, args=(name,)) for name in ("here", "there")]
    tracker.identity("s")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    kept = [run_id for run_id in ids.values() if run_id]
    monkeypatch.setattr(Tracker, "runs", runs)
    assert kept == [ids[older]]
    assert [record.run_id for record in tracker.runs("s")] == kept


def test_who_comes_later_withdraws_though_its_clock_says_otherwise(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one was alone when it looked, and trains: it does not look again."""
    monkeypatch.setattr(leases, "_WITHDRAWAL_SECONDS", 1.0)
    create = tracker.client.create_run
    early = int(time.time() * 1000) - 300_000
    _, first = created(tracker, "here", tmp_path)
    monkeypatch.setattr(tracker.client, "create_run", lambda *g, **named: create(*g, start_time=early, **named))
    _, second = created(tracker, "there", tmp_path)
    assert (bool(first), second) == (True, "")
    assert [record.run_id for record in tracker.runs("s")] == [first]


def test_a_run_that_is_ended_by_mistake_is_running_again(tracker: Tracker, tmp_path: Path) -> None:
    lease, run_id = created(tracker, "here", tmp_path)
    tracker.finish(run_id, "KILLED")
    lease.require()
    assert tracker.status(run_id) == "RUNNING"


def test_signs_of_life_end_when_the_run_is_taken(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_HEARTBEAT_SECONDS", 0)
    lease, run_id = created(tracker, "here", tmp_path)
    with machine("there", tmp_path):
        Lease(tracker).take(run_id, {})
    tracker.set_tags(run_id, {Tag.HEARTBEAT: "5"})
    with signs_of_life(tracker, run_id, 0, lease.renew):
        time.sleep(2.5)
    record = tracker.run(run_id)
    assert record
    assert record.heartbeat == 5


def test_housekeeping_looks_again_before_it_ends_a_run_of_another_machine(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = tracker.create_run("s", "row", TAGS | {Tag.LOCKS: "gone", Tag.HEARTBEAT: f"{time.time() - 9999:.0f}"}, {})
    old = tracker.runs("s")
    with machine("there", tmp_path):
        Lease(tracker).take(run_id, {})
    monkeypatch.setattr(tracker, "runs", lambda study, **of: old)
    settle_abandoned(tracker, "s")
    assert tracker.status(run_id) == "RUNNING"
    tracker.set_tags(run_id, {Tag.HEARTBEAT: f"{time.time() - 9999:.0f}"})
    settle_abandoned(tracker, "s")
    assert tracker.status(run_id) == "KILLED"


def test_a_store_that_does_not_answer_takes_no_lease(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, _ = created(tracker, "here", tmp_path)

    def refuse(run_id: str) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(tracker.client, "get_run", refuse)
    lease.require()


def test_more_parameters_than_mlflow_takes_at_once(tracker: Tracker) -> None:
    run_id = tracker.create_run("s", "row", TAGS, {f"p{n}": n for n in range(250)})
    record = tracker.run(run_id)
    assert record
    assert len(record.params) == 250
