"""Runs on labelled test clips of another data set than theirs, so that stages trained on two of them can be fused."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from asc_study.features.store import FeatureStore, extract
from asc_study.store.records import RunRecord
from asc_study.store.references import find_each
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Derived, Identity, Logged, existing, find_derived, log_derived
from asc_study.systems.score import config_of, embeddings_of, predict_clips, sample_rate_of
from asc_study.systems.score_fused import fused_table, networks_of
from asc_study.training.runtime import start_keras
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
    tables: dict[str, pd.DataFrame] = {}
    scored = []
    for record in records:
        task = record.tags[Tag.TASK]
        if task not in data.dataset.format.tasks:
            raise InputError(
                f"{record.label!r} is of the task {task}, of which {folder} has no labels: name other data"
            )
        settings = {"scored": record.signature, "dataset": data.digest, "split": "test"}
        identity = Identity(Kind.IMPORTED, settings)
        study = record.tags[Tag.STUDY]
        if done := find_derived(tracker, study, identity):
            say(f"{record.label}: has scored these {len(clips)} clips before")
            scored.append((record, existing(done)))
            continue
        for network in networks_of(tracker, record):
            if network.run_id not in tables:
                tables[network.run_id] = _predict(tracker, network, data, clips, jobs, embeddings)
        name = f"{record.tags[Tag.ROW]}-on-{data.dataset.root.name}"
        run = Derived(
            identity=identity,
            study=study,
            name=f"{name}@{record.seed}" if record.seed else name,
            task=task,
            system=f"{record.tags[Tag.ROW]} on {data.dataset.root.name}",
            members=[record],
            tables={"test": fused_table(tracker, record, clips, tables)},
            tags={Tag.DATASET: data.dataset.root.name, Tag.DATASET_DIGEST: data.digest},
        )
        logged = log_derived(tracker, run)
        say(f"{record.label} on {data.dataset.root.name}: {accuracies(logged.metrics)}")
        scored.append((record, logged))
    return scored


def _predict(
    tracker: Tracker,
    network: RunRecord,
    data: IdentifiedDataset,
    clips: "pd.DataFrame",
    jobs: int,
    embeddings: Path | None,
) -> "pd.DataFrame":
    config = config_of(tracker, network)
    start_keras(config.training.threads)
    model = tracker.load_keras_model(network.run_id)
    if config.features.embeddings is not None:
        store = embeddings_of(tracker, network, config, clips, embeddings)
        return predict_clips(network, config, model, clips, store)
    channels = model.input_shape[-1] // config.features.maps
    rate = sample_rate_of(network, channels)
    native = (data.dataset.sample_rate, data.dataset.channels) == (rate, channels)
    store = _features(clips, data, config.features.at(rate), channels, native, jobs)
    return predict_clips(network, config, model, clips, store)


def _features(
    clips: "pd.DataFrame", data: IdentifiedDataset, settings: Any, channels: int, native: bool, jobs: int
) -> FeatureStore:
    named = [(Path(path), data.audio_digests[row]) for row, path in zip(clips.index, clips["path"], strict=True)]
    with progress_bar(0 if native else len(named), "converting", "clip", shown=not native, delay_seconds=2) as bar:
        sounds = []
        for path, digest in named:
            sounds.append(
                Recording(path, digest) if native else _converted(path, digest, settings.sample_rate, channels)
            )
            bar.update()
    return extract(sounds, settings, cache_dir() / "features", channels=channels, jobs=jobs, progress=True)
