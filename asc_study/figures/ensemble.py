"""Figures of ensembles and fusions: overlap, the selection's path, what changed against the parts."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.base.metric_table import Metric
from asc_study.evaluation.overlap import Overlap
from asc_study.figures.run import LAYOUT, SUBSET_COLOURS, SUBSET_NAMES

#: With more systems than this the cells of a heat map are too small for figures.
_MOST_WRITTEN = 20

_SENTENCE_CHARACTERS = 130
_TAKEN = "#1f4e79"

#: Points that the axis of the path shows above and below its values at least.
_LEAST_SPAN = 5

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


def path_figure(path: pd.DataFrame, candidates: pd.DataFrame, metric: Metric, decided: str, sentence: str) -> go.Figure:
    """How members were chosen: score and overlap of each step, and all candidates, taken or not.

    Parameters
    ----------
    path
        One row a step: ``added``, ``score``, ``low`` and ``high`` of its change (NaN: unknown), ``overlap``,
        ``both_wrong`` and, if they are shown, ``test_acc_avg`` and ``test_acc_<subset>``; all in shares.
    candidates
        One row a candidate: ``name``, ``score``, ``overlap``, ``both_wrong``, ``taken``.
    metric
        What ``score`` is.
    decided
        The clips that decided, in words.
    sentence
        What is written below the figure.
    """
    axis = f"{metric.name} (%)" if metric.unit == "share" else f"{metric.name} ({metric.unit})"
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{}, {"rowspan": 2}], [{}, None]],
        row_heights=[0.6, 0.4],
        vertical_spacing=0.06,
        horizontal_spacing=0.11,
        shared_xaxes=True,
        subplot_titles=("The mean after each step", "All candidates", ""),
    )
    steps = [f"{number}. {name}".replace(" seed ", "<br>seed ") for number, name in enumerate(path["added"], 1)]
    for trace in _step_traces(path, steps, metric):
        figure.add_trace(trace, 1, 1)
    for trace in _overlap_bars(path, steps):
        figure.add_trace(trace, 2, 1)
    for trace in _candidate_traces(path, candidates, metric):
        figure.add_trace(trace, 1, 2)
    if metric.unit == "share":  # a path that hardly changes is to look like one
        shown = 100 * path.filter(regex="^(score|test_acc_.*)$").to_numpy()
        figure.update_yaxes(range=[np.nanmin(shown) - _LEAST_SPAN, np.nanmax(shown) + _LEAST_SPAN], row=1, col=1)
    figure.update_yaxes(title=axis, row=1, col=1).update_yaxes(title="with those before (%)", rangemode="tozero", row=2)
    figure.update_xaxes(type="category", row=1, col=1).update_xaxes(type="category", tickangle=25, row=2, col=1)
    figure.update_xaxes(title="wrong together with the other members (% of the clips)", row=1, col=2)
    figure.update_yaxes(title=f"{axis} of the system alone", row=1, col=2)
    lines = textwrap.wrap(sentence, _SENTENCE_CHARACTERS)
    below = {"xref": "paper", "yref": "paper", "x": 0, "y": 0, "yshift": -90, "yanchor": "top", "align": "left"}
    figure.add_annotation(text="<br>".join(lines), showarrow=False, xanchor="left", **below)
    return figure.update_layout(
        title=f"Path of the selection ({decided})",
        height=640 + 18 * len(lines),
        barmode="group",
        legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"},
        **LAYOUT | {"margin": {"l": 60, "r": 20, "t": 100, "b": 160 + 18 * len(lines)}},
    )


def _step_traces(path: pd.DataFrame, steps: Sequence[str], metric: Metric) -> list[go.Scatter]:
    """The score after each step, with the interval of its change, and the test accuracy if it is shown."""
    score = metric.factor * path["score"]
    before = score.shift()
    highest = before + metric.factor * path["high"]
    highest = highest.clip(upper=100) if metric.unit == "share" else highest
    bars = {
        "type": "data",
        "array": (highest - score).clip(lower=0),
        "arrayminus": (score - before - metric.factor * path["low"]).clip(lower=0),
        "color": "#888",
    }
    line = {"color": _TAKEN, "width": 3}
    traces = [go.Scatter(x=steps, y=score, error_y=bars, line=line, mode="lines+markers", showlegend=False)]
    for subset, name in {"avg": "test, all clips", **{k: f"test, {v}" for k, v in SUBSET_NAMES.items()}}.items():
        if f"test_acc_{subset}" in path:
            dotted = {"color": SUBSET_COLOURS.get(subset, "#222"), "width": 1.5, "dash": "dot"}
            test = 100 * path[f"test_acc_{subset}"]
            traces.append(go.Scatter(x=steps, y=test, name=name, line=dotted, mode="lines+markers"))
    return traces


def _overlap_bars(path: pd.DataFrame, steps: Sequence[str]) -> list[go.Bar]:
    """How each member overlaps with those before it, in per cent of the clips."""
    kinds = {"overlap": ("equal decisions", "#9dbbd8"), "both_wrong": ("both wrong", "#c8443c")}
    return [
        go.Bar(
            x=steps,
            y=100 * path[key],
            name=name,
            marker_color=colour,
            text=["" if np.isnan(share) else f"{100 * share:.0f}" for share in path[key]],
            cliponaxis=False,
            textposition="outside",
            textangle=0,
        )
        for key, (name, colour) in kinds.items()
    ]


def _candidate_traces(path: pd.DataFrame, candidates: pd.DataFrame, metric: Metric) -> list[go.Scatter]:
    """Each candidate by what it is alone and how it errs with the members; those taken have their step's number."""
    number = {name: str(position) for position, name in reversed(list(enumerate(path["added"], 1)))}
    traces = []
    for taken, name, marker in (
        (False, "not taken", {"color": "white", "line": {"color": "#888", "width": 1.5}, "size": 10}),
        (True, "taken, in this order", {"color": _TAKEN, "size": 20}),
    ):
        shown = candidates[candidates["taken"] == taken]
        written = shown["name"] if len(candidates) <= _MOST_WRITTEN else [""] * len(shown)
        traces.append(
            go.Scatter(
                x=100 * shown["both_wrong"],
                y=metric.factor * shown["score"],
                mode="markers+text",
                marker=marker,
                text=[number[name] for name in shown["name"]] if taken else written,
                textposition="middle center" if taken else "top center",
                textfont={"color": "white"} if taken else {"color": "#666", "size": 10},
                customdata=np.column_stack([shown["name"], 100 * shown["overlap"]]),
                hovertemplate="%{customdata[0]}<br>alone %{y:.1f}<br>both wrong %{x:.1f} %<br>"
                "equal decisions %{customdata[1]:.1f} %<extra></extra>",
                name=name,
                cliponaxis=False,
            )
        )
    return traces


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
