"""What one system decides and how sure it is: the confusion matrix and the reliability diagram."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENE_GROUPS
from asc_study.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
    with_temperature,
)
from asc_study.evaluation.metrics import confusion
from asc_study.figures.theme import BLUE, LEAST_CLIPS, REFERENCE, SHARES, VERMILION, finish, listed, percent


def confusion_figure(test: pd.DataFrame) -> go.Figure:
    """Heat map of the confusion matrix, in per cent of each true class; scenes stand beside those of their group."""
    counts = confusion(test)
    order = sorted(counts.index, key=lambda name: (SCENE_GROUPS.index(GROUP_OF_SCENE.get(name, name)), name))
    counts = counts.loc[order, order]
    share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0) * 100
    labels = [name.replace("_", " ") for name in order]
    heat = go.Heatmap(
        z=share.to_numpy(),
        x=labels,
        y=labels,
        zmin=0,
        zmax=100,
        colorscale=SHARES,
        texttemplate="%{z:.0f}",
        name="% of the true scene",
        hovertemplate="true %{y}<br>decided %{x}<br>%{z:.1f} %<extra></extra>",
        showscale=False,
        xgap=1,
        ygap=1,
    )
    figure = go.Figure(heat)
    groups = [GROUP_OF_SCENE.get(name, name) for name in order]
    if len(order) > len(SCENE_GROUPS):
        for at in (number + 0.5 for number in range(len(order) - 1) if groups[number] != groups[number + 1]):
            line = {"color": REFERENCE, "width": 2}
            figure.add_vline(x=at, line=line).add_hline(y=at, line=line)
    figure.update_xaxes(title="decision", showgrid=False, tickangle=-45)
    figure.update_yaxes(title="true scene", autorange="reversed", showgrid=False)
    height = 600 if len(order) > len(SCENE_GROUPS) else 420
    return finish(figure, "Which scenes does it take for which?", _confusion_sentence(counts, share), height=height)


def _confusion_sentence(counts: pd.DataFrame, share: pd.DataFrame) -> str:
    never = [name.replace("_", " ") for name in counts.columns if not counts[name].any()]
    wrong = share.to_numpy() * ~np.eye(len(share), dtype=bool)
    names = [name.replace("_", " ") for name in share.index]
    true, decided = (names[place] for place in np.unravel_index(wrong.argmax(), wrong.shape))
    sentence = f"In % of the clips of each true scene ({counts.to_numpy().sum()} test clips)"
    if wrong.max() == 0:
        return f"{sentence}; every clip is right."
    sentence += f": most often {true} is taken for {decided} ({percent(wrong.max())})"
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
