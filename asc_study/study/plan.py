"""Plans: which runs a study asks for, and what the store knows of each. Changes nothing."""

import ast
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.provenance import fingerprint, other_facts, short_digest
from asc_study.base.text_table import text_table
from asc_study.settings.identity import differences, signature
from asc_study.settings.study_file import Study
from asc_study.settings.system_rows import StudySystem
from asc_study.store.claims import is_alive
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.references import HASH_DIGITS, combination_of
from asc_study.store.stale import lost_member
from asc_study.study.baseline import PlannedBaseline, plan_baselines
from asc_study.study.spec import RunSpec
from asc_study.study.teachers import awaited, identities
from asc_study.systems.rows import row_combinations, stale_ensembles

Status = Literal["new", "done", "failed", "running", "interrupted", "orphaned", "stale"]

#: What each status means, in the order in which a plan counts them.
STATUSES: Final[dict[Status, str]] = {
    "new": "will be trained",
    "done": "finished: nothing to do",
    "failed": "failed: retried with --retry-failed only",
    "running": "being trained by another process: left alone",
    "interrupted": "cut off: goes on from its last epoch",
    "orphaned": "in the store, but no longer in the study (other settings, seed or data): kept",
    "stale": "an ensemble that is no longer what the study says: made anew by run",
}


@dataclass(frozen=True)
class PlannedRun:
    """A run of the study with what the store knows of it."""

    spec: RunSpec
    status: Status
    run_id: str = ""
    reason: str = ""
    recorded_row: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class PlannedSystem:
    """A system of the study and whether all seeds of it are done; ``run_ids`` are those that are."""

    system: StudySystem
    status: Literal["new", "done"]
    run_ids: tuple[str, ...]

    def __str__(self) -> str:
        limit = "" if self.system.max_kb is None else f", at most {self.system.max_kb:g} kB"
        return f"{self.system.name} ({self.system.scheme} of {self.system.part}{limit}): {self.status}"

    def to_dict(self) -> dict[str, Any]:
        """The system in the types of JSON."""
        return {**asdict(self.system), "status": self.status, "run_ids": list(self.run_ids)}


@dataclass(frozen=True)
class Plan:
    """All runs of a study, those that no longer belong to it, stale ensembles with the reason, baselines, systems."""

    runs: tuple[PlannedRun, ...]
    orphans: tuple[RunRecord, ...]
    stale: tuple[tuple[RunRecord, str], ...] = ()
    baselines: tuple[PlannedBaseline, ...] = ()
    systems: tuple[PlannedSystem, ...] = ()

    @property
    def counts(self) -> dict[Status, int]:
        """How many runs have each status."""
        counted = Counter(run.status for run in self.runs)
        counted.update(orphaned=len(self.orphans), stale=len(self.stale))
        return {status: counted[status] for status in STATUSES}

    @property
    def pending(self) -> dict[str, int]:
        """Row -> how many of its runs a launch would train: new, interrupted and failed ones."""
        return dict(Counter(run.spec.row for run in self.runs if run.status in ("new", "interrupted", "failed")))

    @property
    def done_elsewhere(self) -> int:
        """How many runs are done, but computed by something else than what computes here."""
        return sum(run.status == "done" and bool(run.fingerprint) for run in self.runs)

    def to_rows(self) -> list[dict[str, Any]]:
        """One mapping a run, for tables and JSON."""
        rows: list[dict[str, Any]] = [
            {
                "row": baseline.name,
                "seed": None,
                "status": baseline.status,
                "signature": baseline.signature[:10],
                "combination": baseline.signature[:10],
                "run_id": baseline.run_id,
                "reason": "",
                "other_fingerprint": "",
            }
            for baseline in self.baselines
        ]
        rows += [
            {
                "row": run.spec.row,
                "seed": run.spec.seed,
                "status": run.status,
                "signature": run.spec.signature[:10],
                "combination": run.spec.combination[:HASH_DIGITS],
                "run_id": run.run_id,
                "reason": run.reason,
                "other_fingerprint": run.fingerprint,
            }
            for run in self.runs
        ]
        return rows + [
            {
                "row": record.tags.get(Tag.ROW, ""),
                "seed": int(record.seed or 0),
                "status": status,
                "signature": record.signature[:10],
                "combination": combination_of(record)[:HASH_DIGITS],
                "run_id": record.run_id,
                "reason": reason,
                "other_fingerprint": "",
            }
            for status, record, reason in (
                *(("orphaned", record, record.failure) for record in self.orphans),
                *(("stale", record, reason) for record, reason in self.stale),
            )
        ]


def specs(study: Study, digest: str) -> list[RunSpec]:
    """Every run of the study: rows x seeds, in the study's order."""
    known = identities(study, digest)
    return [
        RunSpec(
            study=study.name,
            row=row.name,
            seed=seed,
            config=row.config,
            signature=signature(known[row.name], seed),
            combination=signature(known[row.name]),
            identity=known[row.name],
        )
        for row in study.rows
        for seed in study.seeds
    ]


def make_plan(study: Study, digest: str, tracker: Reader | None, *, same_fingerprint: bool = False) -> Plan:
    """Compare the study with the store (None: there is no store yet). Changes nothing.

    With ``same_fingerprint`` only what the same back end, device and versions computed counts as done.
    """
    here = fingerprint()
    by_signature: dict[str, list[RunRecord]] = {}
    for record in tracker.runs(study.name, kind=Kind.TRAIN) if tracker else ():
        by_signature.setdefault(record.signature, []).append(record)
    runs = []
    for spec in specs(study, digest):
        records = by_signature.pop(spec.signature, [])
        ours = [record for record in records if record.tags.get(Tag.FINGERPRINT) == short_digest(here)]
        # What was finished here comes first; without, what was finished elsewhere will do, unless it must be the same.
        status, found = _status(tracker, ours)
        if status != "done":
            considered = [r for r in records if r in ours or r.status != "FINISHED"] if same_fingerprint else records
            status, found = _status(tracker, considered)
        if found is None:
            runs.append(PlannedRun(spec, status))
            continue
        other = ""
        if status == "done" and found not in ours:
            other = other_facts(found.tags, here)
        runs.append(
            PlannedRun(spec, status, found.run_id, found.failure, found.tags.get(Tag.ROW, ""), fingerprint=other)
        )
    if study.needs:
        runs = _after_others(study, runs)
    orphans = [record for records in by_signature.values() for record in records]
    stale: list[tuple[RunRecord, str]] = []
    if tracker and study.ensembles:
        finished: dict[str, set[str]] = {row.name: set() for row in study.rows}
        for run in runs:
            if run.status == "done":
                finished[run.spec.row].add(run.run_id)
        stale = stale_ensembles(tracker, study.name, study.ensembles, study.seeds, finished)
    systems = _plan_systems(study, {run.spec.row: run.spec.combination for run in runs}, tracker)
    return Plan(tuple(runs), tuple(orphans), tuple(stale), plan_baselines(study, digest, tracker), systems)


def _after_others(study: Study, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs, those that need one that is not trained yet with that as a reason."""
    done = {(run.spec.row, run.spec.seed) for run in runs if run.status == "done"}

    def reason(run: PlannedRun) -> str:
        row, seed = run.spec.row, run.spec.seed
        waits = run.status in ("new", "interrupted") and any((t, seed) not in done for t in awaited(study, row))
        return f"after {' and '.join(run.spec.needs)}" if waits else run.reason

    return [replace(run, reason=reason(run)) for run in runs]


def _plan_systems(study: Study, trained: Mapping[str, str], tracker: Reader | None) -> tuple[PlannedSystem, ...]:
    """The systems of a study; ``trained`` are the combinations of its rows."""
    if not study.systems:
        return ()
    records = [r for r in tracker.runs(study.name, kind=Kind.SYSTEM) if r.status == "FINISHED"] if tracker else []
    there = [record for record in records if tracker and not lost_member(tracker, record)]
    wanted = row_combinations(study.ensembles, study.systems, trained)
    planned = []
    for system in study.systems:
        by_seed = {record.seed: record.run_id for record in there if combination_of(record) == wanted[system.name]}
        ids = tuple(by_seed[str(seed)] for seed in study.seeds if str(seed) in by_seed)
        planned.append(PlannedSystem(system, "done" if len(ids) == len(study.seeds) else "new", ids))
    return tuple(planned)


def _status(tracker: Reader | None, records: Sequence[RunRecord]) -> tuple[Status, RunRecord | None]:
    """The status of one signature and the run that shows it; ``records`` are the newest first."""
    by_status: dict[str, RunRecord] = {}
    for record in reversed(records):
        by_status[record.status] = record
    if "FINISHED" in by_status:
        return "done", by_status["FINISHED"]
    if "RUNNING" in by_status:
        record = by_status["RUNNING"]
        return ("running" if tracker and is_alive(tracker, record) else "interrupted"), record
    if records and records[0].status == "FAILED":
        return "failed", records[0]
    return ("interrupted", records[0]) if records else ("new", None)


def describe_plan(study: Study, plan: Plan) -> str:
    """One line: the study and how many of its runs have which status."""
    counts = ", ".join(f"{count} {status}" for status, count in plan.counts.items() if count)
    size = f"{len(study.rows)} rows x {len(study.seeds)} seeds" if len(study.seeds) > 1 else f"{len(study.rows)} rows"
    if plan.done_elsewhere:
        counts += f" ({plan.done_elsewhere} of those done under another fingerprint)"
    baselines = "".join(f"; {baseline.name}: {baseline.status}" for baseline in plan.baselines)
    return f"study {study.name}: {size}: {counts}{baselines}"


def render_plan(study: Study, plan: Plan) -> str:
    """The plan as a text table: one line a run, then what each status means."""
    table = [["Row", "Seed", "Status", "Hash", "Note"]]
    for row in plan.to_rows():
        note = row["reason"] or (row["other_fingerprint"] and f"other fingerprint: {row['other_fingerprint']}")
        seed = "-" if row["seed"] is None else str(row["seed"])
        table.append([row["row"], seed, row["status"], row["combination"], note])
    columns = 5 if any(line[4] for line in table[1:]) else 4
    lines = [describe_plan(study, plan), text_table([line[:columns] for line in table], left=(0, 2, 3, 4))]
    if study.ensembles:
        lines.append(f"then ensembles: {', '.join(row.name for row in study.ensembles)}")
    if plan.systems:
        lines += ["then systems:", *(f"  {system}" for system in plan.systems)]
    return "\n".join(lines + [f"{status}: {STATUSES[status]}" for status, count in plan.counts.items() if count])


def explain(study: Study, plan: Plan, tracker: Reader | None) -> str:
    """What tells each orphaned run from the row of the study that is nearest to it: a line a difference.

    The nearest row is that of the same name, else the one with the fewest differences.
    """
    if not plan.orphans or tracker is None:
        return "no run of the store is orphaned"
    identities = {run.spec.row: run.spec.identity for run in plan.runs}
    seeds = {run.spec.seed for run in plan.runs}
    lines = []
    for record in plan.orphans:
        nearest, why = why_orphaned(record, identities, seeds, tracker)
        lines.append(f"  {record.label} {combination_of(record)[:HASH_DIGITS]}, against row {nearest!r}:")
        lines += [f"    {line}" for line in why]
    return "\n".join(["orphaned runs, and what differs (theirs -> the study's now):", *lines])


def why_orphaned(
    record: RunRecord, identities: Mapping[str, Mapping[str, Any]], seeds: Collection[int], tracker: Reader
) -> tuple[str, list[str]]:
    """The row that is nearest to an orphaned run, of those with these identities, and what differs: a line each."""
    old = tracker.json_artifact(record.run_id, Artifact.IDENTITY) or _known_identity(record)
    found = {name: differences(old, identity) for name, identity in identities.items()}
    row = record.tags.get(Tag.ROW, "")
    nearest = row if row in found else min(found, key=lambda name: len(found[name]))
    why = list(found[nearest])
    if record.seed.isdecimal() and int(record.seed) not in seeds:
        why.append(f"seed {record.seed} -> {sorted(seeds)}")
    return nearest, why or ["nothing that was recorded: it was made by an earlier version"]


def _known_identity(record: RunRecord) -> dict[str, Any]:
    """What a run of schema 1 says of its identity: its settings, flat and as text, and its data set."""
    config: dict[str, Any] = {}
    for key, text in record.params.items():
        if key != "seed":
            try:
                config[key] = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                config[key] = text
    known: dict[str, Any] = {"schema": 1, "config": config}
    if digest := record.tags.get(Tag.DATASET_DIGEST):
        known["dataset"] = digest
    return known
