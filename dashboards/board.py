"""The rows of one or several studies as pages see them, and what predictions tell of them."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from asc_study.store.records import RunRecord
from asc_study.study.leaderboard import Gathered
from asc_study.study.leaderboard_forms import unique_names
from asc_study.study.standing import Measured, Standings
from dashboards.kept import Kept


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
    lacking
        What it lacks because predictions that runs logged cannot be read, and why, in one line; empty if nothing.
    """

    frame: pd.DataFrame
    records: Mapping[str, Sequence[RunRecord]]
    running: int
    read_at: float
    pending: tuple[int, int] | None = None
    key: tuple[Any, ...] = ()
    lacking: str = ""

    @property
    def names(self) -> list[str]:
        """The rows that have finished runs, in the studies' order."""
        return list(self.frame["name"][self.frame["seeds"] > 0]) if len(self.frame) else []

    @property
    def about(self) -> str:
        """What it is a board of: how many runs and combinations, of which data, how many are being made."""
        there = self.frame[self.frame["seeds"] > 0]
        seeds = int(there["seeds"].max())
        said = f"{int(there['seeds'].sum())} runs, {len(there)} combinations, up to {seeds} seed{'s' * (seeds > 1)}"
        sets = there[["dataset", "dataset_digest"]].dropna().drop_duplicates().to_numpy(str)
        data = ", ".join(f"{name} {digest[:7]}" for name, digest in sets[:3]) + (", ..." if len(sets) > 3 else "")
        return said + (f" · data: {data}" if data else "") + (f" · {self.running} running" if self.running else "")

    def row(self, name: str) -> "pd.Series[Any]":
        """The row of a name."""
        return self.frame.loc[self.frame["name"] == name].iloc[0]

    def among(self, names: Sequence[str]) -> pd.DataFrame:
        """The rows of these names, in the studies' order, with their name as ``row``."""
        chosen = self.frame[self.frame["name"].isin(names) & (self.frame["seeds"] > 0)]
        return chosen.assign(row=chosen["name"]).reset_index(drop=True)


@dataclass(frozen=True)
class Study:
    """A study as it was read: its rows, how many runs are being made, and what tells whether it changed since."""

    gathered: Gathered
    running: int
    stamp: tuple[Any, ...]
    read_at: float


@dataclass(frozen=True)
class Told:
    """What the predictions of a run tell, of one split.

    Attributes
    ----------
    measured
        What a comparison needs.
    scenes
        What `asc_study.evaluation.side_by_side.scenes_by_device` gives.
    """

    measured: Measured
    scenes: pd.DataFrame

    @property
    def clips(self) -> object:
        """What runs that can be compared have in common."""
        return self.measured[0]


class Joint:
    """The rows of the studies of a link; what their predictions tell comes when all of them have been read."""

    def __init__(self, studies: Mapping[str, Study], key: tuple[Any, ...]) -> None:
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
        self.lacking = ""
        self.began = time.monotonic()
        self.done = threading.Event()
        self._standings: Standings | None = None
        self._frames: Kept[str, pd.DataFrame] = Kept(16)

    def finish(self, standings: Standings) -> None:
        """What predictions tell is known; the differences to the board's own reference are computed at once."""
        self._frames.get("", lambda: standings.added(self.frame, None))
        self._standings = standings

    def board(self, reference: str) -> Board:
        """The rows against a reference, with what is known by now."""
        if reference not in set(self.frame["row"]):
            reference = ""  # of an older link
        pending = None if self.done.is_set() else (self.read, self.to_read)
        frame, standings = self.frame, self._standings
        if standings is not None:
            frame = self._frames.get(reference, lambda: standings.added(self.frame, reference or None))
        key = (self._key, reference, standings is not None)
        return Board(frame, self.records, self.running, self.read_at, pending, key, self.lacking)
