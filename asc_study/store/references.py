"""Which runs a study consists of now, and which of them a name on the command line stands for.

A study's *definition* says which combination of settings, code and data each of its rows is. Runs of other combinations
are *orphans*: kept, but in no table, reference or ensemble unless they are asked for. `current_rows` is the one place
that tells them apart; `asc_study.study.definition` reads the definition of a study file.
"""

import fnmatch
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from asc_study.base.contract import SYSTEM_KINDS, Artifact, Kind, Tag
from asc_study.base.errors import InputError, shown
from asc_study.base.progress import Say
from asc_study.base.schema import did_you_mean
from asc_study.store.addresses import address_line
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of

#: How runs can be named, for error lines.
FORMS: Final = "write STUDY/ROW (all its seeds), STUDY/ROW@SEED, STUDY/* or an MLflow run id"

#: Hex digits of a combination that people are shown, in every command.
HASH_DIGITS: Final = 10

_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_SHOWN: Final = re.compile(rf"(.+) \[([0-9a-f]{{{HASH_DIGITS}}})\](?:@(\d+))?")


@dataclass(frozen=True)
class Definition:
    """The rows of a study as they are now.

    Attributes
    ----------
    rows
        Name -> combination (64 hex digits), trained rows and ensembles, in the study's order.
    seeds
        The study's seeds as text; None: every seed counts.
    """

    rows: Mapping[str, str]
    seeds: Collection[str] | None = None


@dataclass(frozen=True)
class StudyRuns:
    """The finished systems of a study, the newest first, each under the name that its row has now.

    ``orphans`` are of other settings, seeds, code or data, or made of runs that are no longer there or orphans.
    """

    current: tuple[RunRecord, ...]
    orphans: tuple[RunRecord, ...]


def current_rows(
    tracker: Reader, study: str, definition: Definition | None = None, *, records: Sequence[RunRecord] | None = None
) -> StudyRuns:
    """Tell the runs that a study consists of now from its orphans.

    Parameters
    ----------
    tracker, study
        The store and the study.
    records
        The study's runs, the newest first, if they were read already.
    definition
        The study as it is now. By default as its newest launch had it; of a study that was never launched, or by an
        earlier version, the newest combination of each row's name counts.

    Returns
    -------
    StudyRuns
        Trained runs count by their combination alone, whatever their row was called when they were made. Imported
        systems always count; ensembles and fusions if all that they are made of does and the study does not define
        their name otherwise.
    """
    records = tracker.runs(study) if records is None else records
    systems = _finished(records)
    definition = definition or _launched_definition(tracker, records) or _newest_of_each_name(systems)
    belongs = _Membership(tracker, records, definition)
    split: tuple[list[RunRecord], list[RunRecord]] = ([], [])
    for record in systems:
        split[not belongs(record)].append(belongs.named(record))
    return StudyRuns(tuple(split[0]), tuple(split[1]))


class _Membership:
    """Whether a run belongs to the study; what it is made of is looked at once."""

    def __init__(self, tracker: Reader, records: Sequence[RunRecord], definition: Definition) -> None:
        self._tracker, self._definition = tracker, definition
        self._by_id = {record.run_id: record for record in records}
        self._names = {combination: name for name, combination in definition.rows.items()}
        self._known: dict[str, bool] = {}

    def __call__(self, record: RunRecord) -> bool:
        if record.run_id not in self._known:
            self._known[record.run_id] = False  # what its tag says is made of itself was edited
            self._known[record.run_id] = self._judge(record)
        return self._known[record.run_id]

    def named(self, record: RunRecord) -> RunRecord:
        """The run under its row's name of now: the row may have been renamed since it was made."""
        name = self._names.get(combination_of(record))
        return replace(record, tags={**record.tags, Tag.ROW: name}) if name else record

    def _judge(self, record: RunRecord) -> bool:
        kind, combination = record.tags.get(Tag.KIND), combination_of(record)
        if kind == Kind.IMPORTED:
            return True
        seeds = self._definition.seeds
        if seeds is not None and record.seed and record.seed not in seeds:
            return False
        if kind in (Kind.TRAIN, Kind.BASELINE):
            return combination in self._names
        if self._definition.rows.get(record.tags.get(Tag.ROW, ""), combination) != combination:
            return False
        return all(self._is_there(run_id) for run_id in members_of(record))

    def _is_there(self, run_id: str) -> bool:
        record = self._by_id.get(run_id) or self._tracker.run(run_id)
        if record is None or record.status != "FINISHED":
            return False
        return run_id not in self._by_id or self(record)  # what another study consists of is not looked into


def combination_of(record: RunRecord) -> str:
    """The combination of a run (64 hex digits); empty if a person took the tag away."""
    return record.tags.get(Tag.COMBINATION, "")


def newest_launch(tracker: Reader, records: Sequence[RunRecord]) -> tuple[str, dict[str, Any]]:
    """The run of kind ``study`` that says what the newest launch ran, and its ``rows.json``; empty if there is none."""
    for record in records:
        if record.tags.get(Tag.KIND) == Kind.STUDY and (rows := tracker.json_artifact(record.run_id, Artifact.ROWS)):
            return record.run_id, rows
    return "", {}


def _launched_definition(tracker: Reader, records: Sequence[RunRecord]) -> Definition | None:
    """The rows of the newest launch, all seeds; None if it did not say which combinations they are."""
    combinations = newest_launch(tracker, records)[1].get("combinations")
    return Definition(combinations) if isinstance(combinations, dict) and combinations else None


def _newest_of_each_name(systems: Sequence[RunRecord]) -> Definition:
    rows: dict[str, str] = {}
    for record in sorted(systems, key=lambda record: record.start_seconds, reverse=True):
        if record.tags.get(Tag.KIND) in (Kind.TRAIN, Kind.BASELINE):
            rows.setdefault(record.tags.get(Tag.ROW, ""), combination_of(record))
    return Definition(rows)


def finished_systems(tracker: Reader, study: str) -> list[RunRecord]:
    """All finished runs of a study that hold predictions, the newest first; of repeated signatures the newest alone."""
    return _finished(tracker.runs(study))


def _finished(records: Sequence[RunRecord]) -> list[RunRecord]:
    found: dict[str, RunRecord] = {}
    for record in records:
        if record.status != "FINISHED" or record.tags.get(Tag.KIND) not in SYSTEM_KINDS:
            continue
        if record.spoiled_tag:
            _tell_once(f"note: {_spoiled(record)}: it is left out")
            continue
        found.setdefault(record.signature or record.run_id, record)
    return list(found.values())


def _spoiled(record: RunRecord) -> str:
    tag = record.spoiled_tag
    return f"run {record.run_id} has {shown(record.tags.get(tag, ''))} as {tag}, which was edited"


@cache
def _tell_once(line: str) -> None:
    """A table reads the same runs several times."""
    to_stderr(line)


def to_stderr(line: str) -> None:
    """Tell a person something beside the result, which is on standard output."""
    print(line, file=sys.stderr)


def find_runs(tracker: Reader, reference: str, *, say: Say = to_stderr) -> list[RunRecord]:
    """The finished runs that ``reference`` names, one for each seed, the lowest seed first.

    Parameters
    ----------
    tracker
        The store.
    reference
        ``STUDY/ROW`` (what the newest launch of the study calls so, every seed), ``STUDY/ROW@SEED``, or the id of an
        MLflow run (32 hex digits). ``STUDY/ROW [digits]`` is one of several of a name, orphans among them, as
        `leaderboard` and `plan` write it. A row with ``*`` stands for all rows of that pattern that were trained or
        imported.
    say
        Told in one line if other systems have the same name.

    Raises
    ------
    InputError
        If it names no finished run of a system.
    """
    return find_each(tracker, [reference], say=say)[0]


def find_each(tracker: Reader, references: Sequence[str], *, say: Say = to_stderr) -> list[list[RunRecord]]:
    """What each reference names, see `find_runs`; a study is read once, however many of them are of it."""
    read: dict[str, StudyRuns] = {}
    return [_find(tracker, reference, say, read) for reference in references]


def _find(tracker: Reader, reference: str, say: Say, read: dict[str, StudyRuns]) -> list[RunRecord]:
    if _RUN_ID.fullmatch(reference):
        return [_by_id(tracker, reference)]
    study, slash, row = reference.partition("/")
    if not slash or not study or not row:
        raise InputError(f"{reference!r} names no run: {FORMS}")
    if study not in read:
        read[study] = current_rows(tracker, study)
    runs = read[study]
    if not runs.current and not runs.orphans:
        line = f"study {study!r} of {reference!r} has no finished runs in {{address}}: run it first"
        raise InputError(address_line(tracker.uri, line))
    known = {record.tags.get(Tag.ROW, "") for record in (*runs.current, *runs.orphans)}
    seed = None
    if row in known:
        records = _current_of(runs, study, row, say)
    elif match := _SHOWN.fullmatch(row):
        row, seed = match[1], match[3]
        records = [r for r in _of(row, *runs.current, *runs.orphans) if combination_of(r).startswith(match[2])]
    elif (match := re.fullmatch(r"(.+)@(\d+)", row)) and match[1] in known:
        row, seed = match[1], match[2]
        records = _current_of(runs, study, row, say)
    else:
        parts = {r.tags.get(Tag.ROW, "") for r in runs.current if r.tags.get(Tag.KIND) in (Kind.TRAIN, Kind.IMPORTED)}
        matching = fnmatch.filter(sorted(parts), row) if "*" in row else []
        return [record for name in matching for record in _of_all_seeds(_of(name, *runs.current))] or _refuse(
            study, row, known
        )
    found = _of_all_seeds(records) or _refuse(study, row, known)
    if seed is None:
        return found
    seeds = [record.seed for record in found]
    if seed not in seeds:
        raise InputError(f"row {row!r} of study {study!r} has no finished seed {seed}: known: {', '.join(seeds)}")
    return [found[seeds.index(seed)]]


def _by_id(tracker: Reader, run_id: str) -> RunRecord:
    record = tracker.run(run_id)
    if record is None:
        raise InputError(address_line(tracker.uri, f"there is no run {run_id} in {{address}}: {FORMS}"))
    if record.status != "FINISHED" or record.tags.get(Tag.KIND) not in SYSTEM_KINDS:
        kind = record.tags.get(Tag.KIND, "none")
        raise InputError(
            f"a run must be a finished system, got {run_id} of kind {kind} with status {record.status}: name "
            f"one of the kinds {', '.join(SYSTEM_KINDS)}"
        )
    if record.spoiled_tag:
        raise InputError(f"the tags of a run must be those that it was given: {_spoiled(record)}: put it back")
    return record


def _refuse(study: str, row: str, known: Collection[str]) -> list[RunRecord]:
    raise InputError(f"study {study!r} has no finished row {row!r}: {did_you_mean(row, sorted(known))}")


def _of(row: str, *records: RunRecord) -> list[RunRecord]:
    return [record for record in records if record.tags.get(Tag.ROW) == row]


def _current_of(runs: StudyRuns, study: str, row: str, say: Say) -> list[RunRecord]:
    """The runs of a row as it is now; others of its name are told of, or named if there is nothing else."""
    records = _of(row, *runs.current)
    systems = _combinations(records)
    others = [known for known in _combinations(_of(row, *runs.orphans)) if known not in systems]
    names = ", ".join(f"'{study}/{row} [{combination[:HASH_DIGITS]}]'" for combination in others)
    if not records:
        raise InputError(
            f"row {row!r} of study {study!r} has no finished run as the study defines it now: run the study, or name "
            f"the orphan{'s' if len(others) > 1 else ''} {names}"
        )
    if len(systems) > 1:
        names = ", ".join(f"'{study}/{row} [{combination[:HASH_DIGITS]}]'" for combination in systems)
        raise InputError(f"'{study}/{row}' stands for {len(systems)} systems of that name: write one of {names}")
    if others:
        say(f"note: {study}/{row} is {systems[0][:HASH_DIGITS]}, its newest definition; orphaned: {names}")
    return records


def _combinations(records: Sequence[RunRecord]) -> list[str]:
    return list(dict.fromkeys(combination_of(record) for record in records))


def _of_all_seeds(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The newest run of each seed, the lowest seed first."""
    by_seed = {record.seed: record for record in sorted(records, key=lambda record: record.start_seconds)}
    return [by_seed[known] for known in sorted(by_seed, key=lambda text: (len(text), text))]
