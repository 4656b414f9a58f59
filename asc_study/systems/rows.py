"""The ensembles of a study file, made of the runs that are finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asc_study.base.contract import Kind, MlflowTag, Tag
from asc_study.base.errors import InputError, failure_reason
from asc_study.base.progress import Say
from asc_study.ensemble.by_device import BY_DEVICE
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.settings.ensemble_rows import BudgetRow, EnsembleRow
from asc_study.settings.system_rows import StudySystem
from asc_study.store.addresses import scrubbed
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of, stale_reasons
from asc_study.store.tracking import Tracker
from asc_study.systems.deployed import quantised_identity, system_identity
from asc_study.systems.derived import Identity, Logged, existing, find_derived
from asc_study.systems.ensembles import BudgetOptions, EnsembleOptions, choose, ensemble_identity
from asc_study.systems.fusions import FusionOptions, fuse, fusion_identity, parse_exponent
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


@dataclass(frozen=True)
class MadeEnsembles:
    """How the ensembles ended, and all that there are: (row or ensemble, seed) -> id of the finished run."""

    outcomes: list[EnsembleOutcome]
    finished: Mapping[tuple[str, int], str]


def make_ensembles(
    tracker: Tracker,
    study: str,
    ensembles: Sequence[EnsembleRow],
    wanted: Sequence[EnsembleRow],
    seeds: Sequence[int],
    finished: Mapping[tuple[str, int], str],
    say: Say,
) -> MadeEnsembles:
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
    return MadeEnsembles(outcomes, runs)


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
    done = {run_id for ids in finished.values() for run_id in ids}
    quantised = [r for r in records if r.tags.get(Tag.KIND) == Kind.QUANTISED and done.issuperset(members_of(r))]
    parts_done = [*(by_id[run_id] for run_id in done if run_id in by_id), *quantised[::-1]]
    of_seed = {(record.tags.get(Tag.ROW, ""), record.seed): record for record in parts_done}
    stale = []
    for seed in seeds:
        for row in ensembles:
            record = newest.get((row.name, str(seed)))
            if record is None:
                continue
            parts = {part: of_seed.get((part, str(seed))) for part in row.parts}
            there = {part: found for part, found in parts.items() if found is not None}
            why = reasons.get(record.run_id, "")
            if not why and len(there) == len(parts) and _identity(row, there).signature() != record.signature:
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
            needed.update(row.parts)
    return [row for row in ensembles if row.name in needed]


def _make(
    tracker: Tracker, study: str, row: EnsembleRow, seed: int, runs: Mapping[tuple[str, int], str]
) -> tuple[EnsembleOutcome | None, str]:
    parts = row.parts
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
    from asc_study.systems.ensemble_report import log_ensemble  # their figures import plotly, which no plan needs
    from asc_study.systems.fusion_log import log_fusion

    identity = _identity(row, records)
    if done := find_derived(tracker, study, identity):
        return existing(done)
    fine, coarse = ([records[part] for part in group] for group in (row.fine, row.coarse))
    members, _ = load_members(tracker, [*fine, *coarse])
    options = _options(row, records)
    if isinstance(options, EnsembleOptions | BudgetOptions):
        return log_ensemble(tracker, study, row.name, choose(members, options))
    return log_fusion(tracker, study, row.name, fuse(members[: len(fine)], members[len(fine) :], options))


def row_combinations(
    ensembles: Sequence[EnsembleRow], systems: Sequence[StudySystem], trained: Mapping[str, str]
) -> dict[str, str]:
    """The combinations (64 hex digits) of a study's ensembles and systems, from those of its trained rows.

    Parameters
    ----------
    ensembles, systems
        Those that others are made of first.
    trained
        Row's name -> combination.
    """
    known = {name: _stand_in(combination) for name, combination in trained.items()}
    for system in systems:
        for name, row in system.quantised.items():
            known[name] = _stand_in(quantised_identity(known[row], system.scheme).signature(with_seeds=False))
    for ensemble in ensembles:
        known[ensemble.name] = _stand_in(_identity(ensemble, known).signature(with_seeds=False))
    for system in systems:
        identity = system_identity(known[system.part], system.scheme)
        known[system.name] = _stand_in(identity.signature(with_seeds=False))
    names = [row.name for row in ensembles] + [system.name for system in systems]
    return {name: known[name].tags[Tag.COMBINATION] for name in names}


def _stand_in(combination: str) -> RunRecord:
    """A run of a combination, any seed, whether there is one or not."""
    return RunRecord("", "", "", {Tag.COMBINATION: combination}, {}, {}, 0.0)


def _options(row: EnsembleRow, records: Mapping[str, RunRecord]) -> EnsembleOptions | BudgetOptions | FusionOptions:
    """How an ensemble is made of its parts, by name."""
    if row.devices:
        return FusionOptions(BY_DEVICE, devices=row.routes)
    if row.select is None:
        return FusionOptions(row.fusion, row.join, parse_exponent(row.exponent))
    if isinstance(row, BudgetRow):
        beside = [records[part] for part in row.beside]
        return BudgetOptions(row.select.objective, row.select.max_members, row.max_kb, beside, row.fusion)
    selection = row.select.model_dump()
    return EnsembleOptions(metric=selection.pop("objective"), fusion=row.fusion, **selection)


def _identity(row: EnsembleRow, records: Mapping[str, RunRecord]) -> Identity:
    """What makes the ensemble of these parts, by name, the same."""
    fine, coarse = ([records[part] for part in group] for group in (row.fine, row.coarse))
    options = _options(row, records)
    if isinstance(options, FusionOptions):
        return fusion_identity(options, fine, coarse)
    return ensemble_identity(options, fine)


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
