"""Several systems: good everywhere, or on device A alone."""

from collections.abc import Sequence
from typing import Final

import pandas as pd
import plotly.graph_objects as go

from asc_study.base.metric_table import ALL_CLIPS, BY_NAME
from asc_study.evaluation.pareto import front
from asc_study.figures.robustness import Looks
from asc_study.figures.theme import REFERENCE, UNSEEN, finish, listed, percent

_UNSEEN_ACCURACY: Final = f"acc_{UNSEEN}"
_GAP: Final = BY_NAME["gap_A_to_unseen"].name


def gap_figure(board: pd.DataFrame, looks: Looks) -> go.Figure:
    """The accuracy on all clips against what is lost from device A to devices never heard, with the Pareto front.

    Parameters
    ----------
    board
        One row a system: ``row``, the accuracy on all clips and the gap, both in per cent, and ``acc_s4-s6``.
    looks
        System -> colour and symbol.
    """
    board = board[board[ALL_CLIPS.metric].notna() & board[_GAP].notna()].reset_index(drop=True)
    figure = go.Figure()
    best = front(board[_GAP].to_numpy(), board[ALL_CLIPS.metric].to_numpy())
    line = {"color": REFERENCE, "width": 1.2, "dash": "dot"}
    edge = board.loc[best].sort_values(_GAP)
    figure.add_trace(
        go.Scatter(
            x=edge[_GAP], y=edge[ALL_CLIPS.metric], mode="lines", line=line, name="Pareto front", hoverinfo="skip"
        )
    )
    written = len(board) <= 12
    for _, row in board.iterrows():
        colour, symbol = looks[row["row"]]
        figure.add_trace(
            go.Scatter(
                x=[row[_GAP]],
                y=[row[ALL_CLIPS.metric]],
                mode="markers+text" if written else "markers",
                text=[row["row"]] if written else None,
                textposition="top center",
                textfont={"size": 12},
                marker={"color": colour, "symbol": symbol, "size": 10},
                name=row["row"],
                showlegend=False,
                cliponaxis=False,
                hovertemplate=f"%{{fullData.name}}<br>all clips %{{y:.1f}} %<br>lost from A to {UNSEEN} %{{x:.1f}} "
                f"points<br>{UNSEEN}: {percent(row[_UNSEEN_ACCURACY])}<extra></extra>",
            )
        )
    figure.update_xaxes(title=f"lost from device A to {UNSEEN} (points)").update_yaxes(title="accuracy, all clips (%)")
    return finish(figure, "Who is good everywhere, and not on A alone?", _gap_sentence(board, best), height=480)


def _gap_sentence(board: pd.DataFrame, best: Sequence[int]) -> str:
    names = [str(board["row"][place]) for place in best]
    who = listed(names) if len(names) <= 4 else f"{len(names)} systems"
    least = board.iloc[int(board[_GAP].argmin())]
    return (
        f"Up and left is better. No other system beats {who} in both. {least['row']} loses least: "
        f"{least[_GAP]:.1f} points from device A to the devices never heard."
    )
