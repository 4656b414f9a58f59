"""What a run has still to deliver, on the disk of this machine: it outlives an outage of the store, and its process.

Each run that is trained has a folder in the cache: ``run.json`` says which run of which store it is, ``epochs.jsonl``
has a line an epoch with the time when it was over, and ``result`` is there once the run is trained: its artifacts, its
model and, in ``result.json``, all else. Nothing here asks the store; see `asc_study.store.delivery`.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from asc_study.base.files import write_file
from asc_study.base.paths import spool_dir

_HEAD: Final = "run.json"
_EPOCHS: Final = "epochs.jsonl"
_RESULT: Final = "result"
_FACTS: Final = "result.json"


def now_ms() -> int:
    """The time in milliseconds since the epoch, as MLflow counts it."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class Step:
    """Metrics of one step (an epoch, from 1), by the names that the store has, and the time when they were measured."""

    step: int
    time_ms: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Head:
    """Whose a spool is.

    Attributes
    ----------
    study, label
        The run's, for people.
    store
        The identity of the study in its store.
    identity
        What the process that works on the run locks; see `asc_study.store.claims.run_lock`.
    owners
        The names of the leases under which the spool was filled.
    """

    study: str
    label: str
    store: str
    identity: str
    owners: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What the store is told of a trained run, beside its files.

    Attributes
    ----------
    metrics
        Name -> value, of the chosen epoch.
    time_ms
        When the training was over.
    tags
        What the run is told by tags, its description for example.
    datasets
        The arguments of `Tracker.log_datasets`; none of a trial of a search, which has no model either.
    """

    metrics: Mapping[str, float]
    time_ms: int
    tags: Mapping[str, str]
    datasets: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResultFolder:
    """The folder of a result: its files, its model, if it has one, as MLflow keeps it, and what else is told."""

    path: Path

    @property
    def artifacts(self) -> Path:
        """The folder of what become artifacts of the run."""
        return self.path / "artifacts"

    @property
    def model(self) -> Path:
        """The folder of the model."""
        return self.path / "model"

    def write(self, result: Result) -> None:
        """Write what the store is told."""
        write_file(self.path / _FACTS, json.dumps(asdict(result)))

    def read(self) -> Result | None:
        """What the store is told; None if there is no result."""
        try:
            return Result(**json.loads((self.path / _FACTS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


class Spool:
    """The spool of one run; there is nothing on the disk before it is opened.

    Parameters
    ----------
    run_id
        The run.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._folder = spool_dir() / run_id
        self._head: Head | None = None

    @cached_property
    def steps(self) -> list[Step]:
        """The epochs, in their order; a line that a power cut left half-written is none."""
        found: dict[int, Step] = {}
        try:
            lines = (self._folder / _EPOCHS).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            try:
                step = Step(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found.setdefault(step.step, step)
        return list(found.values())

    def head(self) -> Head | None:
        """Whose it is; None if there is nothing, or nothing that says so."""
        try:
            told = json.loads((self._folder / _HEAD).read_text(encoding="utf-8"))
            return Head(**told | {"owners": tuple(told["owners"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def open(self, head: Head) -> None:
        """Begin, or go on under a further lease; before that lease is taken, so that no kill leaves it unknown."""
        earlier = self.head()
        self._head = replace(head, owners=(*(earlier.owners if earlier else ()), *head.owners))
        self._write_head(self._head)

    def add(self, step: Step) -> None:
        """Keep an epoch, once: of one that is trained again the first measurement counts, as in the store."""
        if any(step.step == known.step for known in self.steps):
            return
        self._restore()
        line = json.dumps(asdict(step)).encode() + b"\n"
        with (self._folder / _EPOCHS).open("a+b") as file:
            if file.tell() and not _ends_a_line(self._folder / _EPOCHS):
                file.write(b"\n")
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.steps.append(step)

    def _restore(self) -> None:
        """Who tidied the cache up meanwhile has cost the epochs that were written, not what follows."""
        if self._head and not (self._folder / _HEAD).exists():
            self._write_head(self._head)

    def _write_head(self, head: Head) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_file(self._folder / _HEAD, json.dumps(asdict(head)))

    @contextmanager
    def writing_result(self) -> Iterator["ResultFolder"]:
        """A folder that becomes the result when the block ends without an error."""
        self._restore()
        made = ResultFolder(self._folder / f"{_RESULT}.new")
        shutil.rmtree(made.path, ignore_errors=True)
        made.artifacts.mkdir(parents=True)
        yield made
        shutil.rmtree(self.result.path, ignore_errors=True)  # one that could not be read
        made.path.rename(self.result.path)

    @property
    def result(self) -> "ResultFolder":
        """The result, which is there once the run is trained."""
        return ResultFolder(self._folder / _RESULT)

    def remove(self) -> None:
        """Forget the run: all of it is delivered, or is another one's by now."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.__dict__.pop("steps", None)


def spools() -> list[Spool]:
    """All runs that have something to deliver, or are trained now."""
    return [Spool(head.parent.name) for head in sorted(spool_dir().glob(f"*/{_HEAD}"))]


def _ends_a_line(file: Path) -> bool:
    with file.open("rb") as opened:
        opened.seek(-1, os.SEEK_END)
        return opened.read(1) == b"\n"
