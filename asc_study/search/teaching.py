"""Training the teachers of a search, as a study of its own beside it: done once, gone on with like any study."""

from collections.abc import Mapping

import filelock

from asc_study.base.locks import file_lock
from asc_study.base.progress import Say, tell_nobody
from asc_study.data.identified import IdentifiedDataset
from asc_study.search.file import Search
from asc_study.search.job import SearchEnded
from asc_study.search.teachers import without
from asc_study.settings.study_file import Study
from asc_study.store.tracking import Tracker
from asc_study.study.plan import make_plan
from asc_study.study.run_study import run_study
from asc_study.systems.rows import make_ensembles
from asc_study.workers.backends import HERE, Workers

#: (Teacher, fold) -> id of its finished run.
TeacherRuns = Mapping[tuple[str, str], str]


def train_teachers(
    search: Search,
    data: IdentifiedDataset,
    tracker: Tracker,
    *,
    jobs: int = 1,
    command: str = "",
    say: Say = tell_nobody,
    workers: Workers = HERE,
) -> TeacherRuns:
    """Train the teachers that are not trained yet, each for each fold, and find them all.

    Parameters
    ----------
    search, data, tracker
        The search, the data set and the store.
    jobs, command, say, workers
        See `asc_study.study.run_study.run_study`.

    Raises
    ------
    InputError
        If one does not fit the data.
    SearchEnded
        If one is not finished after that: it failed, or another machine trains it.
    """
    study = search.teacher_study()
    if not study.rows:
        return {}

    def told(line: str) -> None:
        say(f"teachers: {line}")

    lock = file_lock(f"teachers {tracker.identity(study.name)}")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        told("another launch trains them: waiting for it")
        lock.acquire()
    try:
        found = _finished(study, data, tracker)
        if not all(found.values()):
            run_study(study, data, jobs=jobs, retry_failed=True, command=command, say=told, workers=workers)
            found = _finished(study, data, tracker)
    finally:
        lock.release()
    if missing := [name for name, run_id in found.items() if not run_id]:
        raise SearchEnded(
            f"the trials need teachers that are not finished, {', '.join(missing)}: `asc-study status {study.name}` "
            "says why; then start the search again"
        )
    return {
        (name, fold): found[without(stands_for, fold)]
        for fold, part in search.teachers.in_folds(search.folds).items()
        for name, stands_for in {**{name: name for name in part.names}, **part.stand_ins}.items()
    }


def _finished(study: Study, data: IdentifiedDataset, tracker: Tracker) -> dict[str, str]:
    """Row or ensemble -> id of its finished run, or empty."""
    (seed,) = study.seeds
    done = {run.spec.row: run.run_id for run in make_plan(study, data.digest, tracker).runs if run.status == "done"}
    runs = {(name, seed): run_id for name, run_id in done.items()}
    made = make_ensembles(tracker, study.name, study.ensembles, study.ensembles, study.seeds, runs, tell_nobody)
    return {name: made.finished.get((name, seed), "") for name in study.names}
