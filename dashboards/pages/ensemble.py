"""Putting systems together: what members gain, who would add something, who decides alike, how a study chose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import yaml

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, DEFAULT_OBJECTIVE, SUBSETS, full_name, require_objective
from asc_study.ensemble.candidates import Search, rank
from asc_study.ensemble.crossfit import fuse_splits
from asc_study.ensemble.fuse import FUSIONS
from asc_study.ensemble.stack import Stack, pair
from asc_study.ensemble.two_stage import TwoStage
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.objective import objective
from asc_study.evaluation.overlap import alike_order, overlap
from asc_study.evaluation.side_by_side import side_by_side
from asc_study.figures.ensemble import overlap_figure, path_figure
from asc_study.figures.fusing import diversity_figure, fused_figure
from asc_study.store.queries import RunRecord
from asc_study.store.stale import members_of
from asc_study.systems.ensembles import with_validation
from asc_study.systems.fusions import two_stage_stacks
from asc_study.systems.members import Member, stacks, with_same_test_clips
from dashboards.blocks import Block, Figure, Note
from dashboards.pages.choices import board_looks, reference_of, study_control
from dashboards.registry import Control, Page
from dashboards.source import Board, Source
from dashboards.state import State

#: Of more candidates the heat maps would have no room: the best on validation are shown.
MOST: Final = 40

#: Exponents of the coarse score that can be chosen: those that a fit looks at.
_HIGHEST_EXPONENT: Final = 5.0

#: Figures of a stored path that its figure needs; earlier versions logged fewer.
_OF_PATH: Final = ("added", "score", "low", "high", "overlap", "both_wrong")


@dataclass(frozen=True)
class Ensemble(State):
    """Who is put together and how, on which clips that is shown, and whose path."""

    members: tuple[str, ...] = ()
    fusion: str = "average"
    test: bool = False
    two_stage: bool = False
    coarse: str = ""
    exponent: float = 1.0
    path: str = ""


@dataclass(frozen=True)
class _Candidates:
    """What can be put together, what is, and what people should know of the choice."""

    every: Sequence[Member]
    members: Sequence[Member]
    coarse: Sequence[Member]
    rows: Mapping[str, str]
    notes: Sequence[str]

    @property
    def key(self) -> tuple[str, ...]:
        """What is told of all candidates depends on these."""
        return tuple(part for member in self.every for part in (member.record.run_id, member.name))

    def split(self, state: Ensemble) -> str:
        """The clips that are shown: validation, unless test was asked for or nothing else is there."""
        validated = all("validation" in member.tables for member in self.every)
        return "validation" if validated and not state.test else "test"


def controls(source: Source, state: Ensemble) -> Sequence[Control]:
    """What can be chosen."""
    board = source.board(state.study, state.reference)
    found = _candidates(source, board, state)
    names = {member.name: member.name for member in found.every}
    chosen = [
        study_control(source, state),
        Control("members", "Members", [member.name for member in found.members], names, kind="many"),
        Control("fusion", "Fused by", _fusion(state), {name: name for name in _fusions()}),
        Control("test", "Test clips: only to report, never to choose", state.test, kind="switch"),
    ]
    if found.coarse:
        chosen.append(Control("two_stage", "In two stages", state.two_stage, kind="switch"))
    if found.coarse and state.two_stage:
        options = {member.name: member.name for member in found.coarse}
        chosen.append(Control("coarse", "Three-class system", _coarse(found, state).name, options))
        exponent = _exponent(state)
        chosen.append(Control("exponent", "Exponent", exponent, kind="slider", high=_HIGHEST_EXPONENT))
    paths = _ensembles(board)
    if paths:
        chosen.append(Control("path", "Path of", _path_of(state, paths), {name: name for name in paths}))
    return chosen


def blocks(source: Source, state: Ensemble) -> Sequence[Block]:
    """What the members gain, the candidates, their overlap, and the path of an ensemble of the study."""
    board = source.board(state.study, state.reference)
    found = _candidates(source, board, state)
    study = source.chosen(state.study)[0]
    if len(found.every) < 2:
        line = f"Members are chosen among at least 2 systems of one task and the same clips, got {len(found.every)}:"
        return [Note(line, f"asc-study run {study}.yaml --data DIR", "empty"), *_path(source, board, state)]
    split = found.split(state)
    said: list[Block] = [Note(note) for note in found.notes]
    if split == "test" and state.test:
        said.append(Note("Test clips: who ticks members by what is seen here has chosen on test."))
    elif split == "test":
        line = "There are no validation predictions: what is ticked by these test clips is chosen on test."
        said.append(Note(line, kind="empty"))
    if state.two_stage and not found.coarse:
        line = "Two stages need a three-class system of the same clips: add a row with `task: three_class`, then"
        said.append(Note(line, f"asc-study run {study}.yaml --data DIR", "empty"))
    together = _fused(source, found, state, split)
    return [*said, *together, *_compared(source, board, found, state, split), *_path(source, board, state)]


def _fusions() -> list[str]:
    """The rules that are fitted at once; logistic regression, which learns by class, takes seconds."""
    return [name for name, rule in FUSIONS.items() if not rule.by_class]


def _fusion(state: Ensemble) -> str:
    return state.fusion if state.fusion in _fusions() else "average"


def _exponent(state: Ensemble) -> float:
    return min(max(state.exponent, 0.0), _HIGHEST_EXPONENT)


def _coarse(found: _Candidates, state: Ensemble) -> Member:
    return next((member for member in found.coarse if member.name == state.coarse), found.coarse[0])


def _candidates(source: Source, board: Board, state: Ensemble) -> _Candidates:
    many = sum(len(records) for records in board.records.values()) > MOST
    kept = state.members if many else ()  # they decide who is looked at, if not all are
    found = source.kept(("candidates", board.key, kept), lambda: _gathered(source, board, kept))
    return replace(found, members=_ticked(board, found.every, state))


def _gathered(source: Source, board: Board, kept: Sequence[str]) -> _Candidates:
    """The trained and imported runs of a board as `asc-study ensemble` gathers them; of many the best on validation."""
    rows: dict[str, str] = {}
    records: dict[str, dict[str, RunRecord]] = {"ten_class": {}, "three_class": {}}
    for name in board.names:
        for record in board.records[name]:
            if record.tags.get(Tag.KIND) in (Kind.TRAIN, Kind.IMPORTED) and record.tags.get(Tag.TASK) in records:
                label = name if len(board.records[name]) == 1 else f"{name} seed {record.seed}"
                records[record.tags[Tag.TASK]][label] = record
                rows[label] = name
    task = "ten_class" if records["ten_class"] else "three_class"
    chosen, notes = _best(records[task], kept)
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
    if task == "ten_class" and members:
        clips = frozenset(members[0].tables["test"]["clip_id"])
        three = _loaded(source, _best(records["three_class"], ())[0])
        coarse = [member for member in three if frozenset(member.tables["test"]["clip_id"]) == clips]
        if all("validation" in member.tables for member in members):
            coarse = [member for member in coarse if "validation" in member.tables]
    return _Candidates(members, (), coarse, rows, notes)


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
        found = {split: source.table(record, split) for split in ("validation", "test")}
        tables = {split: table for split, table in found.items() if table is not None}
        if "test" in tables:
            members.append(Member(record, name, tables))
    return members


def _ticked(board: Board, members: Sequence[Member], state: Ensemble) -> list[Member]:
    """The members of the link, else those of the study's newest ensemble, else the two best on validation."""
    ticked = [member for member in members if member.name in state.members]
    if ticked:
        return ticked
    newest = sorted(_ensembles(board).values(), key=lambda record: -record.start_seconds)
    for made_of in map(members_of, newest):
        inside = [member for member in members if member.record.run_id in made_of]
        if len(inside) == len(made_of) > 1:
            return inside
    split = "validation" if all("validation" in member.tables for member in members) else "test"
    metric = full_name(DEFAULT_OBJECTIVE, split)
    return sorted(members, key=lambda member: -member.record.metrics.get(metric, 0.0))[:2]


def _shortly(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _fused(source: Source, found: _Candidates, state: Ensemble, split: str) -> list[Block]:
    """What the members make together, beside the best of them."""
    fusion = _fusion(state)
    coarse = [_coarse(found, state)] if state.two_stage and found.coarse else []
    if len(found.members) < 2 and not coarse:
        return [Note("Tick at least two members to see what they gain together.")]
    ids = tuple(member.record.run_id for member in (*found.members, *coarse))
    key = ("fused", ids, fusion, _exponent(state) if coarse else None, split)
    try:
        figure, table = source.kept(key, lambda: _put_together(source, found, coarse, state, split))
    except InputError as error:
        return [Note(f"They cannot be put together so: {error}.", kind="empty")]
    return [Figure(figure, "together", table)]


def _put_together(
    source: Source, found: _Candidates, coarse: Sequence[Member], state: Ensemble, split: str
) -> tuple[Any, pd.DataFrame]:
    members, fusion, made = found.members, _fusion(state), {}
    rule = FUSIONS[fusion]
    samples, notes = _samples(source, found, coarse)
    if split not in samples:
        raise InputError(f"they share no {split} clips ({'; '.join(notes) or 'other clips'})")
    if len(members) > 1:
        fine = {name: both[0] for name, both in samples.items()}
        made[f"{fusion} of {len(members)}"] = fuse_splits(rule, fine).tables
    if coarse:
        pairs = {name: pair(one, two) for name, (one, two) in samples.items() if two is not None}
        staged = TwoStage(rule, rule, "product", _exponent(state))
        made[f"two stages, exponent {_exponent(state):.1f}"] = fuse_splits(staged, pairs).tables
    if any(split not in tables for tables in made.values()):
        raise InputError(f"{fusion} learns, and the {split} clips are of too few locations for that: use average")
    best = _best_member(source, found)
    clips = samples[split][0].context["clip_id"]
    measured = side_by_side(
        {best.name: [_among(best, split, clips)], **{name: [known[split]] for name, known in made.items()}}, best.name
    )
    alone = {member.name: _alone(source, found, member, split, clips) for member in members}
    return fused_figure(measured, best.name, alone, split, task=best.task), _behind(measured, alone)


def _samples(
    source: Source, found: _Candidates, coarse: Sequence[Member]
) -> tuple[dict[str, tuple[Stack, Stack | None]], Sequence[str]]:
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


def _stacked(
    members: Sequence[Member], coarse: Sequence[Member]
) -> tuple[dict[str, tuple[Stack, Stack | None]], Sequence[str]]:
    if coarse:
        both, notes = two_stage_stacks(members, coarse)
        return {split: (fine, three) for split, (fine, three) in both.items()}, notes
    fine_alone, notes = stacks(members)
    return {split: (fine, None) for split, fine in fine_alone.items()}, notes


def _best_member(source: Source, found: _Candidates) -> Member:
    """The member that is best by the default objective on validation, or on test where that is all there is."""
    search = _search(source, found, found.split(Ensemble()))
    names = [member.name for member in found.every]
    return max(found.members, key=lambda member: rank(float(search.single[names.index(member.name)])))


def _alone(source: Source, found: _Candidates, member: Member, split: str, clips: "pd.Series[str]") -> dict[str, float]:
    """What a member reaches alone on these clips."""
    if len(member.tables[split]) != len(clips):
        return _accuracies(_among(member, split, clips), split)

    def every() -> dict[str, dict[str, float]]:
        return {one.name: _accuracies(one.tables[split], split) for one in found.every}

    return source.kept(("alone", found.key, split), every)[member.name]


def _among(member: Member, split: str, clips: "pd.Series[str]") -> pd.DataFrame:
    table = member.tables[split]
    return table if len(table) == len(clips) else table[table["clip_id"].isin(set(clips))]


def _accuracies(table: pd.DataFrame, split: str) -> dict[str, float]:
    """Accuracies without their split, in per cent."""
    measured = evaluate(table, intervals=False)
    names = {one.metric: full_name(one.metric, split) for one in (*SUBSETS, ALL_CLIPS)}
    return {metric: 100 * measured[logged] for metric, logged in names.items() if logged in measured}


def _behind(measured: pd.DataFrame, alone: dict[str, dict[str, float]]) -> pd.DataFrame:
    """The numbers of the figure: what was put together and the best member, then the others alone."""
    subsets = measured[measured["metric"].isin([one.metric for one in (*SUBSETS, ALL_CLIPS)])]
    others = [
        {"system": name, "metric": metric, "value": value}
        for name, values in alone.items()
        if name not in set(measured["system"])
        for metric, value in values.items()
    ]
    return pd.concat([subsets, pd.DataFrame(others)], ignore_index=True) if others else subsets


def _compared(source: Source, board: Board, found: _Candidates, state: Ensemble, split: str) -> list[Block]:
    """All candidates: accuracy against diversity, and the overlap of each two."""
    names = [member.name for member in found.every]
    metric = BY_NAME[DEFAULT_OBJECTIVE]
    try:
        search = _search(source, found, split)
    except InputError as error:
        return [Note(f"The candidates cannot be compared: {error}.", kind="empty")]
    places = [names.index(member.name) for member in found.members]
    candidates = pd.DataFrame([vars(search.candidate(number, places)) for number in range(len(names))])
    of_rows = board_looks(board, reference_of(board, state))
    looks = {name: of_rows[found.rows[name]] for name in names}
    shown: list[Block] = [Figure(diversity_figure(candidates, looks, metric, split), "diversity", candidates)]

    def drawn() -> tuple[Any, pd.DataFrame]:
        every = overlap(search.sample.probabilities, search.sample.label)
        order = alike_order(every.decisions)
        ordered, alike = every.ordered(order), [names[place] for place in order]
        return overlap_figure(ordered, alike, split), ordered.to_frame(alike)

    figure, pairs = source.kept(("overlap", found.key, split), drawn)
    return [*shown, Figure(figure, "overlap", pairs)]


def _search(source: Source, found: _Candidates, split: str) -> Search:
    """The candidates as a selection sees them."""

    def made() -> Search:
        samples, notes = source.kept(("stacks", found.key, ()), lambda: _stacked(found.every, ()))
        if split not in samples:
            raise InputError(f"they share no {split} clips ({'; '.join(notes) or 'other clips'})")
        sample = samples[split][0]
        return Search(sample, objective(DEFAULT_OBJECTIVE, sample.context, sample.classes))

    return source.kept(("search of members", found.key, split), made)


def _ensembles(board: Board) -> dict[str, RunRecord]:
    """The ensembles of a board, each by its newest run."""
    found = {}
    for name in board.names:
        newest = max(board.records[name], key=lambda record: record.start_seconds)
        if newest.tags.get(Tag.KIND) == Kind.ENSEMBLE:
            found[name] = newest
    return found


def _path_of(state: Ensemble, paths: dict[str, RunRecord]) -> str:
    return state.path if state.path in paths else max(paths, key=lambda name: paths[name].start_seconds)


def _path(source: Source, board: Board, state: Ensemble) -> list[Block]:
    """How an ensemble of the study was chosen, as its run logged it."""
    paths, study = _ensembles(board), source.chosen(state.study)[0]
    if not paths:
        line = "No ensemble of this study was chosen yet; this chooses one on validation and logs the path:"
        return [Note(line, f"asc-study ensemble {study}")]
    name = _path_of(state, paths)
    record = paths[name]
    try:
        path, candidates, metric = source.kept(("path", record.run_id), lambda: _read_path(source, record))
    except (InputError, OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        line = f"How {name} was chosen cannot be read (an earlier version made it, or it was damaged); choose it anew:"
        return [Note(line, f"asc-study ensemble {record.tags.get(Tag.STUDY, study)} --name {name}")]
    if not state.test:
        path = path[[column for column in path if not str(column).startswith("test_")]]
    split = "test" if record.tags.get(Tag.BASIS) == "cross-fitted" else "validation"
    sentence = _path_sentence(name, path, candidates, metric)
    figure = path_figure(path, candidates, BY_NAME[metric], split, sentence)
    return [Figure(figure, "path", path)]


def _read_path(source: Source, record: RunRecord) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    path, candidates = (
        pd.read_csv(source.reader.artifact(record.run_id, name)) for name in (Artifact.PATH, Artifact.CANDIDATES)
    )
    numbers = path[list(_OF_PATH[1:])].astype(float)
    options = yaml.safe_load(source.reader.artifact(record.run_id, Artifact.CONFIG).read_text(encoding="utf-8"))
    return path.assign(**numbers), candidates, require_objective(options["metric"])


def _path_sentence(name: str, path: pd.DataFrame, candidates: pd.DataFrame, metric: str) -> str:
    first, last = path.iloc[0], path.iloc[-1]
    if len(path) == 1:
        return f"{name}: {first['added']} stands alone among {len(candidates)} candidates."
    known = BY_NAME[metric]
    unit = "points" if known.unit == "share" else known.unit
    change = known.factor * (last["score"] - first["score"])
    said = (
        f"{name}: {first['added']} was joined in {len(path) - 1} step{'s' if len(path) > 2 else ''} from "
        f"{len(candidates)} candidates; that changed {metric} by {change:+.{1 if known.factor == 100 else 3}f} {unit}"
    )
    if np.isfinite(last["low"]):
        noise = last["low"] <= 0 <= last["high"]
        said += f"; of the last step alone it is {'not ' if noise else ''}more than noise (the bars are the intervals)"
    return f"{said}."


PAGE: Final = Page("/ensemble", "Ensemble", Ensemble, controls, blocks, depends=("study", "two_stage"))
