"""The predictions table: the one currency of everything after training.

One row a clip: `CONTEXT_COLUMNS`, then one probability column a class in the task's class order; the probabilities of a
row sum to 1. ``scene`` is the true label and one of the class columns (for a three-class run it is the scene group);
clips of the split ``evaluation``, whose labels are not public, may have an empty one.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError, shown
from asc_study.base.files import writing
from asc_study.base.taxonomy import CLASSES, label_column, task_of_classes
from asc_study.evaluation.parquet_file import read_parquet

CONTEXT_COLUMNS: Final = ("clip_id", "scene", "device", "city", "location", "split")

#: How far a row's sum may be from 1: float32 softmax output rounds.
SUM_TOLERANCE: Final = 1e-3

#: How far from 1 the sum of a clip's probabilities in bfloat16, of 8 significant bits, may be.
_ROUNDING: Final = 2**-7


def predictions_table(clips: pd.DataFrame, probabilities: npt.NDArray[np.floating], task: str) -> pd.DataFrame:
    """Join clips (n rows of the clip table) and their class probabilities (n, classes) into a predictions table.

    Probabilities in half precision, of a network whose own last layer computes so, sum to 1 but for its rounding, which
    is taken off.

    Raises
    ------
    InputError
        If the shapes disagree or a row is not a probability distribution.
    """
    classes = CLASSES[task]
    if probabilities.shape != (len(clips), len(classes)):
        raise InputError(
            f"probabilities must have the shape (clips, classes) = ({len(clips)}, {len(classes)}), got "
            f"{probabilities.shape}: predict the clips of the table with a model of the task {task!r}"
        )
    rounded, probabilities = probabilities.dtype.itemsize < 4, probabilities.astype(np.float32)
    sums = probabilities.sum(axis=1, keepdims=True)
    if rounded and np.all(np.abs(sums - 1) < _ROUNDING):
        probabilities = probabilities / sums
    table = clips[list(CONTEXT_COLUMNS)].reset_index(drop=True)
    table["scene"] = clips[label_column(task)].to_numpy()
    table = pd.concat([table, pd.DataFrame(probabilities, columns=list(classes))], axis=1)
    check_predictions(table)
    return table


def classes_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """The class columns of a predictions table, in order."""
    return tuple(column for column in predictions.columns if column not in CONTEXT_COLUMNS)


def check_predictions(predictions: pd.DataFrame) -> None:
    """Raise `InputError` unless the table keeps the contract above."""
    missing = [column for column in CONTEXT_COLUMNS if column not in predictions.columns]
    if missing:
        raise InputError(f"a predictions table needs the columns {', '.join(CONTEXT_COLUMNS)}; missing: {missing}")
    classes = classes_of(predictions)
    if task_of_classes(classes) is None:
        raise InputError(f"the class columns must be those of a task in alphabetical order, got {shown(list(classes))}")
    for column in CONTEXT_COLUMNS:
        if not all(isinstance(value, str) for value in predictions[column]):
            raise InputError(f"the column {column} of a predictions table must hold text: make it anew")
    for column in classes:
        if not pd.api.types.is_float_dtype(predictions[column]):
            raise InputError(
                f"probabilities must be floating-point numbers, got {predictions[column].dtype} in the column "
                f"{column}: make the predictions table anew"
            )
    if predictions["clip_id"].duplicated().any():
        clip = predictions.loc[predictions["clip_id"].duplicated(), "clip_id"].iloc[0]
        raise InputError(f"clip {clip!r} stands twice in the predictions: keep one row a clip")
    unlabelled = (predictions["split"] == "evaluation") & (predictions["scene"] == "")
    unknown = set(predictions.loc[~unlabelled, "scene"]) - set(classes)
    if unknown:
        raise InputError(f"the true label must be one of the classes, got {sorted(unknown)}: check the task")
    values = predictions[list(classes)].to_numpy(np.float64)
    bad = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1) | (abs(values.sum(axis=1) - 1) > SUM_TOLERANCE)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"the probabilities of a clip must be finite, at least 0 and sum to 1; those of "
            f"{predictions['clip_id'].iloc[row]!r} are {values[row].round(4).tolist()} ({int(bad.sum())} such clips)"
        )


def write_predictions(predictions: pd.DataFrame, path: Path) -> None:
    """Write a checked predictions table as parquet."""
    check_predictions(predictions)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as file:
        predictions.to_parquet(file, index=False)


def read_predictions(path: Path, split: str | None = None) -> pd.DataFrame:
    """Read a predictions table from parquet and check it.

    Parameters
    ----------
    path
        The file.
    split
        What its clips must all be of, if that is known: the name of a file says so, which is soon changed.

    Raises
    ------
    InputError
        If the file is not parquet, breaks the contract, or holds no clips, or others than those of the split.
    """
    predictions = read_parquet(path, "predictions", "give a run's predictions/*.parquet")
    check_predictions(predictions)
    if split is not None and (found := set(predictions["split"])) != {split}:
        others = f"some of {shown(sorted(found - {split}))}" if found else "none"
        raise InputError(f"{path} must hold clips of {split} alone, got {others}: put the run's own table back")
    return predictions


def as_float32(probabilities: npt.NDArray[np.float64], decisions: npt.NDArray[np.int_]) -> npt.NDArray[np.float32]:
    """Round (n, classes) to float32 without changing a decision: rounding can make the two highest equal."""
    rounded = probabilities.astype(np.float32)
    tied = np.flatnonzero(rounded.argmax(axis=1) != decisions)
    rounded[tied, decisions[tied]] = np.nextafter(rounded[tied].max(axis=1), np.float32(2))
    return rounded
