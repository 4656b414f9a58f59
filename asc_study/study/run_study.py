"""Running a study: plan, train what is missing, combine, compare the rows."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from asc_study.base.contract import Kind, MlflowTag, Tag
from asc_study.base.progress import Say, tell_nobody, time_left
from asc_study.base.provenance import fingerprint, short_digest
from asc_study.data.identified import IdentifiedDataset
from asc_study.deploy.stage import SystemOutcome, make_systems, quantise_candidates
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.evaluation.marks import Mark
from asc_study.settings.study_file import Study
from asc_study.store.claims import settle_abandoned
from asc_study.store.tracking import Tracker
from asc_study.study.advice import advice
from asc_study.study.baseline import BaselineOutcome, make_baselines
from asc_study.study.effort import efforts
from asc_study.study.launch import launch, prepare_features
from asc_study.study.plan import describe_plan, make_plan
from asc_study.study.preflight import check_fit
from asc_study.study.summary import compare_rows, describe_study
from asc_study.study.train_run import Outcome, execute_run
from asc_study.systems.marking import Marker
from asc_study.systems.rows import EnsembleOutcome, make_ensembles
from asc_study.workers.calls import Lost
from asc_study.workers.pool import require_jobs, run_parallel

#: How a row that was run or made now ended.
StudyOutcome = Outcome | EnsembleOutcome | SystemOutcome | BaselineOutcome

#: How an outcome ends that makes the launch end with exit code 1.
UNFINISHED: Final = ("failed", "lost")


def run_study(
    study: Study,
    data: IdentifiedDataset,
    *,
    jobs: int = 1,
    only: Sequence[str] = (),
    retry_failed: bool = False,
    same_fingerprint: bool = False,
    command: str = "",
    say: Say = tell_nobody,
) -> list[StudyOutcome]:
    """Make the baseline, run what is new or was cut off, make ensembles and systems; mark what learned nothing.

    Parameters
    ----------
    study, data
        What to run, and on what.
    jobs
        Runs trained at the same time, and processes for the features.
    only
        Names of the rows to run; all by default.
    retry_failed
        Whether runs that failed are tried again.
    same_fingerprint
        Whether what another back end, device or version computed is trained anew.
    command
        What was typed, for MLflow's page.
    say
        Told one line for people at a time.

    Returns
    -------
    list of Outcome, EnsembleOutcome, SystemOutcome and BaselineOutcome
        One for each run that was started now and each baseline, ensemble and system that was made or could not be.

    Raises
    ------
    InputError
        If a row does not fit the data, before anything is logged.
    """
    require_jobs(jobs, "runs to train at the same time")
    check_fit(study, data.dataset, say)
    tracker = Tracker()
    settle_abandoned(tracker, study.name)
    plan = make_plan(study, data.digest, tracker, same_fingerprint=same_fingerprint)
    say(describe_plan(study, plan))
    for note in advice(efforts((row for row in study.only(only).rows if plan.pending.get(row.name)), data.dataset)):
        say(note)
    for run in plan.runs:
        if run.status == "done" and run.recorded_row != run.spec.row:  # the row was renamed in the study file
            tracker.set_tags(run.run_id, {Tag.ROW: run.spec.row, MlflowTag.RUN_NAME: run.spec.label})
    wanted = {"new", "interrupted"} | ({"failed"} if retry_failed else set())
    chosen = {row.name for row in study.only(only).rows}

    def combine() -> list[EnsembleOutcome | SystemOutcome]:
        wanted = study.only(only)
        if not wanted.ensembles and not wanted.systems:
            return []
        finished = {
            (run.spec.row, run.spec.seed): run.run_id
            for run in make_plan(study, data.digest, tracker, same_fingerprint=same_fingerprint).runs
            if run.status == "done"
        }
        finished |= quantise_candidates(tracker, wanted.systems, study.seeds, finished, data, jobs=jobs, say=say)
        made = make_ensembles(tracker, study.name, study.ensembles, wanted.ensembles, study.seeds, finished, say)
        systems = make_systems(
            tracker, study.name, wanted.systems, study.seeds, made.finished, data, jobs=jobs, say=say
        )
        return [*made.outcomes, *systems]

    pending = [run.spec for run in plan.runs if run.status in wanted and run.spec.row in chosen]
    if same_fingerprint:
        pending = [replace(spec, fingerprint=short_digest(fingerprint())) for spec in pending]
    outcomes: list[StudyOutcome] = []
    with launch(
        tracker,
        data,
        study=study.name,
        kind=Kind.STUDY,
        figures=study.figures,
        jobs=max(1, min(jobs, len(pending))),
        command=command,
    ) as shared:
        if note := describe_study(study, tracker, shared):
            say(note)
        prepare_features((spec.config for spec in pending), data, jobs, say)
        outcomes += make_baselines(tracker, study.only(only), data, jobs, say)
        marker = Marker(tracker, study.name)
        began, ended = time.monotonic(), 0
        trained = run_parallel(execute_run, [(spec, shared) for spec in pending], jobs=shared.jobs, lost=_lost)
        for number, outcome in enumerate(trained, 1):
            outcomes.append(outcome)
            record = tracker.run(outcome.run_id) if outcome.run_id else None
            ended += outcome.status != "elsewhere"
            left = time_left(time.monotonic() - began, ended, len(pending) - number)
            say(_outcome_line(outcome, number, len(pending), marker.mark(record) if record else None) + left)
        outcomes += combine()
        marker.mark_all()
        compare_rows(study, tracker, shared, failed=any(outcome.status in UNFINISHED for outcome in outcomes))
    return outcomes


def _lost(call: Lost) -> Outcome:
    """How a run ended whose process died: its checkpoint stays, and the run counts as interrupted."""
    return Outcome(call.args[0], "lost", reason=f"{call.reason}; the next launch goes on from its last epoch")


def _outcome_line(outcome: Outcome, number: int, total: int, mark: Mark | None) -> str:
    head = f"[{number}/{total}] {outcome.spec.label}"
    if outcome.status == "elsewhere":
        return f"{head}: taken by another process"
    if outcome.status in UNFINISHED:
        return f"{head}: {outcome.status.upper()}: {outcome.reason}"
    line = f"{head}: {accuracies(outcome.metrics or {}) or 'trained, no test split'}  ({outcome.seconds:.0f} s)"
    return f"{line}  {mark.name.upper()}: {mark.reason}" if mark else line
