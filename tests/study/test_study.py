"""Studies end to end on a tiny simulated data set: plan, run, repeat, fail, kill, resume, share."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from asc_study.base.errors import InputError
from asc_study.base.paths import cache_dir
from asc_study.base.provenance import fingerprint, short_digest
from asc_study.cli.studies import exit_status
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import read_predictions
from asc_study.settings.identity import signature
from asc_study.settings.study_file import Study, load_study
from asc_study.store.claims import settle_abandoned
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.study.plan import Plan, explain, make_plan, render_plan
from asc_study.study.preflight import check_fit
from asc_study.study.run_study import run_study
from asc_study.study.spec import Outcome
from asc_study.study.status import study_state

BASE = {
    "architecture": "tiny_network:TINY",
    "features": {"n_mels": 32},
    "training": {"epochs": 1, "batch_size": 10, "threads": 2},
}


def write_study(rows: list[dict], name: str = "tiny", **more) -> Path:
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump({"study": name, "baseline": False, "base": BASE, "rows": rows} | more))
    return path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "asc_study", *arguments]


def predictions(tracker: Tracker, record: RunRecord) -> pd.DataFrame:
    return read_predictions(tracker.artifact(record.run_id, "predictions/test.parquet"))


ROWS = [
    {"name": "plain", "architecture": "fcnn", "model.width": 0.03},
    {"name": "mixed", "batch_augmentation": {"mixup": {"alpha": 0.4}}},
]


@pytest.fixture(scope="module", autouse=True)
def tiny_network_in_other_processes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        places = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
        yield


@dataclass(frozen=True)
class Launched:
    """A study that was launched once in this process, and its store."""

    study: Study
    data: IdentifiedDataset
    tracker: Tracker
    outcomes: Sequence[Outcome]
    said: Sequence[str]


def move_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that tests share: with its study file, store and cache."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def launched_folder(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("launched")
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def launched_once(simulated: Path, launched_folder: Path) -> Launched:
    with pytest.MonkeyPatch.context() as monkeypatch:
        move_to(launched_folder, monkeypatch)
        data = identify(simulated)
        broken = {"name": "broken", "training.lr_max": 1e38}
        study = load_study(write_study([broken, *ROWS]), default_task=data.dataset.task)
        tracker = Tracker()
        assert make_plan(study, data.digest, tracker).counts["new"] == 3
        said: list[str] = []
        return Launched(study, data, tracker, run_study(study, data, say=said.append), said)


@pytest.fixture
def launched(launched_once: Launched, launched_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    move_to(launched_folder, monkeypatch)
    return launched_once


def finished(tracker: Tracker) -> list[RunRecord]:
    return [record for record in tracker.runs("tiny", kind="train") if record.status == "FINISHED"]


@pytest.mark.slow
def test_run_logs_the_contract(launched: Launched):
    tracker, data = launched.tracker, launched.data
    outcomes = [(outcome.spec.row, outcome.status) for outcome in launched.outcomes]
    assert outcomes == [("broken", "failed"), ("plain", "done"), ("mixed", "done")]
    assert launched.said[0] == "study tiny: 3 rows: 3 new"
    ended = [line for line in launched.said if line.startswith("[")]
    assert [bool(re.search(r"  ~\d+ (s|min) left$", line)) for line in ended] == [True, True, False]
    states = [(run.row, run.state) for run in study_state("tiny", tracker).runs]
    assert states == [("broken", "failed"), ("plain", "done"), ("mixed", "done")]

    children = finished(tracker)
    (parent,) = tracker.runs("tiny", kind="study")
    assert parent.status == "FAILED"  # as one of its rows
    assert "plain" in tracker.artifact(parent.run_id, "leaderboard.txt").read_text()
    assert "<figure>" in tracker.artifact(parent.run_id, "figures/summary.html").read_text()
    experiment = tracker.find_experiment("tiny")
    assert experiment is not None
    told = experiment.tags["mlflow.note.content"].splitlines()
    assert told[0] == f"**tiny** on `{data.dataset.root.name}` ({len(data.dataset.clips)} clips)"  # what is not folded
    assert f"/runs/{parent.run_id}/artifacts)" in told[2]
    assert told[4].startswith("On devices that no training heard (s4-s6), in points of accuracy against *plain* [")
    for record in children:
        assert "mlflow.parentRunId" not in record.tags  # MLflow's page hides what is nested
        assert "| test |" in record.tags["mlflow.note.content"]
        assert record.tags["mlflow.source.name"] == "asc-study"
        used = {
            one.tags[0].value: (one.dataset.name, one.dataset.digest)
            for one in tracker.client.get_run(record.run_id).inputs.dataset_inputs
        }
        assert used["test"] == (f"{data.dataset.root.name} (test)", data.digest[:10])
        assert used.keys() == {"train", "validation", "test"}
        assert record.tags["asc.study"] == "tiny"
        assert record.tags["asc.task"] == "ten_class"
        assert record.tags["asc.dataset_digest"] == data.digest
        assert len(record.signature) == 64
        assert record.tags["asc.signature_short"] == record.signature[:10]
        assert record.tags["asc.git_commit"]
        assert {"test/acc_A", "test/acc_BC", "test/acc_s1-s3", "test/acc_s4-s6", "test/acc_avg"} <= set(record.metrics)
        assert {"validation/acc_avg", "test/gap_A_to_unseen", "test/device_acc_s6", "test/scene_acc_bus"} <= set(
            record.metrics
        )
        assert {"cost/parameters", "cost/macs", "cost/model_kb", "cost/nonzero_kb"} <= set(record.metrics)
        assert record.metrics["cost/latency_ms"] > 0
        assert {"epoch/train_loss", "epoch/validation_acc", "epoch/learning_rate"} <= set(record.metrics)
        table = predictions(tracker, record)
        measured = evaluate(table)
        assert record.metrics["test/acc_s4-s6"] == pytest.approx(measured["test/acc_s4-s6"])
        assert set(table["device"]) == {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}
        assert "<figure>" in tracker.artifact(record.run_id, "figures/summary.html").read_text()
        environment = json.loads(tracker.artifact(record.run_id, "environment.json").read_text())
        (stretch,) = environment["stretches"]
        assert stretch["versions"]["keras"]
        assert (stretch["first_epoch"], stretch["commit"]) == (1, record.tags["asc.git_commit"])
        assert record.tags["asc.fingerprint"] == short_digest(stretch["fingerprint"])
        assert (record.tags["asc.sample_rate"], record.tags["asc.channels"]) == ("44100", "1")
        assert signature(tracker.json_artifact(record.run_id, "identity.json"), 0) == record.signature
    by_row = {record.tags["asc.row"]: record for record in children}
    assert by_row["mixed"].params["batch_augmentation.mixup.alpha"] == "0.4"
    assert by_row["plain"].params["training.threads"] == "2"
    config = yaml.safe_load(tracker.artifact(by_row["plain"].run_id, "config.yaml").read_text())
    assert (config["architecture"], config["model"]["width"]) == ("fcnn", 0.03)


@pytest.mark.slow
def test_what_another_back_end_computed_is_said_and_trained_anew_on_demand(launched: Launched, monkeypatch):
    study, data, tracker = launched.study, launched.data, launched.tracker
    there = {**fingerprint(), "backend": "jax"}
    monkeypatch.setattr("asc_study.study.plan.fingerprint", lambda: there)
    plan = make_plan(study, data.digest, tracker)
    assert (plan.counts["done"], plan.done_elsewhere) == (2, 2)
    assert "other fingerprint: backend tensorflow, here jax" in render_plan(study, plan)
    assert "2 of those done under another fingerprint" in render_plan(study, plan)
    assert make_plan(study, data.digest, tracker, same_fingerprint=True).counts["new"] == 2


@pytest.mark.slow
def test_plan_explains_what_an_orphan_differs_in(launched: Launched):
    data, tracker = launched.data, launched.tracker
    study = load_study(Path("tiny.yaml"), overrides=["training.momentum=0.8"])
    text = explain(study, make_plan(study, data.digest, tracker), tracker)
    (mixed,) = re.findall(r"mixed seed 0 .*:\n((?:    .*\n?)+)", text)
    assert mixed.strip() == "training.momentum 0.9 -> 0.8"
    assert explain(study, Plan((), ()), tracker) == "no run of the store is orphaned"


@pytest.mark.slow
def test_a_second_launch_does_nothing_and_a_changed_study_is_new(launched: Launched):
    study, data, tracker = launched.study, launched.data, launched.tracker
    counts = make_plan(study, data.digest, tracker).counts
    assert (counts["new"], counts["done"], counts["failed"]) == (0, 2, 1)
    runs = len(tracker.runs("tiny"))
    said: list[str] = []
    (failed,) = run_study(study, data, say=said.append)
    assert (failed.spec.row, failed.status) == ("broken", "failed")
    assert "the loss became" in failed.reason
    assert "not tried again, for they failed before: broken seed 0; --retry-failed tries them" in said
    assert exit_status([failed]) == 1
    assert len(tracker.runs("tiny")) == runs

    changed = load_study(Path("tiny.yaml"), overrides=["training.momentum=0.8"])
    counts = make_plan(changed, data.digest, tracker).counts
    assert (counts["new"], counts["orphaned"]) == (3, 3)


#: Commands that train nothing, and what none of them may import: each takes a second or more.
NOTHING_TO_TRAIN = {
    "run": ("run", "tiny.yaml", "--only", "plain", "--only", "mixed", "--data"),
    "plan": ("plan", "tiny.yaml", "--data"),
    "leaderboard": ("leaderboard", "tiny.yaml"),
    "status": ("status", "tiny"),
}
TAKES_LONG = {"alembic", "h5py", "keras", "librosa", "mlflow", "numba", "plotly", "sklearn", "sqlalchemy", "tensorflow"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTHING_TO_TRAIN)
def test_a_command_that_trains_nothing_imports_little(launched: Launched, simulated: Path, name: str):
    words = NOTHING_TO_TRAIN[name]
    words = (*words, str(simulated)) if words[-1] == "--data" else words
    code = (
        "import sys; from asc_study.cli import main\n"
        "try: main()\n"
        f"finally: print('imported', sorted({TAKES_LONG} & set(sys.modules)))"
    )
    started = [sys.executable, "-c", code, *words]
    run = launched.tracker.runs("tiny", kind="study")[0].run_id
    page = launched.tracker.artifact(run, "figures/summary.html")
    if name == "run":  # the first one writes its command, and that no row of it failed
        subprocess.run(started, check=True, stdout=subprocess.DEVNULL)
    before, made = launched.tracker.run(run), page.stat().st_mtime_ns
    ended = subprocess.run(started, check=True, stdout=subprocess.PIPE, text=True)
    assert ended.stdout.splitlines()[-1] == "imported []"
    assert launched.tracker.run(run) == before
    assert page.stat().st_mtime_ns == made


@pytest.mark.slow
def test_figures_are_drawn_again_when_their_page_or_what_it_is_made_of_changed(launched: Launched, monkeypatch):
    study, tracker, drawn = launched.study, launched.tracker, []
    page = tracker.artifact(tracker.runs("tiny", kind="study")[0].run_id, "figures/summary.html")

    def launches(of: Study = study) -> int:
        drawn.clear()
        run_study(of, launched.data)
        return len(drawn)

    with monkeypatch.context() as patched:
        patched.setattr("asc_study.study.summary._page", lambda *_: drawn.append(1) or "page\n")
        launches()
        assert launches() == 0
        page.write_text("page\n")
        assert launches() == 1
        page.unlink()
        assert (launches(), launches()) == (1, 0)
        assert launches(replace(study, description="other words")) == 1
        patched.setattr("asc_study.study.summary.package_digest", lambda: "other code")
        assert launches() == 1
    run_study(study, launched.data)
    assert "<figure>" in page.read_text()


@pytest.mark.slow
def test_two_jobs_give_the_predictions_of_one(simulated: Path, launched_once: Launched):
    arguments = ("run", str(write_study(ROWS)), "--data", str(simulated), "--jobs", "2")
    subprocess.run(command(*arguments), check=True, timeout=280)
    found = [
        {record.tags["asc.row"]: predictions(tracker, record) for record in finished(tracker)}
        for tracker in (launched_once.tracker, Tracker())
    ]
    assert set(found[0]) == set(found[1]) == {"plain", "mixed"}
    assert [record.status for record in Tracker().runs("tiny", kind="study")] == ["FINISHED"]
    for row in found[0]:
        pd.testing.assert_frame_equal(found[0][row], found[1][row], check_exact=True)


@pytest.mark.slow
def test_failed_row_leaves_the_others_and_is_retried_on_demand(launched: Launched):
    study, data, tracker = launched.study, launched.data, launched.tracker
    assert "the loss became" in launched.outcomes[0].reason
    failed = next(record for record in tracker.runs("tiny", kind="train") if record.tags["asc.row"] == "broken")
    assert failed.status == "FAILED"
    assert "the loss became" in failed.failure
    (stretch,) = tracker.json_artifact(failed.run_id, "environment.json")["stretches"]
    assert stretch["fingerprint"]["backend"] == "tensorflow"  # what failed says where
    assert [run.status for run in make_plan(study, data.digest, tracker).runs] == ["failed", "done", "done"]
    said: list[str] = []
    runs = len(tracker.runs("tiny"))
    (again,) = run_study(study, data, retry_failed=True, say=said.append)
    assert len(tracker.runs("tiny")) == runs  # the same run is opened again
    assert (again.spec.row, again.status) == ("broken", "failed")
    assert said[-1].startswith("[1/1] broken seed 0: FAILED: the loss became")


def test_a_run_whose_process_dies_is_interrupted_and_hinders_no_other(
    simulated: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
):
    """As the system does when memory is short."""
    import dying_run

    monkeypatch.setattr("asc_study.study.run_study.execute_run", dying_run.execute_or_die)
    study, data = load_study(write_study([{"name": "killed", "training.momentum": 0.5}, *ROWS])), identify(simulated)
    said: list[str] = []
    outcomes = {outcome.spec.row: outcome for outcome in run_study(study, data, jobs=2, say=said.append)}
    assert {row: outcome.status for row, outcome in outcomes.items()} == {
        "killed": "interrupted",
        "plain": "done",
        "mixed": "done",
    }
    line = next(line for line in said if "INTERRUPTED" in line)
    assert re.search(
        r"killed seed 0: INTERRUPTED: its process was ended by the system \(SIGKILL\(-9\)\), 2 times: often memory "
        "was short: the same command goes on from its last epoch",
        line,
    )
    assert [run.status for run in make_plan(study, data.digest, tracker).runs] == ["interrupted", "new", "new"]
    assert exit_status(list(outcomes.values())) == 1


@pytest.mark.slow
def test_a_run_that_is_deleted_while_it_trains_costs_that_run_alone(
    simulated: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
):
    """As a person can do in MLflow's page at any moment."""

    def deleted_then(store: Tracker, run_id: str, first_epoch: int) -> None:
        if store.run(run_id).tags["asc.row"] == "gone":
            store.client.delete_run(run_id)

    monkeypatch.setattr("asc_study.study.train_run.log_environment", deleted_then)
    data = identify(simulated)
    study = load_study(write_study([{"name": "gone", "training.momentum": 0.5}, {"name": "plain"}]))
    said: list[str] = []
    outcomes = run_study(study, data, say=said.append)
    assert [(outcome.spec.row, outcome.status) for outcome in outcomes] == [("gone", "failed"), ("plain", "done")]
    assert re.search(r"gone seed 0: FAILED: run \w{32} was deleted while it trained: start the study again", said[-2])
    assert [run.status for run in make_plan(study, data.digest, tracker).runs] == ["new", "done"]


def test_a_study_whose_features_are_being_computed_is_launched(
    simulated: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
):
    seen = []

    def look(*_: object) -> None:
        seen.append(study_state("tiny", tracker))
        raise InputError("enough")

    monkeypatch.setattr("asc_study.study.run_study.prepare_features", look)
    with pytest.raises(InputError, match="enough"):
        run_study(load_study(write_study([{"name": "plain"}])), identify(simulated))
    assert [(run.row, run.state) for run in seen[0].runs] == [("plain", "to do")]
    assert seen[0].active
    assert not study_state("tiny", tracker).active


JOBS = ("1", "2")


@pytest.fixture(scope="module")
def killed_folders(simulated: Path, tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, Path]:
    """Launch with one job and with two, at the same time; kill each launch after a checkpoint of its run."""
    folders = {jobs: tmp_path_factory.mktemp(f"killed-{jobs}") for jobs in JOBS}
    launches = {}
    for jobs, folder in folders.items():
        with pytest.MonkeyPatch.context() as monkeypatch:
            move_to(folder, monkeypatch)
            shutil.copy(empty_store, "mlflow.db")
            path = write_study([{"name": "long", "training.epochs": 400}])
            arguments = ("run", str(path), "--data", str(simulated), "--jobs", jobs)
            launches[jobs] = subprocess.Popen(command(*arguments), start_new_session=True)
    deadline = time.monotonic() + 200
    for jobs, launch in launches.items():
        with pytest.MonkeyPatch.context() as monkeypatch:
            move_to(folders[jobs], monkeypatch)
            tracker = Tracker()
            while not ((run := long_run(tracker)) and "epoch/train_loss" in run.metrics):
                assert time.monotonic() < deadline, "the run never finished an epoch"
                assert launch.poll() is None
                time.sleep(0.2)
            while not (cache_dir() / "checkpoints" / f"{run.run_id}.npz").exists():  # it follows its epoch's metrics
                assert time.monotonic() < deadline, "the run never wrote a checkpoint"
                time.sleep(0.05)
        os.kill(launch.pid, signal.SIGKILL)
        launch.wait()
    return folders


def long_run(tracker: Tracker) -> RunRecord | None:
    return next((r for r in tracker.runs("tiny", kind="train") if r.tags["asc.row"] == "long"), None)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", JOBS)
def test_killed_run_goes_on_from_its_checkpoint(
    simulated: Path, killed_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, jobs: str
):
    move_to(killed_folders[jobs], monkeypatch)
    tracker = Tracker()
    run = long_run(tracker)
    assert run is not None
    deadline = time.monotonic() + 30  # the worker notices that its parent is gone
    data = identify(simulated)
    study = load_study(Path("tiny.yaml"))
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
    final = long_run(tracker)
    assert final is not None
    assert (final.run_id, final.status) == (run.run_id, "FINISHED")
    assert {record.status for record in tracker.runs("tiny", kind="train")} == {"FINISHED"}
    assert final.metrics["epoch/chosen"] <= 400


def shorten_to_last_epoch(run_id: str) -> None:
    file = cache_dir() / "checkpoints" / f"{run_id}.npz"
    with np.load(file) as saved:
        arrays = dict(saved)
    state = json.loads(str(arrays.pop("state")))
    state["history"] += [state["history"][-1]] * (399 - len(state["history"]))
    with file.open("wb") as out:
        np.savez(out, state=np.asarray(json.dumps(state)), **arrays)


@pytest.mark.slow
@pytest.mark.soak
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
    for setting, limit in (("frequency_mask_bands", "32 bands"), ("time_mask_frames", "36 frames")):
        mask = load_study(write_study([{"name": "x", "batch_augmentation": {"spec_augment": {setting: 37}}}]))
        line = f"row 'x': spec_augment.{setting} must be at most the {limit} of a clip, got 37: lower it"
        with pytest.raises(InputError, match=line):
            check_fit(mask, data.dataset)
    rows = [{"name": "x"}, {"name": "y", "batch_augmentation": {"mixup": {}}}]
    both = {"name": "both", "fine": ["x", "y"], "fusion": "averge"}
    unknown = load_study(write_study(rows, ensembles=[both]))
    with pytest.raises(InputError, match="ensemble 'both': unknown fusion.rule 'averge': did you mean 'average'"):
        check_fit(unknown, data.dataset)
    by = load_study(write_study([{"name": "x", "training.select_by": "device_acc_s4"}]))
    with pytest.raises(
        InputError, match="row 'x': training.select_by: the clips that decide do not have .*device_acc_s4"
    ):
        check_fit(by, data.dataset)
    with pytest.raises(InputError, match="--jobs must be at least 1, got 0"):
        run_study(load_study(write_study(ROWS)), data, jobs=0)
    assert not Path("mlflow.db").exists()


@pytest.mark.parametrize("seconds", [0.02, 2])
def test_a_first_clip_unlike_the_others_is_named_before_settings_are_blamed(simulated, tmp_path, seconds):
    copy = tmp_path / "copy"
    shutil.copytree(simulated, copy)
    dataset = identify(copy).dataset
    first = Path(dataset.clips["path"].iloc[0])
    soundfile.write(first, np.zeros(round(seconds * 44_100)), 44_100)
    with pytest.raises(InputError, match=rf"{first.name} of {seconds} s where most have 1 s: run asc-study data check"):
        check_fit(load_study(write_study([{"name": "x"}])), dataset)


def test_artifacts_that_cannot_be_written_are_found_before_anything_is_trained(simulated, monkeypatch):
    Path("mlruns").write_text("a file where the artifacts go")
    monkeypatch.setattr("asc_study.study.run_study.execute_run", lambda *_: pytest.fail("it was trained"))
    with pytest.raises(InputError, match=r"the store's artifacts must be writable in .*/mlruns/tiny/.*Not a directory"):
        run_study(load_study(write_study([{"name": "x"}])), identify(simulated))
    assert Path("mlruns").read_text() == "a file where the artifacts go"


def test_changed_sound_changes_the_digest(simulated: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(simulated, copy)
    assert identify(copy).digest == identify(simulated).digest
    wav = next((copy / "audio").glob("*.wav"))
    content = bytearray(wav.read_bytes())
    content[-1] ^= 1
    wav.write_bytes(content)
    assert identify(copy).digest != identify(simulated).digest
