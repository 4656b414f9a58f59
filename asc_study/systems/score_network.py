"""What one trained network says of clips, whose features are computed as those that it was trained on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asc_study.base.contract import Artifact, Tag
from asc_study.base.errors import InputError, shown
from asc_study.base.files import shown_path
from asc_study.base.paths import cache_dir
from asc_study.data.formats import DATA_FORMATS
from asc_study.evaluation.predictions import predictions_table
from asc_study.features.audio import Recording
from asc_study.features.embeddings import embedding_store, read_embeddings
from asc_study.features.store import FeatureStore, extract
from asc_study.settings.migrations import read_config
from asc_study.settings.run_config import RunConfig
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.training.runtime import start_keras

if TYPE_CHECKING:
    import keras
    import pandas as pd

#: Clips as recordings of a sample rate (Hz) and a number of channels, in their order.
Recordings = Callable[[int, int], Sequence[Recording]]


class Listener:
    """Gives clips to one network after the other; features that several of them take are opened once.

    Parameters
    ----------
    tracker
        The store that the networks are in.
    clips
        The clip table.
    recordings
        Its clips, for networks on sound: those of another rate or number of channels than asked for are refused.
    jobs
        Processes for the features.
    embeddings
        The file of the clips' embeddings, for networks on these; by default the one that a network was trained on.
    """

    def __init__(
        self,
        tracker: Tracker,
        clips: "pd.DataFrame",
        recordings: Recordings,
        *,
        jobs: int,
        embeddings: Path | None,
    ) -> None:
        self._tracker, self._clips, self._recordings = tracker, clips, recordings
        self._jobs, self._embeddings = jobs, embeddings
        self._stores: dict[str, FeatureStore] = {}
        self._is_started = False

    def predict(self, network: RunRecord) -> "pd.DataFrame":
        """The predictions table of a trained run.

        Raises
        ------
        InputError
            If its model is gone, or the clips are not such that it can hear them.
        """
        config = config_of(self._tracker, network)
        if not self._is_started:  # one process has one number of threads; between runs it moves the last bits only
            start_keras(config.training.threads)
            self._is_started = True
        model = self._tracker.load_keras_model(network.run_id)
        store = self._features(network, config, model.input_shape[-1])
        return _predict_clips(network, config, model, self._clips, store)

    def _features(self, network: RunRecord, config: RunConfig, inputs: int) -> FeatureStore:
        """The features of the clips for a network whose input has that many channels, with deltas."""
        if config.features.embeddings is not None:
            return _embeddings_of(self._tracker, network, config, self._clips, self._embeddings)
        channels = inputs // config.features.maps
        rate = sample_rate_of(network, channels)
        key = f"{config.features.model_dump_json()} {rate} {channels}"
        if key not in self._stores:
            sounds, settings = self._recordings(rate, channels), config.features.at(rate)
            self._stores[key] = extract(sounds, settings, cache_dir() / "features", jobs=self._jobs, progress=True)
        return self._stores[key]


def config_of(tracker: Reader, record: RunRecord) -> RunConfig:
    """The settings that a run was trained with."""
    return read_config(tracker.text_artifact(record.run_id, Artifact.CONFIG), where=record.label)


def sample_rate_of(record: RunRecord, channels: int) -> int:
    """In Hz, as recorded with the run; runs of schema 1 did not, and knew the formats of the two TAU data sets only."""
    recorded = record.tags.get(Tag.SAMPLE_RATE, "")
    if recorded.isdecimal():
        return int(recorded)
    for known in DATA_FORMATS.values():
        if known.channels == channels:
            return known.sample_rate
    raise InputError(f"{record.label!r} does not say what sample rate it was trained at: train it again")


def _embeddings_of(
    tracker: Reader, record: RunRecord, config: RunConfig, clips: "pd.DataFrame", path: Path | None
) -> FeatureStore:
    """The embeddings of clips that a run is to be given, in their order.

    Parameters
    ----------
    tracker, record, config
        The store, a run on embeddings and its settings.
    clips
        The clip table.
    path
        The file that has them; by default the one that the run was trained on.

    Raises
    ------
    InputError
        If the file lacks a clip, or its embeddings were computed by something else than those of the run.
    """
    file = path or Path(config.features.embeddings or "")
    found = read_embeddings(file, progress=True).identity()
    logged = tracker.json_artifact(record.run_id, Artifact.IDENTITY).get("config", {}).get("features", {})
    trained = logged.get("embeddings", {})
    for part in ("name", "version"):
        if trained.get(part, found[part]) != found[part]:
            raise InputError(
                f"{record.label!r} was trained on embeddings of {part} {shown(trained[part])}, got "
                f"{shown(found[part])} in {shown_path(file)}: name a file of the same by --embeddings"
            )
    return embedding_store(file, clips["clip_id"].tolist(), cache_dir() / "features", progress=True)


def _predict_clips(
    record: RunRecord,
    config: RunConfig,
    model: "keras.Model",
    clips: "pd.DataFrame",
    store: FeatureStore,
) -> "pd.DataFrame":
    """The predictions table of clips, whose features are in a store in their order; raises `InputError`."""
    from asc_study.training.batches import EvaluationBatches

    batches = EvaluationBatches(store, np.arange(len(clips)), batch_size=config.training.batch_size)
    if batches.input_shape[-1] != model.input_shape[-1]:
        raise InputError(
            f"{record.label!r} takes {model.input_shape[-1] // config.features.maps} audio channels, the clips have "
            f"{batches.input_shape[-1] // config.features.maps}: score clips like those that it was trained on"
        )
    takes = model.input_shape[1:]
    if len(takes) != 3 or any(size not in (None, own) for size, own in zip(takes, batches.input_shape, strict=True)):
        raise InputError(
            f"{record.label!r} takes features of {takes}, its settings make {batches.input_shape} of these clips: its "
            f"{Artifact.CONFIG} is that of another model, or the clips are of another length"
        )
    return predictions_table(clips, model.predict(batches, verbose=0), config.task)
