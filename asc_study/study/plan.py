"""Plans: which runs a study asks for, and what the store knows of each. Changes nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from asc_study.settings.run_config import signature
from asc_study.settings.study_file import Study
from asc_study.store.claims import is_alive
from asc_study.store.tracking import RunRecord, Tracker
from asc_study.study.train_run import RunSpec

Status = Literal["new", "done", "failed", "running", "interrupted", "orphaned"]

#: What each status means, in the order in which a plan counts them.
STATUSES: Final[dict[Status, str]] = {
    "new": "will be trained",
    "done": "finished: nothing to do",
    "failed": "failed: retried with --retry-failed only",
    "running": "being trained by another process: left alone",
    "interrupted": "cut off: goes on from its last epoch",
    "orphaned": "in the store, but no longer in the study (other settings, seed or data): kept",
}


@dataclass(frozen=True)
class PlannedRun:
    """A run of the study with what the store knows of it."""

    spec: RunSpec
    status: Status
    run_id: str = ""
    reason: str = ""
    recorded_row: str = ""


@dataclass(frozen=True)
class Plan:
    """All runs of a study and the runs of its experiment that no longer belong to it."""

    runs: tuple[PlannedRun, ...]
    orphans: tuple[RunRecord, ...]

    @property
    def counts(self) -> dict[Status, int]:
        """How many runs have each status."""
        counted = Counter(run.status for run in self.runs)
        counted["orphaned"] = len(self.orphans)
        return {status: counted[status] for status in STATUSES}

    def to_rows(self) -> list[dict[str, Any]]:
        """One mapping a run, for tables and JSON."""
        rows = [
            {
                "row": run.spec.row,
                "seed": run.spec.seed,
                "status": run.status,
                "signature": run.spec.signature[:10],
                "combination": run.spec.combination[:10],
                "run_id": run.run_id,
                "reason": run.reason,
            }
            for run in self.runs
        ]
        return rows + [
            {
                "row": record.tags.get("asc.row", ""),
                "seed": int(record.tags.get("asc.seed", 0)),
                "status": "orphaned",
                "signature": record.signature[:10],
                "combination": record.tags.get("asc.combination", "")[:10],
                "run_id": record.run_id,
                "reason": record.failure,
            }
            for record in self.orphans
        ]


def specs(study: Study, digest: str) -> list[RunSpec]:
    """Every run of the study: rows x seeds, in the study's order."""
    return [
        RunSpec(
            study=study.name,
            row=row.name,
            seed=seed,
            config=row.config,
            signature=signature(row.config, digest, seed),
            combination=signature(row.config, digest, None),
        )
        for row in study.rows
        for seed in study.seeds
    ]


def make_plan(study: Study, digest: str, tracker: Tracker | None) -> Plan:
    """Compare the study with the store (None: there is no store yet). Changes nothing."""
    by_signature: dict[str, list[RunRecord]] = {}
    for record in tracker.runs(study.name, kind="train") if tracker else ():
        by_signature.setdefault(record.signature, []).append(record)
    runs = []
    for spec in specs(study, digest):
        status, found = _status(tracker, by_signature.pop(spec.signature, []))
        known = (found.run_id, found.failure, found.tags.get("asc.row", "")) if found else ()
        runs.append(PlannedRun(spec, status, *known))
    orphans = [record for records in by_signature.values() for record in records]
    return Plan(tuple(runs), tuple(orphans))


def _status(tracker: Tracker | None, records: Sequence[RunRecord]) -> tuple[Status, RunRecord | None]:
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
    return f"study {study.name}: {size}: {counts}"


def render_plan(study: Study, plan: Plan) -> str:
    """The plan as a text table: one line a run, then what each status means."""
    rows = plan.to_rows()
    width = max(len(row["row"]) for row in rows)
    lines = [describe_plan(study, plan)]
    for row in rows:
        cells = [f"{row['row']:<{width}}", f"seed {row['seed']}", f"{row['status']:<11}", row["signature"]]
        lines.append("  " + "  ".join([*cells, row["reason"]]).rstrip())
    if study.ensembles:
        lines.append(f"then ensembles: {', '.join(row.name for row in study.ensembles)}")
    return "\n".join(lines + [f"{status}: {STATUSES[status]}" for status, count in plan.counts.items() if count])
