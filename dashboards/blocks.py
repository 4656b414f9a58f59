"""What a page consists of, whether a server shows it or a report holds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True)
class Figure:
    """A figure of `asc_study.figures`, which carries its question and its answer.

    Attributes
    ----------
    figure
        With its title in ``layout.title`` and its sentence in ``layout.meta``.
    name
        Of the files that it is saved as, and of what is clicked in it; unique on its page.
    table
        The numbers behind it, shown folded below, which can be saved as CSV, Markdown and LaTeX.
    clickable
        Whether a click on it leads somewhere (see `dashboards.registry.Page.clicked`).
    """

    figure: go.Figure
    name: str
    table: pd.DataFrame | None = None
    clickable: bool = False


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers, one row a line.

    Attributes
    ----------
    title
        Its heading.
    name
        Of the files that it is saved as; unique on its page.
    frame
        Its columns in order.
    digits
        Decimals of numbers that are no whole numbers; a column's own in ``numbered``.
    links
        Column -> the address behind each of its cells (empty: none), of this site or another.
    sounds
        The address of each row's recording, played in a column of its own; empty: there are none. No report holds it.
    """

    title: str
    name: str
    frame: pd.DataFrame
    digits: int = 1
    numbered: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sounds: Sequence[str] = ()


@dataclass(frozen=True)
class Cell:
    """A figure in a grid: its text, its value to sort by, and what is known of it.

    ``low`` and ``high`` are the ends of its interval, ``rank`` is ``best``, ``even`` (not different from the best),
    ``sure`` (a difference that is more than noise) or empty, ``link`` is an address of this site.
    """

    value: float | None
    text: str
    low: float | None = None
    high: float | None = None
    rank: str = ""
    link: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a grid: ``name`` (the system, with its swatch), ``text``, ``figure``, or ``difference``."""

    field: str
    heading: str
    kind: Literal["name", "text", "figure", "difference"] = "figure"
    group: str = ""
    width: int = 96


@dataclass(frozen=True)
class Grid:
    """A table to sort, filter and search: systems with intervals and marks.

    Attributes
    ----------
    title
        Its heading, the question that it answers.
    sentence
        The answer, and what its marks mean.
    hint
        What a mouse finds in it, said where there may be one.
    columns, rows
        A row is field -> text or `Cell`; ``colour`` and ``symbol`` are its swatch, ``link`` leads to its runs.
    exports
        What it is called -> the address of the whole table in that form.
    """

    title: str
    sentence: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    exports: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""


@dataclass(frozen=True)
class Note:
    """A line to the reader: what is shown, what is missing and the command that makes it, or what failed.

    ``links``: what they are called -> addresses, of this site or another.
    """

    text: str
    command: str = ""
    kind: Literal["note", "empty", "error"] = "note"
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Live:
    """Something that needs the server, such as a player of clips: a component of Dash. No report holds it."""

    component: Any


Block = Figure | Table | Grid | Note | Live

#: Rows of a table behind a figure that are shown; all are in what is saved.
MOST_ROWS: Final = 200


def text_of(value: Any, digits: int) -> str:
    """A value of a table as it is shown."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.{digits}f}".replace(".000", "")
    return "" if value is None else str(value)
