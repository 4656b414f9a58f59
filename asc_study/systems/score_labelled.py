"""Runs on labelled test clips of another data set than theirs, so that stages trained on two of them can be fused."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from asc_study.acoustics.recordings import read_sound
from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.files import writing
from asc_study.base.paths import cache_dir
from asc_study.base.progress import Say, progress_bar
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.features.audio import Recording
from asc_study.features.front_end import resample, with_channels
from asc_study.store.records import RunRecord
from asc_study.store.references import find_each
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Derived, Identity, Logged, existing, find_derived, log_derived
from asc_study.systems.score_fused import fused_table, networks_of
from asc_study.systems.score_network import Listener
from asc_study.workers.pool import require_jobs

if TYPE_CHECKING:
    import pandas as pd


def _converted(path: Path, digest: str, sample_rate: int, channels: int) -> Recording:
    """A recording in the rate (Hz) and channels that a network hears, kept in the cache as WAV of float32."""
    kept = cache_dir() / "converted" / f"{digest[:32]}-{sample_rate}-{channels}.wav"
    if not kept.exists():
        waveform, rate = read_sound(path)
        heard = resample(with_channels(waveform, channels), rate, sample_rate)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with writing(kept) as file:
            soundfile.write(file, heard, sample_rate, subtype="FLOAT", format="WAV")
    return Recording(kept, f"{digest} as {channels} x {sample_rate} Hz")


def score_labelled(
    tracker: Tracker,
    references: Sequence[str],
    folder: Path,
    *,
    jobs: int,
    say: Say,
    embeddings: Path | None = None,
) -> list[tuple[RunRecord, Logged]]:
    """Log what runs say of the labelled test clips of a data set, as runs of kind ``imported`` named ``ROW-on-DATA``.

    Recordings of another rate are resampled, of other channels mixed down or repeated. A run of ten or three classes
    needs labels of that task: clips of Task 1a carry both. `fuse` takes what is logged with systems of that data set.

    Parameters
    ----------
    tracker, references
        The store and the runs (see `find_runs`): trained ones, ensembles or fusions.
    folder
        The data set.
    jobs
        Processes for the features.
    say
        Told one line a run.
    embeddings
        The file of the clips' embeddings, for runs on these; by default the one that a run was trained on.

    Returns
    -------
    list of (scored run, what was logged)

    Raises
    ------
    InputError
        If a run is of another kind, or the data set has no test clips, or no labels of its task.
    """
    require_jobs(jobs, "processes for the features")
    records = [record for found in find_each(tracker, references) for record in found]
    data = identify(folder)
    clips = data.dataset.clips[data.dataset.clips["split"] == "test"]
    if clips.empty:
        raise InputError(
            f"{folder} has no labelled test clips to score on: name another data set, or leave --split out"
        )
    listener = Listener(tracker, clips, partial(_heard_as, clips, data), jobs=jobs, embeddings=embeddings)
    tables: dict[str, pd.DataFrame] = {}
    scored = []
    for record in records:
        run = _derived(record, data, folder)
        if done := find_derived(tracker, run.study, run.identity):
            say(f"{record.label}: has scored these {len(clips)} clips before")
            scored.append((record, existing(done)))
            continue
        for network in networks_of(tracker, record):
            if network.run_id not in tables:
                tables[network.run_id] = listener.predict(network)
        logged = log_derived(tracker, replace(run, tables={"test": fused_table(tracker, record, clips, tables)}))
        say(f"{record.label} on {data.dataset.root.name}: {accuracies(logged.metrics)}")
        scored.append((record, logged))
    return scored


def _derived(record: RunRecord, data: IdentifiedDataset, folder: Path) -> Derived:
    """What is logged of a run on the data set in a folder, without its predictions; raises `InputError`."""
    task, root = record.tags[Tag.TASK], data.dataset.root.name
    if task not in data.dataset.format.tasks:
        raise InputError(f"{record.label!r} is of the task {task}, of which {folder} has no labels: name other data")
    name = f"{record.tags[Tag.ROW]}-on-{root}"
    return Derived(
        identity=Identity(Kind.IMPORTED, {"scored": record.signature, "dataset": data.digest, "split": "test"}),
        study=record.tags[Tag.STUDY],
        name=f"{name}@{record.seed}" if record.seed else name,
        task=task,
        system=f"{record.tags[Tag.ROW]} on {root}",
        members=[record],
        tables={},
        tags={Tag.DATASET: root, Tag.DATASET_DIGEST: data.digest},
    )


def _heard_as(clips: "pd.DataFrame", data: IdentifiedDataset, sample_rate: int, channels: int) -> list[Recording]:
    """The recordings of clips in the rate (Hz) and channels that a network hears, converted where theirs are others."""
    named = [(Path(path), data.audio_digests[row]) for row, path in zip(clips.index, clips["path"], strict=True)]
    if (data.dataset.sample_rate, data.dataset.channels) == (sample_rate, channels):
        return [Recording(path, digest) for path, digest in named]
    converted = []
    with progress_bar(len(named), "converting", "clip", delay_seconds=2) as bar:
        for path, digest in named:
            converted.append(_converted(path, digest, sample_rate, channels))
            bar.update()
    return converted
