"""The reader of data sets: lists of clips with labels, a fold of train and test, and names that say the rest.

What lists there are, what their columns are called and how a file name is taken apart says the data format. Where a
metadata file says what each clip is, `asc_study.data.table` reads it.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from asc_study.acoustics.recordings import sound_info
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES, know
from asc_study.data.clips import CLIP_COLUMNS, Dataset
from asc_study.data.description import described, meet_list
from asc_study.data.formats import DataFormat, known_formats
from asc_study.data.formats.data_format import fill_in
from asc_study.data.list_file import read_list
from asc_study.data.problems import Problem, shown
from asc_study.data.table import labelled_rows, read_table


@dataclass(frozen=True)
class Reading:
    """What the lists of a folder say, as far as they could be read.

    Attributes
    ----------
    root
        The folder, absolute.
    format
        The data format of the folder, recognised if it was not given.
    clips
        The clip table of every listed clip whose file name has the published form, sorted by ``clip_id``.
    unused
        How many clips of the list of all are in neither list of the fold.
    problems
        Everything that breaks the layout, in the order of the files; audio is not looked at.
    subsets
        Name of a part of train that has a list -> its ``clip_id``.
    recognised
        Whether anything told the format; if not, the folder is read as the first one.
    """

    root: Path
    format: DataFormat
    clips: pd.DataFrame
    unused: int
    problems: list[Problem]
    subsets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    recognised: bool = True


def read_dataset(root: Path, task: str | None = None, data_format: DataFormat | None = None) -> Dataset:
    """Read the lists of a data set; no audio file is opened (`require_audio` makes sure that they are there).

    The official fold decides the split; clips that are in neither list of the fold are left out.

    Parameters
    ----------
    root
        The folder of the data set.
    task
        Such as ``ten_class`` or ``three_class``, if the labels must be of that task; told by the labels by default.
    data_format
        What the data set is; by default what its ``dataset.yaml`` says, else recognised among `known_formats`. Where
        several fit its lists equally well, the header of one recording decides.

    Raises
    ------
    InputError
        If anything in the lists breaks the layout: the first problem, how many more there are and how to see them.
    """
    reading = read_lists(root, task, data_format)
    if reading.problems:
        own = "" if reading.recognised else f", `asc-study data init {reading.root}` describes recordings of your own"
        raise InputError(f"{_first_of(reading.problems)}: `asc-study data check {reading.root}` lists all{own}")
    return Dataset(reading.root, reading.format, reading.clips, reading.subsets)


def read_lists(root: Path, task: str | None = None, data_format: DataFormat | None = None) -> Reading:
    """Read the lists of a folder and collect everything that is wrong with them, instead of stopping at the first.

    Parameters
    ----------
    root, task, data_format
        As for `read_dataset`.

    Raises
    ------
    InputError
        If ``root`` is not a folder, ``task`` is unknown or ``dataset.yaml`` cannot be used.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise InputError(f"the data set must be a folder, got {root}: name the folder that holds meta.csv")
    found = data_format or described(root) or _recognise(lambda known: _labelled_rows(root, known), root)
    if found:
        know(found.taxonomy)
    if task is not None and task not in CLASSES:
        raise InputError(f"the task must be one of {', '.join(CLASSES)}, got {task!r}")
    data_format = found or _of_task(task)
    lists, problems = data_format.lists, list[Problem]()
    if lists.parts:
        table = read_table(root, data_format, problems)
        return Reading(root, data_format, table.clips, table.unused, problems)
    meta = _read_list(root / lists.meta, lists.meta, data_format, True, problems)
    folds = {split: read_fold_list(root, name, data_format, True, problems) for split, name in lists.of_split.items()}
    if task and found and task != found.task:
        detail = f"its labels are those of {found.task}, not of {task}"
        problems.append(Problem("task", lists.meta, detail))

    listed = pd.concat([fold.assign(split=split) for split, fold in folds.items()], ignore_index=True)
    _check_rows(meta, data_format, problems)
    checked = [_check_rows(fold, data_format, problems).assign(split=split) for split, fold in folds.items()]
    _check_fold(listed, meta, lists.meta, problems)
    clips = pd.concat(checked).drop_duplicates("clip_id")
    clips["path"] = str(root) + os.sep + clips["filename"]
    clips["scene_group"] = clips["scene_group"].fillna("")
    clips = clips[list(CLIP_COLUMNS)].sort_values("clip_id", ignore_index=True)
    unused = len(set(meta["filename"]).difference(listed["filename"]))
    subsets = _read_subsets(root, data_format, listed, problems)
    return Reading(root, data_format, clips, unused, problems, subsets, recognised=found is not None)


def read_labelled_list(path: Path) -> tuple[str, pd.DataFrame]:
    """Read one list with labels, without the data set around it; no audio file is looked for.

    Parameters
    ----------
    path
        A list of a known data set with its columns of file names and labels, in TAU ``fold1_evaluate.csv``,
        ``fold1_train.csv`` or ``meta.csv``; or one with the columns of the metadata file of a ``dataset.yaml`` that
        lies in its folder or the one above.

    Returns
    -------
    tuple
        The task that the labels are made for, such as ``ten_class``, and the clips in the order of the
        list, with the columns ``clip_id``, ``scene``, ``scene_group``, ``city``, ``location`` and ``device``.

    Raises
    ------
    InputError
        If the list has no labels or breaks the layout: the first problem and how many more there are.
    """
    data_format = (
        meet_list(path) or _recognise(lambda known: _read_list(path, str(path), known, True, [])) or _of_task(None)
    )
    lists, problems = data_format.lists, list[Problem]()
    columns = [column for column in CLIP_COLUMNS if column not in ("path", "split")]
    if lists.parts:
        _, clips = labelled_rows(path, data_format, problems)
        if problems:
            raise InputError(f"{_first_of(problems)}: name a list with the columns of {lists.meta}")
        return data_format.task, clips[columns].reset_index(drop=True)
    rows = _read_list(path, str(path), data_format, True, problems)
    example = PurePosixPath(lists.test).name
    if rows.empty and len(_read_list(path, str(path), data_format, False, [])):
        raise InputError(
            f"labels are needed, but {path} has no column {lists.label_column}: name a list that has it, such as "
            f"{example}"
        )
    clips = _check_rows(rows, data_format, problems)
    if problems:
        raise InputError(
            f"{_first_of(problems)}: name a list of {data_format.name} with the columns {lists.file_column} and "
            f"{lists.label_column}, such as {example}"
        )
    return data_format.task, clips[columns].reset_index(drop=True)


def _first_of(problems: list[Problem]) -> str:
    """The first problem, and how many more there are."""
    more = len(problems) - 1
    return f"{problems[0]}" + (f" (and {more:,} more problem{'s' if more > 1 else ''})" if more else "")


def _recognise(rows_as: Callable[[DataFormat], pd.DataFrame], root: Path | None = None) -> DataFormat | None:
    """Tell the data format by what lists hold: the one that knows more of the labels and names; none without a label.

    ``rows_as`` reads the lists as those of a format. Formats that fit equally well are told apart by the header of one
    recording under ``root``; the first of them is taken if that says nothing.
    """
    fits: dict[DataFormat, int] = {}
    for known in known_formats().values():
        rows = rows_as(known)
        labels = int(rows["scene_label"].isin(known.labels).sum())
        if labels:
            fits[known] = labels + int(rows["filename"].str.match(known.pattern).sum())
    best = [known for known, fit in fits.items() if fit == max(fits.values())]
    if len(best) > 1 and root is not None:
        sound = _first_sound(root, rows_as(best[0])["filename"], best[0])
        best = [known for known in best if (known.sample_rate, known.channels) == sound] or best
    return best[0] if best else None


def _first_sound(root: Path, filenames: "pd.Series[str]", data_format: DataFormat) -> tuple[int, int] | None:
    """Sample rate and channels of the first listed recording that is there and can be read."""
    for filename in filenames[filenames.str.match(data_format.pattern)]:
        try:
            header = sound_info(root / filename)
        except InputError:
            continue
        return header.samplerate, header.channels
    return None


def _labelled_rows(root: Path, data_format: DataFormat) -> pd.DataFrame:
    """The rows of the list of all clips, or of the fold if there is none."""
    meta = _read_list(root / data_format.lists.meta, "", data_format, True, [])
    if not meta.empty:
        return meta
    return pd.concat(
        [read_fold_list(root, name, data_format, True, []) for name in data_format.lists.of_split.values()]
    )


def _of_task(task: str | None) -> DataFormat:
    """The first data format whose labels are of a task, or the first of all: for a folder that says nothing."""
    formats = list(known_formats().values())
    return next((known for known in formats if known.task == task), formats[0])


def read_fold_list(
    root: Path, item: str, data_format: DataFormat, labelled: bool, problems: list[Problem]
) -> pd.DataFrame:
    """Read a list of the official fold; one that lies beside the list of all clips is read too, but is a problem."""
    path = PurePosixPath(item)
    other = data_format.lists.instead.get(item)
    if other and not (root / path).exists() and (root / other).exists():
        path = PurePosixPath(other)
    beside = PurePosixPath(data_format.lists.meta).with_name(path.name)
    if not (root / path).exists() and (root / beside).exists():
        problems.append(Problem("layout", str(beside), f"it must lie in {path.parent}/"))
        path = beside
    return _read_list(root / path, str(path), data_format, labelled, problems)


def _read_subsets(
    root: Path, data_format: DataFormat, listed: pd.DataFrame, problems: list[Problem]
) -> dict[str, frozenset[str]]:
    """The parts of train whose lists are there, as identifiers of clips."""
    found, train = {}, set(listed.loc[listed["split"] == "train", "filename"])
    for name, item in data_format.lists.subsets.items():
        if not (root / item).exists():
            continue
        part = read_fold_list(root, item, data_format, False, problems)
        wrong = part[~part["filename"].map(train.__contains__).astype(bool)]
        problems += [
            Problem("not in train", row, f"{shown(filename)} is no clip of train")
            for row, filename in wrong[["row", "filename"]].itertuples(index=False)
        ]
        found[name] = frozenset(part["filename"].str.extract(data_format.pattern)["clip_id"].dropna())
    return found


def _read_list(path: Path, item: str, data_format: DataFormat, labelled: bool, problems: list[Problem]) -> pd.DataFrame:
    """Read the columns ``filename``, ``scene_label`` if ``labelled``, those that repeat the name, and ``row``."""
    lists = data_format.lists
    called = {lists.file_column: "filename"} | ({lists.label_column: "scene_label"} if labelled else {})
    # A column may have the name of a part of the file name, so those that repeat it are called by their number.
    repeated = {column: f"repeated{number}" for number, column in enumerate(lists.repeated)}
    return read_list(path, item, called, lists.separator, problems, optional=repeated)


def _check_rows(rows: pd.DataFrame, data_format: DataFormat, problems: list[Problem]) -> pd.DataFrame:
    """Take the file names of a list apart, collect what is wrong with its rows and return those with a proper name."""

    def report(rule: str, wrong: "pd.Series[bool]", detail: str) -> None:
        for row in rows[wrong].to_dict("records"):
            values = {str(name): shown(value) for name, value in row.items()}
            problems.append(Problem(rule, row["row"], detail.format_map(values)))

    parts = rows["filename"].str.extract(data_format.pattern)
    rows = pd.concat([rows, parts], axis=1)
    leaves = rows["filename"].map(_leaves_folder).astype(bool)
    named = rows["clip_id"].notna()
    rows["scene_group"] = rows["scene"].map(dict(data_format.group_of_scene))
    known_label = rows["scene_label"].isin(data_format.labels)
    known_scene = rows["scene"].isin(data_format.scenes)

    report("path leaves the folder", leaves, f"{{filename}} must be {data_format.file_name}")
    report("file name", ~named & ~leaves, f"{{filename}} must be {data_format.file_name}")
    report("duplicate row", rows["filename"].duplicated(), "{filename} was listed before")
    report("unknown scene", ~known_label, f"label {{scene_label}} is not one of {', '.join(data_format.labels)}")
    report(
        "unknown scene",
        named & ~known_scene,
        f"{{filename}} names a scene that is not one of the {len(data_format.scenes)}: {{scene}}",
    )
    report(
        "unknown device",
        named & ~rows["device"].isin(data_format.devices),
        f"{{filename}} names a device that is not one of {', '.join(data_format.devices)}",
    )
    report(
        "name and row disagree",
        named & known_label & known_scene & (rows[data_format.label] != rows["scene_label"]),
        "{filename} does not go with the label {scene_label}",
    )
    for number, (column, form) in enumerate(data_format.lists.repeated.items()):
        if (values := f"repeated{number}") in rows:
            said = [fill_in(form, row) for row in parts.fillna("").to_dict("records")]
            report(
                "name and row disagree",
                named & (rows[values] != said),
                f"{{filename}} does not go with the {column.replace('_', ' ')} {{{values}}}",
            )
    return rows[named]


def _leaves_folder(filename: str) -> bool:
    parts = filename.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":")


def _check_fold(listed: pd.DataFrame, meta: pd.DataFrame, item: str, problems: list[Problem]) -> None:
    """Hold the lists of the fold against each other and against the list of all clips, ``item``."""
    split_of = listed.groupby("filename")["split"].nunique()
    for filename in split_of.index[split_of > 1]:
        problems.append(Problem("clip in both splits", shown(filename), "it is in train and test of the fold"))
    if meta.empty:
        return
    label_of: Mapping[str, str] = dict(zip(meta["filename"], meta["scene_label"], strict=True))
    for row, filename, label in listed[["row", "filename", "scene_label"]].itertuples(index=False):
        if filename not in label_of:
            problems.append(Problem(f"not in {item}", row, f"{shown(filename)} is not listed there"))
        elif label != label_of[filename]:
            detail = f"label {shown(label)} of {shown(filename)} is {shown(label_of[filename])} in {item}"
            problems.append(Problem("labels disagree", row, detail))
