"""What one system decides and how sure it is: the confusion matrix and the reliability diagram."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from asc_study.evaluation.by_clip import confusion_shares, most_frequent
from asc_study.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
    with_temperature,
)
from asc_study.evaluation.metrics import confusion
from asc_study.figures.confusions import confusion_heat, in_groups, matrix_height, spoken
from asc_study.figures.theme import BLUE, LEAST_CLIPS, REFERENCE, VERMILION, finish, listed, percent


def confusion_figure(test: pd.DataFrame) -> go.Figure:
    """Heat map of the confusion matrix, in per cent of each true class; scenes stand beside those of their group."""
    shares = confusion_shares([test])
    title, sentence = "Which scenes does it take for which?", _confusion_sentence(test, shares)
    return finish(confusion_heat(shares), title, sentence, height=matrix_height(list(shares.index)))


def _confusion_sentence(test: pd.DataFrame, shares: pd.DataFrame) -> str:
    decided = confusion(test).any()
    never = [spoken(name) for name in in_groups(list(decided.index)) if not decided[name]]
    sentence = f"In % of the clips of each true scene ({len(test)} test clips)"
    most = most_frequent(shares)
    if most is None:
        return f"{sentence}; every clip is right."
    share = percent(shares[most[1]][most[0]])
    sentence += f": most often {spoken(most[0])} is taken for {spoken(most[1])} ({share})"
    return f"{sentence}; it never decides for {listed(never)}." if never else f"{sentence}."


def reliability_figure(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Accuracy by confidence on test, before and after the temperature that was fitted on validation.

    Bins with fewer than `LEAST_CLIPS` clips are left out, and no line passes over them.
    """
    figure, test = go.Figure(), tables["test"]
    ends = {"mode": "lines", "line": {"color": REFERENCE, "dash": "dot"}, "name": "perfect"}
    figure.add_trace(go.Scatter(x=[0, 100], y=[0, 100], hoverinfo="skip", **ends))
    curves, errors = {"as it is": test}, []
    if len(tables.get("validation", ())):
        temperature = fit_temperature(tables["validation"])
        curves[f"with temperature {temperature:.2f}"] = with_temperature(test, temperature)
    marks = ((BLUE, "circle"), (VERMILION, "square"))
    left_out = 0
    for (name, table), (colour, symbol) in zip(curves.items(), marks, strict=False):
        curve = reliability_curve(table)
        few = curve["clips"] < LEAST_CLIPS
        left_out = max(left_out, int(curve["clips"][few].sum()))
        curve = curve.assign(accuracy=curve["accuracy"].where(~few))
        error = 100 * expected_calibration_error(table)
        errors.append(f"by {error:.1f} points {name}")
        trace = go.Scatter(
            x=100 * curve["confidence"],
            y=100 * curve["accuracy"],
            customdata=curve["clips"],
            mode="lines+markers",
            connectgaps=False,
            line={"color": colour, "width": 1.5},
            marker={"color": colour, "symbol": symbol, "size": 5 + 18 * np.sqrt(curve["clips"] / len(table))},
            name=name,
            hovertemplate="confidence %{x:.1f} %<br>accuracy %{y:.1f} %<br>%{customdata} clips<extra></extra>",
        )
        figure.add_trace(trace)
    figure.update_xaxes(title="confidence (%)", range=[0, 102]).update_yaxes(title="accuracy (%)", range=[0, 102])
    sentence = (
        f"On average confidence and accuracy differ {' and '.join(errors)} (test; marks grow with clips). Bins of "
        f"fewer than {LEAST_CLIPS} clips are left out of the figure: {left_out} of {len(test)} clips."
    )
    return finish(figure, "Are its probabilities to be believed?", sentence, height=480)
