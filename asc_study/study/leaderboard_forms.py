"""The leaderboard as people read it: text, Markdown, LaTeX, CSV, JSON, all of the one frame of `leaderboard`.

A figure is the mean over seeds, with half of its 95 % interval behind ±. The best of each column is marked, and so is
what is not significantly different from it.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import pandas as pd

from asc_study.augmentation import WAVEFORM_AUGMENTATIONS
from asc_study.base.metric_table import ALL_CLIPS, Metric, columns_among
from asc_study.base.taxonomy import CLASSES
from asc_study.base.text_table import text_table
from asc_study.evaluation.accuracy_table import cell
from asc_study.evaluation.marks import LEGEND
from asc_study.evaluation.significance import same_copies_note
from asc_study.settings.published import DEPLOYED
from asc_study.store.references import HASH_DIGITS

Form = Literal["text", "markdown", "latex", "csv", "json"]
FORMS: Final = get_args(Form)

#: Characters of a line of text; names are broken into several lines where a table is wider.
WIDTH: Final = 120

#: Narrowest column of names: a combination's digits in brackets fit on a line.
_NARROWEST: Final = HASH_DIGITS + 2

#: Marks a row whose seeds have several execution fingerprints.
_MIXED: Final = "^"

_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    }
)


@dataclass(frozen=True)
class _Cell:
    """A figure, half of its interval, and how it stands: ``best``, ``even``, ``sure`` (a difference), or nothing."""

    text: str
    half: str = ""
    rank: str = ""


@dataclass(frozen=True)
class _Table:
    """A table of texts and figures: the first ``names`` columns are texts."""

    header: Sequence[str]
    rows: Sequence[Sequence[_Cell]]
    names: int
    notes: Sequence[str]


def render(board: pd.DataFrame, study: str, form: Form = "text", *, metric: str | None = None) -> str:
    """Lay a leaderboard out.

    Parameters
    ----------
    board
        See `asc_study.study.leaderboard.leaderboard`.
    study
        Its name.
    form
        ``text`` (at most `WIDTH` wide if names can be broken), ``markdown``, ``latex`` (booktabs), ``csv`` or ``json``
        (these two with every column of the frame; unknown is empty or null).
    metric
        The column of Table 1 whose difference to the reference row is shown; by default the accuracy on all clips.
    """
    if form == "csv":
        return str(board.to_csv(index=False)).rstrip("\n")
    if form == "json":
        rows = [{key: _plain(value) for key, value in row.items()} for row in board.to_dict("records")]
        return json.dumps({"study": study, "rows": rows}, indent=2)
    columns = {column.name: column for column in columns_among(map(str, board))}
    table = _table(board, columns.get((metric or "").removeprefix("test/"), columns[ALL_CLIPS.metric]))
    title = f"Study {study} (test split)"
    if form == "markdown":
        return _markdown(table, title)
    return _latex(table, title) if form == "latex" else _text(table, title)


def unique_names(board: pd.DataFrame) -> list[str]:
    """The rows' names; with the combination's digits where one stands for several, and always of orphans."""
    told = board["row"].duplicated(keep=False) | (board["state"] == "orphaned")
    digits = board["hash"] if "hash" in board else pd.Series(index=board.index, dtype=object)
    return [
        f"{name} [{digit}]" if again and isinstance(digit, str) else name
        for name, again, digit in zip(board["row"], told, digits, strict=True)
    ]


def _table(board: pd.DataFrame, metric: Metric) -> _Table:
    folded = int(board["folded"].sum())
    board = board[~board["folded"]]
    several = [column for column in ("task", "dataset_digest") if column in board and board[column].nunique() > 1]
    marked = any(_mark(row) for row in board.to_dict("records"))
    columns = [column for column in columns_among(map(str, board)) if _has_figures(board, column.name)]
    compared = f"{metric.name}_change" in board
    told = [name for name in DEPLOYED if f"published_{name}" in board]
    deployed = [name for name in DEPLOYED if name in told or (told and name in board and board[name].notna().any())]
    names = ["Row", "System"] + ["Mark"] * marked
    names += [{"task": "Classes", "dataset_digest": "Data"}[column] for column in several]
    header = [*names, "Seeds", *(column.heading for column in columns), *["Difference"] * compared]
    header += [DEPLOYED[name] for name in deployed]
    rows = []
    for row, name in zip(board.to_dict("records"), unique_names(board), strict=True):
        about = [_system(row)] + [_text_of(_mark(row))] * marked
        about += [_data(row) if column == "dataset_digest" else _classes(row) for column in several]
        theirs = [cell(column, row.get(f"published_{column.name}")) for column in columns]
        theirs += ["-"] * compared + [_number(row.get(f"published_{name}")) for name in deployed]
        published = any(figure != "-" for figure in theirs)
        if row["seeds"] or not published:
            mixed = _MIXED if row.get("fingerprints", 1) > 1 else ""
            ours = [_Cell(text) for text in (name, *about, f"{row['seeds']}{mixed}")]
            ours += [_figure(row, column) for column in columns] + [_difference(row, metric)] * compared
            rows.append([*ours, *(_Cell(_number(row.get(name))) for name in deployed)])
            name = ""
        if published:
            blank = [""] * (len(about) - 1)
            rows.append([_Cell(text) for text in (name, "published", *blank, "", *theirs)])
    return _Table(header, rows, len(names), _notes(board, metric if compared else None, deployed, folded))


def _notes(board: pd.DataFrame, compared: Metric | None, deployed: Sequence[str], folded: int) -> list[str]:
    notes = ["accuracy in %, log loss in nats; ± is half of the 95 % interval over locations, and seeds where several"]
    if any(f"{column.name}_rank" in board for column in columns_among(map(str, board))):
        notes.append("*: best of its column; ~: not significantly different from the best (paired, not corrected)")
    if compared:
        references = ", ".join(dict.fromkeys(board["reference"].dropna()))
        notes.append(f"difference: in {compared.heading} to {references}, paired; !: more than noise")
    if "fingerprints" in board and (board["fingerprints"] > 1).any():
        notes.append(f"{_MIXED} computed by different back ends, devices or library versions")
    copied = list(board["row"][(board["seeds"] > 1) & board["augmentation"].map(_has_copies)])
    if copied:
        notes.append(same_copies_note(copied))
    if "mark" in board:
        told = " ".join(board["mark"].fillna(""))
        notes += [f"{mark}: {meaning}" for mark, meaning in LEGEND.items() if mark in told]
    if (board["state"] == "orphaned").any():
        notes.append("orphaned: of other settings, seeds, code or data than the study has now, or made of such runs")
    if deployed:
        notes.append("kB: 1,024 bytes, of the weights in float32, of the quantised files, of what is not zero in them")
    if folded:
        notes.append(f"left out: {folded} quantised networks and steps of systems; --format csv has them")
    if "source" in board:
        notes.append(f"published: {'; '.join(board['source'].dropna().unique())}")
    return notes


def _has_copies(augmentation: Any) -> bool:
    """Whether a row's augmentations, as its cell has them, make copies, whose seed is a setting and not the run's."""
    return isinstance(augmentation, str) and not set(WAVEFORM_AUGMENTATIONS).isdisjoint(augmentation.split(" + "))


def _figure(row: Mapping[Any, Any], column: Metric) -> _Cell:
    rank = row.get(f"{column.name}_rank")
    shown = cell(column, row.get(column.name))
    return _Cell(shown, _half(row, column.name, column), rank if isinstance(rank, str) else "")


def _difference(row: Mapping[Any, Any], metric: Metric) -> _Cell:
    name = f"{metric.name}_change"
    value = row.get(name)
    if value is None or not np.isfinite(value):
        return _Cell("-")
    sure = "sure" if row[f"{name}_significant"] is True else ""
    return _Cell(f"{value + 0.0:+.{metric.digits}f}", _half(row, name, metric), sure)


def _half(row: Mapping[Any, Any], name: str, metric: Metric) -> str:
    low, high = row.get(f"{name}_lo"), row.get(f"{name}_hi")
    if low is None or high is None or not np.isfinite(high - low):
        return ""
    return f"{(high - low) / 2:.{metric.digits}f}"


def _system(row: Mapping[Any, Any]) -> str:
    """The architecture, the augmentations and the teacher, or what a row is made of."""
    architecture, augmentation = _text_of(row.get("architecture")), _text_of(row.get("augmentation"))
    text = architecture if augmentation in ("-", "none") else f"{architecture}: {augmentation}"
    teacher = _text_of(row.get("teacher"))
    return text if teacher == "-" else f"{text}, taught by {teacher}"


def _classes(row: Mapping[Any, Any]) -> str:
    return str(len(CLASSES[row["task"]])) if row.get("task") in CLASSES else "-"


def _data(row: Mapping[Any, Any]) -> str:
    return f"{row['dataset']} {row['dataset_digest'][:6]}" if isinstance(row.get("dataset"), str) else "-"


def _mark(row: Mapping[Any, Any]) -> str:
    """What is wrong with a row: what its runs are marked with, and that it is no row of the study now."""
    mark = row.get("mark")
    told = [mark] if isinstance(mark, str) and mark else []
    return ", ".join(told + ["orphaned"] * (row["state"] == "orphaned"))


def _number(value: Any) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.1f}".removesuffix(".0")


def _has_figures(board: pd.DataFrame, name: str) -> bool:
    return any(board[column].notna().any() for column in (name, f"published_{name}") if column in board)


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) and value else "-"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _text(table: _Table, title: str) -> str:
    """Halves of intervals stand behind their figures, or below them where the table would be too wide."""
    shown = _lines(table, below=False)
    if max(map(len, shown)) > WIDTH:
        shown = _lines(table, below=True)
    notes = [line for note in table.notes for line in textwrap.wrap(note, WIDTH)]
    return "\n".join([title, *shown, *notes])


def _lines(table: _Table, *, below: bool) -> list[str]:
    ranked = any(one.rank for row in table.rows for one in row)
    marks = {"best": "*", "even": "~", "sure": "!"}
    rows: list[list[list[str]]] = []  # a row is cells, a cell is lines
    for row in table.rows:
        cells = [[one.text] for one in row[: table.names]]
        for one in row[table.names :]:
            half, mark = f"±{one.half}" if one.half else "", marks.get(one.rank, " " * ranked)
            if below:
                cells.append([one.text + mark, *([half + " " * ranked] if half else [])])
            else:
                cells.append([f"{one.text} {half}".rstrip() + mark])
        rows.append(cells)
    if below:
        rows = _broken([[[name] for name in table.header], *rows], table.names)[1:]
    lines = [list(table.header)]
    for cells in rows:
        for number in range(max(map(len, cells))):
            lines.append([cell[number] if number < len(cell) else "" for cell in cells])
    return text_table(lines, left=range(table.names)).splitlines()


def _broken(rows: Sequence[Sequence[list[str]]], names: int) -> list[list[list[str]]]:
    """The rows with texts broken so that the table is no wider than `WIDTH`; figures are never broken."""
    widths = [max(len(line) for row in rows for line in row[i]) for i in range(len(rows[0]))]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths[:names]) > _NARROWEST:
        widths[widths.index(max(widths[:names]))] -= 1
    return [
        [textwrap.wrap(cell[0], width) or [""] for cell, width in zip(row[:names], widths, strict=False)]
        + list(row[names:])
        for row in rows
    ]


def _markdown(table: _Table, title: str) -> str:
    def written(one: _Cell) -> str:
        text = one.text.replace("|", "\\|")
        text = f"**{text}**" if one.rank in ("best", "sure") else text
        return text + (f" ±{one.half}" if one.half else "") + ("~" if one.rank == "even" else "")

    lines = [list(table.header), ["---"] * table.names + ["---:"] * (len(table.header) - table.names)]
    lines += [[written(one) for one in row] for row in table.rows]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines), "", *_bold(notes)])


def latex_text(text: str) -> str:
    """A text with the characters that LaTeX takes for commands written out."""
    return text.translate(_LATEX)


def _latex(table: _Table, title: str) -> str:
    def written(one: _Cell) -> str:
        text = latex_text(one.text) if one.text != "-" else "--"
        shape = {"best": r"\textbf", "sure": r"\textbf", "even": r"\underline"}.get(one.rank)
        return (f"{shape}{{{text}}}" if shape else text) + (rf" $\pm$ {one.half}" if one.half else "")

    lines = [" & ".join(latex_text(name) for name in table.header) + r" \\"]
    rows = [" & ".join(written(one) for one in row) + r" \\" for row in table.rows]
    notes = [note.replace("~:", "underlined:") for note in _bold(table.notes)]
    return "\n".join(
        [
            f"% {title}; needs \\usepackage{{booktabs}}",
            *(f"% {note}" for note in notes),
            rf"\begin{{tabular}}{{{'l' * table.names}{'r' * (len(table.header) - table.names)}}}",
            r"\toprule",
            *lines,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _bold(notes: Sequence[str]) -> list[str]:
    """The notes for forms that mark by bold type."""
    return [note.replace("*:", "bold:").replace("!:", "bold:") for note in notes]
