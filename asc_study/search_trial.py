"""One trial of a search: draw a point, train each of its folds, report to Optuna, log to MLflow.

A trial never looks at the test split. It logs metrics and predictions of validation, not the model: what is best is
trained again, on full data and several seeds.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml

from asc_study.cache import cache_dir
from asc_study.claims import signs_of_life
from asc_study.config import RunConfig, flatten, signature
from asc_study.errors import TrainingFailure
from asc_study.execution import Launch, RunSpec, environment, failure_reason, metrics_of, train_run
from asc_study.run_data import run_data
from asc_study.search_claims import HOST, WORKER
from asc_study.search_file import Search
from asc_study.search_objective import HOLDOUT_METRIC, device_metric, mean_metrics
from asc_study.search_space import suggest
from asc_study.tracking import Tracker

if TYPE_CHECKING:
    import pandas as pd
    from optuna import Trial

State = Literal["complete", "pruned", "failed"]

#: Told the epoch (from 0) and its metrics, ``clips`` among them; ends the training by raising.
OnEpoch = Callable[[int, Mapping[str, float]], None]

#: Epochs are logged together for so long: a request to MLflow may take longer than an epoch of a small trial.
_LOG_SECONDS: Final = 5

#: User attribute of a failed trial.
FAILURE: Final = "asc.failure"


@dataclass(frozen=True)
class Fold:
    """One training of a trial: its metrics and its predictions of validation."""

    metrics: Mapping[str, float]
    predictions: "pd.DataFrame"


#: Trains one fold: its settings, the launch, the metrics to watch, and whom to tell each epoch.
Trainer = Callable[[RunSpec, Launch, Sequence[str], OnEpoch], Fold]


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended; ``values`` has one value an objective if it is complete."""

    number: int
    state: State
    seconds: float
    point: Mapping[str, Any]
    values: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Setting:
    """What the trials of one worker share; ``storage`` is the URL without its password.

    ``steps_per_fold`` is the epochs of the longest training: folds begin at the same steps in all trials.
    """

    search: Search
    launch: Launch
    tracker: Tracker
    train: Trainer
    storage: str
    worker: str
    steps_per_fold: int


def train_fold(spec: RunSpec, launch: Launch, watch: Sequence[str], on_epoch: OnEpoch) -> Fold:
    """Train one fold in this process."""
    data = run_data(spec.config, launch.dataset, launch.audio_digests)
    data = replace(data, clips=data.clips[data.clips["split"] != "test"])
    clips = int((data.clips["split"] == "train").sum())
    checkpoint = cache_dir() / "checkpoints" / f"trial-{os.getpid()}.npz"
    checkpoint.unlink(missing_ok=True)  # of a killed process that had this number
    try:
        result = train_run(
            spec,
            data,
            checkpoint,
            lambda epoch, measured: on_epoch(epoch, {**measured, "clips": clips}),
            watch=watch,
            alone=launch.jobs == 1,
        )
    finally:
        checkpoint.unlink(missing_ok=True)
    return Fold(metrics_of(result), result.predictions["validation"])


class TrialRun:
    """One trial: created, it claims Optuna's trial for its worker and draws the point; `run` does the rest."""

    def __init__(self, setting: Setting, trial: "Trial") -> None:
        self._setting, self._trial = setting, trial
        self._start = time.perf_counter()
        self._epochs = self._clips = 0
        self._folds: dict[str, Fold] = {}
        self._unlogged: dict[int, dict[str, float]] = {}
        self._logged = time.monotonic()
        self._run_id = ""
        trial.set_user_attr(HOST, socket.gethostname())
        trial.set_user_attr(WORKER, setting.worker)
        self.point = suggest(setting.search.space, trial)

    def run(self) -> tuple[float, ...]:
        """Train and log; returns the values of the objectives.

        Raises
        ------
        optuna.TrialPruned
            If the pruner ends the trial.
        Exception
            Whatever made the training fail; it has been logged.
        """
        from optuna import TrialPruned

        search, launch, tracker = self._setting.search, self._setting.launch, self._setting.tracker
        name = f"trial {self._trial.number}"
        try:
            config = search.config(self.point, where=name)
            self._run_id = tracker.create_run(search.name, name, self._tags(config), self._params(config))
            with signs_of_life(tracker, self._run_id, launch.process_id):
                for index, (fold, settings) in enumerate(search.folds(config).items()):
                    self._folds[fold] = self._train(index, fold, settings)
                metrics = self._metrics()
                values = self._values(metrics)
                self._log_artifacts(config)
        except TrialPruned:
            self._end("KILLED", "pruned")
            raise
        except KeyboardInterrupt:
            self._end("KILLED", "interrupted")
            raise
        except Exception as error:  # Keras', MLflow's or the disk's: no trial's failure may end the others
            self._end("FAILED", "failed", failure_reason(error))
            self._trial.set_user_attr(FAILURE, failure_reason(error))
            raise
        self._end("FINISHED", "complete")
        return values

    def outcome(self, state: State, values: Sequence[float] = (), reason: str = "") -> TrialOutcome:
        """How the trial ended, for people."""
        seconds = time.perf_counter() - self._start
        return TrialOutcome(self._trial.number, state, seconds, self.point, tuple(values), reason)

    def _train(self, index: int, name: str, config: RunConfig) -> Fold:
        search, launch = self._setting.search, self._setting.launch
        alone = len(search.targets) == 1  # Optuna has intermediate values for one objective only
        watched = search.targets[0].watched(config.validation.holdout_devices) if alone else ()

        def on_epoch(epoch: int, measured: Mapping[str, float]) -> None:
            self._epochs += 1
            self._clips += int(measured["clips"])
            self._report(index * self._setting.steps_per_fold + epoch, measured, watched)

        label = f"trial {self._trial.number}" + (f" without {name}" if name else "")
        spec = RunSpec(search.name, label, search.seed, config, signature="", combination="")
        try:
            return self._setting.train(spec, launch, watched, on_epoch)
        finally:
            self._log_epochs()

    def _report(self, step: int, measured: Mapping[str, float], watched: Sequence[str]) -> None:
        from optuna import TrialPruned

        shown = {f"epoch/{name}": value for name, value in measured.items() if "/" not in name and name != "clips"}
        watched_values = [measured[name] for name in watched if name in measured]
        if watched_values:
            value = sum(watched_values) / len(watched_values)
            shown["epoch/objective"] = value
            self._trial.report(value, step)
        self._unlogged[step] = shown
        if time.monotonic() - self._logged > _LOG_SECONDS:
            self._log_epochs()
        if watched_values and self._trial.should_prune():
            raise TrialPruned

    def _log_epochs(self) -> None:
        if self._unlogged:
            steps, self._unlogged = self._unlogged, {}
            self._logged = time.monotonic()
            self._setting.tracker.log_path(self._run_id, list(steps.values()), first=min(steps) + 1)

    def _metrics(self) -> dict[str, float]:
        """The means over the folds that are trained, the accuracy on each held-out device, and the effective cost."""
        metrics: dict[str, float] = {}
        if self._folds:
            metrics = mean_metrics({name: fold.metrics for name, fold in self._folds.items()})
        held_out = {
            f"holdout/acc_{device}": fold.metrics[device_metric(device)]
            for name, fold in self._folds.items()
            for device in (name.split("+") if name else ())
            if device_metric(device) in fold.metrics
        }
        if held_out:
            metrics |= held_out | {HOLDOUT_METRIC: sum(held_out.values()) / len(held_out)}
        return metrics | {
            "cost/trial_seconds": time.perf_counter() - self._start,
            "cost/trained_epochs": self._epochs,
            "cost/clips_seen": self._clips,
        }

    def _values(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        for target in self._setting.search.targets:
            if target.metric not in metrics:
                raise TrainingFailure(f"the trial has no {target.metric}: validation has no such clips")
        return tuple(metrics[target.metric] for target in self._setting.search.targets)

    def _log_artifacts(self, config: RunConfig) -> None:
        from asc_study.evaluation.predictions import write_predictions

        with self._setting.tracker.artifacts(self._run_id) as folder:
            for name, fold in self._folds.items():
                path = f"holdout/{name}.parquet" if name else "predictions/validation.parquet"
                write_predictions(fold.predictions, folder / path)
            settings = {"trial": self._trial.number, "point": self.point, **config.model_dump()}
            (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
            (folder / "environment.json").write_text(json.dumps(environment(), indent=2), encoding="utf-8")

    def _end(self, status: str, state: str, failure: str = "") -> None:
        if not self._run_id:  # the run itself could not be created
            return
        tracker = self._setting.tracker
        tracker.log_metrics(self._run_id, self._metrics(), self._epochs)
        tracker.set_tags(self._run_id, {"asc.state": state})
        tracker.finish(self._run_id, status, failure=failure)

    def _tags(self, config: RunConfig) -> dict[str, str]:
        setting, launch = self._setting, self._setting.launch
        return {
            "asc.study": setting.search.name,
            "asc.row": f"trial {self._trial.number}",
            "asc.kind": "trial",
            "asc.trial": str(self._trial.number),
            "asc.optuna_study": setting.search.name,
            "asc.optuna_storage": setting.storage,
            "asc.seed": str(setting.search.seed),
            "asc.combination": signature(config, launch.dataset_digest, None),
            "asc.task": config.task,
            "asc.dataset": launch.dataset.root.name,
            "asc.dataset_digest": launch.dataset_digest,
            "asc.git_commit": launch.git_commit,
            "asc.launch": setting.worker,
            "asc.host": socket.gethostname(),
            "mlflow.parentRunId": launch.parent_run_id,
        }

    def _params(self, config: RunConfig) -> dict[str, Any]:
        drawn = {f"space.{name}": value for name, value in self.point.items()}
        return flatten(config.model_dump()) | drawn | {"seed": self._setting.search.seed}
