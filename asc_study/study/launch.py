"""A launch: one command's work on one data set, under a parent run that lasts as long as the command."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from asc_study.base.paths import cache_dir
from asc_study.base.provenance import git_commit
from asc_study.data.clips import Dataset, require_audio
from asc_study.data.identity import audio_digests, dataset_digest
from asc_study.data.layout import read_dataset
from asc_study.settings.run_config import RunConfig
from asc_study.store.claims import run_lock, settle_abandoned, whereabouts
from asc_study.store.tracking import Tracker
from asc_study.training.run_data import data_key, describe_left_out, run_data

#: Told one line for people at a time.
Say = Callable[[str], None]


@dataclass(frozen=True)
class IdentifiedDataset:
    """A data set with the digests that identify its sound."""

    dataset: Dataset
    audio_digests: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Launch:
    """What all runs of one launch share; ``process_id`` is that of the command."""

    tracking_uri: str
    parent_run_id: str
    data: IdentifiedDataset
    figures: str
    git_commit: str
    jobs: int
    process_id: int


@dataclass
class ParentRun:
    """The parent run while it is open; ``status`` is what it ends with if the block ends without an error."""

    launch: Launch
    status: str = "FINISHED"


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


def prepare_features(configs: Iterable[RunConfig], data: IdentifiedDataset, jobs: int, say: Say) -> None:
    """Compute what runs will need of features and copies once, before they start beside each other."""
    for config in {data_key(config): config for config in configs}.values():
        made = run_data(config, data.dataset, data.audio_digests, jobs=jobs, progress=True)
        if made.left_out:
            say(describe_left_out(made.left_out))


@contextmanager
def parent_run(
    tracker: Tracker,
    data: IdentifiedDataset,
    *,
    study: str,
    kind: str,
    name: str,
    figures: str,
    jobs: int,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[ParentRun]:
    """Open a parent run; at the end no run of the study stays RUNNING that nobody works on.

    It ends as ``status`` says, or as KILLED if the block raises.
    """
    commit, launch_id = git_commit(), uuid.uuid4().hex
    own = {
        "asc.study": study,
        "asc.kind": kind,
        "asc.launch": launch_id,
        "asc.dataset": data.dataset.root.name,
        "asc.dataset_digest": data.digest,
        "asc.git_commit": commit,
        **whereabouts(),
    }
    with run_lock(tracker.uri, study, launch_id):
        run_id = tracker.create_run(study, name, own | dict(tags), {})
        parent = ParentRun(Launch(tracker.uri, run_id, data, figures, commit, jobs, os.getpid()))
        status = "KILLED"
        try:
            yield parent
            status = parent.status
        finally:
            tracker.finish(run_id, status)
            settle_abandoned(tracker, study)  # what workers that were ended could not tell is told here
