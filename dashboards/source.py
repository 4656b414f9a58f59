"""What pages read: boards and predictions of a store, cached, never written.

A study is read again, beside the page that asks for it, when `FRESH_SECONDS` have passed; its board is made anew only
if its runs have changed. What predictions tell of a whole board is read beside too: a page shows what is known and is
drawn again. Predictions of a finished run never change: their sums are kept by run id, and whole tables, the latest
used, up to `KEPT_BYTES`. Who asks for what another request reads or makes waits for that alone (`dashboards.kept`).
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME
from asc_study.evaluation.by_device import accuracy_by_device
from asc_study.evaluation.paired import Panel, Sums
from asc_study.evaluation.side_by_side import scenes_by_device
from asc_study.settings.published import parse_published
from asc_study.store.addresses import scrubbed
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.study.leaderboard import gather, launched_table
from asc_study.study.standing import Measured, Panels, Standings, joined
from dashboards.board import Board as Board
from dashboards.board import Joint, Study
from dashboards.board import Told as Told
from dashboards.kept import Kept

ValueT = TypeVar("ValueT")

log = logging.getLogger(__name__)

#: How long a study that was read is taken for what it is.
FRESH_SECONDS: Final = 10.0

#: Boards; runs with the sums of their predictions (20 KB each), and rows with those of their seeds, that are kept.
KEPT_BOARDS: Final = 8
KEPT_RUNS: Final = 10_000
KEPT_ROWS: Final = 500

#: Seconds that reading the predictions of a run takes at least.
_A_RUN: Final = 0.01

#: Threads that ask a server for predictions: it is waited for most of the time.
_READERS: Final = 4

#: Seconds that reading waits for pages that are drawn, before each run.
_GIVING_WAY: Final = 0.5

#: What predictions tables in memory may take.
KEPT_BYTES: Final = 512 * 2**20


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
        Seconds after which a page shows what is known without predictions that are still being read; at once if they
        are more than can be read by then.
    """

    def __init__(
        self, reader: Reader, studies: Sequence[str] = (), data: Path | None = None, *, patience: float = 1.0
    ) -> None:
        self.reader, self.data, self.patience = reader, data, patience
        self._first = tuple(studies)
        self._lock = threading.Lock()
        self._looking: dict[str, threading.Lock] = {}
        self._reading = threading.Lock()
        self._drawing = 0
        self._idle = threading.Event()
        self._idle.set()
        self._names: Kept[int, list[str]] = Kept(1)
        self._studies: dict[str, Study] = {}
        self._joints: OrderedDict[tuple[Any, ...], Joint] = OrderedDict()
        self._panels = Panels()
        self._told: Kept[tuple[str, str], Told] = Kept(KEPT_RUNS)
        self._rows: Kept[tuple[str, ...], Measured | None] = Kept(KEPT_ROWS)
        self._tables: Kept[tuple[str, str], pd.DataFrame] = Kept(KEPT_BYTES, _bytes)
        self._others: Kept[tuple[Any, ...], Any] = Kept(64)

    def studies(self) -> list[str]:
        """The names of the store's studies, the newest launch first; those that were asked for at the start lead."""
        known = self._names.get(fresh(), self.reader.studies)
        return list(dict.fromkeys([*self._first, *known]))

    def chosen(self, studies: Sequence[str]) -> tuple[str, ...]:
        """The studies that a link names, else those that are shown first."""
        return tuple(studies) or self._first or tuple(self.studies()[:1])

    def begin(self) -> None:
        """Read what the first page shows before anybody asks for it; what fails is told to who asks."""
        with suppress(Exception):
            self.board(())

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Within it predictions of boards are hardly read beside: whoever waits for a page comes first."""
        with self._lock:
            self._drawing += 1
            self._idle.clear()
        try:
            yield
        finally:
            with self._lock:
                self._drawing -= 1
                if not self._drawing:
                    self._idle.set()

    def board(self, studies: Sequence[str], reference: str = "") -> Board:
        """The leaderboard of some studies together; a reference that is no row is not looked at.

        Raises
        ------
        InputError
            If there is no such study, or it has no finished runs.
        """
        names = self.chosen(studies)
        if not names:
            if self.reader.searches():
                raise InputError("the store has searches and no study yet: see the page Search, or run a study file")
            raise InputError("the store has no study yet: start with `asc-study demo`, or run a study file")
        found = {name: self._study(name) for name in names}
        key = tuple((name, study.stamp) for name, study in found.items())
        with self._lock:
            if key not in self._joints:
                self._joints[key] = joint = Joint(found, key)
                threading.Thread(target=self._read, args=(joint,), daemon=True).start()
                while len(self._joints) > KEPT_BOARDS:
                    self._joints.popitem(last=False)
            self._joints.move_to_end(key)
            joint = self._joints[key]
        if joint.to_read * _A_RUN < self.patience:
            joint.done.wait(max(0.0, joint.began + self.patience - time.monotonic()))
        return joint.board(reference)

    def _study(self, name: str) -> Study:
        """A study as it was read last; when that was long ago it is read again beside, and seen the next time."""
        with self._lock:
            looking = self._looking.setdefault(name, threading.Lock())
        with looking:
            known = self._studies.get(name)
            if known is None:
                known = self._studies[name] = self._look(name, None)
        if time.time() - known.read_at > FRESH_SECONDS and self._reading.acquire(blocking=False):
            threading.Thread(target=self._look_again, args=(name, known), daemon=True).start()
        return known

    def _look_again(self, name: str, known: Study) -> None:
        try:
            self._studies[name] = self._look(name, known)
        except Exception:  # deleted, or its server is down: who asks next reads it himself and is told
            self._studies.pop(name, None)
        finally:
            self._reading.release()

    def _look(self, name: str, known: Study | None) -> Study:
        records = self.reader.runs(name)
        stamp = tuple(sorted((record.run_id, record.status, len(record.metrics)) for record in records))
        running = sum(record.status == "RUNNING" and record.tags.get(Tag.KIND) != Kind.STUDY for record in records)
        if known is not None and known.stamp == stamp:
            return Study(known.gathered, running, stamp, time.time())
        order, published = launched_table(self.reader, name, records=records)
        figures = parse_published(published, f"the published figures of {name}") if published else None
        gathered = gather(self.reader, name, order=order, published=figures, records=records)
        if gathered.board.empty or not gathered.records:
            raise InputError(f"study {name!r} has no finished runs: run it, or choose another one")
        return Study(gathered, running, stamp, time.time())

    def _read(self, joint: Joint) -> None:
        """Read the test predictions of all rows and keep their sums; of a row that lacks one there are none."""
        try:
            lost: list[str] = []

            def look(record: RunRecord) -> None:
                self._idle.wait(_GIVING_WAY)
                if self._tell(record, "test") is None and BY_NAME[ALL_CLIPS.metric].test_name in record.metrics:
                    lost.append(record.label)
                joint.read += 1

            runs = [one for name in joint.frame["name"] for one in joint.records.get(name, ())]
            _for_each(runs, look, _READERS if self.reader.uri.startswith("http") else 1)
            rows = {place: joint.records.get(name, ()) for place, name in enumerate(joint.frame["name"])}
            measured = {place: self._row(records, "test") for place, records in rows.items()}
            if lost:
                who = lost[0] + (f" and {len(lost) - 1} other run{'s' * (len(lost) > 2)}" if len(lost) > 1 else "")
                joint.lacking = f"the differences of rows whose test predictions cannot be read (deleted?): {who}"
            joint.finish(Standings(self._panels, measured))
        except Exception as error:  # the page says what is missing; where it happened is in the server's log
            log.exception("the predictions could not be read")
            why = scrubbed(" ".join(str(error).split()), self.reader.uri)
            joint.lacking = f"intervals and differences, for the predictions cannot be read ({why})"
        finally:
            joint.done.set()

    def _tell(self, record: RunRecord, split: str) -> Told | None:
        def tell() -> Told:
            table = self.reader.predictions_of(record, split)
            return Told(self._panels.measured(table), scenes_by_device(table))

        with suppress(InputError):  # trained on all data, deleted, damaged, or the store is not within reach for now
            return self._told.get((record.run_id, split), tell)
        return None

    def _row(self, records: Sequence[RunRecord], split: str) -> Measured | None:
        seeds = [self._tell(record, split) for record in records]
        known = [one.measured for one in seeds if one is not None]
        if not known or len(known) < len(seeds):
            return None
        return self._rows.get((split, *(record.run_id for record in records)), lambda: joined(known))

    def told(self, board: Board, name: str, split: str = "test") -> list[Told]:
        """What the predictions of a row tell, one a seed; empty if one of its runs has none."""
        found = [self._tell(record, split) for record in board.records.get(name, ())]
        known = [one for one in found if one is not None]
        return known if len(known) == len(found) else []

    def sums(self, board: Board, name: str, split: str = "test") -> Sums | None:
        """What `panel` compares of a row; None without predictions, or if its seeds are of different clips."""
        found = self._row(board.records.get(name, ()), split)
        return None if found is None else found[1]

    def panel(self, told: Told) -> Panel:
        """What compares systems of the same clips as this one."""
        return self._panels[told.clips]

    def by_device(self, record: RunRecord, split: str) -> pd.DataFrame | None:
        """What `accuracy_by_device` gives of a run; None if it has no predictions."""

        def measure() -> pd.DataFrame | None:
            table = self.predictions(record, split)
            return None if table is None or table.empty else accuracy_by_device(table)

        return self.kept(("by device", record.run_id, split), measure)

    def tables(self, board: Board, name: str, split: str = "test") -> list[pd.DataFrame]:
        """The predictions of a row, one table a seed; empty if one of its runs has none."""
        found = [self.predictions(record, split) for record in board.records.get(name, ())]
        known = [table for table in found if table is not None]
        return known if len(known) == len(found) else []

    def predictions(self, record: RunRecord, split: str) -> pd.DataFrame | None:
        """The predictions of one run; None if it has none."""
        with suppress(InputError):  # trained on all data, deleted, or damaged
            return self._tables.get((record.run_id, split), lambda: self.reader.predictions_of(record, split))
        return None

    def kept(self, key: tuple[Any, ...], make: Callable[[], ValueT]) -> ValueT:
        """What was made under a key before, else what ``make`` gives; the key says all that it depends on."""
        return self._others.get(key, make)  # type: ignore[no-any-return]


def fresh() -> int:
    """Changes when what was read is no longer fresh."""
    return int(time.time() / FRESH_SECONDS)


def _for_each(runs: Sequence[RunRecord], do: Callable[[RunRecord], None], threads: int) -> None:
    """Do something with each run, in threads that end with the process: those of a pool would be waited for.

    What is raised is raised here, and ends it.
    """
    left, failed = deque(runs), list[Exception]()

    def work() -> None:
        with suppress(IndexError):
            while True:
                run = left.popleft()
                try:
                    do(run)
                except Exception as error:
                    failed.append(error)
                    left.clear()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]


def _bytes(table: pd.DataFrame) -> int:
    return int(table.memory_usage(deep=True).sum())
