"""Predictions of runs for clips whose labels nobody knows, such as those of the challenge's evaluation set."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.acoustics.recordings import is_lossy, sound_info
from asc_study.base.contract import Artifact, Tag, evaluation_path, predictions_path
from asc_study.base.errors import InputError, shown
from asc_study.base.files import is_recording, shown_path
from asc_study.base.paths import cache_dir
from asc_study.base.progress import Say
from asc_study.base.taxonomy import CLASSES
from asc_study.base.text_table import text_table
from asc_study.data.evaluation import device_ids
from asc_study.data.formats import DATA_FORMATS
from asc_study.data.identity import audio_digests
from asc_study.evaluation.predictions import predictions_table, write_predictions
from asc_study.features.audio import Recording
from asc_study.features.embeddings import embedding_store, read_embeddings
from asc_study.features.store import FeatureStore, extract
from asc_study.settings.migrations import read_config
from asc_study.settings.run_config import RunConfig
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.references import find_each
from asc_study.store.tracking import Tracker
from asc_study.systems.score_fused import fused_table, networks_of
from asc_study.training.runtime import start_keras
from asc_study.workers.pool import require_jobs

if TYPE_CHECKING:
    import keras
    import pandas as pd


#: Clips of a run that `render` shows.
_SHOWN: Final = 10


@dataclass(frozen=True)
class Scored:
    """A run and its predictions table of the clips."""

    record: RunRecord
    predictions: "pd.DataFrame"

    def top(self) -> list[dict[str, Any]]:
        """For each clip its likeliest class and its probability, in the types of JSON."""
        probabilities = self.predictions[list(CLASSES[self.record.tags[Tag.TASK]])]
        best = zip(self.predictions["clip_id"], probabilities.idxmax(axis=1), probabilities.max(axis=1), strict=True)
        return [{"clip_id": str(clip), "scene": str(scene), "probability": float(p)} for clip, scene, p in best]

    def to_dict(self) -> dict[str, Any]:
        """The run and what it says of every clip, in the types of JSON."""
        return {"run_id": self.record.run_id, "run": self.record.label, "clips": self.top()}

    def render(self) -> str:
        """What the run says of the first clips, a line each."""
        found = self.top()
        lines = [[one["clip_id"], one["scene"], f"{one['probability']:.2f}"] for one in found[:_SHOWN]]
        table = text_table([[self.record.label, "Scene", "Probability"], *lines], left=(0, 1))
        more = len(found) - _SHOWN
        return table + (f"\n... and {more:,} more clips: --json, or `asc-study export`" if more > 0 else "")


def score_runs(
    tracker: Tracker,
    references: Sequence[str],
    paths: Sequence[Path],
    *,
    jobs: int,
    say: Say,
    embeddings: Path | None = None,
) -> list[Scored]:
    """Add ``predictions/evaluation-<digest of the clips>.parquet`` to runs: their probabilities for every clip.

    What was scored before stays; what was scored last is what `fuse` and `export` take. An ensemble or a fusion is
    scored by the trained runs that it is made of, which are given theirs, too.

    Parameters
    ----------
    tracker, references
        The store and the runs (see `find_runs`).
    paths
        Recordings, and folders with recordings in ``audio/`` or themselves; labels are neither needed nor looked at.
    jobs
        Processes for the features.
    say
        Told one line a run.
    embeddings
        The file of the clips' embeddings, for runs on these; by default the one that a run was trained on.

    Raises
    ------
    InputError
        If a run is of another kind, a model or a part of it is gone, or the audio is missing or of another format.
    """
    require_jobs(jobs, "processes for the features")
    named = [record for found in find_each(tracker, references) for record in found]
    records = list({record.run_id: record for record in named}.values())
    networks = {network.run_id: network for record in records for network in networks_of(tracker, record)}
    clips = _clips(paths, say)
    files = [Path(path) for path in clips["path"]]
    digests = audio_digests(files, cache=cache_dir(), progress=True)
    digest = hashlib.sha256("\n".join([*clips["clip_id"], *digests]).encode()).hexdigest()
    recordings = [Recording(path, own) for path, own in zip(files, digests, strict=True)]
    stores: dict[str, FeatureStore] = {}
    is_started = False
    about = {Tag.EVALUATION_DIGEST: digest, Tag.EVALUATION: ", ".join(path.absolute().name for path in paths)[:500]}
    tables: dict[str, pd.DataFrame] = {}
    for record in networks.values():
        if _scored_before(tracker, record, digest):
            say(f"{record.label}: has scored these {len(clips)} clips before")
            tracker.set_tags(record.run_id, about)
            tables[record.run_id] = tracker.predictions(record.run_id)["evaluation"]
            continue
        config = config_of(tracker, record)
        if not is_started:  # one process has one number of threads; between runs it moves the last bits only
            start_keras(config.training.threads)
            is_started = True
        model = tracker.load_keras_model(record.run_id)
        if config.features.embeddings is not None:
            store = embeddings_of(tracker, record, config, clips, embeddings)
        else:
            rate = sample_rate_of(record, model.input_shape[-1] // config.features.maps)
            key = f"{config.features.model_dump_json()} {rate} {model.input_shape[-1]}"
            if key not in stores:
                stores[key] = extract(
                    recordings, config.features.at(rate), cache_dir() / "features", jobs=jobs, progress=True
                )
            store = stores[key]
        tables[record.run_id] = predict_clips(record, config, model, clips, store)
        _keep(tracker, record, tables[record.run_id], about, say)
    scored = []
    for record in records:
        table = fused_table(tracker, record, clips, tables)
        if record.run_id not in networks:
            _keep(tracker, record, table, about, say)
        scored.append(Scored(record, table))
    return scored


def _keep(tracker: Tracker, record: RunRecord, table: "pd.DataFrame", about: Mapping[str, str], say: Say) -> None:
    """Give a run its predictions of the clips, beside those of other clips."""
    with tracker.artifacts(record.run_id) as folder:
        write_predictions(table, folder / evaluation_path(about[Tag.EVALUATION_DIGEST]))
    tracker.set_tags(record.run_id, about)
    say(f"{record.label}: {len(table)} clips scored")


def _scored_before(tracker: Tracker, record: RunRecord, digest: str) -> bool:
    """Whether a run holds its predictions of these clips; earlier versions kept those of the last clips alone."""
    names = {Path(file.path).name for file in tracker.client.list_artifacts(record.run_id, Artifact.PREDICTIONS)}
    last = record.tags.get(Tag.EVALUATION_DIGEST) == digest
    return Path(evaluation_path(digest)).name in names or (last and Path(predictions_path("evaluation")).name in names)


def _clips(paths: Sequence[Path], say: Say) -> "pd.DataFrame":
    """The clip table of recordings without labels, those of a folder in the natural order of their names.

    The device is known where the list of a folder's evaluation clips tells it (`device_ids`).
    """
    import pandas as pd

    files = [file for path in paths for file in (_of_folder(path) if path.is_dir() else [path])]
    names = Counter(file.stem for file in files)
    repeated = next((name for name, count in names.items() if count > 1), None)
    if repeated is not None:
        raise InputError(f"clips must have names of their own, got {repeated!r} twice: rename one, or score them apart")
    lossy = [file for file in files if is_lossy(sound_info(file))]
    if lossy:
        say(f"note: {len(lossy):,} recordings are of a format that loses sound, such as {shown_path(lossy[0])}")
    unknown = dict.fromkeys(("scene", "scene_group", "city", "location"), "")
    device_of = {clip: device for path in paths if path.is_dir() for clip, device in device_ids(path).items()}
    table = pd.DataFrame({"clip_id": [file.stem for file in files], "path": [str(file) for file in files]})
    devices = [device_of.get(file.stem, "") for file in files]
    return table.assign(split="evaluation", device=devices, **unknown)


def _of_folder(folder: Path) -> list[Path]:
    """The recordings of a folder, 2.wav before 10.wav."""
    inside = ([file for file in place.glob("*") if is_recording(file)] for place in (folder / "audio", folder))
    found = next(filter(None, inside), [])
    if not found:
        raise InputError(
            f"a folder to score must hold audio/*.wav or *.wav, found none under {folder}: name the data set"
        )
    return sorted(found, key=lambda file: [part.zfill(12) for part in re.split(r"(\d+)", file.stem)])


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


def embeddings_of(
    tracker: Reader, record: RunRecord, config: RunConfig, clips: "pd.DataFrame", path: Path | None = None
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


def predict_clips(
    record: RunRecord,
    config: RunConfig,
    model: "keras.Model",
    clips: "pd.DataFrame",
    store: FeatureStore,
) -> "pd.DataFrame":
    """The predictions table of clips, whose features are in a store in their order; raises `InputError`."""
    import numpy as np

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
