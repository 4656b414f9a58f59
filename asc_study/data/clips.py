"""The clip table: what is known about the clips of a data set, one row a clip, and which of them are paired."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import DEVICES, SCENES, taxonomy_for
from asc_study.data.formats import DataFormat

#: Columns of the clip table; ``path`` is absolute, ``split`` is train, validation or test.
CLIP_COLUMNS: Final = ("clip_id", "path", "scene", "scene_group", "city", "location", "device", "split")

#: Splits in the order in which they are shown.
SPLITS: Final = ("train", "validation", "test")

#: The reference device of TAU's data sets: every other device is heard beside it, so it cannot be held out.
REFERENCE_DEVICE: Final = "a"


@dataclass(frozen=True)
class Dataset:
    """A data set on disk.

    Attributes
    ----------
    root
        The folder that holds its lists and recordings.
    format
        What is true of the data set wherever it lies: its names, sample rate, devices.
    clips
        The clip table with the columns `CLIP_COLUMNS`, sorted by ``clip_id``; ``split`` is train or test here.
        ``scene`` is always one of the scenes of the format, ``scene_group`` its group.
    subsets
        Name of a part of train that the data set lists -> its ``clip_id``.
    """

    root: Path
    format: DataFormat
    clips: pd.DataFrame
    subsets: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task that its labels are made for, such as ``ten_class``."""
        return self.format.task

    @property
    def sample_rate(self) -> int:
        """Of every recording, in Hz."""
        return self.format.sample_rate

    @property
    def channels(self) -> int:
        """Of every recording."""
        return self.format.channels


def require_audio(dataset: Dataset) -> None:
    """Make sure that every audio file of the clip table is there, without opening one.

    Raises
    ------
    InputError
        If files are missing: how many, and the first.
    """
    missing = missing_files(dataset.clips["path"])
    if missing:
        first = os.path.relpath(missing[0], dataset.root)
        raise InputError(
            f"every clip needs its audio file, {len(missing):,} of {len(dataset.clips):,} are missing under "
            f"{dataset.root}, the first is {first}: `asc-study data check {dataset.root}` lists all"
        )


def missing_files(paths: "pd.Series[str]") -> list[str]:
    """Paths that are not there, found from one listing per folder (a ``stat`` per file is slow on network disks)."""
    listed: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listed:
            listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in listed[folder]:
            missing.append(path)
    return missing


def describe(clips: pd.DataFrame, *, scenes: Sequence[str] = SCENES, devices: Sequence[str] = DEVICES) -> pd.DataFrame:
    """Count clips by split, scene and device.

    Parameters
    ----------
    clips
        Clip table.
    scenes, devices
        Those of the data set in the order of tables; others follow by name.

    Returns
    -------
    DataFrame
        One row a (split, scene) in the order of `SPLITS` and ``scenes``, one column a device, then ``total``.
    """
    count = Counter(zip(clips["split"], clips["scene"], clips["device"], strict=True))
    heard = _in_order(clips["device"], devices)
    rows = [
        (split, scene)
        for split in _in_order(clips["split"], SPLITS)
        for scene in _in_order(clips.loc[clips["split"] == split, "scene"], scenes)
    ]
    index = pd.MultiIndex.from_tuples(rows, names=["split", "scene"])
    counts = pd.DataFrame([[count[*row, device] for device in heard] for row in rows], index, heard, dtype=int)
    counts["total"] = counts.sum(axis=1)
    return counts.rename_axis(columns="device")


def _in_order(values: "pd.Series[str]", known: Sequence[str]) -> list[str]:
    """List the values that occur: known ones in their own order, then the others by name."""
    present = set(values)
    return [value for value in known if value in present] + sorted(present.difference(known))


def paired_clips(clips: pd.DataFrame, device: str, *, reference: str = REFERENCE_DEVICE) -> npt.NDArray[np.int64]:
    """Find the sounds that two devices recorded at once: their clip identifiers differ in the device at the end only.

    Parameters
    ----------
    clips
        Clip table.
    device, reference
        Two of its devices.

    Returns
    -------
    (pairs, 2) int64
        Positions of the rows of ``reference`` and of ``device``, in the order of the latter; none if nothing is paired.
    """
    rows = {name: np.flatnonzero(clips["device"].to_numpy() == name) for name in (device, reference)}
    stems = {
        name: [clip_id.removesuffix(f"-{name}") for clip_id in clips["clip_id"].iloc[found]]
        for name, found in rows.items()
    }
    row_of = dict(zip(stems[reference], rows[reference], strict=True))
    pairs = [(row_of[stem], row) for stem, row in zip(stems[device], rows[device], strict=True) if stem in row_of]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def as_of_reference(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips whose reference device is called as TAU's is: waveform augmentations know it by that name.

    Parameters
    ----------
    clips
        Clip table.

    Returns
    -------
    DataFrame
        The same table for TAU's data sets; else one in which the reference device, also at the end of the identifiers
        of its clips, is `REFERENCE_DEVICE`, unless another device has this name.
    """
    reference = taxonomy_for(clips["device"].unique()).reference_device
    if reference == REFERENCE_DEVICE or REFERENCE_DEVICE in set(clips["device"]):
        return clips
    ours = clips["device"] == reference
    ends = ours & clips["clip_id"].str.endswith(f"-{reference}")
    renamed = clips["clip_id"].str.removesuffix(f"-{reference}") + f"-{REFERENCE_DEVICE}"
    return clips.assign(
        device=clips["device"].mask(ours, REFERENCE_DEVICE), clip_id=clips["clip_id"].mask(ends, renamed)
    )
