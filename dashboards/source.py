"""What pages read: boards and predictions of a store, cached, never written.

A study is read again, beside the page that asks for it, when `FRESH_SECONDS` have passed; its board is made anew only
if its runs have changed. What predictions tell of a whole board is read beside too: a page shows what is known and is
drawn again. Predictions of a finished run never change: their sums are kept by run id, and whole tables, the latest
used, up to `KEPT_BYTES`.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS
from asc_study.settings.published import parse_published
from asc_study.store.queries import Reader, RunRecord
from asc_study.study.leaderboard import Gathered, gather, launched_table
from asc_study.study.leaderboard_forms import unique_names
from asc_study.study.standing import Measured, Panels, Standings

ValueT = TypeVar("ValueT")

log = logging.getLogger(__name__)

#: How long a study that was read is taken for what it is.
FRESH_SECONDS: Final = 10.0

#: Boards, and runs with the sums of their predictions, that are kept.
KEPT_BOARDS: Final = 8
KEPT_RUNS: Final = 20_000

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
    read_at
        When its runs were asked for, in seconds since 1970.
    pending
        How many runs' predictions have been read, of how many; None: all, so that the frame has its standings.
    key
        Boards of the same key have the same rows and figures, for `Source.kept`.
    """

    frame: pd.DataFrame
    records: Mapping[str, Sequence[RunRecord]]
    running: int
    read_at: float
    pending: tuple[int, int] | None = None
    key: tuple[Any, ...] = ()

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
    """A study as it was read: its rows, how many runs are being made, and what tells whether it changed since."""

    gathered: Gathered
    running: int
    stamp: tuple[Any, ...]
    read_at: float


class _Joint:
    """The rows of the studies of a link; what their predictions tell comes when all of them have been read."""

    def __init__(self, studies: Mapping[str, _Study], key: tuple[Any, ...]) -> None:
        self._key = hash(key)
        frames: list[pd.DataFrame] = []
        self.records: dict[str, Sequence[RunRecord]] = {}
        for name, study in studies.items():
            frame = study.gathered.board.assign(study=name)
            frame["name"] = unique_names(frame)
            if len(studies) > 1:
                frame["name"] = f"{name}/" + frame["name"]
                frame["row"] = frame["name"]
            frames.append(frame)
            self.records |= {str(frame["name"][place]): runs for place, runs in study.gathered.records.items()}
        self.frame = pd.concat(frames, ignore_index=True)
        self.running = sum(study.running for study in studies.values())
        self.read_at = min(study.read_at for study in studies.values())
        self.to_read = sum(len(runs) for runs in self.records.values())
        self.read = 0
        self.standings: Standings | None = None
        self.done = threading.Event()
        self._frames: dict[str, pd.DataFrame] = {}
        self._lock = threading.Lock()

    def board(self, reference: str) -> Board:
        """The rows against a reference, with what is known by now."""
        if reference not in set(self.frame["row"]):
            reference = ""  # of an older link
        pending = None if self.done.is_set() else (self.read, self.to_read)
        frame = self.frame
        if self.standings is not None:
            with self._lock:
                if reference not in self._frames:
                    self._frames[reference] = self.standings.added(frame, reference or None)
                frame = self._frames[reference]
        key = (self._key, reference, self.standings is not None)
        return Board(frame, self.records, self.running, self.read_at, pending, key)


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
    patience
        Seconds that a page waits for predictions to be read before it shows what is known without them.
    """

    def __init__(
        self, reader: Reader, studies: Sequence[str] = (), data: Path | None = None, *, patience: float = 1.0
    ) -> None:
        self.reader, self.data, self.patience = reader, data, patience
        self._first = tuple(studies)
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._names: tuple[float, list[str]] = (0.0, [])
        self._studies: dict[str, _Study] = {}
        self._joints: OrderedDict[tuple[Any, ...], _Joint] = OrderedDict()
        self._panels = Panels()
        self._measured: OrderedDict[str, Measured | None] = OrderedDict()
        self._tables: OrderedDict[tuple[str, str], pd.DataFrame] = OrderedDict()
        self._kept_bytes = 0
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
        """The leaderboard of some studies together; a reference that is no row is not looked at.

        Raises
        ------
        InputError
            If there is no such study, or it has no finished runs.
        """
        names = self.chosen(studies)
        if not names:
            raise InputError("the store has no study yet: start with `asc-study demo`, or run a study file")
        with self._lock:
            found = {name: self._study(name) for name in names}
            key = tuple((name, study.stamp) for name, study in found.items())
            if key not in self._joints:
                self._joints[key] = joint = _Joint(found, key)
                threading.Thread(target=self._read, args=(joint,), daemon=True).start()
                while len(self._joints) > KEPT_BOARDS:
                    self._joints.popitem(last=False)
            self._joints.move_to_end(key)
            joint = self._joints[key]
        joint.done.wait(self.patience)
        return joint.board(reference)

    def _study(self, name: str) -> _Study:
        """A study as it was read last; when that was long ago it is read again beside, and seen the next time."""
        known = self._studies.get(name)
        if known is None:
            self._studies[name] = self._look(name, None)
        elif time.time() - known.read_at > FRESH_SECONDS and self._reading.acquire(blocking=False):
            threading.Thread(target=self._look_again, args=(name, known), daemon=True).start()
        return self._studies[name]

    def _look_again(self, name: str, known: _Study) -> None:
        try:
            found = self._look(name, known)
            with self._lock:
                self._studies[name] = found
        except Exception:  # deleted, or its server is down: who asks next reads it himself and is told
            with self._lock:
                self._studies.pop(name, None)
        finally:
            self._reading.release()

    def _look(self, name: str, known: _Study | None) -> _Study:
        records = self.reader.runs(name)
        stamp = tuple(sorted((record.run_id, record.status, len(record.metrics)) for record in records))
        running = sum(record.status == "RUNNING" and record.tags.get(Tag.KIND) != Kind.STUDY for record in records)
        if known is not None and known.stamp == stamp:
            return _Study(known.gathered, running, stamp, time.time())
        order, published = launched_table(self.reader, name, records=records)
        figures = parse_published(published, f"the published figures of {name}") if published else None
        gathered = gather(self.reader, name, order=order, published=figures, records=records)
        if gathered.board.empty or not gathered.records:
            raise InputError(f"study {name!r} has no finished runs: run it, or choose another one")
        return _Study(gathered, running, stamp, time.time())

    def _read(self, joint: _Joint) -> None:
        """Read the test predictions of all rows and keep their sums; of a row that lacks one there are none."""
        try:
            measured = {}
            for place, name in enumerate(joint.frame["name"]):
                found = []
                for record in joint.records.get(name, ()):
                    found.append(self._measure(record))
                    joint.read += 1
                if found and all(one is not None for one in found):
                    measured[place] = [one for one in found if one is not None]
            joint.standings = Standings(self._panels, measured)
        except Exception:  # the page says what is missing; the reason is in the server's log
            log.exception("the predictions could not be read")
        finally:
            joint.done.set()

    def _measure(self, record: RunRecord) -> Measured | None:
        if record.run_id not in self._measured:
            try:
                found = self._panels.measured(self.reader.predictions_of(record, "test"))
            except InputError:  # trained on all data, deleted, or damaged
                found = None
            self._measured[record.run_id] = found
            while len(self._measured) > KEPT_RUNS:
                self._measured.popitem(last=False)
        return self._measured[record.run_id]

    def tables(self, board: Board, name: str, split: str = "test") -> list[pd.DataFrame]:
        """The predictions of a row, one table a seed; empty if one of its runs has none."""
        with self._lock:
            return self._tables_of(board.records.get(name, ()), split)

    def table(self, record: RunRecord, split: str = "test") -> pd.DataFrame | None:
        """The predictions of one run; None if it has none."""
        with self._lock:
            return next(iter(self._tables_of([record], split)), None)

    def _tables_of(self, records: Sequence[RunRecord], split: str) -> list[pd.DataFrame]:
        try:
            return [self._table(record, split) for record in records]
        except InputError:  # trained on all data, deleted, or damaged
            return []

    def _table(self, record: RunRecord, split: str) -> pd.DataFrame:
        key = (record.run_id, split)
        if key not in self._tables:
            table = self.reader.predictions_of(record, split)
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
