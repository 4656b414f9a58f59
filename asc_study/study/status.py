"""Where a study stands, for a look from another terminal: what is done, how far what runs has come, how long it takes.

Reads only. What the study is made of is what its newest launch wrote into ``rows.json``, its overrides and profile
included; of a study that an earlier version launched only the runs that began are known.
"""

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.progress import about_seconds
from asc_study.base.text_table import text_table
from asc_study.settings.study_file import load_study
from asc_study.store.addresses import address_line
from asc_study.store.claims import is_alive, is_launched
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.references import combination_of, newest_launch
from asc_study.study.definition import meet_runs

State = Literal["done", "running", "failed", "interrupted", "to do"]

STATES: Final[tuple[State, ...]] = ("done", "running", "failed", "interrupted", "to do")

_LOSS: Final = "epoch/train_loss"
_ACCURACY: Final = "epoch/validation_acc"
_SECONDS: Final = "epoch/seconds"


@dataclass(frozen=True)
class RunState:
    """A run of the study as it is now.

    Attributes
    ----------
    row, seed, state, run_id
        Which run, and how it is.
    epoch, epochs
        Epochs that are over, of a run that is being trained, and those that it will have; 0 if unknown.
    silent_seconds
        Since the last sign of life of a run that is being trained.
    validation_acc
        Of the last epoch, in [0, 1].
    epoch_seconds
        What an epoch takes.
    reason
        Why it failed.
    """

    row: str
    seed: str
    state: State
    run_id: str = ""
    epoch: int = 0
    epochs: int = 0
    silent_seconds: float | None = None
    validation_acc: float | None = None
    epoch_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class StudyState:
    """All runs of the study, and what is made of them; ``active`` while a launch of it is alive, or one is trained."""

    study: str
    runs: tuple[RunState, ...]
    active: bool
    made: tuple[RunState, ...] = ()

    @property
    def counts(self) -> dict[State, int]:
        """How many runs are in each state."""
        counted = Counter(run.state for run in self.runs)
        return {state: counted[state] for state in STATES}

    @property
    def unfinished(self) -> tuple[RunState, ...]:
        """The runs that a launch would train or trains now."""
        return tuple(run for run in self.runs if run.state in ("running", "interrupted", "to do"))

    @property
    def seconds_left(self) -> float | None:
        """An estimate, by the epochs so far, with as many runs at once as now; None if nothing is known or left."""
        known: dict[str, list[float]] = {}
        for run in self.runs:
            if run.epoch_seconds and run.epochs:
                known.setdefault(run.row, []).append(run.epoch_seconds * run.epochs)
        left = self.unfinished
        if not known or not left:
            return None
        mean = statistics.fmean(seconds for row in known.values() for seconds in row)
        total = 0.0
        for run in left:
            whole = statistics.fmean(known.get(run.row, [mean]))
            total += whole * (1 - run.epoch / run.epochs if run.epochs else 1)
        return total / max(1, self.counts["running"])

    def to_dict(self) -> dict[str, Any]:
        """The state in the types of JSON."""
        runs, made = [asdict(run) for run in self.runs], [asdict(run) for run in self.made]
        about = {"study": self.study, "active": self.active, "counts": self.counts, "seconds_left": self.seconds_left}
        return about | {"runs": runs, "made": made}

    def render(self) -> str:
        """A line about the study, and a table of its runs."""
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        left = self.seconds_left
        head = f"study {self.study}: {counts}" + (f"; about {about_seconds(left)} left" if left is not None else "")
        lines = [["Row", "Seed", "State", "Epoch", "Validation acc.", "Last sign"]]
        for run in self.runs:
            of = f"{run.epoch}/{run.epochs}" if run.state in ("running", "interrupted") and run.epochs else "-"
            accuracy = "-" if run.validation_acc is None else f"{100 * run.validation_acc:.1f}"
            sign = run.reason or ("-" if run.silent_seconds is None else f"{about_seconds(run.silent_seconds)} ago")
            lines.append([run.row, run.seed, run.state, of, accuracy, sign])
        lines += [[one.row, one.seed, one.state, "-", "-", "-"] for one in self.made]
        return head + "\n" + text_table(lines, left=(0, 2, 5))


def study_state(study: str, tracker: Reader) -> StudyState:
    """Where a study stands.

    Parameters
    ----------
    study
        Its name, or its YAML file.
    tracker
        The store.

    Raises
    ------
    InputError
        If it was never launched.
    """
    if study.endswith((".yaml", ".yml")):
        meet_runs(Path(study), tracker)
        study = load_study(Path(study)).name
    records = tracker.runs(study)
    trained = [record for record in records if record.tags.get(Tag.KIND) == Kind.TRAIN]
    wanted = _launched(records, tracker) or _begun(trained)
    if not wanted and any(record.tags.get(Tag.KIND) == Kind.SEARCH for record in records):
        raise InputError(
            f"status is of studies, got the search {study!r}: `asc-study search` with its file tells where it stands "
            "and goes on; `asc-study dashboard` and `mlflow ui` show its trials"
        )
    if not wanted:
        raise InputError(
            address_line(
                tracker.uri, f"no run of study {study!r} was begun in {{address}}: run it, or name another one"
            )
        )
    by_signature: dict[str, list[RunRecord]] = {}
    for record in trained:
        by_signature.setdefault(record.signature, []).append(record)
    runs = [
        _run_state(row, str(seed), by_signature.get(signature, []), tracker)
        for row, seed, signature in _launched(records, tracker) or _begun(trained)
    ]
    # Only a run tells of launches that do not share our locks; between two runs they look as if they had ended.
    trains = any(record.status == "RUNNING" and is_alive(tracker, record) for record in records)
    active = trains or is_launched(tracker, study)
    return StudyState(study, tuple(runs), active, tuple(_made(records, tracker)))


def _made(records: Sequence[RunRecord], tracker: Reader) -> Iterator[RunState]:
    """The ensembles and systems of the newest launch, every seed: done or to do."""
    launched = newest_launch(tracker, records)[1]
    names, combinations = launched.get("made", []), launched.get("combinations", {})
    there = {
        (combination_of(record), record.seed): record.run_id for record in records[::-1] if record.status == "FINISHED"
    }
    for name in names:
        for seed in map(str, launched.get("seeds", [])):
            run_id = there.get((combinations.get(name, ""), seed), "")
            yield RunState(name, seed, "done" if run_id else "to do", run_id)


def _launched(records: Iterable[RunRecord], tracker: Reader) -> list[tuple[str, int, str]]:
    """Row, seed and signature of every run that the newest launch wanted in the end; empty if it did not say."""
    for record in records:
        if record.tags.get(Tag.KIND) == Kind.STUDY and (
            runs := tracker.json_artifact(record.run_id, Artifact.ROWS).get("runs")
        ):
            return [(str(row), int(seed), str(signature)) for row, seed, signature in runs]
    return []


def _begun(trained: Sequence[RunRecord]) -> list[tuple[str, str, str]]:
    """The same of the newest run of each row and seed, in the order in which they began."""
    newest = {(r.tags.get(Tag.ROW, ""), r.seed): r.signature for r in reversed(trained)}
    return [(row, seed, signature) for (row, seed), signature in newest.items()]


def _run_state(row: str, seed: str, records: Sequence[RunRecord], tracker: Reader) -> RunState:
    """The state of one signature; ``records`` are the newest first."""
    if not records:
        return RunState(row, seed, "to do")
    by_status = {record.status: record for record in reversed(records)}
    record = by_status.get("FINISHED") or by_status.get("RUNNING") or records[0]
    folds = int(record.params.get("validation.folds", 0)) if record.params.get("training.data") == "train" else 0
    trainings = folds + (record.params.get("validation.final") == "all") if folds else 1
    epochs = trainings * int(record.params.get("training.epochs", 0))
    accuracy, seconds = record.metrics.get(_ACCURACY), record.metrics.get(_SECONDS)
    if record.status == "FINISHED":
        return RunState(row, seed, "done", record.run_id, epochs, epochs, None, accuracy, seconds)
    if record.status == "FAILED":
        return RunState(row, seed, "failed", record.run_id, epochs=epochs, reason=record.failure)
    history = sorted(tracker.client.get_metric_history(record.run_id, _LOSS), key=lambda one: int(one.step))
    stamps = [one.timestamp / 1000 for one in history]
    if len(stamps) > 1:  # the median: a run that was cut off has a gap
        seconds = statistics.median(after - before for before, after in itertools.pairwise(stamps))
    alive = record.status == "RUNNING" and is_alive(tracker, record)
    told = min(record.heartbeat or 0.0, time.time())
    last_sign = max(told, record.start_seconds, *stamps)
    return RunState(
        row,
        seed,
        "running" if alive else "interrupted",
        record.run_id,
        history[-1].step if history else 0,
        epochs,
        max(0.0, time.time() - last_sign),
        accuracy,
        seconds,
    )
