"""Readers for TAU Urban Acoustic Scenes 2020 Mobile and 3Class, exactly as published.

Sources: the README files of the two data sets (Zenodo records 3819968 and 3670185). All lists are UTF-8, separated by
tabs, with a header line. This is the only module that takes a file name apart.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.files import read_input
from asc_study.base.taxonomy import CLASSES, DEVICES, GROUP_OF_SCENE, SCENES
from asc_study.data.clips import CLIP_COLUMNS, Dataset

#: Task -> (sample rate in Hz, channels) of its audio.
AUDIO_FORMAT: Final = {"ten_class": (44_100, 1), "three_class": (48_000, 2)}

#: Split -> the list of the official fold that names its clips.
FOLD_LISTS: Final = {"train": "fold1_train.csv", "test": "fold1_evaluate.csv"}

SETUP_FOLDER: Final = "evaluation_setup"
FILE_NAME_FORM: Final = "audio/<scene>-<city>-<location>-<segment>-<device>.wav"

_PART = r"[^-/\\\x00-\x1f]+"
_CLIP_ID = rf"(?P<scene>{_PART})-(?P<city>{_PART})-(?P<location>{_PART})-{_PART}-(?P<device>{_PART})"
_FILE_NAME = rf"^audio/(?P<clip_id>{_CLIP_ID})\.wav\Z"
_LONGEST_SHOWN: Final = 120

#: Columns of ``meta.csv`` that repeat what the file name says: city-location and device.
_OPTIONAL_COLUMNS: Final = ("identifier", "source_label")


@dataclass(frozen=True)
class Problem:
    """Something that breaks a rule of the layout: the rule, the file or row that breaks it, and how."""

    rule: str
    item: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.item}: {self.detail}"


@dataclass(frozen=True)
class Reading:
    """What the lists of a folder say, as far as they could be read.

    Attributes
    ----------
    root
        The folder, absolute.
    task
        ``ten_class`` or ``three_class``.
    clips
        The clip table of every listed clip whose file name has the published form, sorted by ``clip_id``.
    unused
        How many clips of ``meta.csv`` are in neither list of the fold.
    problems
        Everything that breaks the layout, in the order of the files; audio is not looked at.
    """

    root: Path
    task: str
    clips: pd.DataFrame
    unused: int
    problems: list[Problem]


def read_dataset(root: Path, task: str | None = None) -> Dataset:
    """Read the lists of a data set; no audio file is opened (`require_audio` makes sure that they are there).

    The official fold decides the split; clips of ``meta.csv`` that are in neither list of the fold are left out.

    Parameters
    ----------
    root
        The folder with ``meta.csv``, ``audio/`` and ``evaluation_setup/``.
    task
        ``ten_class`` or ``three_class``, if the labels must be of that task; recognised from the labels by default.

    Raises
    ------
    InputError
        If anything in the lists breaks the layout: the first problem, how many more there are and how to see them.
    """
    reading = read_lists(root, task)
    if reading.problems:
        raise InputError(f"{_first_of(reading.problems)}: `asc-study data check {reading.root}` lists all")
    sample_rate, channels = AUDIO_FORMAT[reading.task]
    return Dataset(reading.root, reading.task, sample_rate, channels, reading.clips)


def read_lists(root: Path, task: str | None = None) -> Reading:
    """Read the lists of a folder and collect everything that is wrong with them, instead of stopping at the first.

    Raises
    ------
    InputError
        If ``root`` is not a folder or ``task`` is unknown.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise InputError(f"the data set must be a folder, got {root}: name the folder that holds meta.csv")
    if task is not None and task not in AUDIO_FORMAT:
        raise InputError(f"the task must be one of {', '.join(AUDIO_FORMAT)}, got {task!r}")
    problems: list[Problem] = []
    meta = _read_list(root / "meta.csv", "meta.csv", ("filename", "scene_label"), problems)
    folds = {
        split: read_fold_list(root, name, ("filename", "scene_label"), problems) for split, name in FOLD_LISTS.items()
    }

    listed = pd.concat([fold.assign(split=split) for split, fold in folds.items()], ignore_index=True)
    labels = (listed if meta.empty else meta)["scene_label"]
    found = _recognise_task(labels)
    if task and found and task != found:
        problems.append(Problem("task", "meta.csv", f"its labels are those of {found}, not of {task}"))
    task = found or task or "ten_class"

    checked = [_check_rows(meta, task, problems)] + [_check_rows(fold, task, problems) for fold in folds.values()]
    _check_fold(listed, meta, problems)
    clips = pd.concat([rows.assign(split=split) for split, rows in zip(folds, checked[1:], strict=True)])
    clips = clips.drop_duplicates("clip_id")
    clips["path"] = str(root) + os.sep + clips["filename"]
    clips["scene_group"] = clips["scene"].map(dict(GROUP_OF_SCENE)).fillna("")
    clips = clips[list(CLIP_COLUMNS)].sort_values("clip_id", ignore_index=True)
    unused = len(set(meta["filename"]).difference(listed["filename"]))
    return Reading(root, task, clips, unused, problems)


def read_labelled_list(path: Path) -> tuple[str, pd.DataFrame]:
    """Read one list with labels, without the data set around it; no audio file is looked for.

    Parameters
    ----------
    path
        A list with the columns ``filename`` and ``scene_label``: ``fold1_evaluate.csv``, ``fold1_train.csv`` or
        ``meta.csv``.

    Returns
    -------
    tuple
        The task that the labels are made for (``ten_class`` or ``three_class``), and the clips in the order of the
        list, with the columns ``clip_id``, ``scene``, ``scene_group``, ``city``, ``location`` and ``device``.

    Raises
    ------
    InputError
        If the list has no labels or breaks the layout: the first problem and how many more there are.
    """
    problems: list[Problem] = []
    rows = _read_list(path, str(path), ("filename", "scene_label"), problems)
    if rows.empty and len(_read_list(path, str(path), ("filename",), [])):
        raise InputError(
            f"labels are needed, but {path} has no column scene_label: name a list that has it, such as "
            f"{FOLD_LISTS['test']}"
        )
    task = _recognise_task(rows["scene_label"]) or "ten_class"
    clips = _check_rows(rows, task, problems)
    if problems:
        raise InputError(
            f"{_first_of(problems)}: name a TAU list with the columns filename and scene_label, such as "
            f"{FOLD_LISTS['test']}"
        )
    columns = [column for column in CLIP_COLUMNS if column not in ("path", "split")]
    return task, clips[columns].reset_index(drop=True)


def _first_of(problems: list[Problem]) -> str:
    """The first problem, and how many more there are."""
    more = len(problems) - 1
    return f"{problems[0]}" + (f" (and {more:,} more problem{'s' if more > 1 else ''})" if more else "")


def _recognise_task(labels: "pd.Series[str]") -> str | None:
    """Tell the task by its labels: the one that knows more of them, none if no label is known."""
    known = {task: int(labels.isin(classes).sum()) for task, classes in CLASSES.items()}
    return max(known, key=lambda task: known[task]) if any(known.values()) else None


def read_fold_list(root: Path, name: str, columns: tuple[str, ...], problems: list[Problem]) -> pd.DataFrame:
    """Read a list of the official fold; one that lies beside ``meta.csv`` is read too, but is a problem."""
    item = f"{SETUP_FOLDER}/{name}"
    if not (root / item).exists() and (root / name).exists():
        problems.append(Problem("layout", name, f"it must lie in {SETUP_FOLDER}/"))
        item = name
    return _read_list(root / item, item, columns, problems)


def _read_list(path: Path, item: str, columns: tuple[str, ...], problems: list[Problem]) -> pd.DataFrame:
    """Read the columns that are known and ``row`` (where it stands, for messages); empty if the list is unreadable."""
    empty = pd.DataFrame({column: pd.Series(dtype=str) for column in (*columns, "row")})
    try:
        # Some editors put a byte order mark in front, which "utf-8-sig" takes off.
        lines = read_input(path, "list").decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        problems.append(Problem("malformed list", item, f"it is not UTF-8 (byte {error.start:,})"))
        return empty
    except InputError as error:
        if os.path.lexists(path):
            problems.append(Problem("unreadable list", item, str(error).rpartition(": ")[0]))
        else:
            problems.append(Problem("missing list", item, "there is no such file"))
        return empty
    rows = [(number, line.rstrip("\r").split("\t")) for number, line in enumerate(lines, start=1) if line.strip()]
    header = rows[0][1] if rows else []
    if not set(columns) <= set(header) or len(set(header)) != len(header):
        expected = ", ".join(columns)
        problems.append(
            Problem("malformed list", item, f"line 1 must name the columns {expected} with tabs, got {shown(header)}")
        )
        return empty
    if not rows[1:]:
        problems.append(Problem("malformed list", item, "it names no clip"))
    for number, fields in rows[1:]:
        if len(fields) != len(header):
            detail = f"it must have {len(header)} columns, got {len(fields)}: {shown(fields)}"
            problems.append(Problem("malformed row", f"{item} line {number}", detail))
    good = [(number, fields) for number, fields in rows[1:] if len(fields) == len(header)]
    table = pd.DataFrame([fields for _, fields in good], columns=header, dtype=str)
    table = table[[*columns, *(column for column in _OPTIONAL_COLUMNS if column in header)]]
    return table.assign(row=[f"{item} line {number}" for number, _ in good])


def shown(value: object) -> str:
    """Show a received value on one line of limited length, whatever it holds."""
    text = " | ".join(value) if isinstance(value, list) else str(value)
    text = text if text.isprintable() else repr(text)[1:-1]
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}...")


def _check_rows(rows: pd.DataFrame, task: str, problems: list[Problem]) -> pd.DataFrame:
    """Take the file names of a list apart, collect what is wrong with its rows and return those with a proper name."""

    def report(rule: str, wrong: "pd.Series[bool]", detail: str) -> None:
        for row in rows[wrong].to_dict("records"):
            values = {str(name): shown(value) for name, value in row.items()}
            problems.append(Problem(rule, row["row"], detail.format_map(values)))

    rows = pd.concat([rows, rows["filename"].str.extract(_FILE_NAME)], axis=1)
    leaves = rows["filename"].map(_leaves_folder).astype(bool)
    named = rows["clip_id"].notna()
    rows["scene_group"] = rows["scene"].map(dict(GROUP_OF_SCENE))
    known_label = rows["scene_label"].isin(CLASSES[task])
    known_scene = rows["scene"].isin(SCENES)

    report("path leaves the folder", leaves, f"{{filename}} must be {FILE_NAME_FORM}")
    report("file name", ~named & ~leaves, f"{{filename}} must be {FILE_NAME_FORM}")
    report("duplicate row", rows["filename"].duplicated(), "{filename} was listed before")
    report("unknown scene", ~known_label, f"label {{scene_label}} is not one of {', '.join(CLASSES[task])}")
    report("unknown scene", named & ~known_scene, "{filename} names a scene that is not one of the ten: {scene}")
    report(
        "unknown device",
        named & ~rows["device"].isin(DEVICES),
        f"{{filename}} names a device that is not one of {', '.join(DEVICES)}",
    )
    implied = rows["scene_group"] if task == "three_class" else rows["scene"]
    report(
        "name and row disagree",
        named & known_label & known_scene & (implied != rows["scene_label"]),
        "{filename} does not go with the label {scene_label}",
    )
    if "identifier" in rows:
        identifier = rows["city"] + "-" + rows["location"]
        report(
            "name and row disagree",
            named & (identifier != rows["identifier"]),
            "{filename} does not go with the identifier {identifier}",
        )
    if "source_label" in rows:
        report(
            "name and row disagree",
            named & (rows["device"] != rows["source_label"]),
            "{filename} does not go with the source label {source_label}",
        )
    return rows[named]


def _leaves_folder(filename: str) -> bool:
    parts = filename.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":")


def _check_fold(listed: pd.DataFrame, meta: pd.DataFrame, problems: list[Problem]) -> None:
    """Hold the lists of the fold against each other and against ``meta.csv``."""
    split_of = listed.groupby("filename")["split"].nunique()
    for filename in split_of.index[split_of > 1]:
        problems.append(Problem("clip in both splits", shown(filename), "it is in train and test of the fold"))
    if meta.empty:
        return
    label_of: Mapping[str, str] = dict(zip(meta["filename"], meta["scene_label"], strict=True))
    for row, filename, label in listed[["row", "filename", "scene_label"]].itertuples(index=False):
        if filename not in label_of:
            problems.append(Problem("not in meta.csv", row, f"{shown(filename)} is not listed there"))
        elif label != label_of[filename]:
            detail = f"label {shown(label)} of {shown(filename)} is {shown(label_of[filename])} in meta.csv"
            problems.append(Problem("labels disagree", row, detail))
