"""Runs that can be put together: who they are, their outputs side by side, and what each reaches alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, DEFAULT_OBJECTIVE, full_name, subsets_among
from asc_study.base.taxonomy import CLASSES, label_column
from asc_study.ensemble.candidates import CandidatePool, rank
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.objective import objective
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of
from asc_study.systems.ensembles import with_validation
from asc_study.systems.fusions import two_stage_stacks
from asc_study.systems.members import Member, stacks, with_same_test_clips
from dashboards.source import Board, Source

#: Split -> the outputs of the ten-class systems side by side, and those of the three-class one.
Samples = Mapping[str, tuple[Stack, Stack | None]]

#: Of more candidates the heat maps would have no room: the best on validation are shown.
MOST: Final = 40


@dataclass(frozen=True)
class Candidates:
    """Runs that can be put together.

    Attributes
    ----------
    every
        All of them, of one task and the same test clips.
    members
        Those that are put together.
    coarse
        Three-class systems of the same clips.
    rows
        Name of a candidate -> its row.
    notes
        Who was left out.
    """

    every: Sequence[Member]
    members: Sequence[Member]
    coarse: Sequence[Member]
    rows: Mapping[str, str]
    notes: Sequence[str]

    @property
    def key(self) -> tuple[str, ...]:
        """What is told of all candidates depends on these."""
        return tuple(part for member in self.every for part in (member.record.run_id, member.name))

    @property
    def deciding(self) -> str:
        """The split by which members are chosen: validation, or test where that is all there is."""
        return "validation" if all("validation" in member.tables for member in self.every) else "test"


def gather_members(source: Source, board: Board, kept: Sequence[str]) -> Candidates:
    """The trained and imported runs of a board as `asc-study ensemble` gathers them; of many the best on validation."""
    rows: dict[str, str] = {}
    records: dict[str, dict[str, RunRecord]] = {}
    for name in board.names:
        for record in board.records[name]:
            if record.tags.get(Tag.KIND) in (Kind.TRAIN, Kind.IMPORTED) and record.tags.get(Tag.TASK) in CLASSES:
                label = name if len(board.records[name]) == 1 else f"{name} seed {record.seed}"
                records.setdefault(record.tags[Tag.TASK], {})[label] = record
                rows[label] = name
    task, *others_of = sorted(records, key=label_column) or [""]
    chosen, notes = _best(records.get(task, {}), kept)
    members = _loaded(source, chosen)
    if lost := [name for name in chosen if name not in {member.name for member in members}]:
        notes.append(f"Left out, without test predictions: {_shortly(lost)}.")
    members, others = with_same_test_clips(members)
    if others:
        notes.append(f"Left out, tested on other clips: {others}.")
    members, unvalidated = with_validation(members)
    if unvalidated:
        notes.append(f"Left out, without validation predictions: {_shortly(unvalidated)}.")
    coarse: list[Member] = []
    if members and others_of:
        clips = frozenset(members[0].tables["test"]["clip_id"])
        three = _loaded(source, _best(records[others_of[-1]], ())[0])
        coarse = [member for member in three if frozenset(member.tables["test"]["clip_id"]) == clips]
        if all("validation" in member.tables for member in members):
            coarse = [member for member in coarse if "validation" in member.tables]
    return Candidates(members, (), coarse, rows, notes)


def _best(records: dict[str, RunRecord], kept: Sequence[str]) -> tuple[dict[str, RunRecord], list[str]]:
    """The best runs on validation as they logged it, and those that are kept anyway; a note if some were left out."""
    if len(records) <= MOST:
        return records, []
    metric = full_name(DEFAULT_OBJECTIVE, "validation")
    order = sorted(records, key=lambda name: (name not in kept, -records[name].metrics.get(metric, 0.0)))
    best = set(order[:MOST])
    note = f"Of {len(records)} candidates the {MOST} with the best {metric} are shown."
    return {name: record for name, record in records.items() if name in best}, [note]


def _loaded(source: Source, records: dict[str, RunRecord]) -> list[Member]:
    """The runs with their predictions; those that were not tested are left out."""
    members = []
    for name, record in records.items():
        found = {split: source.predictions(record, split) for split in ("validation", "test")}
        tables = {split: table for split, table in found.items() if table is not None}
        if "test" in tables:
            members.append(Member(record, name, tables))
    return members


def _shortly(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def chosen_members(board: Board, members: Sequence[Member], names: Sequence[str]) -> list[Member]:
    """The members that are named, else those of the study's newest ensemble, else the two best on validation."""
    named = [member for member in members if member.name in names]
    if named:
        return named
    newest = sorted(ensembles_of(board).values(), key=lambda record: -record.start_seconds)
    for made_of in map(members_of, newest):
        inside = [member for member in members if member.record.run_id in made_of]
        if len(inside) == len(made_of) > 1:
            return inside
    split = "validation" if all("validation" in member.tables for member in members) else "test"
    metric = full_name(DEFAULT_OBJECTIVE, split)
    return sorted(members, key=lambda member: -member.record.metrics.get(metric, 0.0))[:2]


def ensembles_of(board: Board) -> dict[str, RunRecord]:
    """The ensembles of a board, each by its newest run."""
    found = {}
    for name in board.names:
        newest = max(board.records[name], key=lambda record: record.start_seconds)
        if newest.tags.get(Tag.KIND) == Kind.ENSEMBLE:
            found[name] = newest
    return found


def samples_of(source: Source, found: Candidates, coarse: Sequence[Member]) -> tuple[Samples, Sequence[str]]:
    """The outputs of the members side by side, and of the three-class system, by split.

    All candidates are put side by side once; the members are some of them, unless they share more clips than all do.
    """
    ids = tuple(member.record.run_id for member in coarse)
    every, notes = source.kept(("stacks", found.key, ids), lambda: _stacked(found.every, coarse))
    whole = all(
        len(one.tables[split]) == len(fine.context) for split, (fine, _) in every.items() for one in found.members
    )
    if not whole:
        return _stacked(found.members, coarse)
    names = [member.name for member in found.members]
    return {split: (fine.only(names), three) for split, (fine, three) in every.items()}, notes


def _stacked(members: Sequence[Member], coarse: Sequence[Member]) -> tuple[Samples, Sequence[str]]:
    if coarse:
        both, notes = two_stage_stacks(members, coarse)
        return {split: (fine, three) for split, (fine, three) in both.items()}, notes
    fine_alone, notes = stacks(members)
    return {split: (fine, None) for split, fine in fine_alone.items()}, notes


def pool_of(source: Source, found: Candidates, split: str) -> CandidatePool:
    """The candidates as a selection sees them."""

    def made() -> CandidatePool:
        samples, notes = source.kept(("stacks", found.key, ()), lambda: _stacked(found.every, ()))
        if split not in samples:
            raise InputError(f"they share no {split} clips ({'; '.join(notes) or 'other clips'})")
        sample = samples[split][0]
        return CandidatePool(sample, objective(DEFAULT_OBJECTIVE, sample.context, sample.classes))

    return source.kept(("pool of candidates", found.key, split), made)


def best_member(source: Source, found: Candidates) -> Member:
    """The member that is best by the default objective on validation, or on test where that is all there is."""
    pool = pool_of(source, found, found.deciding)
    names = [member.name for member in found.every]
    return max(found.members, key=lambda member: rank(float(pool.single[names.index(member.name)])))


def alone(source: Source, found: Candidates, member: Member, split: str, clips: "pd.Series[str]") -> dict[str, float]:
    """What a member reaches alone on these clips."""
    if len(member.tables[split]) != len(clips):
        return _accuracies(among(member, split, clips), split)

    def every() -> dict[str, dict[str, float]]:
        return {one.name: _accuracies(one.tables[split], split) for one in found.every}

    return source.kept(("alone", found.key, split), every)[member.name]


def among(member: Member, split: str, clips: "pd.Series[str]") -> pd.DataFrame:
    """The predictions of a member for these clips."""
    table = member.tables[split]
    return table if len(table) == len(clips) else table[table["clip_id"].isin(set(clips))]


def _accuracies(table: pd.DataFrame, split: str) -> dict[str, float]:
    """Accuracies without their split, in per cent."""
    measured = evaluate(table, intervals=False)
    names = {one.metric: full_name(one.metric, split) for one in (*subsets_among(measured), ALL_CLIPS)}
    return {metric: 100 * measured[logged] for metric, logged in names.items() if logged in measured}
