"""The reader of data sets whose metadata file says what each clip is: one line a clip, columns for what is known of it.

Which columns there are says the data format (`Lists.parts`), which clips are for testing a column, two lists of file
names or a share, cut here in whole locations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

import pandas as pd

from asc_study.base.errors import InputError
from asc_study.data.clips import CLIP_COLUMNS
from asc_study.data.cut import cut_validation
from asc_study.data.description import word
from asc_study.data.formats import DataFormat
from asc_study.data.list_file import read_list
from asc_study.data.problems import Problem, shown

#: City of clips whose metadata names none.
_NOWHERE: Final = "here"

#: Seed of a test split that is cut here: the same for all, so that results compare.
_TEST_SEED: Final = 0


@dataclass(frozen=True)
class Table:
    """The clip table of what could be read, and how many clips of the metadata file are of neither split."""

    clips: pd.DataFrame
    unused: int


def read_table(root: Path, data_format: DataFormat, problems: list[Problem]) -> Table:
    """Read the clips of a data set by the columns of its metadata file, and collect what is wrong with them.

    Parameters
    ----------
    root
        The folder of the data set.
    data_format
        One whose lists have ``parts``.
    problems
        Where problems are added.
    """
    called = {data_format.lists.split[0]: "split"} if data_format.lists.split else {}
    listed, good = labelled_rows(root / data_format.lists.meta, data_format, problems, more=called)
    clips = good.assign(path=[str(root / name) for name in good["filename"]])
    clips = _split(root, clips, data_format, problems)
    _check_seen(clips, data_format, problems)
    return Table(clips[list(CLIP_COLUMNS)].sort_values("clip_id", ignore_index=True), listed - len(clips))


def labelled_rows(
    path: Path, data_format: DataFormat, problems: list[Problem], *, more: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, pd.DataFrame]:
    """Read a list whose columns say what each clip is, and collect what is wrong with it.

    Parameters
    ----------
    path
        A list with the columns of the metadata file.
    data_format
        One whose lists have ``parts``.
    problems
        Where problems are added.
    more
        Columns that it must have besides -> what they are called.

    Returns
    -------
    tuple
        How many rows there are, and those whose words are known, in their order: columns of the clip table without
        ``path`` and ``split``, ``filename``, ``row`` and those of ``more``.
    """
    lists = data_format.lists
    called = {lists.file_column: "filename", lists.label_column: "scene"}
    called |= {column: part for part, column in lists.parts.items()} | dict(more)
    if len(called) < 2 + len(lists.parts) + len(more):
        raise InputError(
            f"file, label, device, location, city and split are columns of their own, got {', '.join(called)}: correct "
            "`metadata.columns`"
        )
    meta = read_list(path, path.name, called, lists.separator, problems)
    meta["filename"] = _texts(meta, [name.strip().replace("\\", "/") for name in meta["filename"]])
    for column in ("scene", *lists.parts):
        meta[column] = _texts(meta, [word(text) for text in meta[column]])
    meta["clip_id"] = _texts(meta, clip_ids(meta["filename"].tolist()))
    meta["scene_group"] = _texts(meta, [data_format.group_of_scene.get(scene, "") for scene in meta["scene"]])
    if "city" not in lists.parts:
        meta["city"] = _NOWHERE
    if "location" not in lists.parts:
        meta["location"] = meta["clip_id"]
    return len(meta), _check(meta, data_format, problems)


def _texts(meta: pd.DataFrame, values: list[str]) -> "pd.Series[str]":
    return pd.Series(values, index=meta.index, dtype=str)


def clip_ids(filenames: Sequence[str]) -> list[str]:
    """What clips are called: their file names without folders and extension, or with folders if names repeat."""
    paths = [PurePosixPath(name) for name in filenames]
    names = [path.stem for path in paths]
    if len(set(names)) == len(set(filenames)):
        return names
    return ["--".join((*path.parts[:-1], path.stem)) for path in paths]


def _check(meta: pd.DataFrame, data_format: DataFormat, problems: list[Problem]) -> pd.DataFrame:
    """Collect what is wrong with the rows; those whose words are known are returned."""
    good = pd.Series(True, index=meta.index)

    def report(rule: str, wrong: "pd.Series[bool]", detail: str) -> None:
        for row in meta[wrong].to_dict("records"):
            values = {str(name): shown(value) for name, value in row.items()}
            problems.append(Problem(rule, row["row"], detail.format_map(values)))
        good[wrong] = False

    empty = meta["filename"] == ""
    outside = meta["filename"].map(lambda name: ".." in name.split("/") or name[:1] == "/" or name[1:2] == ":")
    outside = outside.astype(bool)
    classes, devices = ", ".join(data_format.scenes), ", ".join(data_format.devices)
    report("file name", empty, "it names no file")
    report("path leaves the folder", outside & ~empty, "{filename} must be a path inside the folder of the data set")
    report("duplicate row", meta["filename"].duplicated() & ~empty, "{filename} was listed before")
    report(
        "unknown scene",
        ~meta["scene"].isin(data_format.scenes),
        f"label {{scene}} is not one of {classes}: add it to `classes` of dataset.yaml, or correct the row",
    )
    report(
        "unknown device",
        ~meta["device"].isin(data_format.devices),
        f"device {{device}} is not one of {devices}: add it to `devices` of dataset.yaml, or correct the row",
    )
    report("no location", meta["location"] == "", "the location is empty: name the place of the recording")
    return meta[good]


def _split(root: Path, clips: pd.DataFrame, data_format: DataFormat, problems: list[Problem]) -> pd.DataFrame:
    """The clips of train and test, with their split."""
    lists = data_format.lists
    if lists.split:
        column, train, test = lists.split
        split_of = dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
        said = clips["split"].str.strip()
        if len(said) and not said.isin(list(split_of)).any():
            detail = f"the column {column} has none of {', '.join(split_of)}, but {', '.join(sorted(set(said))[:5])}"
            problems.append(Problem("no split", lists.meta, f"{detail}: correct `split` of dataset.yaml"))
        return clips.assign(split=said.map(split_of)).dropna(subset="split")
    if lists.test_share:
        unseen = [device for device in data_format.devices if device not in data_format.taxonomy.seen_devices]
        present = [device for device in unseen if (clips["device"] == device).any()]
        cut = cut_validation(
            clips.assign(split="train"),
            share=lists.test_share,
            seed=_TEST_SEED,
            holdout_devices=present,
            reference_device=data_format.reference_device,
        )
        return cut.assign(split=cut["split"].replace("validation", "test"))
    return _by_lists(root, clips, data_format, problems)


def _by_lists(root: Path, clips: pd.DataFrame, data_format: DataFormat, problems: list[Problem]) -> pd.DataFrame:
    lists, split_of = data_format.lists, dict[str, str]()
    known = set(clips["filename"])
    for split, name in lists.of_split.items():
        listed = read_list(root / name, name, {lists.file_column: "filename"}, lists.separator, problems)
        for row, filename in zip(listed["row"], listed["filename"].str.strip(), strict=True):
            if split_of.setdefault(filename, split) != split:
                problems.append(Problem("clip in both splits", shown(filename), "it is in train and test of the fold"))
            if filename not in known:
                problems.append(Problem(f"not in {lists.meta}", row, f"{shown(filename)} is not listed there"))
    return clips.assign(split=clips["filename"].map(split_of)).dropna(subset="split")


def _check_seen(clips: pd.DataFrame, data_format: DataFormat, problems: list[Problem]) -> None:
    """Training must not hear a device that is said to be unseen."""
    heard = clips[clips["split"] == "train"].groupby("device").size()
    for device in data_format.devices:
        if device in heard and device not in data_format.taxonomy.seen_devices:
            detail = f"train has {heard[device]:,} clips of it, and `seen` of dataset.yaml lacks it: add it there"
            problems.append(Problem("unseen device in train", device, detail))
