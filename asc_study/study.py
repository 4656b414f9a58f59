"""Studies: which runs a study file asks for, which of them are done, and running the rest."""

import os
import socket
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import soundfile

from asc_study import __version__
from asc_study.augmentation import compose
from asc_study.cache import cache_dir
from asc_study.config import RunConfig, canonical_json, signature
from asc_study.data.dataset import Dataset, require_audio
from asc_study.data.identity import audio_digests, dataset_digest
from asc_study.data.tau import read_dataset
from asc_study.errors import InputError
from asc_study.execution import (
    Launch,
    Outcome,
    RunSpec,
    execute_run,
    feature_store,
    is_alive,
    log_mel_settings,
    run_lock,
    settle_abandoned,
    split_clips,
)
from asc_study.features.logmel import FRAMES_LOST_TO_DELTAS
from asc_study.leaderboard import COLUMNS, leaderboard, render, unique_names
from asc_study.models import ARCHITECTURES
from asc_study.parallel import run_parallel
from asc_study.study_file import Study
from asc_study.tracking import RunRecord, Tracker

Status = Literal["new", "done", "failed", "running", "interrupted", "orphaned"]

#: What each status means, in the order in which a plan counts them.
STATUSES: Final[dict[Status, str]] = {
    "new": "will be trained",
    "done": "finished: nothing to do",
    "failed": "failed: retried with --retry-failed only",
    "running": "being trained by another process: left alone",
    "interrupted": "cut off: goes on from its last epoch",
    "orphaned": "in the store, but no longer in the study (other settings, seed or data): kept",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class IdentifiedDataset:
    """A data set with the digests that identify its sound."""

    dataset: Dataset
    audio_digests: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class PlannedRun:
    """A run of the study with what the store knows of it."""

    spec: RunSpec
    status: Status
    run_id: str = ""
    reason: str = ""
    recorded_row: str = ""


@dataclass(frozen=True)
class Plan:
    """All runs of a study and the runs of its experiment that no longer belong to it."""

    runs: tuple[PlannedRun, ...]
    orphans: tuple[RunRecord, ...]

    @property
    def counts(self) -> dict[Status, int]:
        """How many runs have each status."""
        counted = Counter(run.status for run in self.runs)
        counted["orphaned"] = len(self.orphans)
        return {status: counted[status] for status in STATUSES}

    def to_rows(self) -> list[dict[str, Any]]:
        """One mapping a run, for tables and JSON."""
        rows = [
            {
                "row": run.spec.row,
                "seed": run.spec.seed,
                "status": run.status,
                "signature": run.spec.signature[:10],
                "combination": run.spec.combination[:10],
                "run_id": run.run_id,
                "reason": run.reason,
            }
            for run in self.runs
        ]
        return rows + [
            {
                "row": record.tags.get("asc.row", ""),
                "seed": int(record.tags.get("asc.seed", 0)),
                "status": "orphaned",
                "signature": record.signature[:10],
                "combination": record.tags.get("asc.combination", "")[:10],
                "run_id": record.run_id,
                "reason": record.failure,
            }
            for record in self.orphans
        ]


def identify(root: Path, task: str | None = None) -> IdentifiedDataset:
    """Read a data set and digest its sound (cached: only files that changed are read again).

    Raises
    ------
    InputError
        If the folder is not a data set in TAU layout or lacks audio files.
    """
    dataset = read_dataset(root, task)
    require_audio(dataset)
    paths = [Path(path) for path in dataset.clips["path"]]
    digests = tuple(audio_digests(paths, cache=cache_dir(), progress=True))
    return IdentifiedDataset(dataset, digests, dataset_digest(dataset, digests))


def specs(study: Study, digest: str) -> list[RunSpec]:
    """Every run of the study: rows x seeds, in the study's order."""
    return [
        RunSpec(
            study=study.name,
            row=row.name,
            seed=seed,
            config=row.config,
            signature=signature(row.config, digest, seed),
            combination=signature(row.config, digest, None),
        )
        for row in study.rows
        for seed in study.seeds
    ]


def make_plan(study: Study, digest: str, tracker: Tracker | None) -> Plan:
    """Compare the study with the store (None: there is no store yet). Changes nothing."""
    by_signature: dict[str, list[RunRecord]] = {}
    for record in tracker.runs(study.name, kind="train") if tracker else ():
        by_signature.setdefault(record.signature, []).append(record)
    runs = []
    for spec in specs(study, digest):
        status, found = _status(tracker, by_signature.pop(spec.signature, []))
        known = (found.run_id, found.failure, found.tags.get("asc.row", "")) if found else ()
        runs.append(PlannedRun(spec, status, *known))
    orphans = [record for records in by_signature.values() for record in records]
    return Plan(tuple(runs), tuple(orphans))


def _status(tracker: Tracker | None, records: Sequence[RunRecord]) -> tuple[Status, RunRecord | None]:
    """The status of one signature and the run that shows it; ``records`` are the newest first."""
    by_status: dict[str, RunRecord] = {}
    for record in reversed(records):
        by_status[record.status] = record
    if "FINISHED" in by_status:
        return "done", by_status["FINISHED"]
    if "RUNNING" in by_status:
        record = by_status["RUNNING"]
        return ("running" if tracker and is_alive(tracker, record) else "interrupted"), record
    if records and records[0].status == "FAILED":
        return "failed", records[0]
    return ("interrupted", records[0]) if records else ("new", None)


def run_study(
    study: Study,
    data: IdentifiedDataset,
    *,
    jobs: int = 1,
    only: Sequence[str] = (),
    retry_failed: bool = False,
    say: Say = lambda line: None,
) -> list[Outcome]:
    """Run what is new or was cut off, each as an MLflow run under one parent run.

    Parameters
    ----------
    study, data
        What to run, and on what.
    jobs
        Runs trained at the same time, and processes for the features.
    only
        Names of the rows to run; all by default.
    retry_failed
        Whether runs that failed are tried again.
    say
        Told one line for people at a time.

    Returns
    -------
    list of Outcome
        One for each run that was started now.

    Raises
    ------
    InputError
        If a row does not fit the data, before anything is logged.
    """
    if jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {jobs}: give the number of runs to train at the same time")
    check_fit(study, data.dataset, say)
    tracker = Tracker()
    settle_abandoned(tracker, study.name)
    plan = make_plan(study, data.digest, tracker)
    say(describe_plan(study, plan))
    for run in plan.runs:
        if run.status == "done" and run.recorded_row != run.spec.row:  # the row was renamed in the study file
            tracker.set_tags(run.run_id, {"asc.row": run.spec.row, "mlflow.runName": run.spec.label})
    wanted = {"new", "interrupted"} | ({"failed"} if retry_failed else set())
    chosen = {row.name for row in study.only(only).rows}
    pending = [run.spec for run in plan.runs if run.status in wanted and run.spec.row in chosen]
    if not pending:
        return []
    for config in {canonical_json(s.config.features.model_dump()): s.config for s in pending}.values():
        feature_store(config, data.dataset, data.audio_digests, jobs=jobs, progress=True)
    return _run_pending(study, data, tracker, pending, jobs, say)


def _run_pending(
    study: Study, data: IdentifiedDataset, tracker: Tracker, pending: Sequence[RunSpec], jobs: int, say: Say
) -> list[Outcome]:
    commit, launch_id = git_commit(), uuid.uuid4().hex
    tags = {
        "asc.study": study.name,
        "asc.kind": "study",
        "asc.launch": launch_id,
        "asc.dataset": data.dataset.root.name,
        "asc.dataset_digest": data.digest,
        "asc.git_commit": commit,
        "asc.host": socket.gethostname(),
    }
    outcomes: list[Outcome] = []
    status = "KILLED"
    with run_lock(tracker.uri, study.name, launch_id):
        parent = tracker.create_run(study.name, f"{study.name}: {len(pending)} runs", tags, {})
        launch = Launch(
            tracking_uri=tracker.uri,
            parent_run_id=parent,
            dataset=data.dataset,
            audio_digests=data.audio_digests,
            dataset_digest=data.digest,
            figures=study.figures,
            git_commit=commit,
            jobs=min(jobs, len(pending)),
            process_id=os.getpid(),
        )
        try:
            with tracker.artifacts(parent) as folder:
                (folder / "study.yaml").write_text(study.source, encoding="utf-8")
            for outcome in run_parallel(execute_run, [(spec, launch) for spec in pending], jobs=launch.jobs):
                outcomes.append(outcome)
                say(_outcome_line(outcome, len(outcomes), len(pending)))
            _log_comparison(study, tracker, parent)
            status = "FAILED" if any(outcome.status == "failed" for outcome in outcomes) else "FINISHED"
        finally:
            tracker.finish(parent, status)
            if status == "KILLED":  # interrupted: what the workers could not tell the store is told here
                settle_abandoned(tracker, study.name)
    return outcomes


def _log_comparison(study: Study, tracker: Tracker, parent: str) -> None:
    """Give the parent run the leaderboard as it is now: a table and a figure."""
    from asc_study.evaluation.figures import page, study_figure

    board = leaderboard(tracker, study.name, order=[row.name for row in study.rows])
    if not board["seeds"].any():
        return
    with tracker.artifacts(parent) as folder:
        board.to_csv(folder / "leaderboard.csv", index=False)
        (folder / "leaderboard.txt").write_text(render(board, study.name) + "\n", encoding="utf-8")
        (folder / "figures").mkdir()
        summary = page(
            f"Study {study.name}",
            study.description,
            [study_figure(board.assign(row=unique_names(board)))],
            study.figures,
        )
        (folder / "figures" / "summary.html").write_text(summary, encoding="utf-8")


def check_fit(study: Study, dataset: Dataset, say: Say = lambda line: None) -> None:
    """Find out before anything runs whether every row can be trained on the data set.

    Raises
    ------
    InputError
        One line that names the row, what it asks for and what the data has.
    """
    if not (dataset.clips["split"] == "test").any():
        raise InputError(f"{dataset.root} has no test clips: name some in evaluation_setup/fold1_evaluate.csv")
    validated = []
    for row in study.rows:
        try:
            if dataset.task == "three_class" and row.config.task == "ten_class":
                raise InputError("the data set has labels for the task three_class only: set task: three_class")
            _try_shapes(row.config, dataset)
            clips = split_clips(dataset, row.config)
        except InputError as error:
            raise InputError(f"row {row.name!r}: {error}") from None
        validated.append((clips["split"] == "validation").any())
    if not all(validated):
        say("note: no scene has two training locations, so there is no validation split: the last epoch is kept")


def _try_shapes(config: RunConfig, dataset: Dataset) -> None:
    """Augment one batch of zeros in the shape that the first clip gives; raises `InputError` if that cannot be."""
    settings = log_mel_settings(config, dataset)
    path = dataset.clips["path"].iloc[0]
    try:
        audio = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError):
        raise InputError(f"{path} cannot be read: `asc-study data check {dataset.root}` lists all such files") from None
    if (audio.samplerate, audio.channels) != (dataset.sample_rate, dataset.channels):
        raise InputError(
            f"clips of the task {dataset.task} must have {dataset.sample_rate:,} Hz and {dataset.channels} channel(s), "
            f"got {audio.samplerate:,} Hz and {audio.channels} in {path}: convert the recordings"
        )
    frames = settings.frames(audio.frames) - FRAMES_LOST_TO_DELTAS
    if frames < 1:
        raise InputError(
            f"a clip needs more than {FRAMES_LOST_TO_DELTAS} frames, got {settings.frames(audio.frames)} with "
            f"features.hop_length {settings.hop_length}: lower it"
        )
    pipeline = compose(config.batch_augmentation)
    clips = pipeline.clips_per_sample
    one_hot = np.eye(len(config.classes), dtype=np.float32)[[0] * clips]
    batch = np.zeros((clips, settings.n_mels, frames, 3 * dataset.channels), np.float32)
    augmented, _ = pipeline(batch, one_hot, np.random.default_rng(0))
    least, got = ARCHITECTURES[config.architecture].smallest_input, augmented.shape[1:3]
    if got[0] < least[0] or got[1] < least[1]:
        raise InputError(
            f"{config.architecture} needs at least {least[0]} mel bands and {least[1]} frames, got {got[0]} and "
            f"{got[1]} after augmentation: raise features.n_mels or random_crop.frames, or lower features.hop_length"
        )


def describe_plan(study: Study, plan: Plan) -> str:
    """One line: the study and how many of its runs have which status."""
    counts = ", ".join(f"{count} {status}" for status, count in plan.counts.items() if count)
    size = f"{len(study.rows)} rows x {len(study.seeds)} seeds" if len(study.seeds) > 1 else f"{len(study.rows)} rows"
    return f"study {study.name}: {size}: {counts}"


def git_commit() -> str:
    """The commit of the code in use (``-dirty`` if it was changed since), or the package's version outside git."""
    folder = Path(__file__).resolve().parent
    with suppress(OSError, subprocess.CalledProcessError):
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            check=False,
        )
        if tracked.returncode == 0:  # else the package is installed inside somebody else's repository
            return described.stdout.strip()
    return f"asc-study {__version__}"


def _outcome_line(outcome: Outcome, number: int, total: int) -> str:
    head = f"[{number}/{total}] {outcome.spec.label}"
    if outcome.status == "elsewhere":
        return f"{head}: taken by another process"
    if outcome.status == "failed":
        return f"{head}: FAILED: {outcome.reason}"
    metrics = outcome.metrics or {}
    shown = [(heading, metric) for heading, metric, factor in COLUMNS.values() if factor == 100 and metric in metrics]
    figures = "  ".join(f"{heading} {100 * metrics[metric]:.1f}" for heading, metric in shown)
    return f"{head}: {figures}  ({outcome.seconds:.0f} s)"
