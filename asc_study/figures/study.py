"""The figures of a study: its systems on each device subset, and what each changes against a reference.

One figure a task and question, systems as rows, the best first, subsets as columns.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.base.metric_table import ALL_CLIPS, Subset, subsets_among, unseen_among
from asc_study.base.taxonomy import CLASSES
from asc_study.evaluation.marks import COLLAPSED, MARKS, mark_column
from asc_study.figures.theme import (
    BLUE,
    LAYOUT,
    REFERENCE,
    TINT,
    VERMILION,
    chance,
    finish,
    listed,
    percent,
    told_task,
    upright,
)

#: Column of a board that is true of a system -> what is said of it, the worst first.
_MARKS: Final = {mark_column(mark): mark for mark in MARKS}

_BASELINE: Final = "baseline"

#: What a row is marked as -> colour and symbol.
_LOOKS: Final = {"": (BLUE, "circle"), _BASELINE: (REFERENCE, "square")}

_ROW_HEIGHT: Final = 34

#: Differences that an axis is marked at, the highest that is in reach.
_STEPS: Final = (80, 60, 50, 40, 30, 20, 15, 12, 10, 8, 6, 5, 4, 3, 2, 1)

#: Longer names of rows are cut in the figure; the whole one is shown where the mouse is.
_LONGEST: Final = 28


def study_figures(board: pd.DataFrame) -> list[go.Figure]:
    """The figures of a leaderboard, task by task; rows without a finished run are left out.

    Parameters
    ----------
    board
        See `study_figure` and `change_figure`; besides ``task``.
    """
    figures = []
    tasks = board["task"] if "task" in board else pd.Series("ten_class", index=board.index)
    for task in CLASSES:
        rows = board[(tasks == task) & board[ALL_CLIPS.metric].notna()]
        if len(rows):
            figures.append(study_figure(rows, task))
        if "reference" in rows:  # rows of other data have another reference
            figures += [change_figure(compared, task) for _, compared in rows.groupby("reference", sort=False)]
    return figures


def study_figure(board: pd.DataFrame, task: str = "ten_class") -> go.Figure:
    """The accuracy of the systems of one task, sorted by that on all clips.

    Parameters
    ----------
    board
        One row a system: ``row`` (its name), for `ALL_CLIPS` and each subset the accuracy in per cent in the
        column of its metric and, as far as there are, the ends of its interval (``<metric>_lo``, ``<metric>_hi``) or
        its standard deviation over seeds (``<metric>_sd``), and ``<metric>_rank`` (``even``: cannot be told from the
        best); booleans: ``baseline`` (the system that the others should beat, drawn as a line too), those of
        `asc_study.evaluation.marks`.
    task
        Which task, for the level of chance.
    """
    board = board.sort_values(ALL_CLIPS.metric, ascending=False, kind="stable", ignore_index=True)
    columns = _columns(board)
    figure, shapes = _panels(columns, _labels(board))
    floor = board[_flag(board, _BASELINE)].head(1)
    for number, subset in enumerate(columns, 1):
        where = {"row": 1, "col": number}
        for mark, rows in _by_mark(board):
            low, high = _ends(rows, subset.metric)
            colour, symbol = _LOOKS.get(mark, (VERMILION, "x"))
            dots = _dots(rows, rows[subset.metric], low, high, colour)
            figure.add_trace(dots.update(marker={"symbol": symbol}, customdata=_hover(rows, low, high, mark)), **where)
        shapes.append(upright(chance(task), number, dash="dot"))
        shapes += [upright(level, number, dash="dash") for level in floor[subset.metric].dropna()]
    figure.update_xaxes(range=[0, 103], tickvals=[0, 50, 100]).update_layout(shapes=shapes)
    title = f"Which system holds on which devices? ({told_task(task)})"
    return _finish(figure, title, _sentence(board, task), len(board), "accuracy (%)")


def change_figure(board: pd.DataFrame, task: str = "ten_class") -> go.Figure:
    """The paired difference of the systems of one task to the reference that they share.

    Parameters
    ----------
    board
        One row a system, without the reference itself: ``row``, ``reference``, and for `ALL_CLIPS` and each
        subset ``<metric>_change`` in points, the ends of its interval ``_change_lo``, ``_change_hi``, and
        ``_change_significant``; sorted as `study_figure` sorts. Rows that collapsed are left out if there are
        others: beside what they lost, nobody would see what the others gained.
    task
        Which task.
    """
    board = board.sort_values(ALL_CLIPS.metric, ascending=False, kind="stable", ignore_index=True)
    collapsed = _flag(board, mark_column(COLLAPSED))
    left_out = int(collapsed.sum()) if not collapsed.all() else 0
    board = board[~collapsed].reset_index(drop=True) if left_out else board
    columns = [one for one in _columns(board) if f"{one.metric}_change" in board]
    figure, shapes = _panels(columns, _labels(board))
    reach = 1.0
    for number, subset in enumerate(columns, 1):
        change = f"{subset.metric}_change"
        low, high = _ends(board, change)
        filled = board[f"{change}_significant"].eq(True)
        reach = max(reach, np.nanmax(np.abs([low.fillna(board[change]), high.fillna(board[change])])))
        dots = _dots(board, board[change], low, high, BLUE, signs=True)
        dots.update(marker={"symbol": ["circle" if one else "circle-open" for one in filled]})
        figure.add_trace(dots.update(customdata=_hover(board, low, high, "")), 1, number)
        shapes.append(upright(0, number))
    step = next(one for one in _STEPS if one <= reach)  # within the panel: marks of two do not meet
    figure.update_xaxes(range=[-1.3 * reach, 1.3 * reach], tickvals=[-step, 0, step]).update_layout(shapes=shapes)
    reference = str(board["reference"].iloc[0])
    title = f"What does each system change against {reference}? ({told_task(task)})"
    return _finish(figure, title, _change_sentence(board, reference, left_out), len(board), "difference (points)")


def _columns(board: pd.DataFrame) -> list[Subset]:
    return [
        one
        for one in (*subsets_among(map(str, board)), ALL_CLIPS)
        if one.metric in board and board[one.metric].notna().any()
    ]


def _panels(columns: Sequence[Subset], labels: Sequence[str]) -> tuple[go.Figure, list[dict[str, Any]]]:
    """A panel for each subset, which share their rows; and the ground of that of devices never heard, as shapes."""
    names = ["all clips" if one is ALL_CLIPS else one.heading for one in columns]
    heads = [f"<b>{name}</b><br>{one.heard or ' '}" for name, one in zip(names, columns, strict=True)]
    spacing = {"shared_yaxes": True, "horizontal_spacing": 0.05}
    figure = make_subplots(rows=1, cols=len(columns), column_titles=heads, **spacing)
    figure.update_annotations(font_size=13)
    whole = {"x0": 0, "x1": 1, "y0": 0, "y1": 1, "yref": "paper"}
    area = {"type": "rect", "fillcolor": TINT, "line": {"width": 0}, "layer": "below", **whole}
    shapes = [
        {**area, "xref": f"x{number if number > 1 else ''} domain"}
        for number, subset in enumerate(columns, 1)
        if subset.unseen
    ]
    figure.update_xaxes(tickangle=0)
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=list(labels), range=[len(labels) - 0.5, -0.7], showgrid=False
    )
    return figure, shapes


def _finish(figure: go.Figure, title: str, sentence: str, rows: int, axis: str) -> go.Figure:
    figure.add_annotation(
        text=axis, x=0.5, xref="paper", y=0, yref="paper", yshift=-26, yanchor="top", font={"size": 13}
    )
    finish(figure, title, sentence, height=_ROW_HEIGHT * rows + 176, least_width=700)
    return figure.update_layout(margin={"t": LAYOUT["margin"]["t"] - 14, "b": 60}, showlegend=False)


def _dots(
    rows: pd.DataFrame, value: pd.Series, low: pd.Series, high: pd.Series, colour: str, *, signs: bool = False
) -> go.Scatter:
    """Dots at ``value`` with lines from ``low`` to ``high`` and the value as text above."""
    shape = "+.1f" if signs else ".1f"
    return go.Scatter(
        x=value,
        y=rows.index,
        ids=list(rows["row"]),
        name=str(value.name),
        error_x={
            "array": (high - value).fillna(0),
            "arrayminus": (value - low).fillna(0),
            "color": colour,
            "thickness": 2,
            "width": 0,
        },
        mode="markers+text",
        marker={"color": colour, "size": 8},
        text=[f"{one:{shape}}" if np.isfinite(one) else "" for one in value],
        textposition="top center",
        textfont={"size": 11},
        cliponaxis=False,
        hovertemplate="%{customdata[0]}<br>%{x:" + shape + "} (%{customdata[1]:" + shape + "} to %{customdata[2]:"
        f"{shape}}})<br>%{{customdata[3]}}<extra></extra>",
    )


def _hover(rows: pd.DataFrame, low: pd.Series, high: pd.Series, mark: str) -> list[tuple[Any, ...]]:
    return list(zip(rows["row"], low, high, [mark] * len(rows), strict=True))


def _by_mark(board: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows with each mark; a row that has several has the worst."""
    left = np.ones(len(board), bool)
    for column, mark in {**_MARKS, _BASELINE: _BASELINE}.items():
        chosen = left & _flag(board, column)
        left &= ~chosen
        if chosen.any():
            yield mark, board[chosen]
    if left.any():
        yield "", board[left]


def _flag(board: pd.DataFrame, column: str) -> npt.NDArray[np.bool_]:
    if column not in board:
        return np.zeros(len(board), bool)
    flags: npt.NDArray[np.bool_] = board[column].eq(True).to_numpy(bool)
    return flags


def _ends(rows: pd.DataFrame, metric: str) -> tuple[pd.Series, pd.Series]:
    """The ends of the line through a dot: of the interval, else one standard deviation; NaN where neither is known."""
    unknown = pd.Series(np.nan, index=rows.index)
    spread = rows.get(f"{metric}_sd", unknown)
    low, high = rows.get(f"{metric}_lo", unknown), rows.get(f"{metric}_hi", unknown)
    return low.fillna(rows[metric] - spread), high.fillna(rows[metric] + spread)


def _labels(board: pd.DataFrame) -> list[str]:
    marks = {index: mark for mark, rows in _by_mark(board) for index in rows.index if mark in _MARKS.values()}
    labels = []
    for index, name in enumerate(board["row"]):
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        labels.append(f"{short}<br><span style='font-size:11px'>{marks[index]}</span>" if index in marks else short)
    return labels


def _sentence(board: pd.DataFrame, task: str) -> str:
    best = str(board["row"][0])
    sentence = f"{best} is best on all clips with {percent(board[ALL_CLIPS.metric][0])}"
    sentence += _told_apart(board, ALL_CLIPS.metric)
    unseen = unseen_among(map(str, board))
    metric = unseen.metric if unseen else ""
    if metric and board[metric].notna().any():
        place = int(board[metric].argmax())
        name = "" if place == 0 else f" {board['row'][place]}"
        sentence += f";{name} on the devices never heard with {percent(board[metric][place])}"
        sentence += _told_apart(board, metric)
    parts = [*_lines(board), f"dotted: chance ({percent(chance(task))})"]
    parts += ["dashed: the baseline"] if _flag(board, _BASELINE).any() else []
    found = [f"{len(rows)} {mark}" for mark, rows in _by_mark(board) if mark in _MARKS.values()]
    parts += [f"crosses: {', '.join(found)}"] if found else []
    legend = "; ".join(parts)
    return f"{sentence}. {legend[0].upper()}{legend[1:]}."


def _told_apart(board: pd.DataFrame, metric: str) -> str:
    """Which systems cannot be told from the best of a metric, as far as that is known."""
    if f"{metric}_rank" not in board:
        return ""
    even = [str(name) for name in board["row"][board[f"{metric}_rank"] == "even"]]
    if not even:
        return ""
    return f" (not to be told apart from it: {listed(even) if len(even) <= 3 else f'{len(even)} others'})"


def _lines(board: pd.DataFrame) -> list[str]:
    """What the lines through the dots are."""
    for end, words in (("lo", "95 % intervals over locations"), ("sd", "one standard deviation over seeds")):
        column = f"{ALL_CLIPS.metric}_{end}"
        if column in board and board[column].notna().any():
            return [f"lines: {words}"]
    return []


def _change_sentence(board: pd.DataFrame, reference: str, left_out: int) -> str:
    unseen = unseen_among(map(str, board))
    told = unseen if unseen and f"{unseen.metric}_change" in board else ALL_CLIPS
    where = "on all clips" if told is ALL_CLIPS else "on the devices never heard"
    change = f"{told.metric}_change"
    legend = f"Filled: more than noise, open: not{f'; left out: {left_out} collapsed' if left_out else ''}."
    if not board[change].notna().any():
        return f"Paired on the same clips as {reference}. {legend}"
    place = int(board[change].argmax())
    low, high = (float(end[place]) for end in _ends(board, change))
    between = "" if np.isnan(low) else f" (95 % interval {low:+.1f} to {high:+.1f})"
    sure = board[f"{change}_significant"].eq(True)
    verdict = "more than noise" if sure[place] else "which may be noise"
    return (
        f"{board['row'][place]} gains most {where}: {board[change][place]:+.1f} points{between}, {verdict}; "
        f"{int(sure.sum()) or 'none'} of {len(board)} differ from {reference} there by more than noise. {legend}"
    )
