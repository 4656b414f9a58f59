"""The figures of a study: its systems side by side on each device subset, best first, one figure a task."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.base.metric_table import ALL_CLIPS, SUBSETS, Subset
from asc_study.base.taxonomy import CLASSES
from asc_study.figures.theme import BLUE, LAYOUT, REFERENCE, TINT, UNSEEN, VERMILION, chance, finish, percent

#: Column of a board that is true of a system -> what is said of it, the worst first.
MARKS: Final = {"collapsed": "collapsed", "below_baseline": "below the baseline"}

_TITLES: Final = {"ten_class": "ten scenes", "three_class": "three scene groups"}

_ROW_HEIGHT: Final = 34

#: Longer names of rows are cut in the figure; the whole one is shown where the mouse is.
_LONGEST: Final = 28


def study_figures(board: pd.DataFrame) -> list[go.Figure]:
    """One figure for each task of a leaderboard, see `study_figure`; rows without a finished run are left out."""
    tasks = board["task"] if "task" in board else pd.Series("ten_class", index=board.index)
    found = ((task, board[(tasks == task) & board[ALL_CLIPS.metric].notna()]) for task in CLASSES)
    return [study_figure(rows, task) for task, rows in found if len(rows)]


def study_figure(board: pd.DataFrame, task: str = "ten_class") -> go.Figure:
    """The systems of one task as rows, sorted by the accuracy on all clips, and the device subsets as columns.

    Parameters
    ----------
    board
        One row a system: ``row`` (its name), for `ALL_CLIPS` and each of `SUBSETS` the accuracy in per cent in the
        column of its metric and, as far as there are, the ends of its interval (``<metric>_lo``, ``<metric>_hi``) or
        its standard deviation over seeds (``<metric>_sd``); ``seeds``; and booleans: ``baseline`` (the system that the
        others should beat, drawn as a line too) and those of `MARKS`.
    task
        Which task, for the level of chance.
    """
    board = board.sort_values(ALL_CLIPS.metric, ascending=False, kind="stable").reset_index(drop=True)
    columns = [one for one in (*SUBSETS, ALL_CLIPS) if one.metric in board and board[one.metric].notna().any()]
    figure = make_subplots(
        rows=1, cols=len(columns), shared_yaxes=True, horizontal_spacing=0.015, column_titles=list(map(_head, columns))
    )
    floor = board[_flag(board, "baseline")].head(1)
    for number, subset in enumerate(columns, 1):
        where = {"row": 1, "col": number}
        for mark, rows in _by_mark(board):
            figure.add_trace(_dots(rows, subset, mark), 1, number)
        levels = [(chance(task), "dot")] + [(level, "dash") for level in floor[subset.metric].dropna()]
        for level, dash in levels:
            figure.add_vline(x=level, line={"color": REFERENCE, "width": 1.5, "dash": dash}, **where)
        if subset.name == UNSEEN:
            figure.add_vrect(x0=0, x1=100, fillcolor=TINT, line_width=0, layer="below", **where)
    figure.update_xaxes(range=[0, 103], tickvals=[0, 50, 100], tickangle=0)
    figure.update_yaxes(
        tickvals=list(board.index), ticktext=_labels(board), range=[len(board) - 0.5, -0.7], showgrid=False
    )
    figure.add_annotation(
        text="accuracy (%)", x=0.5, xref="paper", y=0, yref="paper", yshift=-26, yanchor="top", font={"size": 13}
    )
    title = "Which system holds on which devices?"
    title += f" ({_TITLES[task]})" if task in _TITLES else ""
    height = _ROW_HEIGHT * len(board) + 210
    finish(figure, title, _sentence(board, task), height=height, least_width=700)
    return figure.update_layout(margin={"t": LAYOUT["margin"]["t"] + 40, "b": 60}, showlegend=False)


def _head(subset: Subset) -> str:
    notes = {"s1-s3": "heard", UNSEEN: "never heard"}
    return f"<b>{subset.heading if subset is not ALL_CLIPS else 'all clips'}</b><br>{notes.get(subset.name, ' ')}"


def _by_mark(board: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows with each mark; a row that has several has the worst."""
    left = np.ones(len(board), bool)
    for column, mark in {**MARKS, "baseline": "baseline"}.items():
        chosen = left & _flag(board, column)
        left &= ~chosen
        if chosen.any():
            yield mark, board[chosen]
    if left.any():
        yield "", board[left]


def _flag(board: pd.DataFrame, column: str) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    if column not in board:
        return np.zeros(len(board), bool)
    flags: np.ndarray[tuple[int], np.dtype[np.bool_]] = board[column].eq(True).to_numpy(bool)
    return flags


def _dots(rows: pd.DataFrame, subset: Subset, mark: str) -> go.Scatter:
    value = rows[subset.metric]
    low, high = _ends(rows, subset.metric)
    colour = {"": BLUE, "baseline": REFERENCE}.get(mark, VERMILION)
    symbol = {"": "circle", "baseline": "square"}.get(mark, "x")
    words = [f"{mark}<br>" if mark else ""] * len(rows)
    return go.Scatter(
        x=value,
        y=rows.index,
        error_x={
            "array": (high - value).fillna(0),
            "arrayminus": (value - low).fillna(0),
            "color": colour,
            "thickness": 2,
            "width": 0,
        },
        mode="markers+text",
        marker={"color": colour, "symbol": symbol, "size": 8},
        text=[f"{one:.1f}" if np.isfinite(one) else "" for one in value],
        textposition="top center",
        textfont={"size": 11},
        cliponaxis=False,
        customdata=list(zip(rows["row"], low, high, words, strict=True)),
        hovertemplate="%{customdata[0]}<br>%{customdata[3]}%{x:.1f} % (%{customdata[1]:.1f} to %{customdata[2]:.1f})"
        f"<extra>{subset.heading}</extra>",
    )


def _ends(rows: pd.DataFrame, metric: str) -> tuple[pd.Series, pd.Series]:
    """The ends of the line through a dot: of the interval, else one standard deviation; NaN where neither is known."""
    unknown = pd.Series(np.nan, index=rows.index)
    spread = rows.get(f"{metric}_sd", unknown)
    low, high = rows.get(f"{metric}_lo", unknown), rows.get(f"{metric}_hi", unknown)
    return low.fillna(rows[metric] - spread), high.fillna(rows[metric] + spread)


def _labels(board: pd.DataFrame) -> list[str]:
    marks = {index: mark for mark, rows in _by_mark(board) for index in rows.index if mark and mark != "baseline"}
    labels = []
    for index, name in enumerate(board["row"]):
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        labels.append(f"{short}<br><span style='font-size:11px'>{marks[index]}</span>" if index in marks else short)
    return labels


def _sentence(board: pd.DataFrame, task: str) -> str:
    best = board.iloc[0]
    sentence = f"{best['row']} is best on all clips with {percent(best[ALL_CLIPS.metric])}"
    unseen = next(one for one in SUBSETS if one.name == UNSEEN)
    if unseen.metric in board and board[unseen.metric].notna().any():
        there = board.iloc[int(board[unseen.metric].argmax())]
        if there["row"] == best["row"]:
            sentence += f", and on the devices never heard with {percent(there[unseen.metric])}"
        else:
            sentence += f", {there['row']} on the devices never heard with {percent(there[unseen.metric])}"
    parts = [*_lines(board), f"dotted: chance ({percent(chance(task))})"]
    parts += ["dashed: the baseline"] if _flag(board, "baseline").any() else []
    found = [f"{len(rows)} {mark}" for mark, rows in _by_mark(board) if mark in MARKS.values()]
    parts += [f"crosses: {', '.join(found)}"] if found else []
    return f"{sentence} ({'; '.join(parts)})."


def _lines(board: pd.DataFrame) -> list[str]:
    """What the lines through the dots are."""
    metric = ALL_CLIPS.metric
    if f"{metric}_lo" in board and board[f"{metric}_lo"].notna().any():
        return ["lines: 95 % intervals over locations"]
    if f"{metric}_sd" in board and board[f"{metric}_sd"].notna().any():
        return ["lines: one standard deviation over seeds"]
    return []
