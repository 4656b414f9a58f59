"""A data set together with the digests of its sound: what runs are identified by, and what features are found by."""

from dataclasses import dataclass
from pathlib import Path

from asc_study.base.paths import cache_dir
from asc_study.data.clips import Dataset, require_audio
from asc_study.data.identity import audio_digests, dataset_digest
from asc_study.data.layout import read_dataset


@dataclass(frozen=True)
class IdentifiedDataset:
    """A data set with the digests that identify its sound."""

    dataset: Dataset
    audio_digests: tuple[str, ...]
    digest: str


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
