"""How much a plan asks for: epochs, steps and clips of each row, and the time by what was measured before."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asc_study.base.contract import Tag
from asc_study.base.progress import about_seconds
from asc_study.data.clips import Dataset
from asc_study.evaluation.metrics import places_of
from asc_study.settings.run_config import RunConfig, flatten
from asc_study.settings.study_file import Row
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.training.run_data import Cuts, data_key, steps_of_epoch, train_samples

#: Settings that the time of an epoch hangs on, besides the data; batch augmentations cost little beside the step.
_OF_TIME: Final = (
    "architecture",
    "model.",
    "features.",
    "waveform_augmentation.",
    "training.data",
    "training.subset",
    "training.devices",
    "training.clip_fraction",
    "training.batch_size",
    "training.precision",
    "training.xla",
    "training.threads",
    "validation.share",
    "validation.folds",
)


@dataclass(frozen=True)
class Effort:
    """What one run of a row takes.

    Attributes
    ----------
    row
        The row's name.
    config
        Its settings.
    samples
        Clips that an epoch passes over, augmented copies included; by folds: that of the first.
    validation, locations
        Validation clips after an epoch, and the locations that they are of.
    """

    row: str
    config: RunConfig
    samples: int
    validation: int
    locations: int

    @property
    def epochs(self) -> int:
        """Epochs of the whole training, of all its models where it goes by folds."""
        return self.config.trainings * self.config.training.epochs

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return steps_of_epoch(self.samples, self.config.training.batch_size)

    @property
    def steps(self) -> int:
        """Optimiser steps of one model."""
        return self.config.training.epochs * self.steps_per_epoch


def efforts(rows: Iterable[Row], dataset: Dataset, cuts: Cuts | None = None) -> list[Effort]:
    """What a run of each row takes on a data set; no feature and no copy is made for it.

    ``cuts`` are those of the data set, if others need them too.

    Raises
    ------
    InputError
        If the devices to be held out cannot be.
    """
    cuts = cuts or Cuts(dataset)
    counted: dict[str, tuple[int, int, int]] = {}
    found = []
    for row in rows:
        key = data_key(row.config)
        if key not in counted:
            clips = cuts(row.config)
            validation = clips[clips["split"] == "validation"]
            locations = int(places_of(validation).max()) + 1 if len(validation) else 0
            counted[key] = train_samples(clips, row.config), len(validation), locations
        found.append(Effort(row.name, row.config, *counted[key]))
    return found


def describe_work(found: Sequence[Effort], runs: Mapping[str, int]) -> list[str]:
    """A line for each size of training: how many runs, epochs, steps and clips.

    Parameters
    ----------
    found
        The rows.
    runs
        Row -> how many of its runs are to be trained.
    """
    sizes: dict[tuple[int, ...], list[Effort]] = {}
    for effort in found:
        if runs.get(effort.row):
            batch = min(effort.config.training.batch_size, effort.samples)
            key = (effort.epochs, effort.steps_per_epoch, batch, effort.samples, effort.validation)
            sizes.setdefault(key, []).append(effort)
    lines = []
    for (epochs, steps, batch, samples, validation), alike in sizes.items():
        count = sum(runs[effort.row] for effort in alike)
        folds = max((effort.config.folds for effort in alike), default=0)
        in_folds = f" in {folds} folds" if folds else ""
        of = "" if len(sizes) == 1 else f" ({', '.join(effort.row for effort in alike)})"
        lines.append(
            f"to train: {count} {'run' if count == 1 else 'runs'}{of} x {epochs:,} epochs{in_folds} x {steps:,} steps "
            f"of {batch} clips = {count * epochs * steps:,} steps; {samples:,} clips to train on, "
            f"{validation:,} to validate"
        )
    return lines


def describe_time(found: Sequence[Effort], runs: Mapping[str, int], tracker: Reader | None, digest: str) -> list[str]:
    """A line with the time that the runs take one after the other, by epochs that this store measured; else nothing.

    Parameters
    ----------
    found, runs
        See `describe_work`.
    tracker
        The store; None if there is none yet.
    digest
        Of the data set: epochs on other data take another time.
    """
    wanted = [effort for effort in found if runs.get(effort.row)]
    if tracker is None or not wanted:
        return []
    architectures = {effort.config.architecture for effort in wanted}
    records = [record for name in sorted(architectures) for record in tracker.trained_before(name)]
    records = [record for record in records if record.tags.get(Tag.DATASET_DIGEST) == digest]
    seconds = {effort.row: _seconds_of_epoch(effort.config, records) for effort in wanted}
    known = [effort for effort in wanted if seconds[effort.row] is not None]
    if not known:
        return []
    total = sum(runs[effort.row] * effort.epochs * (seconds[effort.row] or 0) for effort in known)
    count, of = sum(runs[effort.row] for effort in known), sum(runs[effort.row] for effort in wanted)
    rest = "" if count == of else f", for {count} of {of} runs: the like of the others was never measured here"
    return [
        f"time: about {about_seconds(total)} of epochs, one run after the other, by those measured in this store{rest}"
    ]


def _seconds_of_epoch(config: RunConfig, records: Sequence[RunRecord]) -> float | None:
    """The median time of the last epochs of like runs: the first ones compile."""
    own = _cost_settings(flatten(config.model_dump()))
    alike = [record.metrics for record in records if _cost_settings(record.params) == own]
    measured = [metrics["epoch/seconds"] for metrics in alike if "epoch/seconds" in metrics]
    return statistics.median(measured) if measured else None


def _cost_settings(flat: Mapping[str, Any]) -> dict[str, str]:
    # A setting that is newer than a run is none of it.
    return {key: str(value) for key, value in flat.items() if key.startswith(_OF_TIME) and str(value) != "None"}
