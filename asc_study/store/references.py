"""Which runs a name on the command line stands for."""

import fnmatch
import re
from typing import Final

from asc_study.base.errors import InputError
from asc_study.base.schema import did_you_mean
from asc_study.store.addresses import address_line
from asc_study.store.queries import Reader, RunRecord

#: How runs can be named, for error lines.
FORMS: Final = "write STUDY/ROW (all its seeds), STUDY/ROW@SEED, STUDY/* or an MLflow run id"

#: Kinds of runs that hold predictions of a system.
SYSTEM_KINDS: Final = ("train", "imported", "ensemble", "fusion")

_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")


def find_runs(tracker: Reader, reference: str) -> list[RunRecord]:
    """The finished runs that ``reference`` names, one for each seed, the lowest seed first.

    Parameters
    ----------
    tracker
        The store.
    reference
        ``STUDY/ROW`` (the newest combination of settings and data of that name, every seed), ``STUDY/ROW@SEED``, or
        the id of an MLflow run (32 hex digits). ``STUDY/ROW [digits]`` is one of several of a name, as the leaderboard
        writes it. A row with ``*`` stands for all rows of that pattern that were trained
        or imported.

    Raises
    ------
    InputError
        If it names no finished run of a system.
    """
    if _RUN_ID.fullmatch(reference):
        record = tracker.run(reference)
        if record is None:
            raise InputError(address_line(tracker.uri, f"there is no run {reference} in {{address}}: {FORMS}"))
        if record.status != "FINISHED" or record.tags.get("asc.kind") not in SYSTEM_KINDS:
            kind = record.tags.get("asc.kind", "none")
            raise InputError(
                f"a run must be a finished system, got {reference} of kind {kind} with status {record.status}: name "
                f"one of the kinds {', '.join(SYSTEM_KINDS)}"
            )
        return [record]
    study, slash, row = reference.partition("/")
    if not slash or not study or not row:
        raise InputError(f"{reference!r} names no run: {FORMS}")
    finished = finished_systems(tracker, study)
    if not finished:
        line = f"study {study!r} of {reference!r} has no finished runs in {{address}}: run it first"
        raise InputError(address_line(tracker.uri, line))
    records = [record for record in finished if record.tags.get("asc.row") == row]
    if not records and (match := re.fullmatch(r"(.+) \[([0-9a-f]{10})\]", row)):  # as the leaderboard writes it
        row = match[1]
        records = [
            record
            for record in finished
            if record.tags.get("asc.row") == row and record.tags.get("asc.combination", "").startswith(match[2])
        ]
    seed = None
    if not records and (match := re.fullmatch(r"(.+)@(\d+)", row)):
        row, seed = match[1], match[2]
        records = [record for record in finished if record.tags.get("asc.row") == row]
    rows = sorted({record.tags.get("asc.row", "") for record in finished})
    if not records and "*" in row:
        parts = sorted({r.tags.get("asc.row", "") for r in finished if r.tags.get("asc.kind") in ("train", "imported")})
        matching = fnmatch.filter(parts, row)
        if matching:
            return [record for name in matching for record in find_runs(tracker, f"{study}/{name}")]
    if not records:
        raise InputError(f"study {study!r} has no finished row {row!r}: {did_you_mean(row, rows)}")
    newest = max(records, key=lambda record: record.start_seconds)
    systems = {record.tags.get("asc.combination", ""): record for record in records}
    if len(systems) > 1 and newest.tags.get("asc.kind") != "train":  # of a trained row the newest settings count
        names = ", ".join(f"'{study}/{row} [{combination[:10]}]'" for combination in systems)
        raise InputError(f"{reference!r} stands for {len(systems)} systems of that name: write one of {names}")
    same = [record for record in records if record.tags.get("asc.combination") == newest.tags.get("asc.combination")]
    by_seed = {record.seed: record for record in sorted(same, key=lambda record: record.start_seconds)}
    if seed is None:
        return [by_seed[known] for known in sorted(by_seed, key=lambda text: (len(text), text))]
    if seed not in by_seed:
        raise InputError(f"row {row!r} of study {study!r} has no finished seed {seed}: known: {', '.join(by_seed)}")
    return [by_seed[seed]]


def finished_systems(tracker: Reader, study: str) -> list[RunRecord]:
    """All finished runs of a study that hold predictions, the newest first; of repeated signatures the newest alone."""
    found: dict[str, RunRecord] = {}
    for record in tracker.runs(study):
        if record.status == "FINISHED" and record.tags.get("asc.kind") in SYSTEM_KINDS:
            found.setdefault(record.signature or record.run_id, record)
    return list(found.values())
