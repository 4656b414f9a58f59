"""What waits on this disk is delivered by who may: whole, once, to its own store."""

import json
from collections.abc import Callable, Iterator

import pytest

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.files import write_file
from asc_study.base.paths import checkpoints_dir, spool_dir
from asc_study.store.claims import run_lock, whereabouts
from asc_study.store.leases import Lease
from asc_study.store.spool import Head, Result, Spool, Step, spools
from asc_study.store.tracking import Tracker
from asc_study.study.sync import sync

Asc = Callable[..., tuple[int, str, str]]

SIGNATURE = "f00"
TAGS = {Tag.STUDY: "s", Tag.KIND: Kind.TRAIN, Tag.SIGNATURE: SIGNATURE}


@pytest.fixture
def waiting(tracker: Tracker) -> Spool:
    """A run whose process died after its training, while the store was away since the first epoch."""
    lease = Lease(tracker)
    spool = Spool(lease.create("s", "one seed 0", TAGS, {"a": 1}, known=()))
    spool.open(Head("s", "one seed 0", tracker.identity("s"), SIGNATURE, (lease.owner,)))
    for step in (1, 2, 3):
        spool.add(Step(step, 1000 * step, {"epoch/train_loss": 1 / step}))
    (checkpoints_dir() / f"{spool.run_id}.npz").touch()
    return spool


@pytest.fixture
def trained(waiting: Spool) -> Spool:
    """The same, with its result."""
    with waiting.writing_result() as made:
        write_file(made.artifacts / Artifact.TRAINING, "{}")
        made.model.mkdir()
        write_file(made.model / "MLmodel", "flavors: {}\n")
        write_file(made.model / "weights", b"w")
        data = {"name": "sim", "digest": "d" * 64, "clips": {"test": 3}, "source": "sim"}
        made.write(Result({"test/acc_avg": 0.5}, 9000, {"mlflow.note.content": "a note"}, data))
    return waiting


def require_delivered(tracker: Tracker, spool: Spool) -> None:
    run = tracker.client.get_run(spool.run_id)
    history = tracker.client.get_metric_history(spool.run_id, "epoch/train_loss")
    assert [(one.step, one.timestamp) for one in history] == [(1, 1000), (2, 2000), (3, 3000)]
    assert (run.info.status, run.info.end_time) == ("FINISHED", 9000)
    (value,) = tracker.client.get_metric_history(spool.run_id, "test/acc_avg")
    assert (value.value, value.timestamp) == (0.5, 9000)
    (output,) = run.outputs.model_outputs
    model = tracker.client.get_logged_model(output.model_id)
    assert (model.name, model.status, model.source_run_id) == ("model", "READY", spool.run_id)
    assert model.metrics[0].value == 0.5
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["sim (test)"]
    assert tracker.json_artifact(spool.run_id, Artifact.TRAINING) == {}
    assert run.data.tags["mlflow.note.content"] == "a note"
    assert spools() == []
    assert list(checkpoints_dir().iterdir()) == []


def test_a_result_is_delivered_whole(tracker: Tracker, trained: Spool, asc: Asc) -> None:
    code, out, _ = asc("sync", "--json")
    told = {"study": "s", "label": "one seed 0", "run_id": trained.run_id, "status": "delivered", "reason": ""}
    assert (code, json.loads(out)) == (0, {"runs": [told], "waiting_for_other_stores": 0})
    require_delivered(tracker, trained)
    assert asc("sync")[:2] == (0, "nothing waits for this store\n")


#: What is asked of the store when a result is delivered, in its order.
CALLS = ("log_steps", "log_datasets", "set_tags", "log_model", "log_metrics", "finish")


@pytest.mark.parametrize("heard", [False, True], ids=["refused", "not heard"])
def test_a_store_that_goes_away_anywhere_gets_the_rest_later(
    tracker: Tracker, trained: Spool, asc: Asc, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """Also if it has done what it was asked and its answer was lost."""
    monkeypatch.setenv("ASC_STUDY_PATIENCE", "0")
    for name in CALLS:
        call = getattr(Tracker, name)

        def fail(*given: object, call: Callable[..., object] = call, **named: object) -> None:
            if heard:
                call(*given, **named)
            raise ConnectionError("gone")

        with monkeypatch.context() as patched:
            patched.setattr(Tracker, name, fail)
            code, out, _ = asc("sync")
        if heard and name == "finish":
            break
        assert (code, out) == (1, "s, one seed 0: WAITS on this disk: ConnectionError: gone\n"), name
    assert asc("sync")[0] == 0
    require_delivered(tracker, trained)


def test_a_process_that_died_before_it_forgot_its_result(tracker: Tracker, trained: Spool, asc: Asc) -> None:
    tracker.finish(trained.run_id)
    assert "is delivered, the run is finished" in asc("sync")[1]
    assert (spools(), list(checkpoints_dir().iterdir())) == ([], [])


def test_epochs_alone_are_delivered_and_the_next_launch_goes_on(tracker: Tracker, waiting: Spool, asc: Asc) -> None:
    assert asc("sync")[:2] == (0, "s, one seed 0: the epochs that waited on this disk are delivered\n")
    assert tracker.status(waiting.run_id) == "KILLED"
    assert tracker.last_epoch(waiting.run_id) == 3
    assert len(list(checkpoints_dir().iterdir())) == 1
    assert spools() == []


def test_what_another_machine_took_over_is_dropped(
    tracker: Tracker, trained: Spool, asc: Asc, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        other.setattr("socket.gethostname", lambda: "there")
        Lease(tracker).take(trained.run_id, {})
    code, out, _ = asc("sync")
    said = "s, one seed 0: what waited on this disk is dropped: another process has taken the run over\n"
    assert (code, out, spools()) == (0, said, [])
    assert (tracker.status(trained.run_id), tracker.last_epoch(trained.run_id)) == ("RUNNING", 0)
    assert len(list(checkpoints_dir().iterdir())) == 1  # it may be shared


def test_what_waits_for_a_deleted_run_is_dropped(tracker: Tracker, trained: Spool, asc: Asc) -> None:
    tracker.client.delete_run(trained.run_id)
    assert "is dropped: the run was deleted" in asc("sync")[1]
    assert spools() == []


@pytest.fixture(params=["here", "there"])
def worker(request: pytest.FixtureRequest, tracker: Tracker, trained: Spool) -> Iterator[None]:
    """A process that works on the run: of this machine, or of another one that shares the cache."""
    if request.param == "here":
        with run_lock(tracker, "s", SIGNATURE):
            yield
    else:
        tracker.set_tags(trained.run_id, {**whereabouts(), Tag.LOCKS: "there"})
        yield


@pytest.mark.usefixtures("worker")
def test_a_run_that_is_worked_on_is_left_alone(tracker: Tracker, trained: Spool, asc: Asc) -> None:
    assert asc("sync")[:2] == (0, "s, one seed 0: a process works on it\n")
    assert len(spools()) == 1
    assert tracker.last_epoch(trained.run_id) == 0


def test_what_waits_goes_to_its_own_store_and_study(tracker: Tracker, trained: Spool, asc: Asc) -> None:
    """A store is known by what it calls itself: addresses have many spellings."""
    experiment, own = tracker.experiment_id("s"), tracker.identity("s")
    assert list(sync(tracker, "t")) == []
    tracker.client.set_experiment_tag(experiment, Tag.STORE, "1" * 32)
    assert asc("sync")[1].splitlines() == [
        "nothing waits for this store",
        "1 waits for another store, or cannot be read: call this again with MLFLOW_TRACKING_URI set to it, or see "
        f"{spool_dir()}",
    ]
    tracker.client.set_experiment_tag(experiment, Tag.STORE, own)
    assert asc("sync")[0] == 0
    require_delivered(tracker, trained)
