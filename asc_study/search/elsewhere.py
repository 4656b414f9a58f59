"""Trials on a cluster: each is a call of its own, which any machine takes that has room."""

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from asc_study.base.progress import Say
from asc_study.search.claims import settle_trials, trials_lock
from asc_study.search.job import DEATHS, FAILURES, Job, SearchEnded, Tell, all_failed
from asc_study.search.trial import TrialOutcome
from asc_study.search.worker import work
from asc_study.store.claims import settle_abandoned
from asc_study.store.tracking import Tracker
from asc_study.workers.calls import Backend, Lost

if TYPE_CHECKING:
    from optuna import Study


def run_elsewhere(
    job: Job, study: "Study", tracker: Tracker, jobs: int, tell: Tell, say: Say, *, backend: Backend
) -> None:
    """Run trials by a back end, ``jobs`` at a time, until there are enough, and tell how each ended.

    Raises
    ------
    InputError
        If the storage is lost.
    SearchEnded
        If trial after trial fails, or worker after worker dies.
    """
    is_over = False

    def calls() -> Iterator[tuple[()]]:
        while not is_over and time.time() < job.deadline:
            yield ()

    deaths = failures = 0
    for ended in backend(partial(_one_trial, job), calls(), jobs=jobs):
        if isinstance(ended, Lost):
            with trials_lock(study):
                settle_trials(study)
            settle_abandoned(tracker, study.study_name)
            deaths += 1
            if deaths > DEATHS:
                raise SearchEnded(
                    f"{deaths} workers died and ended no trial, {ended.reason}: --backend local shows more"
                )
            say(f"note: a trial was lost, {ended.reason}: its point is tried again")
        elif ended is None:
            is_over = True
        else:
            deaths = 0
            tell(ended)
            failures = failures + 1 if ended.state == "failed" else 0
            if failures == FAILURES:
                raise all_failed(ended)


def _one_trial(job: Job) -> TrialOutcome | None:
    """Run one more trial; None if there are enough."""
    told: list[TrialOutcome] = []
    work(job, told.append, most=1)
    return told[0] if told else None
