"""The ensembles of a study file, made of the runs that are finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asc_study.base.contract import Kind, MlflowTag, Tag
from asc_study.base.errors import InputError, failure_reason
from asc_study.base.progress import Say
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.settings.ensemble_rows import EnsembleRow
from asc_study.store.addresses import scrubbed
from asc_study.store.queries import Reader, RunRecord
from asc_study.store.stale import stale_reasons
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Identity, Logged, existing, find_derived
from asc_study.systems.ensemble_report import log_ensemble
from asc_study.systems.ensembles import EnsembleOptions, choose, ensemble_identity
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
    row: str, seed: int | None, status: str, metrics: Mapping[str, float] | None, reason: str, seconds: float = 0.0
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


def stale_ensembles(
    reader: Reader, study: str, ensembles: Sequence[EnsembleRow], seeds: Sequence[int], finished: Mapping[str, set[str]]
) -> list[tuple[RunRecord, str]]:
    """The newest run of each ensemble and seed of a study if it no longer is what the study says, and why.

    Parameters
    ----------
    reader, study
        The store and the study.
    ensembles, seeds
        Of the study as it is now; an ensemble names only ensembles above it.
    finished
        Name of each trained row -> ids of its runs that are done.
    """
    records = reader.runs(study)
    by_id = {record.run_id: record for record in records}
    reasons = stale_reasons(reader, records, finished)
    newest = {
        (record.tags.get(Tag.ROW, ""), record.seed): record
        for record in sorted(records, key=lambda record: record.start_seconds)
        if record.status == "FINISHED" and record.tags.get(Tag.KIND) in (Kind.ENSEMBLE, Kind.FUSION)
    }
    parts_done = [by_id[run_id] for ids in finished.values() for run_id in ids if run_id in by_id]
    of_seed = {(record.tags.get(Tag.ROW, ""), record.seed): record for record in parts_done}
    stale = []
    for seed in seeds:
        for row in ensembles:
            record = newest.get((row.name, str(seed)))
            if record is None:
                continue
            parts = {part: of_seed.get((part, str(seed))) for part in (*row.fine, *row.coarse)}
            there = {part: found for part, found in parts.items() if found is not None}
            why = reasons.get(record.run_id, "")
            if not why and len(there) == len(parts):
                fine, coarse = ([there[part] for part in group] for group in (row.fine, row.coarse))
                if _identity(row, fine, coarse).signature() != record.signature:
                    why = "it was made by other settings, or of other runs, than the study has now"
            if why:
                stale.append((record, why))
            else:
                of_seed[row.name, str(seed)] = record
    return stale


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
        tracker.set_tags(logged.run_id, {Tag.ROW: row.name, MlflowTag.RUN_NAME: name})
    outcome = None if logged.existed else EnsembleOutcome(row.name, seed, "done", logged.metrics)
    return outcome, logged.run_id


def _log(tracker: Tracker, study: str, row: EnsembleRow, records: Mapping[str, RunRecord]) -> Logged:
    """Make the ensemble, unless it is there."""
    fine, coarse = ([records[part] for part in group] for group in (row.fine, row.coarse))
    if done := find_derived(tracker, study, _identity(row, fine, coarse)):
        return existing(done)
    members, _ = load_members(tracker, [*fine, *coarse])
    options = _options(row)
    if isinstance(options, EnsembleOptions):
        return log_ensemble(tracker, study, row.name, choose(members, options))
    return log_fusion(tracker, study, row.name, fuse(members[: len(fine)], members[len(fine) :], options))


def row_combinations(ensembles: Sequence[EnsembleRow], trained: Mapping[str, str]) -> dict[str, str]:
    """The combinations (64 hex digits) of a study's ensembles, from those of its trained rows.

    Parameters
    ----------
    ensembles
        Those that others are made of first.
    trained
        Row's name -> combination.
    """
    known = dict(trained)
    for row in ensembles:
        fine, coarse = ([_stand_in(known[part]) for part in group] for group in (row.fine, row.coarse))
        known[row.name] = _identity(row, fine, coarse).signature(with_seeds=False)
    return {row.name: known[row.name] for row in ensembles}


def _stand_in(combination: str) -> RunRecord:
    """A run of a combination, any seed, whether there is one or not."""
    return RunRecord("", "", "", {Tag.COMBINATION: combination}, {}, {}, 0.0)


def _options(row: EnsembleRow) -> EnsembleOptions | FusionOptions:
    if row.select:
        selection = row.select.model_dump()
        return EnsembleOptions(metric=selection.pop("objective"), fusion=row.fusion, **selection)
    return FusionOptions(row.fusion, row.rule, parse_exponent(row.exponent))


def _identity(row: EnsembleRow, fine: Sequence[RunRecord], coarse: Sequence[RunRecord]) -> Identity:
    """What makes the ensemble of these parts the same."""
    options = _options(row)
    if isinstance(options, EnsembleOptions):
        return ensemble_identity(options, fine)
    return fusion_identity(options, fine, coarse)


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
