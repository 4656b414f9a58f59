"""Reading a SQLite store without MLflow gives what MLflow gives, or leaves it to MLflow."""

import importlib.metadata
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from asc_study.store.records import RunRecord
from asc_study.store.tables import FORMS, Tables, Unreadable, open_tables
from asc_study.store.tracking import Tracker


def through_mlflow(tracker: Tracker) -> Tracker:
    """The same store, read by MLflow alone."""
    other = Tracker(tracker.uri)
    other.tables = None
    return other


def comparable(records: list[RunRecord]) -> list[tuple[object, ...]]:
    """The records, NaN equal to itself."""
    return [(str(record), list(map(str, record.metrics.values()))) for record in records]


def fill(tracker: Tracker) -> list[str]:
    """Runs of two studies, one of them deleted; the ids of those of ``s``."""
    ids = []
    for number in range(4):
        tags = {"asc.kind": "train" if number % 2 else "study", "asc.signature": f"f{number % 3}", "it's": "a 'tag'"}
        ids.append(tracker.create_run("s", f"r{number}", tags, {"b": 1, "a": f"x{number}", "empty": ""}))
        values = {"test/acc_A": number / 3, "z": -math.inf, "y": math.nan, "device/acc_a": 0.5, "n": -1.0}
        tracker.log_metrics(ids[-1], values, 3)
        tracker.log_metrics(ids[-1], {"n": number}, 4)
    tracker.finish(ids[0])
    tracker.finish(ids[1], "FAILED", failure="the loss became nan")
    tracker.client.delete_run(ids[2])
    tracker.create_run("other", "r", {"asc.kind": "train"}, {})
    return ids


def test_the_form_of_the_installed_mlflow_is_known(tracker: Tracker) -> None:
    """With a new MLflow: look whether the other tests here hold, then add its line to `FORMS`."""
    installed = ".".join(importlib.metadata.version("mlflow").split(".")[:2])
    assert tracker.database is not None
    assert Tables(tracker.database).form() == FORMS[installed]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"kind": "train"},
        {"signature": "f0"},
        {"kind": "train", "signature": "f0"},
        {"status": "FAILED"},
        {"kind": "study", "status": "FINISHED"},
        {"kind": "none"},
    ],
)
def test_runs_are_those_of_mlflow_in_its_order(tracker: Tracker, asked: dict[str, str]) -> None:
    fill(tracker)
    found = tracker.runs("s", **asked)
    assert comparable(found) == comparable(through_mlflow(tracker).runs("s", **asked))
    assert len(found) == {0: 3}.get(len(asked), len(found))


def test_single_runs_and_experiments_are_those_of_mlflow(tracker: Tracker) -> None:
    ids, theirs = fill(tracker), through_mlflow(tracker)
    for run_id in [*ids, "0" * 32, "", "no id"]:
        ours = [record for record in [tracker.run(run_id)] if record]
        assert comparable(ours) == comparable([record for record in [theirs.run(run_id)] if record])
    assert [tracker.status(run_id) for run_id in ids] == [theirs.status(run_id) for run_id in ids]
    for name in ("s", "other", "S", "none"):
        assert tracker.find_experiment(name) == theirs.find_experiment(name)
    experiment_id = tracker.experiment_id("s")
    assert tracker.experiment_tags(experiment_id) == theirs.experiment_tags(experiment_id) != {}
    with tracker.artifacts(ids[0]) as folder:
        (folder / "note.txt").write_text("hello")
    assert tracker.artifact(ids[0], "note.txt") == theirs.artifact(ids[0], "note.txt")


def test_trainings_of_an_architecture_are_those_of_mlflow(tracker: Tracker) -> None:
    for study in ("s", "t", "deleted"):
        for name in ("fcnn", "resnet", "fcnn"):
            run_id = tracker.create_run(study, name, {"asc.kind": "train"}, {"architecture": name})
            tracker.log_metrics(run_id, {"cost/seconds": 1.0})
            tracker.finish(run_id)
    tracker.client.delete_experiment(tracker.experiment_id("deleted"))
    tracker.finish(tracker.create_run("s", "r", {"asc.kind": "ensemble"}, {"architecture": "fcnn"}))
    tracker.create_run("s", "r", {"asc.kind": "train"}, {"architecture": "fcnn"})
    for most in (2, 200):
        found = tracker.trained_before("fcnn", most=most)
        assert comparable(found) == comparable(through_mlflow(tracker).trained_before("fcnn", most=most))
        assert len(found) == min(most, 4)


def test_each_read_sees_what_was_written_last(tracker: Tracker) -> None:
    run_id = tracker.create_run("s", "r", {"asc.kind": "train"}, {})
    reader, writer = Tracker(tracker.uri), through_mlflow(tracker)
    for status in ("FAILED", "RUNNING", "FINISHED"):
        writer.client.update_run(run_id, status=status)
        assert reader.status(run_id) == status
    assert "client" not in vars(reader)


@pytest.mark.parametrize("variable", ["MLFLOW_ENABLE_WORKSPACES", "MLFLOW_WORKSPACE"])
def test_workspaces_are_left_to_mlflow(tracker: Tracker, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_tables(tracker.uri) is not None
    monkeypatch.setenv(variable, "true")
    assert open_tables(tracker.uri) is None


def test_what_has_another_form_is_left_to_mlflow(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_tables("sqlite:////nowhere/mlflow.db") is None
    assert open_tables("http://localhost:1") is None
    with monkeypatch.context() as patched:
        patched.setattr("importlib.metadata.version", lambda name: "99.1.2")
        assert open_tables(tracker.uri) is None
    with sqlite3.connect("other.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    assert open_tables(f"sqlite:///{Path('other.db').resolve()}") is None
    Path("damaged.db").write_bytes(b"no database " * 100)
    assert open_tables(f"sqlite:///{Path('damaged.db').resolve()}") is None


def test_what_sqlite_does_not_give_mlflow_is_asked_for(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = tracker.create_run("s", "r", {"asc.kind": "train"}, {})
    known = comparable(tracker.runs("s"))
    for name in ("experiment", "experiment_of", "runs", "run"):
        monkeypatch.setattr(Tables, name, Mock(side_effect=Unreadable("the disk")))
    assert comparable(tracker.runs("s")) == known
    assert tracker.status(run_id) == "RUNNING"
    assert tracker.run("0" * 32) is None
    assert tracker.experiment_tags(tracker.experiment_id("s"))


def test_what_a_run_has_is_not_written_again(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = tracker.create_run("s", "r", {"asc.row": "a"}, {})

    def log(text: str) -> None:
        with tracker.artifacts(run_id) as folder:
            (folder / "figures").mkdir()
            (folder / "figures" / "page.html").write_text(text)

    log("one")
    asked = [_counted(tracker, name, monkeypatch) for name in ("log_artifacts", "log_batch")]
    log("one")
    tracker.set_tags(run_id, {"asc.row": "a"})
    assert [mock.call_count for mock in asked] == [0, 0]
    log("two")
    tracker.set_tags(run_id, {"asc.row": "a", "asc.seed": "1"})
    assert [mock.call_count for mock in asked] == [1, 1]
    assert tracker.artifact(run_id, "figures/page.html").read_text() == "two"
    assert tracker.ends_with(run_id, "figures/page.html", "wo")
    assert not tracker.ends_with(run_id, "figures/page.html", "one")
    assert not tracker.ends_with(run_id, "figures/page.html", "longer than the file")
    assert not tracker.ends_with(run_id, "none.html", "o")


def _counted(tracker: Tracker, name: str, monkeypatch: pytest.MonkeyPatch) -> Mock:
    call: Callable[..., object] = getattr(tracker.client, name)
    counted = Mock(side_effect=call)
    monkeypatch.setattr(tracker.client, name, counted)
    return counted
