"""Running a search: check it on the data, open its study, run trials under the search's run, report what is best."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.progress import Say, tell_nobody
from asc_study.base.taxonomy import label_column
from asc_study.data.identified import IdentifiedDataset
from asc_study.evaluation.metrics import places_of
from asc_study.search.base import BaseResult, compare_base, enqueue_base, measure_base
from asc_study.search.claims import one_more, settle_trials, trials_lock
from asc_study.search.elsewhere import run_elsewhere
from asc_study.search.file import Search, name_point
from asc_study.search.fold import Trainer, begin_training
from asc_study.search.job import Job, SearchEnded
from asc_study.search.objective import require_measurable
from asc_study.search.points import grid_size
from asc_study.search.report import Best, best_study, best_trials, count_ended, count_states, write_report
from asc_study.search.storage import open_study, storage_errors
from asc_study.search.teachers import without
from asc_study.search.teaching import train_teachers
from asc_study.search.trial import TrialOutcome
from asc_study.search.worker import run_workers
from asc_study.settings.run_config import RunConfig
from asc_study.settings.study_file import Row, Study
from asc_study.store.claims import settle_abandoned
from asc_study.store.tracking import Tracker
from asc_study.store.views import publish, trials_view
from asc_study.study.launch import Launch, launch, prepare_features
from asc_study.study.preflight import check_fit
from asc_study.study.summary import experiment_note, links
from asc_study.study.sync import LATER, sync_study
from asc_study.training.run_data import split_clips
from asc_study.workers.backends import HERE, Workers
from asc_study.workers.pool import require_jobs

if TYPE_CHECKING:
    import optuna
    import pandas as pd


@dataclass(frozen=True)
class SearchResult:
    """Where a search stands: its trials by state over all launches, the best ones, and the study made of them.

    ``ended`` is why this launch ended before there were enough trials; empty if it did not.
    """

    name: str
    counts: dict[str, int]
    best: tuple[Best, ...]
    study: str
    base: BaseResult | None = None
    ended: str = ""

    def render(self) -> str:
        """The result as lines of text: how many trials, each of the best, and whether the base is worse than noise."""
        states = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        lines = [f"Search {self.name}: {states or 'no trials'}"]
        for one in self.best:
            lines.append(f"  best: trial {one.number}: " + ", ".join(f"{n} {v:.4g}" for n, v in one.values.items()))
            lines += [f"    {name}: {value}" for name, value in one.point.items()]
        lines.append(f"  {self.base.render()}" if self.base else "  base: not measured yet")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The result in the types of JSON."""
        best = [{"trial": one.number, "values": one.values, "point": one.point} for one in self.best]
        base = asdict(self.base) if self.base else None
        return {
            "search": self.name,
            "trials": self.counts,
            "best": best,
            "base": base,
            "study": self.study,
            "ended": self.ended,
        }


def run_search(
    search: Search,
    data: IdentifiedDataset,
    *,
    url: str,
    trials: int | None = None,
    timeout_seconds: float | None = None,
    jobs: int = 1,
    say: Say = tell_nobody,
    command: str = "",
    train: Trainer = begin_training,
    workers: Workers = HERE,
) -> SearchResult:
    """Add trials to a search until there are enough, each an MLflow run under the run of the search.

    Parameters
    ----------
    search, data
        What to search, and on what.
    url
        The Optuna storage.
    trials
        Trials in total, those of earlier launches included; by default the file's budget. A trial that failed counts,
        one that was cut off does not: its point is tried again.
    timeout_seconds
        No trial begins after so many seconds of this launch; by default the file's budget.
    jobs
        Trials at the same time, and processes for the features.
    say
        Told one line for people at a time.
    command
        What was typed, for MLflow's page.
    train
        Begins the training of one fold.
    workers
        Where trials run.

    Raises
    ------
    InputError
        If the search does not fit the data, the storage cannot be used, or it holds another search of this name.
    """
    total, timeout = _budget(search, trials, timeout_seconds)
    deadline = time.time() + timeout if timeout is not None else float("inf")
    require_jobs(jobs, "trials to run at the same time")
    check_search(search, data, say)
    tracker = Tracker()
    directions = {objective.metric: objective.direction for objective in search.objectives}
    study = open_study(url, search.name, directions, search.identity(data.digest))
    sync_study(tracker, search.name, say)
    settle_abandoned(tracker, search.name)
    with storage_errors(url):
        with trials_lock(study):
            settle_trials(study)
        say(_describe(search, data, study, total))
        job_of = partial(Job, search, url=url, total=total, deadline=deadline, train=train)
        ended = (
            _add_trials(job_of, search, data, study, tracker, jobs, command, say, workers)
            if one_more(study, total)
            else ""
        )
        best = best_trials(search, study)
        base = compare_base(search, study, tracker, best)
        return SearchResult(search.name, count_states(study), best, best_study(search, study), base, ended)


def _add_trials(
    job_of: Callable[..., Job],
    search: Search,
    data: IdentifiedDataset,
    study: "optuna.Study",
    tracker: Tracker,
    jobs: int,
    command: str,
    say: Say,
    workers: Workers,
) -> str:
    """One launch of a search: its teachers, its features, its trials. Returns why it ended early; empty if it did not.

    ``job_of`` makes the job of a launch and the runs of the teachers.
    """
    with trials_lock(study):
        enqueue_base(search, study)
    try:
        teachers = train_teachers(search, data, tracker, jobs=jobs, command=command, say=say, workers=workers)
        prepare_features(_configs(search), data, jobs, say)
        with launch(
            tracker,
            data,
            study=search.name,
            kind=Kind.SEARCH,
            figures=search.figures,
            jobs=jobs,
            command=command,
            tags={Tag.OPTUNA_STUDY: search.name},
            workers=workers,
        ) as shared:
            if note := _publish(search, tracker, shared):
                say(note)
            _run_trials(job_of(launch=shared, teachers=teachers), tracker, study, jobs, say, workers)
    except SearchEnded as error:
        say(f"the search ends here: {error}")
        return str(error)
    return ""


def _configs(search: Search) -> Iterator[RunConfig]:
    """What the folds of the base and of every end of the space are trained with."""
    for config in (search.config({}), *(config for _, config in search.corners())):
        yield from search.folds(config).values()


def _publish(search: Search, tracker: Tracker, launch: Launch) -> str:
    experiment_id = tracker.experiment_id(search.name)
    objective = search.objectives[0]
    view = trials_view(objective.metric, ascending=objective.direction == "minimize")
    size = f"Trials of {len(search.space)} settings"
    note = experiment_note(
        search.name, search.description, size, launch, links(experiment_id, [view], launch.summary_run_id)
    )
    return publish(tracker, experiment_id, [view], note)


def check_search(search: Search, data: IdentifiedDataset, say: Say = tell_nobody) -> None:
    """Find out before anything runs whether every end of the space can be trained and measured on the data.

    Raises
    ------
    InputError
        One line that names the point, what it asks for and what the data has.
    """
    dataset = data.dataset
    base = search.config({})
    rows = [Row(without("trial", name) if name else "base", fold) for name, fold in search.folds(base).items()]
    rows += [
        Row(f"trial with {name_point(point)}", next(iter(search.folds(config).values())))
        for point, config in search.corners()
    ]
    check_fit(Study(search.name, "", tuple(rows), (search.seed,), search.figures, ""), dataset, say)
    if search.teachers.names:
        check_fit(search.teacher_study(), dataset, say)
    validation = _validation(search, data)
    validation = validation.assign(scene=validation[label_column(base.task)])
    require_measurable(search.objectives, validation, base.classes)


def _budget(search: Search, trials: int | None, timeout: float | None) -> tuple[int | None, float | None]:
    for option, value in (("--trials", trials), ("--timeout", timeout)):
        if value is not None and not value > 0:  # nan, too
            raise InputError(f"{option} must be above 0, got {value}: raise it")
    total = trials if trials is not None else search.budget.trials
    timeout = timeout if timeout is not None else search.budget.timeout_seconds
    if total is None and timeout is None:
        raise InputError("a search needs an end, got neither --trials nor --timeout nor a `budget`: give --trials")
    if search.sampler.name == "grid":
        points = grid_size(search.space, where="space")
        total = min(total or points, points)
    return total, timeout


def _validation(search: Search, data: IdentifiedDataset) -> "pd.DataFrame":
    clips = split_clips(data.dataset, search.config({}))
    return clips[clips["split"] == "validation"]


def _describe(search: Search, data: IdentifiedDataset, study: "optuna.Study", total: int | None) -> str:
    states = ", ".join(f"{count} {state}" for state, count in count_states(study).items() if count)
    wanted = f"{total} trials wanted" if total is not None else "trials until the time is over"
    line = f"search {search.name}: {wanted}, {states or 'none yet'}"
    if not search.holds_out:
        return line
    validation = _validation(search, data)
    held_out = validation[validation["device"].isin(search.holdout.devices)]
    devices, places = ", ".join(search.holdout.devices), len(np.unique(places_of(held_out)))
    return f"{line}; {len(held_out)} held-out clips ({devices}) of {places} locations decide"


def _run_trials(job: Job, tracker: Tracker, study: "optuna.Study", jobs: int, say: Say, workers: Workers) -> None:
    search = job.search

    def tell(outcome: TrialOutcome) -> None:
        done = f"{count_ended(study)}/{job.total}" if job.total is not None else f"{count_ended(study)}"
        say(f"[{done}] {_outcome_line(search, outcome)}")

    try:
        measure_base(job, study, tracker, say)
        if workers.are_elsewhere:
            run_elsewhere(job, study, tracker, jobs, tell, say, backend=workers.backend)
        else:
            run_workers(job, study, tracker, jobs, tell, say)
        if waiting := sync_study(tracker, search.name, say):
            raise SearchEnded(f"{waiting} runs wait on this disk: {LATER}")
    finally:
        with trials_lock(study):  # what workers that were ended could not tell is told here
            settle_trials(study)
        base = compare_base(search, study, tracker, best_trials(search, study))
        write_report(
            search,
            study,
            tracker,
            job.launch.summary_run_id,
            base=base.values if base else {},
            noise=base.noise if base else None,
        )


def _outcome_line(search: Search, outcome: TrialOutcome) -> str:
    head = f"trial {outcome.number} ({name_point(outcome.point)})"
    if outcome.state == "complete":
        values = zip(search.objectives, outcome.values, strict=True)
        told = "  ".join(f"{one.name} {value:.4g}" for one, value in values)
        waits = f"  UNDELIVERED: {outcome.reason}: its result waits on this disk" if outcome.reason else ""
        return f"{head}: {told}  ({outcome.seconds:.0f} s){waits}"
    return f"{head}: {outcome.state}" + (f": {outcome.reason}" if outcome.reason else f"  ({outcome.seconds:.0f} s)")
