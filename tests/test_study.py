"""Studies end to end on a tiny simulated data set: plan, run, repeat, fail, kill, resume, share."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from asc_study.claims import settle_abandoned
from asc_study.errors import InputError
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import read_predictions
from asc_study.plan import make_plan
from asc_study.preflight import check_fit
from asc_study.study import identify, run_study
from asc_study.study_file import load_study
from asc_study.tracking import RunRecord, Tracker

BASE = {
    "architecture": "fcnn",
    "model": {"width": 0.03},
    "features": {"n_mels": 32},
    "training": {"epochs": 1, "batch_size": 10, "threads": 2},
}


def write_study(rows: list[dict], name: str = "tiny", **more) -> Path:
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump({"study": name, "base": BASE, "rows": rows} | more))
    return path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "asc_study", *arguments]


def predictions(tracker: Tracker, record: RunRecord) -> pd.DataFrame:
    return read_predictions(tracker.artifact(record.run_id, "predictions/test.parquet"))


ROWS = [{"name": "plain"}, {"name": "mixed", "batch_augmentation": {"mixup": {"alpha": 0.4}}}]


@pytest.mark.slow
def test_run_logs_the_contract_and_a_second_launch_does_nothing(simulated: Path):
    path = write_study(ROWS)
    data = identify(simulated)
    study = load_study(path, default_task=data.dataset.task)
    tracker = Tracker()
    assert make_plan(study, data.digest, tracker).counts["new"] == 2
    said: list[str] = []
    outcomes = run_study(study, data, say=said.append)
    assert [(outcome.spec.row, outcome.status) for outcome in outcomes] == [("plain", "done"), ("mixed", "done")]
    assert said[0] == "study tiny: 2 rows: 2 new"

    (parent,) = tracker.runs("tiny", kind="study")
    children = tracker.runs("tiny", kind="train")
    assert parent.status == "FINISHED"
    assert "plain" in tracker.artifact(parent.run_id, "leaderboard.txt").read_text()
    assert "Plotly.newPlot" in tracker.artifact(parent.run_id, "figures/summary.html").read_text()
    for record in children:
        assert record.status == "FINISHED"
        assert record.tags["mlflow.parentRunId"] == parent.run_id
        assert record.tags["asc.study"] == "tiny"
        assert record.tags["asc.task"] == "ten_class"
        assert record.tags["asc.dataset_digest"] == data.digest
        assert len(record.signature) == 64
        assert record.tags["asc.signature_short"] == record.signature[:10]
        assert record.tags["asc.git_commit"]
        assert {"test/acc_A", "test/acc_BC", "test/acc_s1-s3", "test/acc_s4-s6", "test/acc_avg"} <= set(record.metrics)
        assert {"validation/acc_avg", "gap/A_to_unseen", "device/acc_s6", "scene/acc_bus"} <= set(record.metrics)
        assert {"cost/parameters", "cost/macs", "cost/model_kb", "cost/nonzero_kb"} <= set(record.metrics)
        assert record.metrics["cost/latency_ms"] > 0
        assert {"epoch/train_loss", "epoch/validation_acc", "epoch/learning_rate"} <= set(record.metrics)
        table = predictions(tracker, record)
        measured = evaluate(table)
        assert record.metrics["test/acc_s4-s6"] == pytest.approx(measured["test/acc_s4-s6"])
        assert set(table["device"]) == {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}
        config = yaml.safe_load(tracker.artifact(record.run_id, "config.yaml").read_text())
        assert config["model"]["width"] == 0.03
        assert "Plotly.newPlot" in tracker.artifact(record.run_id, "figures/summary.html").read_text()
        environment = json.loads(tracker.artifact(record.run_id, "environment.json").read_text())
        assert environment["versions"]["keras"]
    by_row = {record.tags["asc.row"]: record for record in children}
    assert by_row["mixed"].params["batch_augmentation.mixup.alpha"] == "0.4"
    assert by_row["plain"].params["training.threads"] == "2"

    assert make_plan(study, data.digest, tracker).counts["done"] == 2
    assert run_study(study, data) == []
    assert len(tracker.runs("tiny")) == 3

    changed = load_study(path, overrides=["training.lr_max=0.05"])
    counts = make_plan(changed, data.digest, tracker).counts
    assert (counts["new"], counts["orphaned"]) == (2, 2)


@pytest.mark.slow
def test_two_jobs_give_the_predictions_of_one(simulated: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_study(ROWS)
    found = {}
    for jobs in ("1", "2"):
        folder = Path(f"jobs{jobs}")
        folder.mkdir()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.resolve()}/mlflow.db")
        if jobs == "1":
            run_study(load_study(path), identify(simulated))
        else:
            subprocess.run(command("run", str(path), "--data", str(simulated), "--jobs", jobs), check=True, timeout=280)
        tracker = Tracker()
        records = tracker.runs("tiny", kind="train")
        found[jobs] = {record.tags["asc.row"]: predictions(tracker, record) for record in records}
    assert set(found["1"]) == {"plain", "mixed"}
    for row in found["1"]:
        pd.testing.assert_frame_equal(found["1"][row], found["2"][row], check_exact=True)


@pytest.mark.slow
def test_failed_row_leaves_the_others_and_is_retried_on_demand(simulated: Path):
    path = write_study([{"name": "broken", "training.lr_max": 1e30}, {"name": "plain"}])
    data = identify(simulated)
    study = load_study(path)
    outcomes = {outcome.spec.row: outcome for outcome in run_study(study, data)}
    assert outcomes["plain"].status == "done"
    assert outcomes["broken"].status == "failed"
    assert "the loss became" in outcomes["broken"].reason
    tracker = Tracker()
    failed = next(record for record in tracker.runs("tiny", kind="train") if record.tags["asc.row"] == "broken")
    assert failed.status == "FAILED"
    assert "the loss became" in failed.failure
    assert [run.status for run in make_plan(study, data.digest, tracker).runs] == ["failed", "done"]
    assert run_study(study, data) == []
    said: list[str] = []
    (again,) = run_study(study, data, retry_failed=True, say=said.append)
    assert (again.spec.row, again.status) == ("broken", "failed")
    assert said[-1].startswith("[1/1] broken seed 0: FAILED: the loss became")


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_run_goes_on_from_its_checkpoint(simulated: Path, jobs: str):
    path = write_study([{"name": "long", "training.epochs": 400}])
    process = subprocess.Popen(
        command("run", str(path), "--data", str(simulated), "--jobs", jobs), start_new_session=True
    )
    tracker = Tracker()

    def long_run() -> RunRecord | None:
        return next((r for r in tracker.runs("tiny", kind="train") if r.tags["asc.row"] == "long"), None)

    deadline = time.monotonic() + 200
    while not ((run := long_run()) and "epoch/train_loss" in run.metrics):
        assert time.monotonic() < deadline, "the run never finished an epoch"
        assert process.poll() is None
        time.sleep(0.2)
    from asc_study.cache import cache_dir

    while not (cache_dir() / "checkpoints" / f"{run.run_id}.npz").exists():  # it follows the metrics of its epoch
        assert time.monotonic() < deadline, "the run never wrote a checkpoint"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30  # the worker notices that its parent is gone
    data = identify(simulated)
    study = load_study(path)
    while make_plan(study, data.digest, tracker).runs[0].status != "interrupted":
        assert time.monotonic() < deadline, "the worker of a killed launch went on"
        time.sleep(0.5)
    reached = len(tracker.client.get_metric_history(run.run_id, "epoch/train_loss"))
    assert 1 <= reached < 400
    settle_abandoned(tracker, "tiny")
    assert {record.status for record in tracker.runs("tiny")} <= {"FINISHED", "KILLED"}
    # The rest of 400 epochs would take too long here: a checkpoint that says 399 epochs are done leaves one.
    shorten_to_last_epoch(run.run_id)
    assert [outcome.status for outcome in run_study(study, data)] == ["done"]
    final = long_run()
    assert final is not None
    assert (final.run_id, final.status) == (run.run_id, "FINISHED")
    assert {record.status for record in tracker.runs("tiny", kind="train")} == {"FINISHED"}
    assert final.metrics["epoch/chosen"] <= 400


def shorten_to_last_epoch(run_id: str) -> None:
    import numpy as np

    from asc_study.cache import cache_dir

    file = cache_dir() / "checkpoints" / f"{run_id}.npz"
    with np.load(file) as saved:
        arrays = dict(saved)
    state = json.loads(str(arrays.pop("state")))
    state["history"] += [state["history"][-1]] * (399 - len(state["history"]))
    with file.open("wb") as out:
        np.savez(out, state=np.asarray(json.dumps(state)), **arrays)


@pytest.mark.slow
def test_two_launches_at_the_same_moment_share_the_work(simulated: Path):
    path = write_study(ROWS)
    launches = [
        subprocess.Popen(
            command("run", str(path), "--data", str(simulated), "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    ended = [launch.communicate(timeout=280) for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0], ended
    runs = [run for out, _ in ended for run in json.loads(out)["runs"]]
    assert sorted(run["row"] for run in runs if run["status"] == "done") == ["mixed", "plain"]
    records = Tracker().runs("tiny", kind="train")
    assert sorted((record.tags["asc.row"], record.status) for record in records) == [
        ("mixed", "FINISHED"),
        ("plain", "FINISHED"),
    ]


def test_rows_that_do_not_fit_the_data_are_found_before_anything_runs(simulated: Path):
    data = identify(simulated)
    crop = load_study(write_study([{"name": "x", "batch_augmentation": {"random_crop": {"frames": 400}}}]))
    with pytest.raises(InputError, match=r"row 'x': .*random_crop.frames.*must be at most the \d+ frames.*got 400"):
        check_fit(crop, data.dataset)
    swap = load_study(write_study([{"name": "x", "batch_augmentation": {"channel_confusion": {}}}]))
    with pytest.raises(InputError, match="row 'x': .*channel"):
        check_fit(swap, data.dataset)
    with pytest.raises(InputError, match="--jobs must be at least 1, got 0"):
        run_study(load_study(write_study(ROWS)), data, jobs=0)
    assert not Path("mlflow.db").exists()


def test_changed_sound_changes_the_digest(simulated: Path, tmp_path: Path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(simulated, copy)
    assert identify(copy).digest == identify(simulated).digest
    wav = next((copy / "audio").glob("*.wav"))
    content = bytearray(wav.read_bytes())
    content[-1] ^= 1
    wav.write_bytes(content)
    assert identify(copy).digest != identify(simulated).digest
