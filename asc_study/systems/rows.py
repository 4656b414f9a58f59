"""The ensembles of a study file, made of the runs that are finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asc_study.base.errors import InputError, failure_reason
from asc_study.base.progress import Say
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.settings.ensemble_rows import EnsembleRow
from asc_study.store.addresses import scrubbed
from asc_study.store.queries import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Logged, existing, find_derived
from asc_study.systems.ensembles import EnsembleOptions, choose, ensemble_identity, log_ensemble
from asc_study.systems.fusions import FusionOptions, fuse, fusion_identity, log_fusion, parse_exponent
from asc_study.systems.members import load_members


@dataclass(frozen=True)
class EnsembleOutcome:
    """How an ensemble of one seed ended; ``waits`` means that parts are not finished or have no predictions yet."""

    name: str
    seed: int
    status: Literal["done", "failed", "waits"]
    metrics: Mapping[str, float] | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The outcome in the types of JSON."""
        return outcome_dict(self.name, self.seed, self.status, self.metrics, self.reason)


def outcome_dict(
    row: str, seed: int, status: str, metrics: Mapping[str, float] | None, reason: str, seconds: float = 0.0
) -> dict[str, Any]:
    """How a row's run of one seed ended, trained or combined, in the types of JSON."""
    return {
        "row": row,
        "seed": seed,
        "status": status,
        "seconds": round(seconds, 1),
        "reason": reason,
        "metrics": dict(metrics or {}),
    }


def make_ensembles(
    tracker: Tracker,
    study: str,
    ensembles: Sequence[EnsembleRow],
    wanted: Sequence[EnsembleRow],
    seeds: Sequence[int],
    finished: Mapping[tuple[str, int], str],
    say: Say,
) -> list[EnsembleOutcome]:
    """Make the ensembles of every seed whose parts are there, and report those that were not there before.

    Parameters
    ----------
    tracker, study
        The store and the study.
    ensembles, wanted
        All ensembles of the study, those that others are made of first; and those that are to be made.
    seeds
        The study's seeds.
    finished
        (row, seed) -> id of the finished run.
    say
        Told one line for people at a time.
    """
    runs = dict(finished)
    outcomes = []
    for seed in seeds:
        for row in _with_parts(ensembles, wanted):
            outcome, run_id = _make(tracker, study, row, seed, runs)
            if run_id:
                runs[row.name, seed] = run_id
            if outcome:
                outcomes.append(outcome)
                say(_line(outcome))
    return outcomes


def _with_parts(ensembles: Sequence[EnsembleRow], wanted: Sequence[EnsembleRow]) -> list[EnsembleRow]:
    """The wanted ensembles and the ones that they are made of, in the order of the study."""
    needed = {row.name for row in wanted}
    for row in reversed(ensembles):  # an ensemble names only ensembles above it
        if row.name in needed:
            needed.update(row.fine, row.coarse)
    return [row for row in ensembles if row.name in needed]


def _make(
    tracker: Tracker, study: str, row: EnsembleRow, seed: int, runs: Mapping[tuple[str, int], str]
) -> tuple[EnsembleOutcome | None, str]:
    parts = [*row.fine, *row.coarse]
    missing = [part for part in parts if (part, seed) not in runs]
    if missing:
        return EnsembleOutcome(row.name, seed, "waits", reason=f"not finished: {', '.join(missing)}"), ""
    try:
        records = {part: _record(tracker, runs[part, seed]) for part in parts}
        unpredicted = [part for part, record in records.items() if not tracker.has_predictions(record.run_id)]
        if unpredicted:
            reason = f"no predictions: {', '.join(unpredicted)}; score a data set with them, `asc-study score`"
            return EnsembleOutcome(row.name, seed, "waits", reason=reason), ""
        logged = _log(tracker, study, row, records)
    except Exception as error:  # a bad input, scikit-learn's, MLflow's or the disk's: the others are made all the same
        reason = scrubbed(failure_reason(error), tracker.uri)
        return EnsembleOutcome(row.name, seed, "failed", reason=reason), ""
    if logged.name != row.name:  # the row was renamed in the study file
        name = f"{row.name} seed {seed}"
        tracker.set_tags(logged.run_id, {"asc.row": row.name, "mlflow.runName": name})
    outcome = None if logged.existed else EnsembleOutcome(row.name, seed, "done", logged.metrics)
    return outcome, logged.run_id


def _log(tracker: Tracker, study: str, row: EnsembleRow, records: Mapping[str, RunRecord]) -> Logged:
    """Make the ensemble, unless it is there."""
    fine, coarse = ([records[part] for part in group] for group in (row.fine, row.coarse))
    if row.select:
        selection = row.select.model_dump()
        choice = EnsembleOptions(metric=selection.pop("objective"), fusion=row.fusion, **selection)
        done = find_derived(tracker, study, ensemble_identity(choice, fine))
        return (
            existing(done)
            if done
            else log_ensemble(tracker, study, row.name, choose(load_members(tracker, fine)[0], choice))
        )
    options = FusionOptions(row.fusion, row.rule, parse_exponent(row.exponent))
    done = find_derived(tracker, study, fusion_identity(options, fine, coarse))
    if done:
        return existing(done)
    members, _ = load_members(tracker, [*fine, *coarse])
    return log_fusion(tracker, study, row.name, fuse(members[: len(fine)], members[len(fine) :], options))


def _record(tracker: Tracker, run_id: str) -> RunRecord:
    record = tracker.run(run_id)
    if record is None:
        raise InputError(f"run {run_id} was deleted while its ensemble was made: run the study again")
    return record


def _line(outcome: EnsembleOutcome) -> str:
    head = f"ensemble {outcome.name} seed {outcome.seed}"
    if outcome.status != "done":
        return f"{head}: {'FAILED' if outcome.status == 'failed' else 'waits'}: {outcome.reason}"
    return f"{head}: {accuracies(outcome.metrics or {}) or 'made (no test split)'}"
