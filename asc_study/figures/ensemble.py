"""Figures of ensembles and fusions: overlap, the selection's path, what changed against the parts."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.evaluation.overlap import Overlap
from asc_study.figures.theme import LAYOUT, SUBSET_COLOURS, SUBSET_NAMES

#: With more systems than this the cells of a heat map are too small for figures.
_MOST_WRITTEN = 20

_BELOW = {"orientation": "h", "y": -0.12, "yanchor": "top"}


def overlap_figure(found: Overlap, names: Sequence[str], split: str) -> go.Figure:
    """Heat maps of the share of equal decisions and of equal errors, in per cent of the clips."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=("Equal decisions", "Equal errors"), horizontal_spacing=0.02, shared_yaxes=True
    )
    for column, (shares, colours) in enumerate([(found.decisions, "Blues"), (found.errors, "Reds")], 1):
        figure.add_trace(_heat(100 * shares, names, colours), 1, column)
    longest = max(len(name) for name in names)
    figure.update_yaxes(autorange="reversed").update_xaxes(tickangle=-60)
    return figure.update_layout(
        title=f"Overlap ({split}, % of the clips; the diagonal of the errors is each error rate)",
        height=max(420, 26 * len(names) + 8 * longest + 150),
        **LAYOUT | {"margin": {"l": 8 * longest, "r": 20, "t": 90, "b": 7 * longest}},
    )


def _heat(shares: npt.NDArray[np.float64], names: Sequence[str], colours: str) -> go.Heatmap:
    return go.Heatmap(
        z=shares,
        x=list(names),
        y=list(names),
        zmin=0,
        zmax=max(1.0, float(shares[~np.eye(len(names), dtype=bool)].max(initial=1.0))) if colours == "Reds" else 100,
        colorscale=colours,
        showscale=False,
        texttemplate="%{z:.0f}" if len(names) <= _MOST_WRITTEN else None,
        hovertemplate="%{y}<br>%{x}<br>%{z:.1f} %<extra></extra>",
    )


def path_figure(path: pd.DataFrame, objective: str) -> go.Figure:
    """Objective and test accuracy of every prefix of a selection's path.

    Parameters
    ----------
    path
        One row a step: ``added``, ``score``, ``acc_avg`` and ``acc_<subset>`` (shares).
    objective
        What ``score`` is.
    """
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    steps = [f"{number}. {name}" for number, name in enumerate(path["added"], 1)]
    for subset, name in {"avg": "test, all clips", **{k: f"test, {v}" for k, v in SUBSET_NAMES.items()}}.items():
        if f"acc_{subset}" in path:
            line = {"color": SUBSET_COLOURS.get(subset, "#222"), "width": 3 if subset == "avg" else 1.5}
            trace = go.Scatter(x=steps, y=100 * path[f"acc_{subset}"], name=name, line=line, mode="lines+markers")
            figure.add_trace(trace)
    line = {"color": "#999", "dash": "dot"}
    figure.add_trace(
        go.Scatter(x=steps, y=path["score"], name=f"objective: {objective}", line=line, mode="lines+markers"),
        secondary_y=True,
    )
    figure.update_yaxes(title="test accuracy (%)", secondary_y=False)
    figure.update_yaxes(title=objective, showgrid=False, secondary_y=True)
    title = "Path of the selection: members added one by one"
    return figure.update_layout(title=title, height=480, legend=_BELOW, **LAYOUT)


def change_figure(parts: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Bars of the test accuracy by subset of each part and, last, of what was made of them.

    Parameters
    ----------
    parts
        Name -> metrics.
    """
    figure = go.Figure()
    columns = {"avg": "all clips", **SUBSET_NAMES}
    shades = [f"rgb({level}, {level}, {level})" for level in np.linspace(215, 130, max(len(parts) - 1, 1)).astype(int)]
    for (name, metrics), colour in zip(parts.items(), [*shades[: len(parts) - 1], "#1f4e79"], strict=True):
        known = {label: 100 * metrics[f"test/acc_{k}"] for k, label in columns.items() if f"test/acc_{k}" in metrics}
        text = [f"{value:.1f}" for value in known.values()]
        figure.add_bar(x=list(known), y=list(known.values()), name=name, marker_color=colour, text=text, textangle=-90)
    figure.update_yaxes(title="Test accuracy (%)", range=[0, 100])
    title = "The parts and what was made of them"
    return figure.update_layout(title=title, barmode="group", height=480, legend=_BELOW, **LAYOUT)
