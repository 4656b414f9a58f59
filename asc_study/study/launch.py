"""A launch: one command's work on one data set, and the run that stands for the study or search as a whole."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from asc_study.base.contract import Tag
from asc_study.base.errors import TrainingFailure
from asc_study.base.locks import file_lock
from asc_study.base.progress import Say
from asc_study.base.provenance import git_commit
from asc_study.base.taxonomy import taxonomy_tag
from asc_study.data.identified import IdentifiedDataset
from asc_study.settings.run_config import RunConfig
from asc_study.store.claims import launch_claim, settle_abandoned, whereabouts
from asc_study.store.tracking import Tracker, source_tags
from asc_study.training.run_data import data_key, describe_left_out, run_data
from asc_study.workers.backends import HERE, Workers


@dataclass(frozen=True)
class Launch:
    """What all runs of one launch share.

    ``process_id`` is that of the command whose children work on the runs, 0 if those who do are no children of it.

    ``summary_run_id`` is the run that stands for the study or search as a whole, ``command`` what was typed.
    """

    tracking_uri: str
    summary_run_id: str
    data: IdentifiedDataset
    figures: str
    git_commit: str
    jobs: int
    process_id: int
    command: str = ""

    def tags(self) -> dict[str, str]:
        """Tags of every run of the launch: its data, its code, and where it is worked on."""
        return {
            Tag.DATASET: self.data.dataset.root.name,
            Tag.DATASET_DIGEST: self.data.digest,
            **taxonomy_tag(self.data.dataset.format.taxonomy),
            Tag.GIT_COMMIT: self.git_commit,
            **source_tags(self.command, self.git_commit),
            **whereabouts(),
        }


def prepare_features(configs: Iterable[RunConfig], data: IdentifiedDataset, jobs: int, say: Say) -> None:
    """Compute what runs will need of features and copies once, before they start beside each other."""
    for config in {data_key(config): config for config in configs}.values():
        left_out: set[str] = set()
        try:
            for fold in range(config.trainings):
                made = run_data(config, data.dataset, data.audio_digests, fold=fold, jobs=jobs, progress=True)
                left_out.update(made.left_out)
        except TrainingFailure:  # of these runs alone: each says it when it fails
            continue
        if left_out:
            say(describe_left_out(sorted(left_out)))


@contextmanager
def launch(
    tracker: Tracker,
    data: IdentifiedDataset,
    *,
    study: str,
    kind: str,
    figures: str,
    jobs: int,
    command: str = "",
    tags: Mapping[str, str] = MappingProxyType({}),
    workers: Workers = HERE,
) -> Iterator[Launch]:
    """Work on a study or search; at the end no run of it stays RUNNING that nobody works on."""
    commit = git_commit()
    about = {Tag.DATASET: data.dataset.root.name, Tag.DATASET_DIGEST: data.digest, Tag.GIT_COMMIT: commit}
    about |= taxonomy_tag(data.dataset.format.taxonomy)
    with launch_claim(tracker, study):
        run_id = summary_run(tracker, study, kind, about | source_tags(command, commit) | dict(tags))
        tracker.require_artifacts(run_id)
        try:
            process_id = 0 if workers.are_elsewhere else os.getpid()
            yield Launch(tracker.uri, run_id, data, figures, commit, jobs, process_id, command)
        finally:
            settle_abandoned(tracker, study)  # what workers that were ended could not tell is told here


def summary_run(tracker: Tracker, study: str, kind: str, tags: Mapping[str, str]) -> str:
    """The id of the run that stands for a study or search as a whole: one for all launches, made by the first.

    It holds what compares the others. It is never RUNNING: nothing is lost when a launch is killed.
    """
    with file_lock(f"summary {tracker.identity(study)} {kind}"):
        # A run with a launch of its own is a parent run of an earlier version, which began one with each launch.
        found = [run for run in tracker.runs(study, kind=kind) if Tag.LAUNCH not in run.tags]
        if found:
            tracker.set_tags(found[0].run_id, tags)
            return found[0].run_id
        own = {Tag.STUDY: study, Tag.KIND: kind}
        run_id = tracker.create_run(study, f"{study} ({kind})", own | dict(tags), {})
        tracker.finish(run_id)
        return run_id
