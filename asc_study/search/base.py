"""The base of a search as its first measurement, and whether the best of the search beats it by more than noise.

Where the base is a point of the space (nothing that is searched has a value outside of it), it is trial 0, or, on a
grid, whichever trial has that point. Elsewhere, for example where an augmentation is searched that the base does not
have, no trial can be it: the launch measures it once before the trials, with the same seed, fidelity and folds, as a
run of the kind ``base`` that Optuna does not see, because samplers model the points of the space only.
"""

import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from asc_study.base.contract import Kind, Tag, holdout_path, predictions_path
from asc_study.base.errors import InputError, failure_reason
from asc_study.base.metric_table import DEFAULT_OBJECTIVE
from asc_study.base.progress import Say
from asc_study.evaluation.metrics import paired_difference
from asc_study.evaluation.predictions import read_predictions
from asc_study.search.file import Search
from asc_study.search.job import Job
from asc_study.search.objective import HOLDOUT, SearchObjective
from asc_study.search.report import Best
from asc_study.search.space import CategoricalParameter, Point, applies, point_of, possible
from asc_study.search.trial import TrialRun
from asc_study.settings.run_config import flatten
from asc_study.store.addresses import scrubbed
from asc_study.store.claims import run_lock
from asc_study.store.queries import Reader
from asc_study.store.tracking import Tracker

if TYPE_CHECKING:
    import optuna

#: User attribute of an Optuna study: what the base reached, if it is no trial.


@dataclass(frozen=True)
class BaseResult:
    """What the base reached: the trial that it is (None: a run beside the trials), and the lead of the best over it.

    ``lead`` is in the direction that is better; ``low`` and ``high`` are the ends of its interval over locations, None
    where there is none (a cost, a single location). Without a lead there are several objectives or no other trial.
    """

    trial: int | None
    values: Mapping[str, float]
    lead: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def noise(self) -> float | None:
        """Half the width of the lead's interval; None if it is not known."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def render(self) -> str:
        """One line: what it reached, and whether the best is better by more than noise."""
        where = "" if self.trial is None else f" (trial {self.trial})"
        line = f"base{where}: " + ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        if self.lead is None:
            return line
        if self.lead <= 0:
            return f"{line}; no trial is better: keep the base"
        if self.low is None or self.high is None:
            return f"{line}; the best is better by {self.lead:.4g}"
        sense = "more than" if self.low > 0 else "within"
        return (
            f"{line}; the best leads by {self.lead:+.3f} [{self.low:+.3f}, {self.high:+.3f}]: {sense} the noise of the "
            "locations (one training each, and the best was picked on these clips: --final trains both over seeds)"
        )


def base_point(search: Search) -> Point | None:
    """The point of the space that is the base; None if it is not in the space."""
    settings = search.config({})
    values, point = flatten(settings.model_dump()), Point()
    for name, parameter in search.space.items():
        if not applies(parameter, point, search.space):
            continue
        if isinstance(parameter, CategoricalParameter):
            unchanged = (label for label in parameter.labelled() if _is(search, {**point, name: label}, settings))
            found = next(unchanged, None)
        else:
            found = next(iter(possible(parameter, values.get(name))), None)
        if found is None:
            return None
        point[name] = found
    return point if _is(search, point, settings) else None


def _is(search: Search, point: Point, settings: Any) -> bool:
    with suppress(InputError):
        return bool(search.config(point) == settings)
    return False


def enqueue_base(search: Search, study: "optuna.Study") -> None:
    """Have the base tried first if it is a point of the space; a grid has all of its points anyway."""
    point = base_point(search)
    if point is not None and search.sampler.name != "grid":
        study.enqueue_trial(point, skip_if_exists=True)


def measure_base(job: Job, study: "optuna.Study", tracker: Tracker, say: Say) -> None:
    """Measure a base that is no point of the space, once; a failure is told and ends nothing."""
    if base_point(job.search) is not None or Tag.BASE in study.user_attrs or time.time() > job.deadline:
        return
    worker = uuid.uuid4().hex
    run = TrialRun(job.setting(tracker, worker))
    try:
        with run_lock(tracker, job.search.name, worker):
            values = run.run()
    except Exception as error:  # whatever fails it may fail the trials too, which say so
        say(f"base: failed: {scrubbed(failure_reason(error), tracker.uri)}")
        return
    named = {objective.name: value for objective, value in zip(job.search.objectives, values, strict=True)}
    study.set_user_attr(Tag.BASE, {"values": named, "run_id": run.run_id})
    say(f"base: {'  '.join(f'{name} {value:.4g}' for name, value in named.items())}")


def compare_base(search: Search, study: "optuna.Study", tracker: Reader, best: tuple[Best, ...]) -> BaseResult | None:
    """What the base reached and what the best trial is ahead of it; None as long as the base is not measured."""
    found = _find(search, study, tracker)
    if found is None:
        return None
    number, values, run_id = found
    if len(search.objectives) > 1 or not best:
        return BaseResult(number, values)
    (objective,) = search.objectives
    sign = 1 if objective.direction == "maximize" else -1
    lead = sign * (best[0].values[objective.name] - values[objective.name])
    if best[0].number == number or lead <= 0:
        return BaseResult(number, values, min(lead, 0.0))
    tables = [_table(search, objective, tracker, one) for one in (run_id, _run_of(search, tracker, best[0].number))]
    if tables[0] is None or tables[1] is None:
        return BaseResult(number, values, lead)
    metric = DEFAULT_OBJECTIVE if objective.name == HOLDOUT else objective.metric.removeprefix("validation/")
    ends = paired_difference(tables[0], tables[1], metric)
    low, high = sorted(sign * end for end in ends) if ends else (None, None)
    return BaseResult(number, values, lead, low, high)


def _find(search: Search, study: "optuna.Study", tracker: Reader) -> tuple[int | None, dict[str, float], str] | None:
    """The trial (None: none), the values and the MLflow run of the base."""
    if measured := study.user_attrs.get(Tag.BASE):
        return None, measured["values"], measured["run_id"]
    point = base_point(search)
    for trial in study.get_trials(deepcopy=False):
        known = trial.state.name == "COMPLETE" and trial.params.keys() <= search.space.keys()
        if known and point_of(search.space, trial.params) == point:
            values = {objective.name: value for objective, value in zip(search.objectives, trial.values, strict=True)}
            return trial.number, values, _run_of(search, tracker, trial.number)
    return None


def _run_of(search: Search, tracker: Reader, number: int) -> str:
    """The MLflow run of a trial; empty if it was deleted."""
    runs = tracker.runs(search.name, kind=Kind.TRIAL)
    return next((run.run_id for run in runs if run.tags.get(Tag.TRIAL) == str(number)), "")


def _table(search: Search, objective: SearchObjective, tracker: Reader, run_id: str) -> pd.DataFrame | None:
    """The predictions that an objective is measured on; None if it is a cost, or they are not there."""
    if objective.metric.startswith("cost/") or not run_id:
        return None
    with suppress(InputError):
        if objective.name != HOLDOUT:
            return read_predictions(tracker.artifact(run_id, predictions_path("validation")), "validation")
        parts = []
        for name in search.folds(search.config({})):
            fold = read_predictions(tracker.artifact(run_id, holdout_path(name)), "validation")
            parts.append(fold[fold["device"].isin(name.split("+"))])
        return pd.concat(parts)
    return None
