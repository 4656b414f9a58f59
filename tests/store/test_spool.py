"""The spool on the disk: whole after a kill, each epoch once."""

from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.base.paths import spool_dir
from asc_study.store.failures import patience_seconds
from asc_study.store.spool import Head, Result, Spool, Step, spools
from asc_study.store.tracking import Tracker

HEAD = Head("s", "one seed 0", "0" * 32, "f00", ("here 1 a",))


def test_a_spool_is_what_was_written(isolated: Path) -> None:
    spool = Spool("r1")
    assert (spools(), spool.head(), spool.result.read(), spool.steps) == ([], None, None, [])
    spool.open(HEAD)
    steps = [Step(1, 1000, {"epoch/train_loss": 0.1 + 0.2}), Step(2, 2000, {"epoch/train_loss": 1e-300})]
    for step in steps:
        spool.add(step)
    spool.add(Step(2, 3000, {"epoch/train_loss": 7.0}))  # trained again
    result = Result({"test/acc_all": 1 / 3}, 4000, {"note": "of it"}, {"name": "sim", "clips": {"test": 2}})
    with spool.writing_result() as made:
        (made.artifacts / "file").touch()
        made.write(result)
        assert spool.result.read() is None
    (again,) = spools()
    assert (again.run_id, again.head(), again.steps, again.result.read()) == ("r1", HEAD, steps, result)
    again.remove()
    assert spools() == []


def test_who_goes_on_with_it_is_added(isolated: Path) -> None:
    spool = Spool("r1")
    spool.open(HEAD)
    Spool("r1").open(Head("s", "one seed 0", "0" * 32, "f00", ("here 2 b",)))
    head = spool.head()
    assert head is not None
    assert head.owners == ("here 1 a", "here 2 b")


def test_a_line_that_was_cut_off_costs_its_epoch_alone(isolated: Path) -> None:
    spool = Spool("r1")
    spool.open(HEAD)
    spool.add(Step(1, 1000, {"a": 1.0}))
    file = spool_dir() / "r1" / "epochs.jsonl"
    file.write_bytes(file.read_bytes() + b'{"step": 2, "time')
    again = Spool("r1")
    again.add(Step(2, 2000, {"a": 2.0}))
    assert [step.step for step in Spool("r1").steps] == [1, 2]


def test_a_cache_that_is_tidied_up_costs_nothing_that_follows(isolated: Path) -> None:
    spool = Spool("r1")
    spool.open(HEAD)
    spool.add(Step(1, 1000, {"a": 1.0}))
    Spool("r1").remove()
    spool.add(Step(2, 2000, {"a": 2.0}))
    (again,) = spools()
    assert (again.head(), [step.step for step in again.steps]) == (HEAD, [2])


def test_a_damaged_spool_is_nobodys(isolated: Path) -> None:
    Spool("r1").open(HEAD)
    (spool_dir() / "r1" / "run.json").write_text('{"study": 3}')
    assert [spool.head() for spool in spools()] == [None]


def test_a_request_has_whole_steps(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that has one metric of an epoch has all of it: what it lacks is told by its epochs."""
    run_id, sent = tracker.create_run("s", "one", {}, {}), []
    monkeypatch.setattr(tracker.client, "log_batch", lambda run_id, metrics: sent.append([m.step for m in metrics]))
    tracker.log_steps(run_id, [Step(step, 1, {f"m{n}": 0.0 for n in range(300)}) for step in (1, 2, 3, 4)])
    assert [sorted(set(steps)) for steps in sent] == [[1, 2, 3], [4]]


@pytest.mark.parametrize("told", ["soon", "-1", "nan", "inf"])
def test_patience_is_a_number_of_seconds(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASC_STUDY_PATIENCE", told)
    with pytest.raises(InputError, match=f"ASC_STUDY_PATIENCE must be a number of seconds from 0, got '{told}'"):
        patience_seconds()
