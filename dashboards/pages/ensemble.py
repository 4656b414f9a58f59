"""Putting systems together: what members gain, who would add something, who decides alike, how a study chose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from asc_study.base.contract import Artifact, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, DEFAULT_OBJECTIVE, require_objective, subsets_among
from asc_study.base.yaml_file import parse_yaml
from asc_study.ensemble.crossfit import fuse_splits
from asc_study.ensemble.fuse import FUSIONS
from asc_study.ensemble.stack import pair
from asc_study.ensemble.two_stage import TwoStage
from asc_study.evaluation.overlap import alike_order, overlap
from asc_study.evaluation.side_by_side import side_by_side
from asc_study.figures.ensemble import overlap_figure, path_figure
from asc_study.figures.fusing import diversity_figure, fused_figure
from asc_study.store.records import RunRecord
from asc_study.systems.members import Member
from dashboards.blocks import Block, Figure, Note
from dashboards.members import (
    MOST,
    Candidates,
    alone,
    among,
    best_member,
    chosen_members,
    ensembles_of,
    gather_members,
    pool_of,
    samples_of,
)
from dashboards.pages.choices import board_looks, reference_of, study_control
from dashboards.registry import Control, Page
from dashboards.source import Board, Source
from dashboards.state import State

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


def controls(source: Source, state: Ensemble) -> Sequence[Control]:
    """What can be chosen."""
    board = source.board(state.study, state.reference)
    found = _candidates(source, board, state)
    names = {member.name: member.name for member in found.every}
    chosen = [
        study_control(source, state),
        Control("members", "Members", [member.name for member in found.members], names, kind="many"),
        Control("fusion", "Fused by", _fusion(state), {name: name for name in FUSIONS}),
        Control("test", "Test clips: only to report, never to choose", state.test, kind="switch"),
    ]
    if found.coarse:
        chosen.append(Control("two_stage", "In two stages", state.two_stage, kind="switch"))
    if found.coarse and state.two_stage:
        options = {member.name: member.name for member in found.coarse}
        chosen.append(Control("coarse", "Three-class system", _coarse(found, state).name, options))
        exponent = _exponent(state)
        chosen.append(Control("exponent", "Exponent", exponent, kind="slider", high=_HIGHEST_EXPONENT))
    paths = ensembles_of(board)
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
    split = "test" if state.test else found.deciding
    said: list[Block] = [Note(note) for note in found.notes]
    if split == "test" and state.test:
        said.append(Note("Test clips: who ticks members by what is seen here has chosen on test."))
    elif split == "test":
        line = "There are no validation predictions: what is ticked by these test clips is chosen on test."
        said.append(Note(line, kind="empty"))
    if state.two_stage and not found.coarse:
        line = (
            "Two stages need a system of scene groups on the same clips: add a row with the task of the groups "
            "(`task: three_class`), then"
        )
        said.append(Note(line, f"asc-study run {study}.yaml --data DIR", "empty"))
    if FUSIONS[_fusion(state)].learns:
        said.append(Note(f"{_fusion(state)} learns from labels: {_learned_on(found, split)}."))
    together = _fused(source, found, state, split)
    return [*said, *together, *_compared(source, board, found, state, split), *_path(source, board, state)]


def _fusion(state: Ensemble) -> str:
    return state.fusion if state.fusion in FUSIONS else "average"


def _exponent(state: Ensemble) -> float:
    return min(max(state.exponent, 0.0), _HIGHEST_EXPONENT)


def _learned_on(found: Candidates, split: str) -> str:
    """Whose labels a rule that learns was fitted on, for the clips that are shown."""
    if split == found.deciding:
        return f"a {split} clip is fused by what was learned of other locations (cross-fitted)"
    return "of validation clips, never of those that are shown"


def _coarse(found: Candidates, state: Ensemble) -> Member:
    return next((member for member in found.coarse if member.name == state.coarse), found.coarse[0])


def _candidates(source: Source, board: Board, state: Ensemble) -> Candidates:
    many = sum(len(records) for records in board.records.values()) > MOST
    kept = state.members if many else ()  # they decide who is looked at, if not all are
    found = source.kept(("candidates", board.key, kept), lambda: gather_members(source, board, kept))
    return replace(found, members=chosen_members(board, found.every, state.members))


def _fused(source: Source, found: Candidates, state: Ensemble, split: str) -> list[Block]:
    """What the members make together, beside the best of them."""
    fusion = _fusion(state)
    coarse = [_coarse(found, state)] if state.two_stage and found.coarse else []
    if len(found.members) < 2 and not coarse:
        return [Note("Tick at least two members to see what they gain together.")]
    names = tuple(member.name for member in (*found.members, *coarse))
    key = ("fused", found.key, names, fusion, _exponent(state) if coarse else None, split)
    try:
        figure, table = source.kept(key, lambda: _put_together(source, found, coarse, state, split))
    except InputError as error:
        return [Note(f"They cannot be put together so: {error}.", kind="empty")]
    return [Figure(figure, "together", table)]


def _put_together(
    source: Source, found: Candidates, coarse: Sequence[Member], state: Ensemble, split: str
) -> tuple[Any, pd.DataFrame]:
    members, fusion, made = found.members, _fusion(state), {}
    rule = FUSIONS[fusion]
    samples, notes = samples_of(source, found, coarse)
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
    best = best_member(source, found)
    clips = samples[split][0].context["clip_id"]
    measured = side_by_side(
        {best.name: [among(best, split, clips)], **{name: [known[split]] for name, known in made.items()}}, best.name
    )
    single = {member.name: alone(source, found, member, split, clips) for member in members}
    return fused_figure(measured, best.name, single, split, task=best.task), _behind(measured, single)


def _behind(measured: pd.DataFrame, single: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """The numbers of the figure: what was put together and the best member, then the others alone."""
    subsets = measured[measured["metric"].isin([one.metric for one in (*subsets_among(measured["metric"]), ALL_CLIPS)])]
    others = [
        {"system": name, "metric": metric, "value": value}
        for name, values in single.items()
        if name not in set(measured["system"])
        for metric, value in values.items()
    ]
    return pd.concat([subsets, pd.DataFrame(others)], ignore_index=True) if others else subsets


def _compared(source: Source, board: Board, found: Candidates, state: Ensemble, split: str) -> list[Block]:
    """All candidates: accuracy against diversity, and the overlap of each two."""
    names = [member.name for member in found.every]
    metric = BY_NAME[DEFAULT_OBJECTIVE]
    try:
        pool = pool_of(source, found, split)
    except InputError as error:
        return [Note(f"The candidates cannot be compared: {error}.", kind="empty")]
    places = [names.index(member.name) for member in found.members]
    candidates = pd.DataFrame([vars(pool.candidate(number, places)) for number in range(len(names))])
    of_rows = board_looks(board, reference_of(board, state))
    looks = {name: of_rows[found.rows[name]] for name in names}
    shown: list[Block] = [Figure(diversity_figure(candidates, looks, metric, split), "diversity", candidates)]

    def drawn() -> tuple[Any, pd.DataFrame]:
        every = overlap(pool.sample.probabilities, pool.sample.label)
        order = alike_order(every.decisions)
        ordered, alike = every.ordered(order), [names[place] for place in order]
        return overlap_figure(ordered, alike, split), ordered.to_frame(alike)

    figure, pairs = source.kept(("overlap", found.key, split), drawn)
    return [*shown, Figure(figure, "overlap", pairs)]


def _path_of(state: Ensemble, paths: dict[str, RunRecord]) -> str:
    return state.path if state.path in paths else max(paths, key=lambda name: paths[name].start_seconds)


def _path(source: Source, board: Board, state: Ensemble) -> list[Block]:
    """How an ensemble of the study was chosen, as its run logged it."""
    paths, study = ensembles_of(board), source.chosen(state.study)[0]
    if not paths:
        line = "No ensemble of this study was chosen yet; this chooses one on validation and logs the path:"
        return [Note(line, f"asc-study ensemble {study}")]
    name = _path_of(state, paths)
    record = paths[name]
    try:
        path, candidates, metric = source.kept(("path", record.run_id), lambda: _read_path(source, record))
    except (InputError, OSError, ValueError, KeyError, TypeError):
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
    options = parse_yaml(source.reader.text_artifact(record.run_id, Artifact.CONFIG), Artifact.CONFIG)
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
