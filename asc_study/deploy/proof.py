"""Whether a ``.tflite`` file does what its source did: both on the same clips, the file by LiteRT."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.acoustics.recordings import sound_info
from asc_study.base.contract import Tag
from asc_study.base.errors import InputError
from asc_study.base.paths import cache_dir
from asc_study.base.progress import progress_bar
from asc_study.base.taxonomy import label_column
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.deploy.runtime.network import Network
from asc_study.deploy.sources import Source
from asc_study.evaluation.measure import LABELLED
from asc_study.evaluation.predictions import classes_of, predictions_table
from asc_study.features.audio import Recording
from asc_study.features.store import FeatureStore, extract
from asc_study.store.queries import Reader
from asc_study.systems.deployed import CALIBRATION_CLIPS
from asc_study.training.run_data import split_clips
from asc_study.workers.pool import run_parallel

if TYPE_CHECKING:
    import keras

#: Clips that a process predicts at a time.
_CHUNK: Final = 64


@dataclass(frozen=True, eq=False)
class HeardClips:
    """The clips of a data set as a source hears them.

    Attributes
    ----------
    clips
        The clip table with the source's splits; the index is the clip's position in ``store``.
    store
        Their static features.
    samples
        Length of a clip.
    """

    clips: pd.DataFrame
    store: FeatureStore
    samples: int

    def of(self, split: str) -> pd.DataFrame:
        """The clips of a split."""
        return self.clips[self.clips["split"] == split]

    def calibration(self, count: int = CALIBRATION_CLIPS, seed: int = 0) -> Iterator[npt.NDArray[np.float32]]:
        """Features of training clips, as evenly from all scenes and devices as there are clips."""
        train = self.of("train")
        order = np.random.default_rng(seed).permutation(len(train))
        cells: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in order:
            clip = train.iloc[row]
            cells[clip["scene"], clip["device"]].append(int(train.index[row]))
        rounds = max((len(cell) for cell in cells.values()), default=0)
        balanced = [cell[turn] for turn in range(rounds) for _, cell in sorted(cells.items()) if turn < len(cell)]
        return (self.store.network_input(position) for position in balanced[:count])


def hear(source: Source, data: Path | IdentifiedDataset, *, jobs: int) -> HeardClips:
    """Compute the features of a data set that a source hears.

    Raises
    ------
    InputError
        If a run was trained on other data, or the source hears another sound than the data set holds.
    """
    identified = data if isinstance(data, IdentifiedDataset) else identify(data)
    dataset, record = identified.dataset, source.record
    if record and record.tags.get(Tag.DATASET_DIGEST) != identified.digest:
        raise InputError(
            f"--data must be what {source.name!r} was trained on, {record.tags.get(Tag.DATASET, 'unknown')}, got "
            f"other sound or lists in {dataset.root}: name that folder"
        )
    if source.task not in dataset.format.tasks:
        raise InputError(
            f"{source.name!r} tells {label_column(source.task)}s apart, which {dataset.root} has no labels of: name "
            "other data"
        )
    settings = source.features.at(source.sample_rate)
    paths = [Path(path) for path in dataset.clips["path"]]
    recordings = [Recording(path, digest) for path, digest in zip(paths, identified.audio_digests, strict=True)]
    cache = cache_dir() / "features"
    store = extract(recordings, settings, cache, channels=source.channels, jobs=jobs, progress=True)
    # The network of a run by folds heard every training clip: there is no validation to prove it on.
    clips = split_clips(dataset, source.config, source.config.folds) if source.config else dataset.clips
    return HeardClips(clips, store, sound_info(paths[0]).frames)


def predict_tflite(content: bytes, heard: HeardClips, task: str, *, jobs: int) -> dict[str, pd.DataFrame]:
    """Predictions tables of a ``.tflite`` file for the splits with labels, computed in ``jobs`` processes."""
    tables = {}
    for split in LABELLED:
        clips = heard.of(split)
        if clips.empty:
            continue
        positions = clips.index.to_numpy()
        starts = range(0, len(positions), _CHUNK)
        calls = [(content, heard.store, positions[start : start + _CHUNK], start) for start in starts]
        found = {}
        with progress_bar(len(positions), f"{split} by LiteRT", "clip", keep=False, delay_seconds=2) as bar:
            for start, probabilities in run_parallel(_predict, calls, jobs=jobs):
                found[start] = probabilities
                bar.update(len(probabilities))
        tables[split] = predictions_table(clips, np.concatenate([found[start] for start in starts]), task)
    return tables


def _predict(
    content: bytes, store: FeatureStore, positions: npt.NDArray[np.int_], start: int
) -> tuple[int, npt.NDArray[np.float64]]:
    network = Network(content)
    return start, np.stack([network(store.network_input(position)) for position in positions])


def float_tables(
    tracker: Reader | None, source: Source, heard: HeardClips, model: "keras.Model"
) -> dict[str, pd.DataFrame]:
    """Predictions tables of the source itself: those that its run logged, else computed now."""
    if tracker and source.record and (logged := tracker.predictions(source.record.run_id)):
        return {split: table for split, table in logged.items() if split in LABELLED}
    from asc_study.training.batches import EvaluationBatches

    tables = {}
    for split in LABELLED:
        clips = heard.of(split)
        if not clips.empty:
            batches = EvaluationBatches(heard.store, clips.index.to_numpy())
            tables[split] = predictions_table(clips, model.predict(batches, verbose=0), source.task)
    return tables


def agreement(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Share of the clips that two predictions tables of the same clips decide alike."""
    decided = [
        table.set_index("clip_id")[list(classes_of(table))].sort_index().to_numpy().argmax(axis=1)
        for table in (first, second)
    ]
    return float((decided[0] == decided[1]).mean())


def latency_ms(content: bytes, features: npt.NDArray[np.float32], *, repeats: int = 20) -> float:
    """Median time of one clip on one thread, its features not counted, after three clips to warm up."""
    network, seconds = Network(content), []
    for _ in range(3 + repeats):
        start = time.perf_counter()
        network(features)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[3:])


def changes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each metric of the test split changed by, under the names that runs log it."""
    return {
        name.replace("test/", "test/change_", 1): after[name] - value
        for name, value in before.items()
        if name in after and name.startswith("test/")
    }
