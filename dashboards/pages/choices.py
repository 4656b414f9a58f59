"""The controls that several pages have."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.metric_table import ALL_CLIPS, unseen_among
from asc_study.figures.theme import REFERENCE, looks
from dashboards.registry import Control
from dashboards.source import Board, Source
from dashboards.state import State


def study_control(source: Source, state: State) -> Control:
    """Which studies are looked at together."""
    options = {name: name for name in source.studies()}
    return Control("study", "Studies", list(source.chosen(state.study)), options, kind="many")


def reference_control(board: Board, state: State) -> Control:
    """Which row the others are compared with."""
    return Control("reference", "Reference", reference_of(board, state), {name: name for name in board.names})


def rows_control(board: Board, chosen: Sequence[str], *, name: str = "rows", label: str = "Systems") -> Control:
    """Which rows are shown."""
    return Control(name, label, list(chosen), {row: row for row in board.names}, kind="many")


def reference_of(board: Board, state: State) -> str:
    """The row that the others are compared with: the link's, else the board's own, else the first."""
    names = board.names
    if state.reference in names:
        return state.reference
    frame = board.frame
    told = frame["reference"].dropna() if "reference" in frame else pd.Series(dtype=object)
    for name in told:
        found = frame["name"][(frame["row"] == name) & (frame["seeds"] > 0)]
        if len(found):
            return str(found.iloc[0])
    return names[0] if names else ""


def comparable_rows(board: Board, name: str, *, telling: bool = False) -> list[str]:
    """The rows of the same task and test clips as a row; ``telling``: without steps of systems and single networks."""
    if not name:
        return []
    row, frame = board.row(name), board.frame
    same = (frame["seeds"] > 0) & frame[ALL_CLIPS.metric].notna()
    if telling:
        same &= ~frame["folded"].astype(bool) | frame["name"].eq(name)
    for column in ("task", "dataset_digest"):
        same &= frame[column].eq(row[column])
    return list(frame["name"][same])


def first_rows(board: Board, reference: str, count: int = 4) -> list[str]:
    """The reference and the best others on devices never heard, for a page that nobody chose rows for yet."""
    others = board.among([name for name in comparable_rows(board, reference, telling=True) if name != reference])
    measured = [str(name) for name in others if others[name].notna().any()]
    metric = (unseen_among(measured) or ALL_CLIPS).metric
    best = others.sort_values(metric, ascending=False, kind="stable")["name"].head(count - 1)
    shown = {reference, *best}
    return [name for name in board.names if name in shown]


def board_looks(board: Board, reference: str) -> dict[str, tuple[str, str]]:
    """The colour and the symbol of each row of a board, the same on every page; statistics baselines are grey too."""
    frame = board.frame
    if not len(frame):
        return {}
    folded = frame["folded"].astype(bool)
    names = [str(name) for name in (*frame["name"][~folded], *frame["name"][folded])]
    floors = [name for name in names if name != reference and _is_baseline(board, name)]
    found = looks([name for name in names if name not in floors], reference)
    return found | dict.fromkeys(floors, (REFERENCE, "square"))


def _is_baseline(board: Board, name: str) -> bool:
    return any(record.tags.get(Tag.KIND) == Kind.BASELINE for record in board.records.get(name, ()))


def baseline_row(board: Board, name: str) -> "pd.Series[Any] | None":
    """The statistics baseline of the same task and clips as a row; None if it was not measured."""
    for known in comparable_rows(board, name):
        if _is_baseline(board, known):
            return board.row(known)
    return None
