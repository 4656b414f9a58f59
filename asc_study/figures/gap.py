"""Several systems: good everywhere, or on device A alone."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from asc_study.base.metric_table import ALL_CLIPS, Metric
from asc_study.evaluation.pareto import front
from asc_study.figures.robustness import Looks
from asc_study.figures.theme import REFERENCE, finish, listed, percent


def gap_figure(board: pd.DataFrame, looks: Looks, gap: Metric) -> go.Figure:
    """The accuracy on all clips against what is lost from the reference device to devices never heard.

    Parameters
    ----------
    board
        One row a system: ``row``, the accuracy on all clips, the gap, and the accuracy on devices never heard, in per
        cent.
    looks
        System -> colour and symbol.
    gap
        What `asc_study.base.metric_table.gap_among` finds among the columns.
    """
    lost, (reference, unseen) = gap.name, gap.difference_of or ("", "")
    heard, never_heard = (name.removeprefix("device_acc_").removeprefix("acc_") for name in (reference, unseen))
    board = board[board[ALL_CLIPS.metric].notna() & board[lost].notna()].reset_index(drop=True)
    figure = go.Figure()
    best = front(board[lost].to_numpy(), board[ALL_CLIPS.metric].to_numpy())
    line = {"color": REFERENCE, "width": 1.2, "dash": "dot"}
    edge = board.loc[best].sort_values(lost)
    figure.add_trace(
        go.Scatter(
            x=edge[lost], y=edge[ALL_CLIPS.metric], mode="lines", line=line, name="Pareto front", hoverinfo="skip"
        )
    )
    written = len(board) <= 12
    for _, row in board.iterrows():
        colour, symbol = looks[row["row"]]
        figure.add_trace(
            go.Scatter(
                x=[row[lost]],
                y=[row[ALL_CLIPS.metric]],
                mode="markers+text" if written else "markers",
                text=[row["row"]] if written else None,
                textposition="top center",
                textfont={"size": 12},
                marker={"color": colour, "symbol": symbol, "size": 10},
                name=row["row"],
                showlegend=False,
                cliponaxis=False,
                hovertemplate="%{fullData.name}<br>all clips %{y:.1f} %<br>"
                f"lost from {heard} to {never_heard} %{{x:.1f}} points<br>"
                f"{never_heard}: {percent(row[unseen])}<extra></extra>",
            )
        )
    figure.update_xaxes(title=f"lost from device {heard} to {never_heard} (points)").update_yaxes(
        title="accuracy, all clips (%)"
    )
    return finish(
        figure,
        f"Who is good everywhere, and not on {heard} alone?",
        _gap_sentence(board, best, lost, heard),
        height=480,
    )


def _gap_sentence(board: pd.DataFrame, best: Sequence[int], lost: str, heard: str) -> str:
    names = [str(board["row"][place]) for place in best]
    who = listed(names) if len(names) <= 4 else f"{len(names)} systems"
    least = board.iloc[int(board[lost].argmin())]
    return (
        f"Up and left is better. No other system beats {who} in both. {least['row']} loses least: "
        f"{least[lost]:.1f} points from device {heard} to the devices never heard."
    )
