"""The page that people come for: which combination holds on devices that training never heard, and how sure it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from asc_study.base.metric_table import ALL_CLIPS, BY_NAME
from asc_study.evaluation.side_by_side import comparable, scenes_by_device, side_by_side
from asc_study.figures.robustness import devices_figure, gap_figure, scenes_figure
from asc_study.figures.study import change_figure
from dashboards.blocks import Block, Figure, Note
from dashboards.pages.choices import (
    baseline_row,
    board_looks,
    comparable_rows,
    first_rows,
    reference_control,
    reference_of,
    rows_control,
    study_control,
)
from dashboards.registry import Control, Page
from dashboards.source import Board, Source
from dashboards.state import State

#: Of more systems nobody could tell the dots of a device apart.
MOST: Final = 10


@dataclass(frozen=True)
class Devices(State):
    """Which rows are shown, on which split, and whose scenes."""

    rows: tuple[str, ...] = ()
    split: Literal["test", "validation"] = "test"
    scenes: str = ""
    against: bool = False


def controls(source: Source, state: Devices) -> Sequence[Control]:
    """What can be chosen."""
    board = source.board(state.study, state.reference)
    reference, rows = _chosen(board, state)
    return [
        study_control(source, state),
        reference_control(board, state),
        rows_control(board, rows),
        Control("split", "Split", state.split, {"test": "test", "validation": "validation"}),
        Control("scenes", "Scenes of", _scenes_of(state, rows, reference), {name: name for name in rows}),
        Control("against", "Scenes: difference to the reference", state.against, kind="switch"),
    ]


def blocks(source: Source, state: Devices) -> Sequence[Block]:
    """Devices side by side, what each system changes, the gap, and scenes by devices."""
    board = source.board(state.study, state.reference)
    reference, rows = _chosen(board, state)
    found: list[Block] = []
    shown = [reference, *(name for name in rows if name != reference)]
    if len(shown) > MOST:
        found.append(Note(f"{len(shown)} systems are chosen; the figure of devices shows the first {MOST} of them."))
        shown = shown[:MOST]
    tables = {name: source.tables(board, name, state.split) for name in shown}
    for name in [name for name, seeds in tables.items() if not seeds]:
        found.append(Note(f"{name} has no predictions of the {state.split} split: it is left out.", kind="empty"))
        del tables[name]
    if reference not in tables:
        line = f"The reference {reference} has no predictions of the {state.split} split: choose another one."
        return [*found, Note(line, kind="empty")]
    same = comparable(tables, reference)
    if not same:
        line = f"The seeds of {reference} were measured on different clips: choose another reference."
        return [*found, Note(line, kind="empty")]
    for name in [name for name in tables if name not in same]:
        found.append(Note(f"{name} was measured on other clips than {reference}: it is left out."))
    colours = board_looks(board, reference)
    measured = _measured(source, board, same, reference, state.split)
    task = str(board.row(reference)["task"])
    floor = baseline_row(board, reference) if state.split == "test" else None
    level = (
        {} if floor is None else {str(key): value for key, value in floor.items() if str(key).startswith("device_acc_")}
    )
    figure = devices_figure(measured, reference, colours, task=task, baseline=level)
    found.append(Figure(figure, "devices", _behind(measured)))
    compared = board.among([name for name in same if name != reference])
    if state.split == "test" and len(compared) and "reference" in compared:
        compared = compared[compared["reference"].notna()]
        if len(compared):
            found.append(Figure(change_figure(compared, task), "changes"))
    every = board.among(comparable_rows(board, reference, telling=True))
    gap = BY_NAME["gap_A_to_unseen"]
    if state.split == "test" and len(every) > 1 and every[gap.name].notna().sum() > 1:
        columns = ["row", *(gap.difference_of or ()), gap.name, ALL_CLIPS.metric]
        found.append(Figure(gap_figure(every, colours), "gap", every[columns]))
    return [*found, *_scenes(source, board, state, same, reference)]


def _chosen(board: Board, state: Devices) -> tuple[str, list[str]]:
    """The reference, and the rows that are shown: the link's, else the best on devices never heard."""
    reference = reference_of(board, state)
    known = [name for name in board.names if name in state.rows]
    return reference, known or first_rows(board, reference)


def _scenes_of(state: Devices, rows: Sequence[str], reference: str) -> str:
    others = [name for name in rows if name != reference]
    return state.scenes if state.scenes in rows else (others or list(rows))[0]


def _measured(
    source: Source, board: Board, tables: Mapping[str, Sequence[pd.DataFrame]], reference: str, split: str
) -> pd.DataFrame:
    runs = tuple((name, *(record.run_id for record in board.records[name])) for name in tables)
    return source.kept(("side by side", runs, reference, split), lambda: side_by_side(tables, reference))


def _behind(measured: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the figure of devices in the order that people look for them."""
    columns = ["system", "metric", "value", "low", "high", "change", "change_low", "change_high", "p_value"]
    columns += ["significant", "seeds", "clips", "locations"]
    return measured[[column for column in columns if column in measured]]


def _scenes(
    source: Source, board: Board, state: Devices, tables: Mapping[str, Sequence[pd.DataFrame]], reference: str
) -> list[Block]:
    name = _scenes_of(state, list(tables), reference)
    if name not in tables:
        return []
    shares = scenes_by_device(tables[name])
    against: dict[str, Any] = {}
    if state.against and name != reference:
        against = {"against": scenes_by_device(tables[reference]), "reference": reference}
    figure = scenes_figure(shares, name, **against)
    return [Figure(figure, "scenes", shares.reset_index(names="scene"))]


PAGE: Final = Page("/devices", "Devices", Devices, controls, blocks)
