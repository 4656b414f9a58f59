"""The search loop with a stand-in for training: trials, totals, workers that die, Ctrl-C, launches that share."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml

from asc_study.base.contract import holdout_path
from asc_study.base.errors import InputError, TrainingFailure
from asc_study.data.identified import identify
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import predictions_table, read_predictions
from asc_study.search.base import base_point
from asc_study.search.claims import fail_trial
from asc_study.search.file import Search, load_search
from asc_study.search.fold import Fold
from asc_study.search.run_search import SearchResult, run_search
from asc_study.search.storage import open_storage, storage_url
from asc_study.settings.study_file import load_study
from asc_study.store import failures
from asc_study.store.records import RunRecord
from asc_study.store.spool import spools
from asc_study.store.tracking import Tracker
from asc_study.study.launch import Launch
from asc_study.study.spec import RunSpec
from asc_study.study.sync import LATER
from asc_study.training.run_data import split_clips

pytestmark = pytest.mark.usefixtures("tracker")  # an empty store, which MLflow takes a second to create

ALPHA = "batch_augmentation.mixup.alpha"
CONTENT = {
    "search": "s",
    "base": {
        "model": {"width": 0.03},
        "features": {"n_mels": 32},
        "training": {"epochs": 2, "threads": 2},
        "validation": {"share": 0.4},
    },
    "space": {ALPHA: {"type": "float", "low": 0.1, "high": 1.0}},
    "holdout": {"devices": ["s3"]},
    "sampler": {"name": "random", "seed": 0},
}


class FakeTraining:
    """Stands in for training: the accuracy on s3 is 1 - |alpha - 0.5| in every epoch, on b half of that."""

    def __init__(self, spec: RunSpec, launch: Launch, watch: Sequence[str]) -> None:
        mixup = spec.config.batch_augmentation.get("mixup")
        self.alpha = mixup.alpha if mixup else 0.0  # of the base, which has none
        self.value = 1 - abs(self.alpha - 0.5)
        self.spec, self.launch, self.watch = spec, launch, watch
        if os.environ.get("FAKE") == "nan 1" and spec.row.startswith("trial 1"):
            self.value = float("nan")
        _misbehave(spec)

    def measured(self) -> dict[str, float]:
        return {"validation/device_acc_s3": self.value, "validation/device_acc_b": self.value / 2}

    def train_epoch(self) -> dict[str, float]:
        watched = {name: self.measured()[name] for name in self.watch}
        return {"train_loss": 1.0, "validation_acc": self.value, "clips": 10, **watched}

    def result(self) -> Fold:
        clips = split_clips(self.launch.data.dataset, self.spec.config)
        clips = clips[clips["split"] == "validation"]
        uniform = predictions_table(clips, np.full((len(clips), 10), 0.1, np.float32), "ten_class")
        others = {"validation/acc_avg": self.value / 2, "cost/model_kb": 100 * self.alpha}
        return Fold(self.measured() | others, uniform)


def _misbehave(spec: RunSpec) -> None:
    """What the environment variable FAKE asks for: die in a trial once or always, fail in one, wait for a signal."""
    wish, _, number = os.environ.get("FAKE", "").partition(" ")
    if (number and not spec.row.startswith(f"trial {number}")) or spec.row.startswith("base"):
        return
    if wish == "die" or (wish == "die-once" and not Path("died").exists()):
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if wish.startswith("fail"):
        raise TrainingFailure("the loss became nan in epoch 1: lower training.lr_max")
    if wish == "lose":
        with closing(sqlite3.connect("optuna.db")) as connection:
            connection.execute("DROP TABLE IF EXISTS trials")
    if wish == "slow":
        time.sleep(1)
    if wish == "wait":
        Path(f"waiting-{os.getpid()}").touch()
        time.sleep(100)


@pytest.fixture(autouse=True)
def quiet(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    """Nothing that Optuna warns of reaches the terminal."""
    yield
    warned = [f"{one.category.__name__}: {one.message} ({one.filename})" for one in recwarn]
    assert not [line for line in warned if "optuna" in line.lower() or "asc_study" in line]


@pytest.fixture
def light_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that train nothing need no TensorFlow."""
    monkeypatch.setenv("KERAS_BACKEND", "numpy")


def load(**changes) -> Search:
    path = Path("s.yaml")
    path.write_text(yaml.safe_dump(CONTENT | changes))
    return load_search(path)


def search(simulated: Path, trials: int, jobs: int = 1, said: list[str] | None = None, **changes) -> SearchResult:
    say = (said if said is not None else []).append
    data = identify(simulated)
    url = storage_url(os.environ.get("TEST_STORAGE"))
    return run_search(load(**changes), data, url=url, trials=trials, jobs=jobs, say=say, train=FakeTraining)


def trials_of(name: str = "s") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(storage=open_storage(storage_url()), study_name=name).get_trials()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test has lost it for the next."""
    monkeypatch.setattr(failures.patiently, "_in_vain", False)


def runs_of(tracker: Tracker, kind: str) -> list[RunRecord]:
    return sorted(tracker.runs("s", kind=kind), key=lambda record: int(record.tags.get("asc.trial", 0)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    [
        {"name": "grid"},
        {"name": "nsga2", "population_size": 3},
        {"name": "cmaes", "n_startup_trials": 2},
    ],
    ids=lambda sampler: sampler["name"],
)
def test_every_sampler_proposes_points_of_the_space(simulated: Path, sampler: dict):
    space = {
        ALPHA: {"type": "float", "low": 0.1, "high": 1.0, "step": 0.1},
        "training.epochs": {"type": "int", "low": 1, "high": 2},
    }
    result = search(simulated, 5, sampler=sampler | {"seed": 0}, space=space)
    points = [(round(trial.params[ALPHA], 6), trial.params["training.epochs"]) for trial in trials_of()]
    assert result.counts["complete"] == len(points) == 5
    assert all(alpha in np.arange(1, 11).round(6) / 10 and epochs in (1, 2) for alpha, epochs in points)
    if sampler["name"] == "grid":
        assert len(set(points)) == 5
    best = min(points, key=lambda point: abs(point[0] - 0.5))
    assert result.best[0].point[ALPHA] == best[0]


@pytest.mark.slow
def test_trials_are_runs_under_a_search_run_and_the_best_is_a_study(simulated: Path):
    result = search(simulated, 4, final={"seeds": [3, 4]})
    tracker = Tracker()
    (parent,) = runs_of(tracker, "search")
    children = runs_of(tracker, "trial")
    trials = trials_of()
    assert result.counts["complete"] == len(children) == len(trials) == 4
    assert parent.status == "FINISHED"
    for trial, run in zip(trials, children, strict=True):
        value = 1 - abs(trial.params[ALPHA] - 0.5)
        assert trial.value == pytest.approx(value)
        assert trial.intermediate_values == pytest.approx({0: value, 1: value})
        assert run.status == "FINISHED"
        assert run.tags["mlflow.parentRunId"] == parent.run_id
        assert run.tags["asc.trial"] == str(trial.number)
        assert run.tags["asc.state"] == "complete"
        assert run.tags["asc.optuna_study"] == "s"
        assert run.tags["asc.optuna_storage"] == storage_url()
        assert float(run.params["batch_augmentation.mixup.alpha"]) == pytest.approx(trial.params[ALPHA])
        assert run.metrics["holdout/acc"] == run.metrics["holdout/acc_s3"] == pytest.approx(value)
        assert run.metrics["validation/acc_avg"] == pytest.approx(value / 2)
        assert (run.metrics["cost/trained_epochs"], run.metrics["cost/clips_seen"]) == (2, 20)
        assert 0 < run.metrics["cost/trial_seconds"] < 60
        assert not any(name.startswith("test/") for name in run.metrics)
    best = min(trials, key=lambda trial: abs(trial.params[ALPHA] - 0.5))
    assert result.best[0].number == best.number
    assert parent.metrics["holdout/acc"] == pytest.approx(best.value)
    path = tracker.artifact(parent.run_id, "best.yaml")
    assert path.read_text() == result.study
    study = load_study(path)
    assert [row.name for row in study.rows] == [f"best-trial-{best.number}", "base"]
    assert study.rows[0].config.batch_augmentation["mixup"].alpha == best.params[ALPHA]
    assert study.rows[1].config.batch_augmentation == {}
    assert study.seeds == (3, 4)
    assert study.name == "s-final"
    page = tracker.artifact(parent.run_id, "figures/search.html").read_text()
    assert page.count("<figure>") == 4
    assert 'src="https://' not in page


@pytest.mark.slow
def test_running_again_goes_on_to_the_total(simulated: Path):
    search(simulated, 2)
    said: list[str] = []
    assert search(simulated, 5, said=said).counts["complete"] == 5
    clips = split_clips(identify(simulated).dataset, load().config({}))
    held_out = clips.query("split == 'validation' and device == 's3'")
    places = len(held_out[["city", "location"]].drop_duplicates())
    assert said[0] == (
        f"search s: 5 trials wanted, 2 complete; {len(held_out)} held-out clips (s3) of {places} locations decide"
    )
    assert said[-1].startswith("[5/5] trial 4 (alpha=")
    assert len({trial.params[ALPHA] for trial in trials_of()}) == 5  # the second launch draws other points
    said = []
    assert search(simulated, 5, said=said).counts["complete"] == 5
    assert len(said) == 1
    assert len(runs_of(Tracker(), "search")) == 1  # every launch has the same one


@pytest.mark.slow
def test_a_seeded_search_proposes_the_same_trials(simulated: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    for repeat in ("first", "second"):
        folder = Path.cwd() / repeat
        folder.mkdir()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        search(simulated, 6, sampler={"name": "tpe", "seed": 1, "n_startup_trials": 3})
        drawn.append([trial.params[ALPHA] for trial in trials_of()])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 6


@pytest.mark.slow
def test_a_failed_trial_counts_and_says_why(simulated: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE", "fail 1")
    said: list[str] = []
    result = search(simulated, 3, said=said)
    assert (result.counts["complete"], result.counts["failed"]) == (2, 1)
    failed = runs_of(Tracker(), "trial")[1]
    assert (failed.status, failed.tags["asc.state"]) == ("FAILED", "failed")
    assert failed.failure.startswith("the loss became nan in epoch 1")
    assert trials_of()[1].user_attrs["asc.failure"] == failed.failure
    assert any("trial 1" in line and "failed: the loss became nan" in line for line in said)


@pytest.mark.slow
def test_a_trial_whose_objective_is_no_number_failed(simulated: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.setenv("FAKE", "nan 1")
    said: list[str] = []
    result = search(simulated, 3, said=said)
    assert (result.counts["complete"], result.counts["failed"]) == (2, 1)
    assert [run.status for run in runs_of(Tracker(), "trial")] == ["FINISHED", "FAILED", "FINISHED"]
    (line,) = [line for line in said if line.startswith("[2/3] trial 1")]
    assert "failed: holdout/acc must be a number, got nan: lower" in line
    assert "arning" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.usefixtures("light_workers")
def test_what_fails_all_trials_ends_the_search_at_once(simulated: Path, monkeypatch: pytest.MonkeyPatch, jobs: int):
    monkeypatch.setenv("FAKE", "fail")
    said: list[str] = []
    result = search(simulated, 30, jobs=jobs, said=said)
    assert result.ended.startswith("5 trials failed one after the other, the last: the loss became nan")
    assert said[-1] == f"the search ends here: {result.ended}"
    assert 5 <= result.counts["failed"] <= 4 + jobs  # what else had begun


class OddSampler(optuna.samplers.RandomSampler):
    def sample_independent(self, *arguments):
        raise RuntimeError("no idea")


@pytest.mark.slow
def test_a_point_that_cannot_be_drawn_is_told(simulated: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("asc_study.search.worker.make_sampler", lambda *arguments: OddSampler())
    said: list[str] = []
    result = search(simulated, 1, said=said)
    assert result.counts["failed"] == 1
    assert said[-1] == "[1/1] trial 0 (base): failed: RuntimeError: no idea"


@pytest.mark.slow
def test_a_trial_that_other_tools_added_is_not_the_best(simulated: Path):
    search(simulated, 1)
    study = optuna.load_study(storage=open_storage(storage_url()), study_name="s")
    distributions = {"zzz": optuna.distributions.FloatDistribution(0, 1)}
    study.add_trial(optuna.create_trial(params={"zzz": 0.5}, distributions=distributions, value=2.0))
    result = search(simulated, 3)
    assert result.counts["complete"] == 3
    assert set(result.best[0].point) == {ALPHA}
    assert result.best[0].values["holdout"] <= 1


@pytest.mark.slow
def test_bad_trials_are_pruned_and_marked(simulated: Path):
    result = search(simulated, 8, pruner={"name": "median", "n_startup_trials": 2})
    pruned = [trial for trial in trials_of() if trial.state.name == "PRUNED"]
    assert 0 < len(pruned) == result.counts["pruned"]
    runs = runs_of(Tracker(), "trial")
    for trial in pruned:
        run = runs[trial.number]
        assert (run.status, run.tags["asc.state"]) == ("KILLED", "pruned")
        assert (run.metrics["cost/trained_epochs"], run.metrics["cost/clips_seen"]) == (1, 10)
        assert trial.intermediate_values.keys() == {0}


@pytest.mark.slow
def test_folds_train_side_by_side_and_what_counts_is_their_mean(simulated: Path):
    search(simulated, 1, holdout={"devices": ["s3", "b"]}, base=CONTENT["base"] | {"validation": {"share": 0.6}})
    (trial,) = trials_of()
    value = 1 - abs(trial.params[ALPHA] - 0.5)
    assert trial.value == pytest.approx(0.75 * value)
    assert trial.intermediate_values == pytest.approx({0: 0.75 * value, 1: 0.75 * value})
    (run,) = runs_of(Tracker(), "trial")
    assert run.metrics["holdout/acc_s3"] == pytest.approx(value)
    assert run.metrics["holdout/acc_b"] == pytest.approx(value / 2)
    assert run.metrics["holdout/acc"] == pytest.approx(0.75 * value)
    assert (run.metrics["cost/trained_epochs"], run.metrics["cost/clips_seen"]) == (4, 40)


class TwoFaces(FakeTraining):
    """The trial 3 is the worst on s3 and the best on the whole; those after it are the best on s3 and the worst."""

    def measured(self) -> dict[str, float]:
        number = int(self.spec.row.split()[1]) if self.spec.row.startswith("trial") else 0
        on_s3, on_b = (0.4, 0.5) if number < 3 else (0.3, 0.7) if number == 3 else (0.8, 0.0)
        return {"validation/device_acc_s3": on_s3, "validation/device_acc_b": on_b}


@pytest.mark.slow
@pytest.mark.parametrize(
    "pruner",
    [{"name": "median", "n_startup_trials": 2}, {"name": "hyperband", "reduction_factor": 2}],
    ids=lambda pruner: pruner["name"],
)
def test_a_trial_is_pruned_by_the_mean_over_the_folds(simulated: Path, pruner: dict):
    """Trial 3 is worse than the others on s3 but better on the whole, trial 4 the other way round."""
    base = CONTENT["base"] | {"validation": {"share": 0.6}}
    content = load(pruner=pruner, base=base, holdout={"devices": ["s3", "b"]})
    run_search(content, identify(simulated), url=storage_url(), trials=9, train=TwoFaces)
    states = [trial.state.name for trial in trials_of()]
    assert states[3] == "COMPLETE"
    assert trials_of()[3].value == pytest.approx(0.5)
    if pruner["name"] == "median":
        assert states[4:] == ["PRUNED"] * 5
    else:
        assert "PRUNED" in states[4:]
    run = runs_of(Tracker(), "trial")[states.index("PRUNED")]
    assert not any(name.startswith(("holdout/", "validation/")) for name in run.metrics)  # of half a training
    assert run.metrics["epoch/objective"] == pytest.approx(0.4)


@pytest.mark.slow
def test_two_objectives_have_a_front(simulated: Path):
    result = search(simulated, 1, objectives=["holdout", "cost/model_kb"], search="s")
    (trial,) = trials_of()
    alpha = trial.params[ALPHA]
    assert trial.values == pytest.approx([1 - abs(alpha - 0.5), 100 * alpha])
    assert result.best[0].values == pytest.approx({"holdout": 1 - abs(alpha - 0.5), "cost/model_kb": 100 * alpha})
    assert [row["name"] for row in yaml.safe_load(result.study)["rows"]] == ["best-trial-0", "base"]


@pytest.mark.slow
def test_a_grid_is_tried_point_by_point(simulated: Path):
    space = {ALPHA: {"type": "float", "low": 0.2, "high": 0.8, "step": 0.2}}
    result = search(simulated, 100, space=space, sampler={"name": "grid"})
    assert result.counts["complete"] == 4
    assert sorted(trial.params[ALPHA] for trial in trials_of()) == pytest.approx([0.2, 0.4, 0.6, 0.8])


@pytest.mark.slow
def test_time_is_an_end_too(simulated: Path):
    data = identify(simulated)
    started = time.monotonic()
    result = run_search(load(), data, url=storage_url(), timeout_seconds=3, train=FakeTraining)
    assert result.counts["complete"] >= 1
    assert time.monotonic() - started < 60


@pytest.mark.slow
def test_objectives_in_another_order_are_another_search(simulated: Path):
    search(simulated, 1, objectives=["holdout", "cost/model_kb"])
    with pytest.raises(InputError, match="begun with other objectives: objectives was"):
        search(simulated, 2, objectives=["cost/model_kb", "holdout"])


@pytest.mark.slow
@pytest.mark.usefixtures("light_workers")
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_storage_that_is_lost_in_the_middle_is_one_line(simulated: Path, jobs: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE", "lose")
    with pytest.raises(InputError, match=r"the Optuna storage sqlite:.* cannot be used: "):
        search(simulated, 2, jobs=jobs)


@pytest.mark.parametrize("is_back", [False, True], ids=["away to the end", "back for the next trial"])
def test_a_trial_whose_store_is_away_is_trained_once(simulated: Path, monkeypatch: pytest.MonkeyPatch, is_back: bool):
    """Optuna has its values; what MLflow is told of it waits on this disk, and is delivered when the store answers."""
    monkeypatch.setattr(failures, "PATIENCE_SECONDS", 0.0)
    logged, calls, trained = Tracker.log_metrics, [], []
    began = FakeTraining.__init__

    def refuse(self: Tracker, run_id: str, *given: object, **named: int) -> None:
        if self.client.get_run(run_id).data.tags["asc.kind"] == "trial":
            calls.append(run_id)
            if len(calls) == 2 or (len(calls) > 2 and not is_back):
                raise ConnectionError("the store is gone")
        logged(self, run_id, *given, **named)

    def begin(self: FakeTraining, spec: RunSpec, *given: object) -> None:
        trained.append(spec.row)
        began(self, spec, *given)

    monkeypatch.setattr(FakeTraining, "__init__", begin)
    said: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(Tracker, "log_metrics", refuse)
        ended = search(simulated, 3, said=said).ended
    assert ended == ("" if is_back else f"2 runs wait on this disk: {LATER}")
    waits = "UNDELIVERED: ConnectionError: the store is gone: its result waits on this disk"
    assert sum(waits in line for line in said) == (1 if is_back else 2), said
    tracker = Tracker()
    assert [trial.state.name for trial in trials_of()] == 3 * ["COMPLETE"]
    if not is_back:
        assert sum(run.status == "FINISHED" for run in runs_of(tracker, "trial")) == 1
        assert search(simulated, 3, said=said).counts["complete"] == 3
    delivered = "what waited on this disk is delivered, the run is finished"
    assert sum(delivered in line for line in said) == (1 if is_back else 2), said
    assert trained == [f"{name} without s3" for name in ("base", "trial 0", "trial 1", "trial 2")]
    for run, trial in zip(runs_of(tracker, "trial"), trials_of(), strict=True):
        assert (run.status, run.tags["asc.state"]) == ("FINISHED", "complete")
        assert len(tracker.client.get_metric_history(run.run_id, "epoch/train_loss")) == 2
        (value,) = tracker.client.get_metric_history(run.run_id, "holdout/acc_s3")
        assert value.value == trial.value
        assert not read_predictions(tracker.artifact(run.run_id, holdout_path("s3")), "validation").empty
    assert not spools()


def test_a_point_that_was_not_trained_is_tried_when_the_store_is_back(simulated: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither MLflow nor Optuna holds a failure."""
    monkeypatch.setattr(failures, "PATIENCE_SECONDS", 0.0)
    created = Tracker.create_run

    def refuse(self: Tracker, study: str, name: str, *given: object, **named: object) -> str:
        if name == "trial 1":
            raise ConnectionError("the store is gone")
        return created(self, study, name, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Tracker, "create_run", refuse)
        with pytest.raises(ConnectionError, match="the store is gone"):
            search(simulated, 3)
    assert Counter(trial.state.name for trial in trials_of()) == {"COMPLETE": 1, "FAIL": 1, "WAITING": 1}
    points = {trial.params[ALPHA] for trial in trials_of()}
    assert len(points) == 2
    result = search(simulated, 3)
    assert (result.counts["complete"], result.counts["cut_off"]) == (3, 1)
    assert points <= {trial.params[ALPHA] for trial in trials_of() if trial.state.name == "COMPLETE"}


def test_what_failed_a_trial_is_told_whatever_its_store_says(simulated: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("the store is gone")

    trained, epochs = FakeTraining.train_epoch, []

    def fail_in_the_second_epoch(self: FakeTraining) -> dict[str, float]:
        epochs.append(self.spec.row)
        if len(epochs) == 2:
            raise TrainingFailure("the loss became nan in epoch 2: lower training.lr_max")
        return trained(self)

    monkeypatch.setattr("asc_study.store.tracking.Tracker.log_steps", refuse)
    monkeypatch.setattr(failures, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(FakeTraining, "train_epoch", fail_in_the_second_epoch)
    said: list[str] = []
    assert search(simulated, 2, said=said).ended.startswith("3 runs wait on this disk")
    assert any("failed: the loss became nan in epoch 2: lower training.lr_max" in line for line in said), said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": {"devices": ["s4"]}}, r"row 'trial without s4': a held-out device must be one of the training"),
        (
            {"objectives": ["validation/acc_s4-s6"]},
            r"validation clips do not have the objective .validation/acc_s4-s6.: they are of the devices a, ",
        ),
        (
            {"space": {"batch_augmentation.random_crop.frames": {"type": "int", "low": 10, "high": 4000}}},
            r"row 'trial with frames=10': fcnn needs at least 15 mel bands and 15 frames, got 32 and 10",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_found_before_anything_is_made(simulated: Path, changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        search(simulated, 1, **changes)
    assert not Path("optuna.db").exists()


def test_a_search_needs_an_end(simulated: Path):
    with pytest.raises(InputError, match="a search needs an end, got neither --trials nor --timeout nor a `budget`"):
        run_search(load(), identify(simulated), url=storage_url(), train=FakeTraining)


@pytest.mark.slow
def test_another_space_under_the_same_name_is_refused(simulated: Path):
    search(simulated, 1)
    with pytest.raises(
        InputError,
        match=r"begun with other parameters: space\.batch_augmentation\.mixup\.alpha\.high was 1\.0, is 2\.0",
    ):
        search(simulated, 2, space={ALPHA: {"type": "float", "low": 0.1, "high": 2.0}})
    with pytest.raises(
        InputError, match=r"begun with other objectives: objectives was \[\['holdout', 'maximize'\]\], is "
    ):
        search(simulated, 2, objectives=["validation/log_loss"])


@pytest.mark.slow
@pytest.mark.usefixtures("light_workers")
def test_a_killed_worker_loses_no_trial(simulated: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE", "die-once")
    said: list[str] = []
    result = search(simulated, 6, jobs=2, said=said)
    assert any("a worker was ended by signal 9: the trial that it had is tried once more" in line for line in said)
    assert (result.counts["complete"], result.counts["cut_off"]) == (6, 1)
    trials = trials_of()
    assert Counter(trial.state.name for trial in trials) == {"COMPLETE": 6, "FAIL": 1}
    (dead,) = (trial for trial in trials if trial.state.name == "FAIL")
    assert dead.params in [trial.params for trial in trials if trial.state.name == "COMPLETE"]
    tracker = Tracker()
    assert Counter(run.status for run in runs_of(tracker, "trial")) == {"FINISHED": 6, "KILLED": 1}
    assert [run.status for run in runs_of(tracker, "search")] == ["FINISHED"]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.usefixtures("light_workers")
def test_a_point_that_kills_its_worker_is_given_up_after_the_second_time(
    simulated: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAKE", "die")
    result = search(simulated, 6, jobs=2)
    assert result.ended == "4 workers died (signal 9) and ended no trial: --jobs 1 shows the reason"
    trials = trials_of()
    assert {trial.state.name for trial in trials} <= {"FAIL", "WAITING"}
    assert {run.status for run in runs_of(Tracker(), "trial")} == {"KILLED"}


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before a report", "at its end"])
def test_a_trial_that_others_took_for_dead_is_theirs(simulated: Path, when: str):
    taken: list[int] = []

    class Sleeper(FakeTraining):
        """Is taken for dead before an epoch that reports, or at its end."""

        def take(self) -> None:
            if not taken and self.spec.row.startswith("trial"):
                taken.append(0)
                study = optuna.load_study(storage=open_storage(storage_url()), study_name="s")
                assert fail_trial(study, 0)

        def train_epoch(self) -> dict[str, float]:
            if when == "before a report":
                self.take()
            return super().train_epoch()

        def result(self) -> Fold:
            self.take()
            return super().result()

    said: list[str] = []
    data = identify(simulated)
    result = run_search(load(), data, url=storage_url(), trials=3, say=said.append, train=Sleeper)
    assert (result.counts["complete"], result.counts["failed"]) == (2, 1)
    assert any("trial 0" in line and "taken for dead" in line for line in said)
    assert [run.status for run in runs_of(Tracker(), "trial")] == ["FAILED", "FINISHED", "FINISHED"]


def _main(simulated: str, trials: str, jobs: str) -> None:
    """What the subprocesses of the tests below run."""
    search(Path(simulated), int(trials), jobs=int(jobs))


def launch(simulated: Path, trials: int, jobs: int, fake: str, **environment: str) -> subprocess.Popen[str]:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_search; test_search._main(*sys.argv[2:])"
    arguments = [str(Path(__file__).parent), str(simulated), str(trials), str(jobs)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "FAKE": fake, **environment},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.usefixtures("light_workers")
def test_two_launches_share_a_search(simulated: Path):
    processes = [launch(simulated, 10, 1, "slow") for _ in range(2)]
    for process in processes:
        _, stderr = process.communicate(timeout=200)
        assert process.returncode == 0, stderr
    trials = trials_of()
    assert Counter(trial.state.name for trial in trials) == {"COMPLETE": 10}
    assert len({trial.user_attrs["asc.worker"][0] for trial in trials}) == 2
    assert len({trial.params[ALPHA] for trial in trials}) == 10
    tracker = Tracker()
    assert sorted(int(run.tags["asc.trial"]) for run in runs_of(tracker, "trial")) == list(range(10))
    assert {run.status for run in tracker.runs("s")} == {"FINISHED"}


@pytest.mark.slow
@pytest.mark.usefixtures("light_workers")
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_ctrl_c_finishes_cleanly_and_the_search_goes_on(simulated: Path, jobs: int):
    process = launch(simulated, 4, jobs, "wait")
    deadline = time.monotonic() + 100
    while len(list(Path.cwd().glob("waiting-*"))) < jobs and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert stderr.count("Traceback") == 1  # of the launch alone, which `main` turns into a line
    trials = trials_of()
    assert Counter(trial.state.name for trial in trials) == {"FAIL": jobs, "WAITING": jobs}
    tracker = Tracker()
    assert {run.status for run in runs_of(tracker, "trial")} == {"KILLED"}
    assert {run.tags["asc.state"] for run in runs_of(tracker, "trial")} == {"interrupted"}

    points = {trial.params[ALPHA] for trial in trials}
    result = search(simulated, 4)
    assert (result.counts["complete"], result.counts["cut_off"]) == (4, jobs)
    assert points <= {trial.params[ALPHA] for trial in trials_of() if trial.state.name == "COMPLETE"}


IN_SPACE = CONTENT["base"] | {"batch_augmentation": {"mixup": {"alpha": 0.9}}}


class RightClips(FakeTraining):
    """Right on the first clips of s3 at each location, as many as its accuracy says."""

    def result(self) -> Fold:
        clips = split_clips(self.launch.data.dataset, self.spec.config)
        clips = clips[clips["split"] == "validation"]
        classes = list(self.spec.config.classes)
        label = np.array([classes.index(scene) for scene in clips["scene"]])
        at = clips.groupby(["device", "city", "location"])["scene"]
        right = (at.cumcount() + 1) / at.transform("size") <= self.value
        table = predictions_table(clips, np.eye(10)[np.where(right, label, (label + 1) % 10)], "ten_class")
        on_s3 = evaluate(table, intervals=False)["validation/device_acc_s3"]
        return Fold(self.measured() | {"validation/device_acc_s3": on_s3, "validation/acc_avg": on_s3}, table)


@pytest.mark.parametrize(
    ("base", "space", "point"),
    [
        (IN_SPACE, {ALPHA: {"type": "float", "low": 0.1, "high": 1.0}}, {ALPHA: 0.9}),
        (IN_SPACE, {ALPHA: {"type": "float", "low": 0.1, "high": 0.8}}, None),
        (IN_SPACE, {ALPHA: {"type": "float", "low": 0.1, "high": 1.0, "step": 0.2}}, {ALPHA: 0.9}),
        (IN_SPACE, {ALPHA: {"type": "float", "low": 0.2, "high": 1.0, "step": 0.2}}, None),
        (CONTENT["base"], {ALPHA: {"type": "float", "low": 0.1, "high": 1.0}}, None),  # it has no mixup
        (
            IN_SPACE,
            {
                "batch_augmentation.spec_augment": {"type": "categorical", "choices": [{}, None]},
                "batch_augmentation.spec_augment.time_mask_ratio": {
                    "type": "float",
                    "low": 0.1,
                    "high": 0.5,
                    "when": {"batch_augmentation.spec_augment": "on"},
                },
                "model.dropout": {"type": "categorical", "choices": [0.1, 0.3]},
            },
            {"batch_augmentation.spec_augment": "off", "model.dropout": 0.3},
        ),
    ],
)
def test_the_base_is_a_point_where_nothing_of_it_is_outside_of_the_space(base: dict, space: dict, point: dict | None):
    assert base_point(load(base=base, space=space)) == point


@pytest.mark.slow
def test_a_base_that_is_in_the_space_is_trial_0(simulated: Path):
    result = search(simulated, 3, base=IN_SPACE)
    assert trials_of()[0].params == {ALPHA: 0.9}
    assert (result.counts["complete"], len(trials_of())) == (3, 3)
    assert result.base is not None
    assert (result.base.trial, result.base.values) == (0, {"holdout": pytest.approx(0.6)})
    assert runs_of(Tracker(), "base") == []
    search(simulated, 5, base=IN_SPACE)
    assert [trial.params[ALPHA] == 0.9 for trial in trials_of()] == [True, False, False, False, False]


@pytest.mark.slow
def test_a_base_outside_of_the_space_is_measured_beside_the_trials(simulated: Path):
    said: list[str] = []
    result = search(simulated, 2, said=said)
    (run,) = runs_of(Tracker(), "base")
    assert (run.status, run.tags["asc.row"], run.metrics["holdout/acc"]) == ("FINISHED", "base", 0.5)
    assert len(trials_of()) == 2
    assert result.base is not None
    assert (result.base.trial, result.base.values) == (None, {"holdout": 0.5})
    assert said[1] == "base: holdout 0.5"
    assert search(simulated, 3).to_dict()["base"]["values"] == {"holdout": 0.5}
    assert len(runs_of(Tracker(), "base")) == 1  # once is enough


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "line"),
    [
        (
            0.9,
            r"\(trial 0\): holdout [\d.]+; the best leads by \+[\d.]+ \[\+[\d.]+, \+[\d.]+\]: more than the noise of",
        ),
        (0.5, r"\(trial 0\): holdout 1; no trial is better: keep the base"),
    ],
)
def test_the_last_line_says_whether_the_best_beats_the_base_by_more_than_noise(
    simulated: Path, alpha: float, line: str
):
    base = CONTENT["base"] | {"batch_augmentation": {"mixup": {"alpha": alpha}}}
    search_file = load(base=base, space={ALPHA: {"type": "categorical", "choices": [0.5, 0.9]}})
    result = run_search(search_file, identify(simulated), url=storage_url(), trials=4, train=RightClips)
    assert re.search(line, result.render().splitlines()[-1])
