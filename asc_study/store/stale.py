"""Ensembles and fusions that no longer stand for their members: one was deleted, or its row is another one by now."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from asc_study.base.contract import Tag
from asc_study.base.errors import InputError
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord


def members_of(record: RunRecord) -> list[str]:
    """The ids of the runs that a run is made of; none if its tag was changed by hand to what is no list of ids."""
    try:
        members = json.loads(record.tags.get(Tag.MEMBERS, "[]"))
    except ValueError:
        return []
    return [member for member in members if isinstance(member, str)] if isinstance(members, list) else []


def further_down(record: RunRecord, above: tuple[str, ...]) -> tuple[str, ...]:
    """The ids on the way from a system down to a part of it, with that of the part.

    Raises
    ------
    InputError
        If it is on that way already: a file or a tag of the store was edited.
    """
    if record.run_id in above:
        raise InputError(f"the store says that {record.label!r}, run {record.run_id}, is made of itself: make it again")
    return (*above, record.run_id)


def lost_member(reader: Reader, record: RunRecord) -> str:
    """The id of a deleted run that ``record`` is made of, or a member of it; empty if all are there."""
    return next((run_id for run_id, member in all_below(reader, record) if member is None), "")


def all_below(reader: Reader, record: RunRecord) -> Iterator[tuple[str, RunRecord | None]]:
    """Ids and records of the members of a run and of theirs, each once; None stands for one that was deleted."""
    seen, left = {record.run_id}, members_of(record)
    while left:
        run_id = left.pop(0)
        if run_id in seen:  # also where an edited tag says that a run is made of itself
            continue
        seen.add(run_id)
        member = reader.run(run_id)
        yield run_id, member
        left += members_of(member) if member else []


def stale_reasons(
    reader: Reader, records: Sequence[RunRecord], current: Mapping[str, Collection[str]] | None = None
) -> dict[str, str]:
    """Why runs are stale, by their ids; those that are not are left out.

    A run is stale if a member of it was deleted, is stale itself, or is no longer what its row stands for. Changes
    nothing; asks the store only for members that are not among ``records``.

    Parameters
    ----------
    reader
        The store.
    records
        All runs of a study.
    current
        Name of a row -> ids of its runs as the study has it now. Without it, and for other rows, the newest finished
        run of a row and seed says what the row stands for.
    """
    known: dict[str, RunRecord | None] = {record.run_id: record for record in records}
    newest: dict[tuple[str, str, str], RunRecord] = {}
    for record in sorted(records, key=lambda record: record.start_seconds):
        if record.status == "FINISHED":
            newest[_place(record)] = record
    reasons: dict[str, str] = {}

    def reason(record: RunRecord) -> str:
        if record.run_id not in reasons:
            reasons[record.run_id] = "its tag says that it is made of itself"
            found = (of_member(member) for member in members_of(record))
            reasons[record.run_id] = next(filter(None, found), "")
        return reasons[record.run_id]

    def of_member(run_id: str) -> str:
        if run_id not in known:
            known[run_id] = reader.run(run_id)
        member = known[run_id]
        if member is None:
            return f"its member {run_id} was deleted"
        if reason(member):
            return f"its member {member.label} is stale: {reason(member)}"
        now = (current or {}).get(member.tags.get(Tag.ROW, ""))
        if now is not None:
            return "" if run_id in now else f"its member {member.label} is not what the study has now"
        latest = newest.get(_place(member), member)
        same = latest.tags.get(Tag.COMBINATION) == member.tags.get(Tag.COMBINATION)
        return "" if same else f"its member {member.label} was replaced by a newer run of that name"

    return {record.run_id: reason(record) for record in records if reason(record)}


def _place(record: RunRecord) -> tuple[str, str, str]:
    """What people name a run by."""
    return record.tags.get(Tag.STUDY, ""), record.tags.get(Tag.ROW, ""), record.seed
