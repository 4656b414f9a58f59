"""What pages read: boards and predictions of a store, cached, never written.

A study is read again when it is asked for and `FRESH_SECONDS` have passed; boards are made anew only if its runs have
changed. Predictions of a finished run never change, so that they are kept by run id, the latest used, up to
`KEPT_BYTES`.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd

from asc_study.base.contract import Kind, Tag, predictions_path
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS
from asc_study.evaluation.predictions import read_predictions
from asc_study.settings.published import parse_published
from asc_study.store.queries import Reader, RunRecord
from asc_study.study.leaderboard import Gathered, gather, launched_table
from asc_study.study.leaderboard_forms import unique_names
from asc_study.study.standing import add_standings

ValueT = TypeVar("ValueT")

#: How long a study that was read is taken for what it is.
FRESH_SECONDS: Final = 10.0

#: What predictions tables in memory may take.
KEPT_BYTES: Final = 512 * 2**20


@dataclass(frozen=True)
class Board:
    """The rows of one or several studies.

    Attributes
    ----------
    frame
        As `asc_study.study.leaderboard.leaderboard` gives it, with ``study`` and ``name``: the row's name, which is
        unique, and begins with its study's where there are several.
    records
        Name -> its runs, one a seed.
    running
        How many runs are being made.
    """

    frame: pd.DataFrame
    records: Mapping[str, Sequence[RunRecord]]
    running: int
    read_at: float

    @property
    def names(self) -> list[str]:
        """The rows that have finished runs, in the studies' order."""
        return list(self.frame["name"][self.frame["seeds"] > 0]) if len(self.frame) else []

    def row(self, name: str) -> "pd.Series[Any]":
        """The row of a name."""
        return self.frame.loc[self.frame["name"] == name].iloc[0]

    def among(self, names: Sequence[str]) -> pd.DataFrame:
        """The rows of these names, in the studies' order, with their name as ``row``."""
        chosen = self.frame[self.frame["name"].isin(names) & (self.frame["seeds"] > 0)]
        return chosen.assign(row=chosen["name"]).reset_index(drop=True)


@dataclass(frozen=True)
class _Study:
    gathered: Gathered
    running: int
    stamp: tuple[Any, ...]
    read_at: float


class Source:
    """A store as pages see it.

    Parameters
    ----------
    reader
        The store.
    studies
        Those that are looked at where a link names none; by default the newest.
    data
        Folder of the recordings, for pages that play them.
    """

    def __init__(self, reader: Reader, studies: Sequence[str] = (), data: Path | None = None) -> None:
        self.reader, self.data = reader, data
        self._first = tuple(studies)
        self._lock = threading.RLock()
        self._studies: dict[str, _Study] = {}
        self._boards: OrderedDict[tuple[Any, ...], Board] = OrderedDict()
        self._tables: OrderedDict[tuple[str, str], pd.DataFrame] = OrderedDict()
        self._kept_bytes = 0
        self._names: tuple[float, list[str]] = (0.0, [])
        self._others: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def studies(self) -> list[str]:
        """The names of the store's studies, the newest launch first; those that were asked for at the start lead."""
        with self._lock:
            if time.monotonic() - self._names[0] > FRESH_SECONDS or not self._names[1]:
                self._names = (time.monotonic(), list(dict.fromkeys([*self._first, *self.reader.studies()])))
            return self._names[1]

    def chosen(self, studies: Sequence[str]) -> tuple[str, ...]:
        """The studies that a link names, else those that are shown first."""
        return tuple(studies) or self._first or tuple(self.studies()[:1])

    def board(self, studies: Sequence[str], reference: str = "") -> Board:
        """The leaderboard of some studies together.

        Raises
        ------
        InputError
            If there is no such study, it has no finished runs, or the reference is no row.
        """
        with self._lock:
            return self._board(self.chosen(studies), reference)

    def _board(self, studies: tuple[str, ...], reference: str) -> Board:
        if not studies:
            raise InputError("the store has no study yet: start with `asc-study demo`, or run a study file")
        found = {name: self._study(name) for name in studies}
        key = (reference, *((name, study.stamp) for name, study in found.items()))
        if key not in self._boards:
            self._boards[key] = self._joint(found, reference)
            while len(self._boards) > 8:
                self._boards.popitem(last=False)
        self._boards.move_to_end(key)
        return self._boards[key]

    def _study(self, name: str) -> _Study:
        known = self._studies.get(name)
        if known and time.monotonic() - known.read_at < FRESH_SECONDS:
            return known
        records = self.reader.runs(name)
        stamp = tuple(sorted((record.run_id, record.status, len(record.metrics)) for record in records))
        if known is None or known.stamp != stamp:
            order, published = launched_table(self.reader, name, records=records)
            figures = parse_published(published, f"the published figures of {name}") if published else None
            gathered = gather(self.reader, name, order=order, published=figures, records=records)
            if gathered.board.empty or not gathered.records:
                raise InputError(f"study {name!r} has no finished runs: run it, or choose another one")
        else:
            gathered = known.gathered
        running = sum(record.status == "RUNNING" and record.tags.get(Tag.KIND) != Kind.STUDY for record in records)
        self._studies[name] = _Study(gathered, running, stamp, time.monotonic())
        return self._studies[name]

    def _joint(self, studies: Mapping[str, _Study], reference: str) -> Board:
        frames: list[pd.DataFrame] = []
        records: dict[str, Sequence[RunRecord]] = {}
        for name, study in studies.items():
            frame = study.gathered.board.assign(study=name)
            frame["name"] = unique_names(frame)
            if len(studies) > 1:
                frame["name"] = f"{name}/" + frame["name"]
            frames.append(frame)
            records |= {frame["name"][place]: runs for place, runs in study.gathered.records.items()}
        frame = pd.concat(frames, ignore_index=True)
        if len(studies) > 1:
            frame["row"] = frame["name"]
        if reference and reference not in set(frame["row"]):
            reference = ""  # of an older link
        tables = {}
        for place, name in enumerate(frame["name"]):
            if name in records and (found := self._tables_of(records[name], "test")):
                tables[place] = found
        frame = add_standings(frame, tables, reference or None)
        running = sum(study.running for study in studies.values())
        return Board(frame, records, running, time.time())

    def tables(self, board: Board, name: str, split: str = "test") -> list[pd.DataFrame]:
        """The predictions of a row, one table a seed; empty if one of its runs has none."""
        with self._lock:
            return self._tables_of(board.records.get(name, ()), split)

    def _tables_of(self, records: Sequence[RunRecord], split: str) -> list[pd.DataFrame]:
        try:
            return [self._table(record.run_id, split) for record in records]
        except InputError:  # trained on all data, deleted, or damaged
            return []

    def _table(self, run_id: str, split: str) -> pd.DataFrame:
        key = (run_id, split)
        if key not in self._tables:
            table = read_predictions(self.reader.artifact(run_id, predictions_path(split)))
            self._tables[key] = table
            self._kept_bytes += _bytes(table)
            while self._kept_bytes > KEPT_BYTES and len(self._tables) > 1:
                self._kept_bytes -= _bytes(self._tables.popitem(last=False)[1])
        self._tables.move_to_end(key)
        return self._tables[key]

    def kept(self, key: tuple[Any, ...], make: Callable[[], ValueT]) -> ValueT:
        """What was made under a key before, else what ``make`` gives; the key says all that it depends on."""
        with self._lock:
            if key not in self._others:
                self._others[key] = make()
                while len(self._others) > 64:
                    self._others.popitem(last=False)
            self._others.move_to_end(key)
            return self._others[key]  # type: ignore[no-any-return]


def _bytes(table: pd.DataFrame) -> int:
    return int(table.memory_usage(deep=True).sum())


def task_rows(board: Board, name: str) -> list[str]:
    """The rows that answer the same task as this one: ten scenes, or three groups of them."""
    frame = board.frame
    same = frame["task"].eq(board.row(name)["task"]) & (frame["seeds"] > 0)
    return list(frame["name"][same & frame[ALL_CLIPS.metric].notna()])
