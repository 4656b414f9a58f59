"""Scores of systems trained elsewhere become predictions tables.

Scores are text separated by tabs, semicolons, commas or spaces, with or without a header and file names, or parquet;
the form ``dcase2020`` of `export_scores` among them. Files without names hold their clips in the order of a list, as
Hu et al. publish theirs; their rows are sums over the members of an ensemble, so scores need not sum to 1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.files import is_recording
from asc_study.base.schema import did_you_mean
from asc_study.base.taxonomy import CLASSES, label_column
from asc_study.data.description import meet_list
from asc_study.data.layout import read_labelled_list
from asc_study.data.problems import shown
from asc_study.evaluation.decision_column import DECISION_COLUMN, check_decisions
from asc_study.evaluation.predictions import CONTEXT_COLUMNS, SUM_TOLERANCE, as_float32, predictions_table
from asc_study.evaluation.score_files import NAME_COLUMNS, ScoreFile, as_number, read_score_file

#: Splits that imported scores can be of.
SCORED_SPLITS: Final = ("test", "validation")


#: Columns that may be there and are not read: the context follows from the labels.
IGNORED_COLUMNS: Final = tuple(column for column in CONTEXT_COLUMNS if column not in NAME_COLUMNS)


Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Imported:
    """Scores of another system as a predictions table.

    Attributes
    ----------
    predictions
        A predictions table with every clip of the labels, sorted by ``clip_id``.
    task
        ``ten_class`` or ``three_class``.
    notes
        What was done to the scores and what was taken for granted about them, one sentence each.
    """

    predictions: pd.DataFrame
    task: str
    notes: tuple[str, ...]


def read_scores(scores: Path, labels: Path, *, task: str | None = None, split: str = "test") -> Imported:
    """Read the scores of a system trained elsewhere and join them with the labels of their clips.

    Parameters
    ----------
    scores
        Text or parquet (by its extension), one row a clip and one column a class. With a header, columns go by name:
        the classes of one task, one of `NAME_COLUMNS` if it names the clips, `DECISION_COLUMN` if the decisions are
        there (the scores must agree with them), and any of `IGNORED_COLUMNS`. Without one, ten or three numbers in the
        alphabetical order of the classes, after the file name and the decision if they are there. A clip's name may
        have its folder and ``.wav`` or the like, in any case.
    labels
        A TAU list with labels (see `read_labelled_list`). Scores without file names have its order.
    task
        ``ten_class`` or ``three_class``, if the scores must be of that task; told by their columns by default.
    split
        What the clips are to this system: ``test`` or ``validation``.

    Returns
    -------
    Imported
        The table, in which every row is divided by its sum. Decisions are those of the scores.

    Raises
    ------
    InputError
        If the scores cannot be read, are not of exactly the clips of the list, or are not finite, not negative and
        above 0 somewhere in each row, or contradict the decisions that stand beside them.
    """
    if split not in SCORED_SPLITS:
        raise InputError(f"the split of imported scores must be one of {', '.join(SCORED_SPLITS)}, got {split!r}")
    meet_list(labels)
    if task is not None and task not in CLASSES:
        raise InputError(f"the task must be one of {', '.join(CLASSES)}, got {task!r}")
    file = read_score_file(scores)
    found = _recognise_columns(scores, list(file.cells.columns))
    if task and found != task:
        raise InputError(
            f"the task must be that of the scores: the columns of {scores} are those of {found}, not {task}"
        )
    task_of_labels, clips = read_labelled_list(labels)
    if label_column(found) == "scene" and label_column(task_of_labels) != "scene":
        raise InputError(
            f"ten-class scores need ten-class labels, but those of {labels} are scene groups: name a list of the "
            "ten-class data set"
        )
    classes = list(CLASSES[found])
    order = _match_clips(scores, file.cells, labels, clips["clip_id"].tolist())
    values = _read_values(scores, file.cells[classes])
    if DECISION_COLUMN in file.cells:
        check_decisions(scores, file.cells, values, classes)
    values = values[order]

    notes = _notes_on_form(file, classes, labels)
    if found != task_of_labels:
        notes.append(
            "the labels are scenes and the scores are of scene groups: each clip is judged by its scene's group"
        )
    with np.errstate(over="ignore"):
        sums = values.sum(axis=1)
    off = np.abs(sums - 1) > SUM_TOLERANCE
    if off.any():
        span = " to ".join(dict.fromkeys(f"{end:.4g}" for end in (sums[off].min(), sums[off].max())))
        notes.append(f"{off.sum():,} of {len(sums):,} rows did not sum to 1 ({span}): normalised")
    shares = values / values.max(axis=1, keepdims=True)  # sums of huge scores are infinite
    probabilities = as_float32(shares / shares.sum(axis=1, keepdims=True), values.argmax(axis=1))
    table = predictions_table(clips.assign(split=split), probabilities, found)
    return Imported(table.sort_values("clip_id", ignore_index=True), found, tuple(notes))


def _recognise_columns(path: Path, columns: list[str]) -> str:
    """Tell the task by the class columns, which must be those of exactly one."""
    known = [name for classes in CLASSES.values() for name in classes]
    for place, column in enumerate(columns):
        if column not in (*known, *NAME_COLUMNS, DECISION_COLUMN, *IGNORED_COLUMNS):
            hint = did_you_mean(column, [*known, *NAME_COLUMNS])
            raise InputError(f"{path} has the unknown column {shown(column)}: {hint}")
        if column in columns[:place]:
            raise InputError(f"{path} has the column {column!r} twice: keep one")
    naming = [column for column in columns if column in NAME_COLUMNS]
    if len(naming) > 1:
        raise InputError(f"one column names the clips, {path} has {' and '.join(naming)}: keep one")
    named = set(columns).difference(NAME_COLUMNS, IGNORED_COLUMNS, [DECISION_COLUMN])
    exactly = [task for task, classes in CLASSES.items() if set(classes) == named]
    tasks = exactly[-1:] or [task for task, classes in CLASSES.items() if set(classes) & named]
    if len(tasks) != 1:
        got = f"those of {' and '.join(tasks)}" if tasks else "none"
        raise InputError(f"{path} must have the class columns of one task, got {got}: keep {' or '.join(CLASSES)}")
    missing = [name for name in CLASSES[tasks[0]] if name not in columns]
    if missing:
        raise InputError(
            f"{path} must have a column for every class of {tasks[0]}; missing: {', '.join(missing)}: add the columns"
        )
    return tasks[0]


def _match_clips(scores: Path, cells: pd.DataFrame, labels: Path, clips: list[str]) -> npt.NDArray[np.int_]:
    """The row of each clip of the labels; every clip must have exactly one."""
    names = _clip_ids(cells)
    if names is None:
        if len(cells) != len(clips):
            raise InputError(
                f"scores without file names need one row a clip of the labels: {scores} has {len(cells):,} rows, "
                f"{labels} {len(clips):,} clips: name the list that the scores follow"
            )
        return np.arange(len(clips))
    row_of = {name: row for row, name in reversed(list(enumerate(names)))}
    repeated = [name for row, name in enumerate(names) if row_of[name] != row]
    if repeated:
        raise InputError(
            f"a clip must stand once in {scores}, {shown(repeated[0])} stands there again "
            f"({len(repeated):,} such rows): keep one row a clip"
        )
    listed = set(clips)
    unknown = [name for name in names if name not in listed]
    if 2 * len(unknown) > len(names):
        raise InputError(
            f"the labels look like those of another data set: only {len(names) - len(unknown):,} of {len(names):,} "
            f"clips of {scores} are in {labels}, {shown(unknown[0])} is not: name the list that the scores were "
            "made for"
        )
    if unknown:
        raise InputError(
            f"{len(unknown):,} of {len(names):,} clips of {scores} are not in {labels}, the first is "
            f"{shown(unknown[0])}: leave them out or name the list that the scores were made for"
        )
    missing = [clip for clip in clips if clip not in row_of]
    if missing:
        raise InputError(
            f"{len(missing):,} of {len(clips):,} clips of {labels} have no scores in {scores}, the first is "
            f"{shown(missing[0])}: add them or name the list that the scores were made for"
        )
    return np.array([row_of[clip] for clip in clips])


def _clip_ids(cells: pd.DataFrame) -> list[str] | None:
    """The file stems in the column that names the clips, if there is one."""
    naming = [column for column in cells.columns if column in NAME_COLUMNS]
    if not naming:
        return None
    names = (str(name).replace("\\", "/").rsplit("/", 1)[-1] for name in cells[naming[0]])
    return [name.rpartition(".")[0] if is_recording(name) else name for name in names]


def _read_values(path: Path, cells: pd.DataFrame) -> Values:
    """The scores as numbers, (rows, classes), each finite, none negative, no row zero."""
    received = cells.to_numpy(object)
    values = np.array([[as_number(cell) for cell in row] for row in received], np.float64)

    def place(row: int) -> str:
        return f"{cells.index[row]} of {path}"

    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"a score must be a finite number, got {shown(received[row, column])} in column {cells.columns[column]!r} "
            f"of {place(row)} ({len(wrong):,} such cells): score these clips again"
        )
    negative = np.argwhere(values < 0)
    if len(negative):
        row, column = negative[0]
        raise InputError(
            f"a score must be at least 0, got {values[row, column]:.6g} in column {cells.columns[column]!r} of "
            f"{place(row)} ({len(negative):,} such cells): turn logits or log-probabilities into probabilities "
            "first, e.g. by softmax"
        )
    zero = np.flatnonzero(~values.any(axis=1))
    if zero.size:
        raise InputError(
            f"a row must have a score above 0, {place(zero[0])} has none ({zero.size:,} such rows): score these clips "
            "again"
        )
    return values


def _notes_on_form(file: ScoreFile, classes: list[str], labels: Path) -> list[str]:
    """What was taken for granted about the order of columns and rows."""
    notes = ["numbers with a comma, such as 0,5, are read as 0.5"] if file.decimal_commas else []
    if not file.has_header:
        notes.append(f"no header: the columns are taken as {', '.join(classes)}")
    elif [column for column in file.cells.columns if column in classes] != classes:
        notes.append("the columns are put into alphabetical order, as the header names them")
    if not set(NAME_COLUMNS) & set(file.cells.columns):
        notes.append(f"no file names: the rows are taken in the order of {labels.name}")
    return notes
