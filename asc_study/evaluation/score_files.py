"""Files of scores as tables of cells: text in every usual form, or parquet; what the cells mean is told elsewhere."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.files import read_input
from asc_study.base.taxonomy import CLASSES
from asc_study.evaluation.decision_column import DECISION_COLUMN
from asc_study.evaluation.parquet_file import read_parquet

#: Columns that may name the clip of a row.
NAME_COLUMNS: Final = ("filename", "file", "clip_id", "file_name")


_PARQUET_SUFFIXES: Final = (".parquet", ".pq")


_ACCEPTED: Final = "give text separated by tabs, semicolons, commas or spaces, or a .parquet file"


#: A number as half of the world writes it.
_DECIMAL_COMMA: Final = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")


@dataclass(frozen=True)
class ScoreFile:
    """A file of scores: its cells under named columns, the place of each row as index, and how it was written."""

    cells: pd.DataFrame
    has_header: bool
    decimal_commas: bool = False


def read_score_file(path: Path) -> ScoreFile:
    """Read the cells of a file of scores; a text without header gets the columns that its numbers stand for.

    Raises
    ------
    InputError
        If the file cannot be read or its lines are not alike.
    """
    return _read_parquet(path) if path.suffix.lower() in _PARQUET_SUFFIXES else _read_text(path)


def _read_text(path: Path) -> ScoreFile:
    """Read separated text; a file without header gets the columns that its numbers stand for."""
    lines = _lines(path)
    separator = _separator(lines[0])
    rows, decimal_commas = [], False
    for number, line in enumerate(lines, start=1):
        try:
            # The csv module takes off quotes, but cannot split at runs of spaces.
            cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True)) if separator else line.split()
        except csv.Error as error:
            raise InputError(f"{path} line {number} cannot be taken apart ({error}): {_ACCEPTED}") from None
        row = [cell.strip() for cell in cells]
        written = [place for place, cell in enumerate(row) if separator != "," and _DECIMAL_COMMA.fullmatch(cell)]
        for place in written:
            row[place] = row[place].replace(",", ".")
        decimal_commas = decimal_commas or bool(written)
        rows.append(row)
        if len(cells) != len(rows[0]):
            raise InputError(
                f"every line of {path} must have as many cells as the first: line {number} has {len(cells)}, expected "
                f"{len(rows[0])}: mend the line"
            )
    numeric = [not np.isnan(as_number(cell)) or cell.lower().lstrip("+-") == "nan" for cell in rows[0]]
    named = sum(cell in classes for cell in rows[0] for classes in CLASSES.values())
    # A line of data holds numbers and at most one class name, the decision.
    has_header = named > 1 or not any(numeric)
    header = rows[0] if has_header else _columns_of_numbers(path, numeric)
    places = [f"line {number}" for number in range(1, len(rows) + 1)]
    start = int(has_header)
    return ScoreFile(
        pd.DataFrame(rows[start:], columns=header, index=places[start:], dtype=object), has_header, decimal_commas
    )


def _separator(line: str) -> str | None:
    """What separates the cells of a line; None for runs of spaces."""
    found = next((mark for mark in ("\t", ";", ",") if mark in line), None)
    with_commas = [cell for cell in line.split() if "," in cell]
    decimal = len(with_commas) > 1 and all(map(_DECIMAL_COMMA.fullmatch, with_commas))
    return None if found == "," and decimal else found


def _lines(path: Path) -> list[str]:
    """The lines of a text file without the empty ones at its end; there is at least one."""
    try:
        # Some programs put a byte order mark in front, which "utf-8-sig" takes off.
        text = read_input(path, "scores").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start:,}): {_ACCEPTED}") from None
    if "\0" in text:
        raise InputError(f"{path} is not text (a zero byte at character {text.index(chr(0)):,}): {_ACCEPTED}")
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputError(f"{path} is empty: {_ACCEPTED}")
    return lines


def _columns_of_numbers(path: Path, numeric: Sequence[bool]) -> list[str]:
    """Name the columns of a file without header by the number of its scores."""
    others = numeric.index(True)
    task = {len(classes): task for task, classes in CLASSES.items()}.get(len(numeric) - others)
    if task is None or others > 2:
        expected = " or ".join(f"{len(classes)} scores ({task})" for task, classes in CLASSES.items())
        raise InputError(
            f"a file without header must have {expected} a line, after the file name and the decision if they are "
            f"there; line 1 of {path} has {len(numeric) - others} after {others} other cells: name the columns in a "
            "header"
        )
    return [*("filename", DECISION_COLUMN)[:others], *CLASSES[task]]


def _read_parquet(path: Path) -> ScoreFile:
    """Read a parquet file; an index that has a name counts as a column."""
    cells = read_parquet(path, "scores", _ACCEPTED)
    named = [name for name in cells.index.names if name is not None]
    if named:
        cells = cells.reset_index(drop=all(name in cells.columns for name in named))
    cells.columns = pd.Index([str(column) for column in cells.columns])
    return ScoreFile(cells.set_axis([f"row {number}" for number in range(1, len(cells) + 1)]), has_header=True)


def as_number(cell: object) -> float:
    """A cell as a number, NaN if it is none."""
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")
