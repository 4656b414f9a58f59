"""Decisions beside scores: where a file has both they must agree, else its columns are not what they are taken for."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment

from asc_study.base.errors import InputError, shown

Values = npt.NDArray[np.float64]

#: The column of decisions.
DECISION_COLUMN: Final = "scene_label"


def check_decisions(path: Path, cells: pd.DataFrame, values: Values, classes: list[str]) -> None:
    """Raise `InputError` unless the decision of every row has the highest score, or shares it.

    Parameters
    ----------
    path
        The file, for the message.
    cells
        Its cells by column, `DECISION_COLUMN` among them.
    values
        (rows, classes) its scores.
    classes
        What the columns of ``values`` are taken for.
    """
    decided = pd.Index(classes).get_indexer(pd.Index([str(cell).strip() for cell in cells[DECISION_COLUMN]]))
    unknown = np.flatnonzero(decided < 0)
    if unknown.size:
        row = int(unknown[0])
        got = shown(cells[DECISION_COLUMN].iloc[row])
        raise InputError(
            f"a decision must be one of the classes of the scores, got {got} in {cells.index[row]} of {path} "
            f"({unknown.size:,} such rows): correct the column {DECISION_COLUMN}, or leave it out"
        )
    rows = np.arange(len(values))
    against = np.flatnonzero(values[rows, decided] < values.max(axis=1))
    if against.size:
        row = int(against[0])
        order = _order_that_agrees(decided, values)
        columns = [column for column in cells.columns if column in classes]
        remedy = (
            "leave the column out if it holds something else, or name the score columns as they are"
            if order is None
            else "all agree if the score columns are, in their order, "
            f"{', '.join(classes[order[classes.index(column)]] for column in columns)}: name them so in a header"
        )
        raise InputError(
            f"the scores must agree with the decisions beside them, but in {against.size:,} of {len(values):,} rows of "
            f"{path} another class has the highest score, such as {classes[int(values[row].argmax())]} for "
            f"{classes[decided[row]]} in {cells.index[row]}: {remedy}"
        )


def _order_that_agrees(decided: npt.NDArray[np.int_], values: Values) -> list[int] | None:
    """The class that each column of ``values`` must be for every decision to have the highest score, if that is one."""
    count = values.shape[1]
    met = np.zeros((count, count))
    np.add.at(met, (values.argmax(axis=1), decided), 1)
    columns, order = linear_sum_assignment(met, maximize=True)
    column_of = np.empty(count, int)
    column_of[order] = columns
    told = np.count_nonzero(met[columns, order])  # a class that is never decided for can only be the one left over
    agrees = (values[np.arange(len(values)), column_of[decided]] == values.max(axis=1)).all()
    return [int(k) for k in order] if agrees and told >= count - 1 else None
