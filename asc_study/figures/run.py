"""The figures of a run and of a study as one HTML page with one copy of plotly.js, which opens without a network."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from asc_study.base.metric_table import SUBSETS
from asc_study.base.taxonomy import DEVICE_SUBSETS, DEVICES
from asc_study.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
    with_temperature,
)
from asc_study.evaluation.metrics import confusion

#: One colour a device subset: seen (blue, green, amber), unseen (red); told apart by lightness as well as by hue.
SUBSET_COLOURS = dict(zip(DEVICE_SUBSETS, ("#1f4e79", "#2a9d8f", "#e9a23b", "#c8443c"), strict=True))
SUBSET_NAMES = {subset.name: subset.title for subset in SUBSETS}
LAYOUT = {"template": "plotly_white", "margin": {"l": 60, "r": 20, "t": 80, "b": 50}, "font": {"size": 13}}


def summary_page(
    title: str,
    tables: Mapping[str, pd.DataFrame],
    metrics: Mapping[str, float],
    history: Sequence[Mapping[str, float]] = (),
    *,
    more: Sequence[go.Figure] = (),
    plotlyjs: str = "inline",
) -> str:
    """Draw a system: accuracy by device, confusion matrix, reliability, and how it was trained; returns an HTML page.

    Parameters
    ----------
    title
        The run's name.
    tables
        Predictions tables by split. Without test (a run trained on all development data) only training is shown.
    metrics
        The run's metrics.
    history
        Metrics of each epoch; empty for what was not trained here.
    more
        Figures of its own, shown after the accuracy by device.
    plotlyjs
        ``inline`` or ``cdn``, see `page`.
    """
    trained = [learning_figure(history)] if history else []
    if "test" not in tables:
        lead = "There is no test accuracy: no test split was predicted (trained on all development data)."
        return page(title, lead, [*more, *trained], plotlyjs)
    test = tables["test"]
    figures = [device_figure(metrics), *more, confusion_figure(test), reliability_figure(tables), *trained]
    lead = "  ".join(
        f"{name} {100 * metrics[f'test/acc_{subset}']:.1f} %"
        for subset, name in SUBSET_NAMES.items()
        if f"test/acc_{subset}" in metrics
    )
    return page(
        title, f"Test accuracy {100 * metrics['test/acc_avg']:.1f} % on {len(test)} clips: {lead}", figures, plotlyjs
    )


def page(title: str, lead: str, figures: Sequence[go.Figure], plotlyjs: str = "inline") -> str:
    """Several figures as one HTML page; ``plotlyjs`` is ``inline`` (self-contained, 4.6 MB) or ``cdn``."""
    script = f"<script>{get_plotlyjs()}</script>" if plotlyjs == "inline" else ""
    parts = []
    for i, figure in enumerate(figures):
        load = "cdn" if plotlyjs == "cdn" and i == 0 else False
        parts.append(figure.to_html(full_html=False, include_plotlyjs=load, config={"displaylogo": False}))
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>{script}"
        "<style>body{font-family:sans-serif;margin:1.5em auto;max-width:1000px;color:#222}</style></head>"
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>{''.join(parts)}</body></html>"
    )


def device_figure(metrics: Mapping[str, float]) -> go.Figure:
    """Bars of the accuracy on each device, and of each subset with its 95 % interval."""
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, column_widths=[0.4, 0.6], subplot_titles=("Device subsets", "Devices")
    )
    for subset, devices in DEVICE_SUBSETS.items():
        name, colour = f"test/acc_{subset}", SUBSET_COLOURS[subset]
        if name not in metrics:
            continue
        value = 100 * metrics[name]
        ends = [100 * metrics.get(f"{name}_{end}", metrics[name]) for end in ("lo", "hi")]
        interval = {"array": [ends[1] - value], "arrayminus": [value - ends[0]], "color": "#444"}
        label = SUBSET_NAMES[subset].replace(" ", "<br>")
        bar = go.Bar(
            x=[label], y=[value], error_y=interval, marker_color=colour, text=[f"{value:.1f}"], showlegend=False
        )
        figure.add_trace(bar.update(textposition="inside", insidetextanchor="start"), 1, 1)
        heard = [device for device in devices if f"test/device_acc_{device}" in metrics]
        values = [100 * metrics[f"test/device_acc_{device}"] for device in heard]
        text = [f"{value:.0f}" for value in values]
        figure.add_trace(go.Bar(x=heard, y=values, marker_color=colour, text=text, showlegend=False), 1, 2)
    figure.update_xaxes(categoryorder="array", categoryarray=list(DEVICES), row=1, col=2)
    figure.update_yaxes(title="Test accuracy (%)", range=[0, 100], row=1, col=1)
    return figure.update_layout(title="Robustness to the recording device", height=420, **LAYOUT)


def confusion_figure(test: pd.DataFrame) -> go.Figure:
    """Heat map of the confusion matrix, in per cent of each true class."""
    counts = confusion(test)
    share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0) * 100
    heat = go.Heatmap(
        z=share,
        x=list(share.columns),
        y=list(share.index),
        zmin=0,
        zmax=100,
        colorscale="Blues",
        texttemplate="%{z:.0f}",
        hovertemplate="true %{y}<br>decided %{x}<br>%{z:.1f} %<extra></extra>",
        colorbar={"title": "%"},
    )
    figure = go.Figure(heat).update_layout(title="Confusion matrix (test, % of each true scene)", height=560, **LAYOUT)
    figure.update_xaxes(title="decision").update_yaxes(title="true scene", autorange="reversed")
    return figure.update_layout(margin={"l": 140, "b": 130})


def reliability_figure(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Accuracy by confidence on test, before and after the temperature that was fitted on validation."""
    figure = go.Figure()
    ends = {"mode": "lines", "line": {"color": "#999", "dash": "dot"}, "name": "perfect"}
    figure.add_trace(go.Scatter(x=[0, 100], y=[0, 100], **ends))
    curves = {"as it is": tables["test"]}
    if "validation" in tables:
        temperature = fit_temperature(tables["validation"])
        curves[f"with temperature {temperature:.2f}"] = with_temperature(tables["test"], temperature)
    for (name, table), colour in zip(curves.items(), ("#1f4e79", "#e9a23b"), strict=False):
        curve = reliability_curve(table)
        error = 100 * expected_calibration_error(table)
        trace = go.Scatter(
            x=100 * curve["confidence"],
            y=100 * curve["accuracy"],
            customdata=curve["clips"],
            mode="lines+markers",
            marker={"color": colour, "size": 4 + 20 * np.sqrt(curve["clips"] / len(table))},
            name=f"{name}: ECE {error:.1f} %",
            hovertemplate="confidence %{x:.1f} %<br>accuracy %{y:.1f} %<br>%{customdata} clips<extra></extra>",
        )
        figure.add_trace(trace)
    figure.update_xaxes(title="confidence (%)", range=[0, 101]).update_yaxes(title="accuracy (%)", range=[0, 101])
    legend = {"x": 0.02, "y": 0.98}
    return figure.update_layout(title="Reliability (test; marks grow with clips)", height=420, legend=legend, **LAYOUT)


def learning_figure(history: Sequence[Mapping[str, float]]) -> go.Figure:
    """Loss on train and validation, and the learning rate, by epoch."""
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    epochs = list(range(1, len(history) + 1))
    curves = {"train_loss": "training loss", "validation_loss": "validation loss"}
    for key, name in curves.items():
        if history and key in history[0]:
            figure.add_trace(go.Scatter(x=epochs, y=[h[key] for h in history], name=name, mode="lines+markers"))
    rates = [h["learning_rate"] for h in history]
    line = {"color": "#999", "dash": "dot"}
    figure.add_trace(go.Scatter(x=epochs, y=rates, name="learning rate", line=line), secondary_y=True)
    figure.update_xaxes(title="epoch").update_yaxes(title="loss", secondary_y=False)
    figure.update_yaxes(
        title="learning rate at the epoch's end",
        type="log",
        dtick=1,
        exponentformat="power",
        showgrid=False,
        secondary_y=True,
    )
    return figure.update_layout(
        title="Training", height=380, legend={"orientation": "h", "y": 1.15, "x": 0.4}, **LAYOUT
    )


def study_figure(board: pd.DataFrame) -> go.Figure:
    """Bars of the four subsets for every row of a leaderboard (columns ``row`` and ``acc_<subset>``, in per cent)."""
    figure = go.Figure()
    for subset, name in SUBSET_NAMES.items():
        column = f"acc_{subset}"
        if column in board:
            spread = {"array": board[f"{column}_sd"]} if f"{column}_sd" in board else None
            figure.add_bar(
                x=board["row"], y=board[column], name=name, marker_color=SUBSET_COLOURS[subset], error_y=spread
            )
    figure.update_yaxes(title="Test accuracy (%)", range=[0, 100])
    return figure.update_layout(title="Accuracy by device subset", barmode="group", height=480, **LAYOUT)
