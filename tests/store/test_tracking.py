import json
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE

from asc_study.base.contract import predictions_path
from asc_study.base.errors import InputError
from asc_study.search.storage import open_storage, storage_url
from asc_study.store.addresses import tracking_uri
from asc_study.store.queries import Reader
from asc_study.store.stale import stale_reasons
from asc_study.store.tracking import Tracker


def test_default_store_is_beside_the_work_and_wal(isolated: Path):
    tracker = Tracker()
    assert tracker.uri == tracking_uri() == f"sqlite:///{isolated}/mlflow.db"
    with sqlite3.connect(isolated / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_environment_variable_wins(isolated: Path, monkeypatch: pytest.MonkeyPatch):
    (isolated / "elsewhere").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{isolated}/elsewhere/x.db")
    tracker = Tracker()
    run_id = tracker.create_run("s", "r", {"asc.kind": "train"}, {})
    with tracker.artifacts(run_id) as folder:
        (folder / "note.txt").write_text("hello")
    assert not (isolated / "mlflow.db").exists()
    assert [path.name for path in (isolated / "elsewhere" / "mlruns").rglob("*.txt")] == ["note.txt"]
    assert tracker.artifact(run_id, "note.txt").read_text() == "hello"


def test_run_round_trip(tracker: Tracker):
    run_id = tracker.create_run("s", "r", {"asc.kind": "train", "asc.signature": "f00"}, {"a.b": 1, "c": [1, 2]})
    tracker.log_metrics(run_id, {"test/acc_s1-s3": 0.5, "test/gap_A_to_unseen": 0.25}, 3)
    (record,) = tracker.runs("s", kind="train")
    assert (record.status, record.signature, record.identity) == ("RUNNING", "f00", "f00")
    assert record.params == {"a.b": "1", "c": "[1, 2]"}
    assert record.metrics == {"test/acc_s1-s3": 0.5, "test/gap_A_to_unseen": 0.25}
    tracker.finish(run_id, "FAILED", failure="the loss became nan")
    (record,) = tracker.runs("s")
    assert (record.status, record.failure) == ("FAILED", "the loss became nan")
    tracker.reopen(run_id)
    assert tracker.runs("s")[0].status == "RUNNING"
    assert tracker.runs("s", kind="study") == []


def test_runs_are_asked_for_by_what_tells_them(tracker: Tracker):
    for name in ("f00", "f01"):
        for kind in ("train", "quantised"):
            run_id = tracker.create_run("s", name, {"asc.kind": kind, "asc.signature": name}, {})
    tracker.finish(run_id)
    tracker.tables = None  # as of a server
    asked = []
    search = tracker.client.search_runs
    tracker.client.search_runs = lambda *a, **given: asked.append(found := search(*a, **given)) or found
    assert [record.signature for record in tracker.runs("s", kind="train", signature="f01")] == ["f01"]
    assert [record.run_id for record in tracker.runs("s", status="FINISHED")] == [run_id]
    assert tracker.runs("s", signature="f00", status="FINISHED") == []
    assert [len(page) for page in asked] == [1, 1, 0]


def test_unknown_study_has_no_runs_and_creates_nothing(tracker: Tracker):
    assert tracker.runs("nothing") == []
    assert tracker.client.get_experiment_by_name("nothing") is None


def test_many_runs_are_read_in_pages(tracker: Tracker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("asc_study.store.queries._PAGE", 2)
    tracker.tables = None  # as of a server
    for i in range(3):
        tracker.create_run("s", f"r{i}", {"asc.kind": "train"}, {})
    assert len(tracker.runs("s")) == 3


def test_mlflow_project_run_is_not_adopted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    tracker = Tracker()
    assert tracker.create_run("s", "r", {}, {}) != "0" * 32


def test_deleted_experiment_is_named(tracker: Tracker):
    experiment_id = tracker.experiment_id("s")
    tracker.client.delete_experiment(experiment_id)
    with pytest.raises(InputError, match="experiment 's' was deleted.*mlflow experiments restore"):
        tracker.runs("s")


@pytest.mark.parametrize("uri", ["sqlite:////nowhere/at/all/x.db", "sqlite:////", "bogus://x", "http://127.0.0.1:9/"])
def test_store_that_cannot_be_opened(uri):
    with pytest.raises(InputError, match="the tracking store .* cannot be opened: .*: check MLFLOW_TRACKING_URI"):
        Tracker(uri)


@pytest.mark.parametrize("name", ["a%20b", "a?b"])
def test_a_folder_that_sqlalchemy_takes_for_another_one_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, name: str):
    """The store of ``a%20b`` would be that of ``a b``, where that is there."""
    for folder in (name, "a b"):
        Path(folder).mkdir()
    monkeypatch.chdir(name)
    for open_one in (Tracker, Reader, lambda: open_storage(storage_url())):
        with pytest.raises(InputError, match="SQLite .* without .*, got '?sqlite:///"):
            open_one()
    assert [path.name for path in Path("..").rglob("*") if path.is_file()] == []


def test_credentials_that_are_missing_are_one_line(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(InputError, match="the tracking store databricks cannot be opened: .*authentication"):
        Tracker("databricks")
    assert capfd.readouterr().err == ""


def test_file_that_is_no_store_is_left_alone():
    Path("noise.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(InputError, match="file is not a database"):
        Tracker(f"sqlite:///{Path('noise.db').resolve()}")
    with sqlite3.connect("other.db") as connection:
        connection.execute("CREATE TABLE experiments (x INTEGER)")
    with pytest.raises(InputError, match="it is a database of something else"):
        Tracker(f"sqlite:///{Path('other.db').resolve()}")
    with sqlite3.connect("other.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("experiments",)]


def test_a_run_that_the_store_cannot_read_at_the_moment_is_not_gone(tracker: Tracker, log_run, make_table, monkeypatch):
    """What is made of it would else pass for stale."""
    member = log_run("plain", {"test": make_table(0)})
    run_id = tracker.create_run("s", "both", {"asc.kind": "ensemble", "asc.members": json.dumps([member])}, {})
    made = tracker.run(run_id)
    tracker.tables = None  # as of a server
    assert stale_reasons(tracker, [made]) == {}
    for error in (MlflowException("later", TEMPORARILY_UNAVAILABLE), MlflowException("no rights", PERMISSION_DENIED)):
        with monkeypatch.context() as patched:
            patched.setattr(tracker.client, "get_run", Mock(side_effect=error))
            with pytest.raises(MlflowException, match=error.message):
                stale_reasons(tracker, [made])
    for no_id in ("0" * 32, "no id at all", "", "x" * 300):
        assert tracker.run(no_id) is None
    tracker.client.delete_run(member)
    assert stale_reasons(tracker, [made]) == {run_id: f"its member {member} was deleted"}


def test_missing_artifact(tracker: Tracker):
    run_id = tracker.create_run("s", "r", {}, {})
    with pytest.raises(InputError, match="has no artifact predictions/test.parquet"):
        tracker.artifact(run_id, "predictions/test.parquet")


def test_a_table_that_lies_in_the_place_of_another_or_is_empty_is_refused(tracker: Tracker, log_run, make_table):
    """Validation's accuracy would else pass for that on test without a word."""
    run_id = log_run("plain", {split: make_table(0, split=split) for split in ("validation", "test")})
    (record,) = tracker.runs("s")
    test = tracker.artifact(run_id, predictions_path("test"))
    test.write_bytes(tracker.artifact(run_id, predictions_path("validation")).read_bytes())
    line = r"predictions/test\.parquet must hold clips of test alone, got some of \['validation'\]: put the run's own"
    for read in (lambda: tracker.predictions(run_id), lambda: tracker.predictions_of(record, "test")):
        with pytest.raises(InputError, match=line):
            read()
    make_table(0).iloc[:0].to_parquet(test, index=False)
    with pytest.raises(InputError, match="must hold clips of test alone, got none"):
        tracker.predictions_of(record, "test")


def test_predictions_of_a_server_are_asked_for_by_address_and_leave_no_copy(tracker, log_run, make_table, monkeypatch):
    log_run("plain", {"test": make_table(0)})
    record = tracker.runs("s")[0]
    there, copies = Path(record.artifact_uri.removeprefix("file://")), []

    def download(artifact_uri: str, dst_path: str, tracking_uri: str) -> str:
        assert (artifact_uri, tracking_uri) == ("mlflow-artifacts:/1/run/predictions/test.parquet", tracker.uri)
        copies.append(Path(shutil.copy(there / predictions_path("test"), dst_path)))
        return str(copies[-1])

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)
    far = replace(record, artifact_uri="mlflow-artifacts:/1/run")
    assert tracker.predictions_of(far, "test").equals(tracker.predictions_of(record, "test"))
    assert not copies[0].exists()
    (there / predictions_path("test")).unlink()  # the copy fails
    with pytest.raises(InputError, match="has no artifact predictions/test.parquet .*: was it deleted"):
        tracker.predictions_of(far, "test")


@pytest.mark.slow
def test_two_processes_create_one_fresh_store():
    code = "from asc_study.store.tracking import Tracker; Tracker().create_run('s', 'r', {'asc.kind': 'train'}, {})"
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len(Tracker().runs("s")) == 2


def test_the_history_of_a_training_is_read_back_epoch_by_epoch(tracker: Tracker):
    run_id = tracker.create_run("s", "r", {"asc.kind": "train"}, {})
    for epoch, loss in ((1, 3.0), (2, 9.0), (2, 2.0)):  # cut off in the second epoch, which was trained again
        tracker.log_metrics(run_id, {"epoch/train_loss": loss, "epoch/validation_acc": 0.1 * epoch}, epoch)
        time.sleep(0.002)
    tracker.log_metrics(run_id, {"epoch/chosen": 2, "test/acc_avg": 0.5})
    history = tracker.history(tracker.run(run_id))
    assert history == [{"train_loss": 3.0, "validation_acc": 0.1}, {"train_loss": 2.0, "validation_acc": 0.2}]
    untrained = tracker.create_run("s", "other", {"asc.kind": "imported"}, {})
    assert tracker.history(tracker.run(untrained)) == []


def test_an_artifact_of_this_machine_is_read_where_it_lies(tracker: Tracker, tmp_path, monkeypatch):
    run_id = tracker.create_run("s", "r", {}, {})
    with tracker.artifacts(run_id) as folder:
        (folder / "a.json").write_text('{"a": 1}')
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = tracker.artifact(run_id, "a.json")
    assert path.is_relative_to(Path.cwd() / "mlruns")
    assert tracker.json_artifact(run_id, "a.json") == {"a": 1}
    path.write_text("[" * 100_000)
    assert tracker.json_artifact(run_id, "a.json") == {}
    with pytest.raises(InputError, match="has no artifact b.json"):
        tracker.text_artifact(run_id, "b.json")
    assert not list((tmp_path / "temporary").iterdir())
