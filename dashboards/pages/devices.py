"""The page that people come for: which combination holds on devices that training never heard, and how sure it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from asc_study.base.metric_table import ALL_CLIPS, gap_among
from asc_study.evaluation.side_by_side import compared, mean_over_seeds
from asc_study.figures.gap import gap_figure
from asc_study.figures.robustness import devices_figure
from asc_study.figures.scenes import scenes_figure
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
from dashboards.source import Board, Source, Told
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
    told = {name: source.told(board, name, state.split) for name in shown}
    for name in [name for name, seeds in told.items() if not seeds]:
        found.append(Note(f"{name} has no predictions of the {state.split} split: it is left out.", kind="empty"))
        del told[name]
    if reference not in told:
        line = f"The reference {reference} has no predictions of the {state.split} split: choose another one."
        return [*found, Note(line, kind="empty")]
    if source.sums(board, reference, state.split) is None:
        line = f"The seeds of {reference} were measured on different clips: choose another reference."
        return [*found, Note(line, kind="empty")]
    clips = told[reference][0].clips
    same = {name: seeds for name, seeds in told.items() if all(one.clips == clips for one in seeds)}
    for name in [name for name in told if name not in same]:
        found.append(Note(f"{name} was measured on other clips than {reference}: it is left out."))
    colours = board_looks(board, reference)
    measured = _measured(source, board, same, reference, state.split)
    task = str(board.row(reference)["task"])
    floor = baseline_row(board, reference) if state.split == "test" else None
    level = {}
    if floor is not None and floor["name"] not in same:  # else its dots say the same
        level = {str(key): one for key, one in floor.items() if str(key).startswith("device_acc_")}
    figure = devices_figure(measured, reference, colours, task=task, baseline=level)
    found.append(Figure(figure, "devices", _behind(measured)))
    others = board.among([name for name in same if name != reference])
    if state.split == "test" and len(others) and "reference" in others:
        others = others[others["reference"].notna()]
        if len(others):
            found.append(Figure(change_figure(others, task), "changes"))
    every = board.among(comparable_rows(board, reference, telling=True))
    gap = gap_among(map(str, every))
    if state.split == "test" and gap and every[gap.name].notna().sum() > 1:
        columns = ["row", *(gap.difference_of or ()), gap.name, ALL_CLIPS.metric]
        found.append(Figure(gap_figure(every, colours, gap), "gap", every[columns]))
    return [*found, *_scenes(state, same, reference)]


def _chosen(board: Board, state: Devices) -> tuple[str, list[str]]:
    """The reference, and the rows that are shown: the link's, else the best on devices never heard."""
    reference = reference_of(board, state)
    known = [name for name in board.names if name in state.rows]
    return reference, known or first_rows(board, reference)


def _scenes_of(state: Devices, rows: Sequence[str], reference: str) -> str:
    others = [name for name in rows if name != reference]
    return state.scenes if state.scenes in rows else (others or list(rows))[0]


def _measured(
    source: Source, board: Board, told: Mapping[str, Sequence[Told]], reference: str, split: str
) -> pd.DataFrame:
    runs = tuple((name, *(record.run_id for record in board.records[name])) for name in told)

    def compare() -> pd.DataFrame:
        sums = {name: found for name in told if (found := source.sums(board, name, split)) is not None}
        own = {name: source.by_device(board.records[name][0], split) for name, seeds in told.items() if len(seeds) == 1}
        known = {name: table for name, table in own.items() if table is not None}
        measured = compared(source.panel(told[reference][0]), sums, reference, known)
        if split == "test":  # to the last digit as the leaderboard has it, which averages what runs logged
            rows = {name: board.row(name) for name in told}
            logged = [rows[one["system"]].get(one["metric"]) for one in measured.to_dict("records")]
            measured["value"] = pd.Series(logged, dtype=float).fillna(measured["value"])
        return measured

    return source.kept(("side by side", runs, reference, split), compare)


def _behind(measured: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the figure of devices in the order that people look for them."""
    columns = ["system", "metric", "value", "low", "high", "change", "change_low", "change_high", "p_value"]
    columns += ["significant", "seeds", "clips", "locations"]
    return measured[[column for column in columns if column in measured]]


def _scenes(state: Devices, told: Mapping[str, Sequence[Told]], reference: str) -> list[Block]:
    name = _scenes_of(state, list(told), reference)
    shares = mean_over_seeds([one.scenes for one in told[name]])
    against: dict[str, Any] = {}
    if state.against and name != reference:
        against = {"against": mean_over_seeds([one.scenes for one in told[reference]]), "reference": reference}
    figure = scenes_figure(shares, name, **against)
    return [Figure(figure, "scenes", shares.reset_index(names="scene"))]


PAGE: Final = Page("/devices", "Devices", Devices, controls, blocks)
