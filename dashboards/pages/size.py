"""What accuracy costs in size, multiply-accumulates or latency: networks, quantised or not, and ensembles of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.metric_table import ALL_CLIPS, unseen_among
from asc_study.evaluation.side_by_side import comparable, side_by_side
from asc_study.figures.size import COSTS, Cost, size_figure
from asc_study.store.records import RunRecord
from asc_study.store.routes import GENERAL, routed_devices, running
from asc_study.store.stale import members_of
from dashboards.blocks import Block, Figure, Note
from dashboards.pages.choices import (
    board_looks,
    comparable_rows,
    reference_control,
    reference_of,
    study_control,
)
from dashboards.registry import Control, Page
from dashboards.source import Board, Source
from dashboards.state import State

#: Published figures of a deployed system: its accuracy on all clips and its size.
_PUBLISHED: Final = ("published_acc_quantised", "published_quantised_kb")


@dataclass(frozen=True)
class Size(State):
    """What is drawn against what."""

    cost: Literal["kb", "macs", "latency"] = "kb"
    accuracy: str = ALL_CLIPS.metric


def controls(source: Source, state: Size) -> Sequence[Control]:
    """What can be chosen."""
    board = source.board(state.study, state.reference)
    return [
        study_control(source, state),
        reference_control(board, state),
        Control("cost", "Cost", state.cost, {name: cost.label for name, cost in COSTS.items()}),
        Control("accuracy", "Accuracy", _accuracy(board, state), _accuracies(board)),
    ]


def blocks(source: Source, state: Size) -> Sequence[Block]:
    """Accuracy against cost."""
    board = source.board(state.study, state.reference)
    reference, cost, accuracy = reference_of(board, state), COSTS[state.cost], _accuracy(board, state)
    names = comparable_rows(board, reference)
    if not names:
        return [Note("No row has a test accuracy: choose another reference or study.", kind="empty")]
    systems = _systems(source, board, names, cost, accuracy)
    study = source.chosen(state.study)[0]
    if systems.empty:
        line = (
            f"No row of the task of {reference} has its {cost.label} and its accuracy on "
            f"{_accuracies(board)[accuracy]}; training measures both:"
        )
        return [Note(line, f"asc-study run {study}.yaml --data DIR", "empty")]
    published = _published(board) if (state.cost, accuracy) == ("kb", ALL_CLIPS.metric) else None
    figure = size_figure(
        systems, cost, _accuracies(board)[accuracy], board_looks(board, reference), published=published
    )
    found: list[Block] = [Figure(figure, "size", _behind(systems, cost))]
    left = [name for name in names if name not in set(systems["row"])]
    if left:
        shown = ", ".join(left[:5]) + (", ..." if len(left) > 5 else "")
        found.append(Note(f"Left out, because their {cost.label} is not known: {shown}."))
    if not systems["source"].ne("").any():
        trained = next((one for one in names if board.records[one][0].tags.get(Tag.KIND) == Kind.TRAIN), None)
        if trained:
            record = board.records[trained][0]
            named = f"{record.tags.get(Tag.STUDY, study)}/{record.tags.get(Tag.ROW, trained)}@{record.seed}"
            command = f"asc-study quantize '{named}' --scheme int8 --data DIR"
            found.append(Note("No network is quantised yet; this makes one, measured on the same clips:", command))
    return found


def _accuracies(board: Board) -> dict[str, str]:
    """Accuracy -> what it is of, in words."""
    unseen = unseen_among(map(str, board.frame))
    never_heard = {unseen.metric: f"{unseen.heading} ({unseen.heard})"} if unseen else {}
    return {ALL_CLIPS.metric: ALL_CLIPS.heading, **never_heard}


def _accuracy(board: Board, state: Size) -> str:
    return state.accuracy if state.accuracy in _accuracies(board) else ALL_CLIPS.metric


def _systems(source: Source, board: Board, names: Sequence[str], cost: Cost, accuracy: str) -> pd.DataFrame:
    """The rows whose cost and accuracy are known, as `size_figure` takes them."""
    row_of = {record.run_id: name for name in names for record in board.records[name]}
    by_id = {record.run_id: record for records in board.records.values() for record in records}
    rows = []
    for name in names:
        row, records = board.row(name), board.records[name]
        networks = [_of_a_clip(source, record, by_id) for record in records]
        costs = [_most(one, cost) for one in networks]
        value = row.get(accuracy)
        if any(one is None for one in costs) or value is None or pd.isna(value):
            continue
        kind = records[0].tags.get(Tag.KIND)
        made_of = members_of(records[0]) if kind == Kind.QUANTISED else []
        before = row_of.get(made_of[0], "") if made_of else ""
        known = {
            "row": name,
            "kind": kind,
            "networks": max(map(len, networks[0])),
            "cost": sum(one for one in costs if one is not None) / len(costs) / cost.scale,
            "accuracy": float(value),
            "low": row.get(f"{accuracy}_lo", float("nan")),
            "high": row.get(f"{accuracy}_hi", float("nan")),
            "rank": row.get(f"{accuracy}_rank"),
            "source": before,
        }
        rows.append(known | (_change(source, board, before, name, accuracy) if before else {}))
    columns = ["row", "kind", "networks", "cost", "accuracy", "low", "high", "rank", "source"]
    columns += ["change", "change_low", "change_high", "significant"]
    return pd.DataFrame(rows, columns=columns)


def _of_a_clip(source: Source, record: RunRecord, by_id: Mapping[str, RunRecord]) -> list[list[RunRecord]]:
    """The networks that run for a clip, by its device where that matters."""

    def find(run_id: str) -> RunRecord | None:
        found: RunRecord | None = by_id.get(run_id) or source.kept(("run", run_id), partial(source.reader.run, run_id))
        return found

    return [_networks(record, find, device) for device in routed_devices(record, find) or [GENERAL]]


def _networks(record: RunRecord, find: Callable[[str], RunRecord | None], device: str) -> list[RunRecord]:
    """The networks of a system that run for a clip of a device, each once; empty if one was deleted."""
    if record.tags.get(Tag.KIND) not in (Kind.ENSEMBLE, Kind.FUSION):
        return [record]
    found: dict[str, RunRecord] = {}
    for run_id in running(record, device):
        member = find(run_id)
        inside = _networks(member, find, device) if member else []
        if not inside:
            return []
        found |= {one.run_id: one for one in inside}
    return list(found.values())


def _most(networks: Sequence[Sequence[RunRecord]], cost: Cost) -> float | None:
    """The cost of the dearest of several systems; None if that of one is not known."""
    costs = [_cost(one, cost) for one in networks]
    return max(one or 0.0 for one in costs) if all(costs) else None


def _cost(networks: Sequence[RunRecord], cost: Cost) -> float | None:
    """What several networks cost together; None if that of one is not known."""
    total = 0.0
    for record in networks:
        value = next((record.metrics[name] for name in cost.metrics if record.metrics.get(name)), None)
        if value is None:
            return None
        total += value
    return total or None


def _change(source: Source, board: Board, before: str, after: str, accuracy: str) -> dict[str, Any]:
    """The paired difference of a quantised network to its source, as `Devices` has it; empty without predictions."""

    def measure() -> pd.DataFrame:
        tables = {name: source.tables(board, name) for name in (before, after)}
        same = comparable(tables, before) if all(tables.values()) else {}
        return side_by_side(same, before) if len(same) == 2 else pd.DataFrame()

    runs = tuple((name, *(record.run_id for record in board.records[name])) for name in (before, after))
    measured = source.kept(("quantised", runs), measure)
    if measured.empty:
        return {}
    found = measured[(measured["system"] == after) & (measured["metric"] == accuracy)]
    columns = ("change", "change_low", "change_high", "significant")
    return {} if found.empty else {column: found[column].iloc[0] for column in columns}


def _published(board: Board) -> pd.DataFrame:
    """What was published of deployed systems."""
    frame = board.frame
    if not all(column in frame for column in _PUBLISHED):
        return pd.DataFrame(columns=["row", "cost", "accuracy"])
    known = frame[list(_PUBLISHED)].notna().all(axis=1)
    accuracy, size = (frame.loc[known, column] for column in _PUBLISHED)
    return pd.DataFrame({"row": frame.loc[known, "name"], "cost": size, "accuracy": accuracy})


def _behind(systems: pd.DataFrame, cost: Cost) -> pd.DataFrame:
    shown = systems.rename(columns={"cost": cost.axis, "accuracy": "accuracy (%)"})
    return shown.dropna(axis="columns", how="all").sort_values(cost.axis, ignore_index=True)


PAGE: Final = Page("/size", "Size", Size, controls, blocks)
