"""How the rows of a leaderboard stand to the best row and to a reference: paired, on predictions of the same clips."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from asc_study.base.contract import Kind
from asc_study.base.errors import InputError
from asc_study.base.metric_table import columns_among
from asc_study.base.schema import did_you_mean
from asc_study.evaluation.paired import Panel, Sums, clips_key, decisions, in_order
from asc_study.evaluation.side_by_side import devices_of
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord

Tables = Mapping[int, Sequence[pd.DataFrame]]

#: What `clips_key` gives of the clips that a system was tested on, and its sums over their locations.
Measured = tuple[object, Sums]


class Panels:
    """The clips that systems were tested on: systems of the same clips share the draws of their locations."""

    def __init__(self) -> None:
        self._panels: dict[object, Panel] = {}

    def __getitem__(self, key: object) -> Panel:
        return self._panels[key]

    def measured(self, table: pd.DataFrame) -> Measured:
        """What a comparison needs of a predictions table; a thousandth of its size."""
        key, table = clips_key(table), in_order(table)
        if key not in self._panels:
            self._panels[key] = Panel(table, more=devices_of(table))
        return key, self._panels[key].sums(*decisions([table]))


def joined(seeds: Sequence[Measured]) -> Measured | None:
    """The seeds of a system as one; None if they were tested on different clips, so that no clip has their mean."""
    keys = {key for key, _ in seeds}
    if len(keys) != 1:
        return None
    return keys.pop(), {name: np.concatenate([sums[name] for _, sums in seeds]) for name in seeds[0][1]}


@dataclass
class _Group:
    """Rows (by their place in the board) that were tested on the same clips."""

    panel: Panel
    systems: dict[int, Sums] = field(default_factory=dict)


def predictions_of(tracker: Reader, systems: Mapping[int, Sequence[RunRecord]]) -> dict[int, list[pd.DataFrame]]:
    """The test predictions of each row, one table a seed; rows that lack one are left out."""
    tables: dict[int, list[pd.DataFrame]] = {}
    for place, records in systems.items():
        try:
            found = [tracker.predictions_of(record, "test") for record in records]
        except InputError:  # trained on all data, deleted, or damaged: such a row has its logged figures alone
            continue
        tables[place] = found
    return tables


def add_standings(board: pd.DataFrame, tables: Tables, reference: str | Sequence[str] | None) -> pd.DataFrame:
    """Add what the predictions tell to a leaderboard.

    Parameters
    ----------
    board
        The leaderboard, numbered from 0, best unknown; rows that are ``folded`` are never best.
    tables
        Place in the board -> predictions of the test split, one table a seed.
    reference
        Name of the row that the others are compared with; of several names the first that there is in each group of
        rows that were tested on the same clips; by default the first trained row of each group (what a study asks is
        what a change to it brings; how rows stand to the statistics baseline is told by their marks), else its first.

    Returns
    -------
    DataFrame
        With, for each column of Table 1: the interval ``<column>_lo, _hi`` of rows with several seeds;
        ``<column>_rank``: ``best``, ``even`` (not significantly different from the best), or empty; and against the row
        in ``reference`` ``<column>_change``, ``_change_lo``, ``_change_hi``, ``_change_p``, ``_change_significant``.

    Raises
    ------
    InputError
        If there is no row of the name ``reference``.
    """
    panels = Panels()
    measured = {place: joined([panels.measured(table) for table in found]) for place, found in tables.items()}
    return Standings(panels, measured).added(board, reference)


class Standings:
    """What predictions tell of the rows of a board, to be asked for one reference after the other.

    Parameters
    ----------
    panels
        That measured the rows.
    measured
        Place in the board -> what `joined` gives.
    """

    def __init__(self, panels: Panels, measured: Mapping[int, Measured | None]) -> None:
        self._groups: dict[object, _Group] = {}
        for place, found in measured.items():
            if found is not None:
                group = self._groups.setdefault(found[0], _Group(panels[found[0]]))
                group.systems[place] = found[1]
        self._own: dict[str, dict[int, Any]] | None = None

    def added(self, board: pd.DataFrame, reference: str | Sequence[str] | None) -> pd.DataFrame:
        """The board (always the same one) with what `add_standings` says.

        Raises
        ------
        InputError
            If there is no row of the name ``reference``.
        """
        if isinstance(reference, str) and reference not in set(board["row"]):
            hint = did_you_mean(reference, list(dict.fromkeys(board["row"])))
            raise InputError(f"the reference must be a row of the table, got {reference!r}: {hint}")
        if self._own is None:
            self._own = _cells(cell for group in self._groups.values() for cell in _own_standings(board, group))
        names = [reference] if isinstance(reference, str) else reference
        compared = _cells(cell for group in self._groups.values() for cell in _compared_standings(board, group, names))
        return _filled(board, self._own | compared)


def _cells(found: Iterable[tuple[int, str, Any]]) -> dict[str, dict[int, Any]]:
    """Column -> place -> value."""
    cells: dict[str, dict[int, Any]] = {}
    for place, name, value in found:
        cells.setdefault(name, {})[place] = value
    return cells


def _filled(board: pd.DataFrame, cells: Mapping[str, Mapping[int, Any]]) -> pd.DataFrame:
    added = {}
    for name, values in cells.items():
        column = pd.Series(values).reindex(board.index)
        added[name] = column.combine_first(board[name]) if name in board else column
    kept = board.drop(columns=[name for name in added if name in board])
    return pd.concat([kept, pd.DataFrame(added, index=board.index)], axis=1)


def _own_standings(board: pd.DataFrame, group: _Group) -> Iterator[tuple[int, str, Any]]:
    """Place, column and value of each cell that does not depend on a reference: intervals, and who is best."""
    current = [place for place in group.systems if board["state"][place] == "current" and not board["folded"][place]]
    for column in columns_among(group.panel.masks):
        name = column.name
        if name not in group.panel.masks:
            continue
        for place, system in group.systems.items():
            if board["seeds"][place] > 1:
                _, low, high = group.panel.mean(system, name)
                yield place, f"{name}_lo", _shown(low, column.factor)
                yield place, f"{name}_hi", _shown(high, column.factor)
        if len(current) > 1:
            means = {place: group.panel.value(group.systems[place], name) for place in current}
            best = (max if column.direction == "maximize" else min)(means, key=lambda place: means[place])
            for place in current:
                against = group.panel.difference(group.systems[best], group.systems[place], name)
                even = not against.significant
                yield place, f"{name}_rank", "best" if place == best else "even" if even else ""


def _compared_standings(
    board: pd.DataFrame, group: _Group, names: Sequence[str] | None
) -> Iterator[tuple[int, str, Any]]:
    """Place, column and value of each cell of the differences to a reference, the first of ``names`` that there is."""
    current = [place for place in group.systems if board["state"][place] == "current"]
    if names is None:
        wanted = [place for place in current if board["kind"][place] == Kind.TRAIN] or current
    else:
        wanted = [place for name in names for place in current if board["row"][place] == name]
    for place in wanted[:1]:
        for column in columns_among(group.panel.masks):
            if column.name in group.panel.masks:
                yield from _changes(board, group, place, column.name, column.factor)


def _changes(board: pd.DataFrame, group: _Group, chosen: int, name: str, factor: int) -> Iterator[tuple[int, str, Any]]:
    for place, system in group.systems.items():
        if place == chosen:
            continue
        found = group.panel.difference(group.systems[chosen], system, name)
        yield place, "reference", board["row"][chosen]
        yield place, f"{name}_change", factor * found.value
        yield place, f"{name}_change_lo", _shown(found.low, factor)
        yield place, f"{name}_change_hi", _shown(found.high, factor)
        yield place, f"{name}_change_p", found.p_value
        yield place, f"{name}_change_significant", found.significant


def _shown(value: float | None, factor: int) -> float:
    return float("nan") if value is None else factor * value
