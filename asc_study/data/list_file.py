"""One list of a data set: separated text with a header line, of which some columns are read."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.files import read_input
from asc_study.data.problems import Problem, shown

#: What separates the columns of a list, as far as a message or `data init` looks for it, and its name.
SEPARATORS: Final = {"\t": "tabs", ";": "';'", ",": "','", "|": "'|'"}


def read_list(
    path: Path,
    item: str,
    called: Mapping[str, str],
    separator: str,
    problems: list[Problem],
    *,
    optional: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read some columns of a list and collect what is wrong with it.

    Parameters
    ----------
    path
        The list.
    item
        What to call it in problems.
    called
        Column that it must have -> what it is called in the table.
    separator
        What separates the columns.
    problems
        Where problems are added.
    optional
        Columns that it may have, in the same way.

    Returns
    -------
    DataFrame
        Text; the columns that are there, and ``row``, which says where a row stands, for messages. Empty if the list is
        unreadable.
    """
    called = dict(called)
    empty = pd.DataFrame({column: pd.Series(dtype=str) for column in (*called.values(), "row")})
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
    rows = [
        (number, _fields(line.rstrip("\r"), separator)) for number, line in enumerate(lines, start=1) if line.strip()
    ]
    header = rows[0][1] if rows else []
    if not set(called) <= set(header) or len(set(header)) != len(header):
        expected = f"{', '.join(called)} with {SEPARATORS.get(separator, repr(separator))}"
        detail = f"line 1 must name the columns {expected}, got {shown(header)}{_other(header, called, separator)}"
        problems.append(Problem("malformed list", item, detail))
        return empty
    if not rows[1:]:
        problems.append(Problem("malformed list", item, "it names no clip"))
    for number, fields in rows[1:]:
        if len(fields) != len(header):
            detail = f"it must have {len(header)} columns, got {len(fields)}: {shown(fields)}"
            problems.append(Problem("malformed row", f"{item} line {number}", detail))
    good = [(number, fields) for number, fields in rows[1:] if len(fields) == len(header)]
    table = pd.DataFrame([fields for _, fields in good], columns=header, dtype=str)
    called |= {column: name for column, name in (optional or {}).items() if column in header}
    table = table[list(called)].rename(columns=called)
    return table.assign(row=[f"{item} line {number}" for number, _ in good])


def _fields(line: str, separator: str) -> list[str]:
    """The fields of a line; quotes around them are taken off, as spreadsheets write them."""
    if not line.startswith('"') and f'{separator}"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return line.split(separator)


def _other(header: list[str], called: Mapping[str, str], separator: str) -> str:
    """That the list has all columns with another separator, if it has."""
    line = separator.join(header)
    found = next((mark for mark in SEPARATORS if mark != separator and set(called) <= set(line.split(mark))), None)
    return f": its columns are separated by {SEPARATORS[found]}" if found else ""
