"""Which runs of an experiment a study file no longer asks for, and whether they may be deleted."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME
from asc_study.base.taxonomy import CLASSES
from asc_study.base.text_table import text_table
from asc_study.data.identified import IdentifiedDataset
from asc_study.evaluation.accuracy_table import cell, figure
from asc_study.settings.study_file import Study, load_study, profile_names
from asc_study.store.claims import is_alive
from asc_study.store.records import RunRecord
from asc_study.store.references import HASH_DIGITS, combination_of
from asc_study.store.removal import all_runs, delete_run
from asc_study.store.stale import members_of
from asc_study.store.tracking import Tracker
from asc_study.study.plan import specs, why_orphaned

_ACCURACY: Final = BY_NAME[ALL_CLIPS.metric]

#: Differences of a run that the table shows.
_SHOWN: Final = 3


@dataclass(frozen=True)
class Orphan:
    """A run that the study no longer asks for; ``why`` are the settings, code or data that it differs in."""

    record: RunRecord
    why: tuple[str, ...]
    kept_because: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The run in the types of JSON; ``accuracy`` is that of all test clips, in per cent."""
        return {
            "run_id": self.record.run_id,
            "kind": self.record.tags.get(Tag.KIND, ""),
            "row": self.record.tags.get(Tag.ROW, ""),
            "seed": self.record.seed,
            "signature": self.record.signature[:10],
            "combination": combination_of(self.record)[:HASH_DIGITS],
            "status": self.record.status,
            "accuracy": figure(self.record.metrics, _ACCURACY),
            "differs": list(self.why),
            "kept_because": self.kept_because,
        }


def load_variants(
    path: Path, *, overrides: Sequence[str] = (), data: IdentifiedDataset | None = None
) -> tuple[Study, ...]:
    """The study of a file as it is without and with each of its profiles: the runs of all of them belong to it.

    Without data, a file that names no task is read for every task that it can be of.

    Raises
    ------
    InputError
        If it cannot be read for any task.
    """
    tasks = [data.dataset.task] if data else [None, *CLASSES]
    found, first_error = [], None
    for task in tasks:
        try:
            found.append(load_study(path, overrides=overrides, default_task=task))
        except InputError as error:  # its ensembles may fit one task only
            first_error = first_error or error
            continue
        for profile in profile_names(path):
            with suppress(InputError):  # one that does not fit the rows has made no run
                found.append(load_study(path, overrides=overrides, profile=profile, default_task=task))
    if first_error and not found:
        raise first_error
    return tuple(found)


def find_orphans(variants: Sequence[Study], tracker: Tracker, data: IdentifiedDataset | None = None) -> list[Orphan]:
    """The runs of the experiment that none of the variants asks for, those that must stay last.

    A run must stay if it is being trained, or if a run that stays is made of it. Ensembles and fusions stay, but for
    those that have the name of one of the file's and are made of a run that goes: the file makes them anew.

    Parameters
    ----------
    variants
        As `load_variants` gives them.
    tracker
        The store.
    data
        The data set that counts; without, each run is judged with the data set that it was trained on.
    """
    study = variants[0]
    asked_for = _AskedFor(variants)
    orphans = [
        record
        for record in tracker.runs(study.name, kind=Kind.TRAIN)
        if not asked_for.has(record, data.digest if data else record.tags.get(Tag.DATASET_DIGEST, ""))
    ]
    alive = {record.run_id for record in orphans if record.status == "RUNNING" and is_alive(tracker, record)}
    if not orphans:
        return []
    made = {r.run_id: r for r in all_runs(tracker) if members_of(r) and r.status in ("FINISHED", "RUNNING")}
    declared = {row.name for row in study.ensembles}
    renewable = {i for i, r in made.items() if r.tags.get(Tag.STUDY) == study.name and _row(r) in declared}
    going = removable({record.run_id for record in orphans} - alive, made, renewable)
    found = []
    for record in orphans:
        digest = data.digest if data else record.tags.get(Tag.DATASET_DIGEST, "")
        _, why = why_orphaned(record, asked_for.identities(digest), study.seeds, tracker)
        found.append(Orphan(record, tuple(why), _why_kept(record, alive, going, made)))
    found += [Orphan(made[i], ("it is made of runs that go",)) for i in made if i in going]
    return sorted(found, key=lambda orphan: bool(orphan.kept_because))


def removable(orphans: Collection[str], made: Mapping[str, RunRecord], renewable: Collection[str]) -> set[str]:
    """Which of the orphans, and of the runs made of them, can go without leaving a run that stays without a member.

    Parameters
    ----------
    orphans
        Ids of trained runs that nobody asks for.
    made
        Id -> run that is made of others, in all studies.
    renewable
        Those of ``made`` that may go with a member.
    """
    going = set(orphans)
    while more := {i for i in renewable if i not in going and going.intersection(members_of(made[i]))}:
        going |= more
    while True:
        needed = {member for i, record in made.items() if i not in going for member in members_of(record)}
        whole = {i for i in going if i in made and not going.intersection(members_of(made[i]))}
        if not going & (needed | whole):
            return going
        going -= needed | whole


def delete_orphans(orphans: Sequence[Orphan], tracker: Tracker) -> list[str]:
    """Delete those that need not stay, what is made of others first; returns the ids of what was deleted."""
    going = [orphan.record for orphan in orphans if not orphan.kept_because]
    going.sort(key=lambda record: not members_of(record))
    return [record.run_id for record in going if delete_run(tracker, record)]


def render_orphans(study: str, orphans: Sequence[Orphan]) -> str:
    """The orphans as text: a table, below it what each differs in, and which stay."""
    if not orphans:
        return f"study {study}: no run of the store is orphaned"
    lines = [["Row", "Seed", "Hash", "Status", _ACCURACY.heading, "Differs in"]]
    for orphan in orphans:
        record = orphan.record
        why = f"kept: {orphan.kept_because}" if orphan.kept_because else _shortened(orphan.why)
        accuracy = cell(_ACCURACY, figure(record.metrics, _ACCURACY))
        lines.append([_row(record), record.seed, combination_of(record)[:HASH_DIGITS], record.status, accuracy, why])
    return f"study {study}: runs that it no longer asks for\n" + text_table(lines, left=(0, 2, 3, 5))


class _AskedFor:
    """What the variants of a study ask for on a data set, by its digest: found once for each."""

    def __init__(self, variants: Sequence[Study]) -> None:
        self._variants = variants
        self._identities: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._signatures: dict[str, set[str]] = {}

    def has(self, record: RunRecord, digest: str) -> bool:
        self._find(digest)
        return record.signature in self._signatures[digest]

    def identities(self, digest: str) -> Mapping[str, Mapping[str, Any]]:
        """Row -> identity, of the study without a profile."""
        self._find(digest)
        return self._identities[digest]

    def _find(self, digest: str) -> None:
        if digest not in self._signatures:
            runs = [specs(study, digest) for study in self._variants]
            self._signatures[digest] = {spec.signature for some in runs for spec in some}
            self._identities[digest] = {spec.row: spec.identity for spec in runs[0]}


def _shortened(why: Sequence[str]) -> str:
    more = f"; and {len(why) - _SHOWN} more" if len(why) > _SHOWN else ""
    return "; ".join(why[:_SHOWN]) + more


def _row(record: RunRecord) -> str:
    return record.tags.get(Tag.ROW, "")


def _why_kept(record: RunRecord, alive: Collection[str], going: Collection[str], made: Mapping[str, RunRecord]) -> str:
    if record.run_id in alive:
        return "it is being trained"
    if record.run_id in going:
        return ""
    kept = [r for r in made.values() if r.run_id not in going and record.run_id in members_of(r)]
    names = sorted({f"{record.tags.get(Tag.STUDY, '')}/{_row(record)}" for record in kept})
    return f"member of {', '.join(names)}"
