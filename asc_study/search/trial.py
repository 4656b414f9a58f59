"""One trial of a search: draw a point, train each of its folds, report to Optuna, log to MLflow.

A trial never looks at the test split. It logs metrics and predictions of validation, not the model: what is best is
trained again, on full data and several seeds.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag, holdout_path, predictions_path
from asc_study.base.errors import TrainingFailure, failure_reason
from asc_study.base.files import write_file
from asc_study.base.progress import EpochProgress
from asc_study.search.claims import claim_trial
from asc_study.search.file import Search
from asc_study.search.fold import CLIPS, Fold, FoldTraining, Trainer
from asc_study.search.objective import HOLDOUT_METRIC, device_metric, mean_metrics
from asc_study.search.space import suggest
from asc_study.search.teachers import without
from asc_study.settings.migrations import written_config
from asc_study.settings.run_config import RunConfig, flatten
from asc_study.store.addresses import scrubbed
from asc_study.store.claims import signs_of_life
from asc_study.store.delivery import EpochDelivery, deliver_result
from asc_study.store.failures import is_outer, patiently
from asc_study.store.spool import Head, Result, Spool, now_ms
from asc_study.store.tracking import Tracker
from asc_study.study.epoch_log import EpochLog
from asc_study.study.launch import Launch
from asc_study.study.run_log import log_environment
from asc_study.study.spec import RunSpec

if TYPE_CHECKING:
    from optuna import Trial

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended.

    Attributes
    ----------
    values
        One an objective if it is complete.
    reason
        Why it failed; of a complete one why its result waits on this disk, empty if it does not.
    """

    number: int
    state: State
    seconds: float
    point: Mapping[str, Any]
    values: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Setting:
    """What the trials of one worker share.

    ``storage`` is the URL without its password, ``teachers`` are the runs of each teacher and fold.
    """

    search: Search
    launch: Launch
    tracker: Tracker
    train: Trainer
    storage: str
    worker: str
    teachers: Mapping[tuple[str, str], str] = field(default_factory=dict)


class _NoTrial:
    """Stands for Optuna's trial where the base itself is measured: nothing is drawn, reported or pruned."""

    number = -1

    def set_user_attr(self, key: str, value: Any) -> None:
        pass

    def report(self, value: float, step: int) -> None:
        pass

    def should_prune(self) -> bool:
        return False


class TrialRun:
    """One trial: created, it claims Optuna's trial for its worker and draws the point; `run` does the rest.

    Without a trial it is the base itself, which is no point of the space.
    """

    def __init__(self, setting: Setting, trial: "Trial | None" = None) -> None:
        self._setting, self._trial = setting, trial or _NoTrial()
        self._name = "base" if trial is None else f"trial {trial.number}"
        self._start = time.perf_counter()
        self._epochs = self._trained_epochs = self._clips = 0
        self._folds: dict[str, Fold] = {}
        self._run_id = self._undelivered = ""
        self.point: Mapping[str, Any] = {}
        if trial is not None:
            claim_trial(trial, setting.worker)
            self.point = suggest(setting.search.space, trial)

    @property
    def run_id(self) -> str:
        """The MLflow run; empty before it is created."""
        return self._run_id

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
        try:
            config = search.config(self.point, where=self._name)
            self._run_id = tracker.create_run(search.name, self._name, self._tags(config), self._params(config))
            spool = Spool(self._run_id)
            spool.open(Head(search.name, self._name, tracker.identity(search.name), self._setting.worker))
            with signs_of_life(tracker, self._run_id, launch.process_id):
                log_environment(tracker, self._run_id)
                try:
                    with EpochLog(tracker, spool, waits=False) as epochs:
                        self._folds = self._train(config, epochs)
                    metrics = self._metrics()
                    values = self._values(metrics)
                    self._write_result(spool, config, metrics)
                except BaseException:
                    with suppress(Exception):  # what ended the training is what is to be told
                        self._deliver_epochs(spool)
                    raise
                self._undelivered = self._hand_in(spool)
            if not self._undelivered:
                patiently(tracker.uri, tracker.finish, self._run_id)
                spool.remove()
        except TrialPruned:
            self._try_to_end("KILLED", "pruned")
            raise
        except KeyboardInterrupt:
            self._try_to_end("KILLED", "interrupted")
            raise
        except Exception as error:  # Keras', MLflow's or the disk's: no trial's failure may end the others
            if is_outer(error):  # nothing is wrong with the point
                self._try_to_end("KILLED", "interrupted")
                raise
            reason = scrubbed(failure_reason(error), self._setting.tracker.uri)
            self._try_to_end("FAILED", "failed", reason)
            self._trial.set_user_attr(Tag.FAILURE, reason)
            raise
        return values

    def outcome(self, state: State, values: Sequence[float] = (), reason: str = "") -> TrialOutcome:
        """How the trial ended, for people."""
        seconds = time.perf_counter() - self._start
        return TrialOutcome(self._trial.number, state, seconds, self.point, tuple(values), reason or self._undelivered)

    def disown(self, reason: str) -> None:
        """Mark the MLflow run as failed: Optuna has the trial so, whatever came of it here."""
        self._setting.tracker.set_tags(self._run_id, {Tag.STATE: "failed"})
        self._setting.tracker.finish(self._run_id, "FAILED", failure=reason)

    def _deliver_epochs(self, spool: Spool) -> None:
        EpochDelivery(self._setting.tracker, spool)()
        spool.remove()

    def _hand_in(self, spool: Spool) -> str:
        """Deliver the result; where the store does not take it, it waits in the spool, and this returns why."""
        tracker = self._setting.tracker
        try:
            deliver_result(tracker, spool, partial(patiently, tracker.uri))
        except Exception as error:
            if is_outer(error):
                return scrubbed(failure_reason(error), tracker.uri)
            raise
        except KeyboardInterrupt:
            spool.remove()  # the point is tried again
            raise
        return ""

    def _train(self, config: RunConfig, log: EpochLog) -> dict[str, Fold]:
        """Train the folds side by side, an epoch of each in turn: the pruner judges the mean of all."""
        from optuna import TrialPruned

        search, launch = self._setting.search, self._setting.launch
        alone = len(search.objectives) == 1  # Optuna has intermediate values for one objective only
        trainings: dict[str, FoldTraining] = {}
        watched: dict[str, Sequence[str]] = {}
        for name, settings in search.folds(config).items():
            watched[name] = search.objectives[0].watched(settings.validation.holdout_devices) if alone else ()
            teacher = self._setting.teachers[config.distillation.teacher, name] if config.distillation else ""
            label = without(self._name, name)
            spec = RunSpec(search.name, label, search.seed, settings, signature="", combination="", teacher=teacher)
            trainings[name] = self._setting.train(spec, launch, watched[name])
        epochs = config.training.epochs
        with EpochProgress(self._name, epochs, alone=launch.jobs == 1) as progress:
            for epoch in range(epochs):
                measured = {name: training.train_epoch() for name, training in trainings.items()}
                shown = self._report(epoch, measured, watched)
                log.add(epoch, shown)
                progress(epoch, shown)
                if "objective" in shown and self._trial.should_prune():
                    raise TrialPruned
        return {name: training.result() for name, training in trainings.items()}

    def _report(
        self, epoch: int, measured: Mapping[str, Mapping[str, float]], watched: Mapping[str, Sequence[str]]
    ) -> Mapping[str, float]:
        """Tell Optuna of an epoch; returns the means over the folds, and of the objective if it has one."""
        self._epochs = epoch + 1
        self._trained_epochs += len(measured)
        self._clips += sum(int(metrics[CLIPS]) for metrics in measured.values())
        shown = {name: value for name, value in mean_metrics(measured).items() if "/" not in name and name != CLIPS}
        values = [metrics[name] for fold, metrics in measured.items() for name in watched[fold] if name in metrics]
        if values:
            shown["objective"] = sum(values) / len(values)
            self._trial.report(shown["objective"], epoch)
        return shown

    def _metrics(self) -> dict[str, float]:
        """The effective cost; once all folds are trained, also their means and the accuracy on each held-out device."""
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
            "cost/trained_epochs": self._trained_epochs,
            "cost/clips_seen": self._clips,
        }

    def _values(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        for objective in self._setting.search.objectives:
            if objective.metric not in metrics:
                raise TrainingFailure(f"the trial has no {objective.metric}: validation has no such clips")
            if not math.isfinite(value := metrics[objective.metric]):  # Optuna would fail it without a word
                raise TrainingFailure(f"{objective.metric} must be a number, got {value}: lower training.lr_max")
        return tuple(metrics[objective.metric] for objective in self._setting.search.objectives)

    def _write_result(self, spool: Spool, config: RunConfig, metrics: Mapping[str, float]) -> None:
        from asc_study.evaluation.predictions import write_predictions

        with spool.writing_result() as made:
            for name, fold in self._folds.items():
                path = holdout_path(name) if name else predictions_path("validation")
                write_predictions(fold.predictions, made.artifacts / path)
            text = written_config(config, trial=self._trial.number, point=self.point)
            write_file(made.artifacts / Artifact.CONFIG, text)
            made.write(Result(metrics, now_ms(), {Tag.STATE: "complete"}))

    def _end(self, status: str, state: str, failure: str = "") -> None:
        if not self._run_id:  # the run itself could not be created
            return
        tracker = self._setting.tracker
        tracker.log_metrics(self._run_id, self._metrics())
        tracker.set_tags(self._run_id, {Tag.STATE: state})
        tracker.finish(self._run_id, status, failure=failure)

    def _try_to_end(self, status: str, state: str, failure: str = "") -> None:
        """End the run if the store takes it: else it stays as it is, and the next launch settles it."""
        with suppress(Exception):  # what ended the trial is what is to be told
            self._end(status, state, failure)

    def _tags(self, config: RunConfig) -> dict[str, str]:
        setting, launch = self._setting, self._setting.launch
        point = {Tag.KIND: Kind.TRIAL, Tag.TRIAL: str(self._trial.number)}
        return {
            Tag.STUDY: setting.search.name,
            Tag.ROW: self._name,
            **(point if self._name != "base" else {Tag.KIND: Kind.BASE}),
            Tag.OPTUNA_STUDY: setting.search.name,
            Tag.OPTUNA_STORAGE: setting.storage,
            Tag.SEED: str(setting.search.seed),
            Tag.COMBINATION: setting.search.combination(config, launch.data.digest),
            Tag.TASK: config.task,
            **launch.tags(),
            Tag.LAUNCH: setting.worker,
            MlflowTag.PARENT: launch.summary_run_id,
        }

    def _params(self, config: RunConfig) -> dict[str, Any]:
        drawn = {f"space.{name}": value for name, value in self.point.items()}
        return flatten(config.model_dump()) | drawn | {"seed": self._setting.search.seed}
