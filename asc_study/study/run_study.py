"""Running a study: plan, train what is missing, combine, compare the rows."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from asc_study.base.contract import Kind, MlflowTag, Tag
from asc_study.base.progress import Say, tell_nobody, time_left
from asc_study.base.provenance import fingerprint, short_digest
from asc_study.data.identified import IdentifiedDataset
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.evaluation.marks import Mark
from asc_study.figures.loading import pages_load_plotlyjs
from asc_study.settings.study_file import Study
from asc_study.store.claims import settle_abandoned
from asc_study.store.failures import is_outer, patience_seconds
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.study.advice import advice
from asc_study.study.baseline import BaselineOutcome, make_baselines
from asc_study.study.effort import efforts
from asc_study.study.launch import Launch, launch, prepare_features
from asc_study.study.plan import Plan, describe_plan, make_plan
from asc_study.study.preflight import check_fit
from asc_study.study.spec import Outcome, RunSpec
from asc_study.study.summary import compare_rows, describe_study, publish_study
from asc_study.study.sync import LATER, sync_study
from asc_study.study.teachers import heard_before, waves
from asc_study.study.train_run import execute_run, left_untrained
from asc_study.systems.marking import Marker
from asc_study.systems.rows import EnsembleOutcome, make_ensembles
from asc_study.training.run_data import Cuts
from asc_study.workers.backends import HERE, Workers
from asc_study.workers.calls import Backend, Lost
from asc_study.workers.pool import require_jobs, run_parallel

if TYPE_CHECKING:
    from asc_study.deploy.stage import SystemOutcome

#: Runs that failed before and are named.
_NAMED: Final = 5

#: How a row that was run or made now ended.
StudyOutcome: TypeAlias = "Outcome | EnsembleOutcome | SystemOutcome | BaselineOutcome"

#: How an outcome ends that makes the launch end with exit code 1.
UNFINISHED: Final = ("failed", "interrupted", "undelivered")


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
    workers: Workers = HERE,
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
    workers
        Where runs are trained; features, baselines, ensembles and systems are always made on this machine.

    Returns
    -------
    list of Outcome, EnsembleOutcome, SystemOutcome and BaselineOutcome
        One for each run that was started now, or failed before and is not tried again, and each baseline, ensemble and
        system that was made or could not be.

    Raises
    ------
    InputError
        If a row does not fit the data, before anything is logged.
    """
    require_jobs(jobs, "runs to train at the same time")
    cuts = Cuts(data.dataset)
    check_fit(study, data.dataset, say, cuts)
    patience_seconds()  # what is wrong with it is said now
    tracker = Tracker()
    sync_study(tracker, study.name, say)
    settle_abandoned(tracker, study.name)
    plan_now = partial(make_plan, study, data.digest, tracker, same_fingerprint=same_fingerprint)
    plan, chosen = plan_now(), study.only(only)
    say(describe_plan(study, plan))
    _advise(study, chosen, plan, data, cuts, say)
    del cuts  # tables as large as the data set's own, which a launch would else hold to its end
    _rename_rows(plan, tracker)
    pending = _pending(plan, chosen, retry_failed=retry_failed, same_fingerprint=same_fingerprint)
    outcomes: list[StudyOutcome] = [] if retry_failed else _failed_before(plan, chosen, say)
    launched = launch(
        tracker,
        data,
        study=study.name,
        kind=Kind.STUDY,
        figures=study.figures,
        jobs=max(1, min(jobs, len(pending))),
        command=command,
        workers=workers,
    )
    with launched as shared, pages_load_plotlyjs(study.figures):
        describe_study(study, tracker, shared)
        told = publish_study(study, tracker, shared) if pending or outcomes else ""
        if told:
            say(told)
        prepare_features((spec.config for spec in pending), data, jobs, say)
        outcomes += make_baselines(tracker, chosen, data, jobs, say)
        marker = Marker(tracker, study.name)
        outcomes += _train_waves(study, pending, plan_now, shared, tracker, marker, say, workers.backend)
        if chosen.ensembles or chosen.systems:
            outcomes += _combine(study, chosen, plan_now(), tracker, data, jobs, say)
        marker.mark_all()
        failed = any(outcome.status in UNFINISHED for outcome in outcomes)
        late = compare_rows(study, tracker, shared, idle=not outcomes, failed=failed)
        if late and not told:
            say(late)
    return outcomes


def _advise(study: Study, chosen: Study, plan: Plan, data: IdentifiedDataset, cuts: Cuts, say: Say) -> None:
    """Say what does not fit the number of clips, or what flatters itself, of the rows that are to be trained."""
    rows = [row for row in chosen.rows if plan.pending.get(row.name)]
    for note in advice(efforts(rows, data.dataset, cuts)) + heard_before(study, {row.name for row in rows}):
        say(note)


def _mark(marker: Marker, record: RunRecord) -> Mark | None:
    """The mark of a run that was trained now; a store that fails is no reason to end the other trainings."""
    try:
        return marker.mark(record)
    except Exception as error:
        if is_outer(error):
            return None
        raise


def _rename_rows(plan: Plan, tracker: Tracker) -> None:
    """Call the runs of a row as the study file calls it now."""
    for run in plan.runs:
        if run.status == "done" and run.recorded_row != run.spec.row:
            tracker.set_tags(run.run_id, {Tag.ROW: run.spec.row, MlflowTag.RUN_NAME: run.spec.label})


def _pending(plan: Plan, chosen: Study, *, retry_failed: bool, same_fingerprint: bool) -> list[RunSpec]:
    """The runs to train now."""
    wanted = {"new", "interrupted"} | ({"failed"} if retry_failed else set())
    rows = {row.name for row in chosen.rows}
    pending = [run.spec for run in plan.runs if run.status in wanted and run.spec.row in rows]
    if same_fingerprint:
        return [replace(spec, fingerprint=short_digest(fingerprint())) for spec in pending]
    return pending


def _failed_before(plan: Plan, chosen: Study, say: Say) -> list[StudyOutcome]:
    """The runs that failed in an earlier launch and are not tried again; they are named."""
    rows = {row.name for row in chosen.rows}
    left = [run for run in plan.runs if run.status == "failed" and run.spec.row in rows]
    if left:
        names = ", ".join(run.spec.label for run in left[:_NAMED]) + (" ..." if len(left) > _NAMED else "")
        say(f"not tried again, for they failed before: {names}; --retry-failed tries them")
    return [Outcome(run.spec, "failed", reason=run.reason) for run in left]


def _train_waves(
    study: Study,
    pending: Sequence[RunSpec],
    plan_now: Callable[[], Plan],
    shared: Launch,
    tracker: Tracker,
    marker: Marker,
    say: Say,
    backend: Backend,
) -> Iterator[StudyOutcome]:
    """Train the runs, those that others need first: a run begins when all that it needs is there."""
    for wave in waves(study):
        due: Sequence[RunSpec] = [spec for spec in pending if spec.row in wave]
        if any(spec.config.needs for spec in due):
            due, told = _with_needed(study, due, plan_now(), tracker, say)
            yield from told
        yield from _train(due, shared, tracker, marker, say, backend)


def _train(
    pending: Sequence[RunSpec], shared: Launch, tracker: Tracker, marker: Marker, say: Say, backend: Backend
) -> Iterator[Outcome]:
    """Train the runs; how each ended is told as soon as it does, with the time that those behind it will take."""
    began, ended = time.monotonic(), 0
    execute, calls = partial(execute_run, launch=shared), [(spec,) for spec in pending]
    trained = run_parallel(execute, calls, jobs=shared.jobs, lost=_lost, backend=backend)
    others: list[Outcome] = []
    for number, outcome in enumerate(trained, 1):
        record = tracker.run(outcome.run_id) if outcome.run_id else None
        ended += outcome.status not in ("elsewhere", "taken over")
        left = time_left(time.monotonic() - began, ended, len(pending) - number)
        say(_outcome_line(outcome, number, len(pending), _mark(marker, record) if record else None) + left)
        if outcome.status in ("elsewhere", "taken over"):
            others.append(outcome)
        else:
            yield outcome
    for outcome in others:
        if left_untrained(tracker, outcome.spec):
            outcome = replace(outcome, status="interrupted", reason="the process that had it did not finish it")
            say(f"{outcome.spec.label}: INTERRUPTED: {outcome.reason}: start the study again")
        yield outcome


def _with_needed(
    study: Study, needing: Sequence[RunSpec], plan: Plan, tracker: Tracker, say: Say
) -> tuple[list[RunSpec], list[StudyOutcome]]:
    """The runs for which all is there, with the runs needed, and what else ended: ensembles that teach are made now."""
    finished = {(run.spec.row, run.spec.seed): run.run_id for run in plan.runs if run.status == "done"}
    named = {row for spec in needing for row in spec.config.needs.values()}
    teachers = [row for row in study.ensembles if row.name in named]
    made = make_ensembles(tracker, study.name, study.ensembles, teachers, study.seeds, finished, say)
    ready: list[RunSpec] = []
    ended: list[StudyOutcome] = [*made.outcomes]
    for spec in needing:
        ids = {setting: made.finished.get((row, spec.seed), "") for setting, row in spec.config.needs.items()}
        if all(ids.values()):
            teacher, origin = ids.get("distillation.teacher", ""), ids.get("continues.row", "")
            ready.append(replace(spec, teacher=teacher, origin=origin))
            continue
        missing = [what for what, run_id in zip(spec.needs, ids.values(), strict=True) if not run_id]
        reason = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not finished"
        say(f"{spec.label}: waits: {reason}: run that first, or leave out --only")
        ended.append(Outcome(spec, "waits", reason=reason))
    return ready, ended


def _lost(call: Lost) -> Outcome:
    """How a run ended whose process died: its checkpoint stays."""
    return Outcome(call.args[0], "interrupted", reason=call.reason)


def _combine(
    study: Study, chosen: Study, plan: Plan, tracker: Tracker, data: IdentifiedDataset, jobs: int, say: Say
) -> "list[EnsembleOutcome | SystemOutcome]":
    """Make the chosen ensembles and systems of the runs that are done."""
    # Half a second of imports, which studies of rows alone do without.
    from asc_study.deploy.networks import SystemsWork, quantise_candidates
    from asc_study.deploy.stage import make_systems

    finished = {(run.spec.row, run.spec.seed): run.run_id for run in plan.runs if run.status == "done"}
    work = SystemsWork(tracker, study.name, chosen.systems, study.seeds, finished, data, jobs, say)
    finished |= quantise_candidates(work)
    made = make_ensembles(tracker, study.name, study.ensembles, chosen.ensembles, study.seeds, finished, say)
    systems = make_systems(replace(work, finished=made.finished))
    return [*made.outcomes, *systems]


def _outcome_line(outcome: Outcome, number: int, total: int, mark: Mark | None) -> str:
    head = f"[{number}/{total}] {outcome.spec.label}"
    if outcome.status == "elsewhere":
        return f"{head}: taken by another process"
    if outcome.status == "taken over":
        return f"{head}: taken over by another process, which goes on with it"
    if outcome.status == "failed":
        return f"{head}: FAILED: {outcome.reason}"
    if outcome.status == "interrupted":
        return f"{head}: INTERRUPTED: {outcome.reason}: the same command goes on from its last epoch"
    if outcome.status == "undelivered":
        return f"{head}: UNDELIVERED: {outcome.reason}: it is trained, its result waits on this disk: {LATER}"
    line = f"{head}: {accuracies(outcome.metrics or {}) or 'trained, no test split'}  ({outcome.seconds:.0f} s)"
    return f"{line}  {mark.name.upper()}: {mark.reason}" if mark else line
