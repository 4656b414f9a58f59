"""Predictions of trained runs for clips whose labels nobody knows, such as those of the challenge's evaluation set."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asc_study.base.errors import InputError
from asc_study.base.paths import cache_dir
from asc_study.data.formats import DATA_FORMATS
from asc_study.data.identity import audio_digests
from asc_study.evaluation.predictions import predictions_table, write_predictions
from asc_study.features.audio import Recording
from asc_study.features.logmel import LogMelSettings
from asc_study.features.store import FeatureStore, extract
from asc_study.settings.migrations import read_config
from asc_study.settings.run_config import RunConfig
from asc_study.store.queries import Reader, RunRecord
from asc_study.store.references import find_runs
from asc_study.store.tracking import Tracker
from asc_study.training.runtime import start_keras

if TYPE_CHECKING:
    import keras
    import pandas as pd

Say = Callable[[str], None]


def predict_runs(tracker: Tracker, references: Sequence[str], folder: Path, *, jobs: int, say: Say) -> list[RunRecord]:
    """Add ``predictions/evaluation.parquet`` to trained runs: their probabilities for every clip of a folder.

    Parameters
    ----------
    tracker, references
        The store and the runs (see `find_runs`).
    folder
        A folder with ``audio/*.wav``; labels are neither needed nor looked at.
    jobs
        Processes for the features.
    say
        Told one line a run.

    Raises
    ------
    InputError
        If a run is not a trained one or its model is gone, or the audio is missing or of another format.
    """
    if jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {jobs}: give the number of processes for the features")
    found = [record for reference in references for record in find_runs(tracker, reference)]
    records = list({record.run_id: record for record in found}.values())
    for record in records:
        if record.tags["asc.kind"] != "train":
            raise InputError(
                f"only trained runs have a model to predict with, {record.label!r} is of kind "
                f"{record.tags['asc.kind']}: predict with the runs that it is made of, then fuse them again"
            )
    clips = _clips(folder)
    paths = [Path(path) for path in clips["path"]]
    digests = audio_digests(paths, cache=cache_dir(), progress=True)
    digest = hashlib.sha256("\n".join([*clips["clip_id"], *digests]).encode()).hexdigest()
    recordings = [Recording(path, own) for path, own in zip(paths, digests, strict=True)]
    stores: dict[str, FeatureStore] = {}
    for record in records:
        if record.tags.get("asc.evaluation_digest") == digest:
            say(f"{record.label}: has predicted these {len(clips)} clips before")
            continue
        config = config_of(tracker, record)
        if not stores:  # one process has one number of threads; between runs it moves the last bits only
            start_keras(config.training.threads)
        model = tracker.load_keras_model(record.run_id)
        rate = sample_rate_of(record, model.input_shape[-1] // 3)  # three feature maps (static, two deltas) each
        key = f"{config.features.model_dump_json()} {rate} {model.input_shape[-1]}"
        if key not in stores:
            settings = LogMelSettings(sample_rate=rate, **config.features.model_dump())
            stores[key] = extract(recordings, settings, cache_dir() / "features", jobs=jobs, progress=True)
        _predict(tracker, record, config, model, clips, stores[key])
        tracker.set_tags(record.run_id, {"asc.evaluation_digest": digest, "asc.evaluation": folder.resolve().name})
        say(f"{record.label}: {len(clips)} clips predicted")
    return records


def _clips(folder: Path) -> "pd.DataFrame":
    """The clip table of a folder without labels, in the natural order of the file names (2.wav before 10.wav)."""
    import pandas as pd

    paths = sorted(
        (folder / "audio").glob("*.wav"), key=lambda path: [part.zfill(12) for part in re.split(r"(\d+)", path.stem)]
    )
    if not paths:
        raise InputError(f"a folder to predict must hold audio/*.wav, found none under {folder}: name the data set")
    unknown = dict.fromkeys(("scene", "scene_group", "device", "city", "location"), "")
    table = pd.DataFrame({"clip_id": [path.stem for path in paths], "path": [str(path) for path in paths]})
    return table.assign(split="evaluation", **unknown)


def config_of(tracker: Reader, record: RunRecord) -> RunConfig:
    """The settings that a run was trained with."""
    text = tracker.artifact(record.run_id, "config.yaml").read_text("utf-8", errors="replace")
    return read_config(text, where=record.label)


def sample_rate_of(record: RunRecord, channels: int) -> int:
    """In Hz, as recorded with the run; runs of schema 1 did not, and knew the formats of the two TAU data sets only."""
    recorded = record.tags.get("asc.sample_rate", "")
    if recorded.isdecimal():
        return int(recorded)
    for known in DATA_FORMATS.values():
        if known.channels == channels:
            return known.sample_rate
    raise InputError(f"{record.label!r} does not say what sample rate it was trained at: train it again")


def _predict(
    tracker: Tracker,
    record: RunRecord,
    config: RunConfig,
    model: "keras.Model",
    clips: "pd.DataFrame",
    store: FeatureStore,
) -> None:
    import numpy as np

    from asc_study.training.batches import EvaluationBatches

    batches = EvaluationBatches(store, np.arange(len(clips)), batch_size=config.training.batch_size)
    if batches.input_shape[-1] != model.input_shape[-1]:
        raise InputError(
            f"{record.label!r} takes {model.input_shape[-1] // 3} audio channels, the clips have "
            f"{batches.input_shape[-1] // 3}: predict clips like those that it was trained on"
        )
    table = predictions_table(clips, model.predict(batches, verbose=0), config.task)
    with tracker.artifacts(record.run_id) as folder:
        write_predictions(table, folder / "predictions" / "evaluation.parquet")
