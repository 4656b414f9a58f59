"""The accuracy of one system on each device and device subset, with intervals, chance and the baseline."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, Subset, subsets_of
from asc_study.base.taxonomy import CLASSES, known_devices, taxonomy_for
from asc_study.figures.theme import (
    BLUE,
    LAYOUT,
    LEAST_CLIPS,
    REFERENCE,
    TINT,
    add_level,
    chance,
    finish,
    percent,
)


def device_figure(
    accuracies: Mapping[str, pd.DataFrame], *, task: str = "ten_class", baseline: Mapping[str, float] | None = None
) -> go.Figure:
    """The accuracy on each device and device subset, with 95 % intervals over locations.

    Parameters
    ----------
    accuracies
        Split -> what `asc_study.evaluation.by_device.accuracy_by_device` gives: ``test``, and maybe ``validation``,
        which is drawn where a device has `LEAST_CLIPS`.
    task
        Which task, for the level of chance.
    baseline
        Test metrics of the system that this one should beat.
    """
    test, figure = accuracies["test"], go.Figure()
    devices = [device for device in known_devices() if device in test.index]
    subsets = subsets_of(taxonomy_for(devices, CLASSES[task]))
    place = {device: number for number, device in enumerate(devices)}
    for subset in subsets:
        heard = [place[device] for device in subset.devices if device in place]
        if not heard:
            continue
        ends = (min(heard) - 0.5, max(heard) + 0.5)
        value = test.accuracy[subset.name]
        if subset.unseen:
            figure.add_vrect(x0=ends[0], x1=ends[1], fillcolor=TINT, line_width=0, layer="below")
        elif ends[1] < len(devices) - 0.5:
            figure.add_vline(x=ends[1], line={"color": REFERENCE, "width": 0.5})
        figure.add_shape(
            type="line", x0=ends[0] + 0.1, x1=ends[1] - 0.1, y0=value, y1=value, line={"color": BLUE, "width": 1.5}
        )
        text = f"<b>{subset.heading}</b><br>{subset.heard or ' '}<br>{percent(value)}"
        figure.add_annotation(x=sum(ends) / 2, y=1, yref="paper", yanchor="bottom", text=text, font={"size": 12})
        known = BY_NAME[subset.metric].test_name
        if baseline and known in baseline:
            level = 100 * baseline[known]
            dash = {"color": REFERENCE, "width": 2, "dash": "dash"}
            figure.add_shape(type="line", x0=ends[0], x1=ends[1], y0=level, y1=level, line=dash)
    if "validation" in accuracies:
        held = accuracies["validation"].reindex(devices).query(f"clips >= {LEAST_CLIPS}")
        at = [place[device] + 0.22 for device in held.index]
        figure.add_trace(_dots(held, at, "validation", REFERENCE, "circle-open"))
    figure.add_trace(_dots(test.loc[devices], list(place.values()), "test", BLUE, "circle"))
    if baseline:
        line = {"color": REFERENCE, "width": 2, "dash": "dash"}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", name="baseline", line=line))
    add_level(figure, chance(task), "chance")
    figure.update_xaxes(tickvals=list(place.values()), ticktext=devices, range=[-0.5, len(devices) - 0.5])
    figure.update_xaxes(showgrid=False, fixedrange=True).update_yaxes(title="accuracy (%)", range=[0, 104], dtick=20)
    finish(figure, "On which devices does it hold?", _device_sentence(test, subsets, task, baseline), height=520)
    legend = {"y": -0.1, "yanchor": "top", "x": 0}
    return figure.update_layout(legend=legend, margin={"t": LAYOUT["margin"]["t"] + 30})


def _dots(table: pd.DataFrame, at: Sequence[float], name: str, colour: str, symbol: str) -> go.Scatter:
    test = name == "test"
    return go.Scatter(
        x=at,
        y=table["accuracy"],
        error_y={
            "array": (table["high"] - table["accuracy"]).fillna(0),
            "arrayminus": (table["accuracy"] - table["low"]).fillna(0),
            "color": colour,
            "thickness": 1.5,
            "width": 0,
        },
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 10 if test else 7},
        name=name,
        ids=list(table.index),
        showlegend=True,
        customdata=table[["low", "high", "clips", "locations"]].assign(device=table.index),
        hovertemplate="%{customdata[4]}: %{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f})<br>"
        "%{customdata[2]} clips of %{customdata[3]} locations" + f"<extra>{name}</extra>",
    )


def _device_sentence(
    test: pd.DataFrame, subsets: Sequence[Subset], task: str, baseline: Mapping[str, float] | None
) -> str:
    every = test.loc["avg"]
    unseen = next((one for one in subsets if one.unseen and one.name in test.index), None)
    what, of = (unseen.name, "on the devices never heard") if unseen else (ALL_CLIPS.name, "on all clips")
    value, low, high = (float(test[column][what]) for column in ("accuracy", "low", "high"))
    between = "" if np.isnan(low) else f" (95 % interval {low:.1f} to {high:.1f})"
    sentence = f"{percent(value)} {of}{between}"
    heard = subsets[0]  # the reference device
    if unseen and heard is not unseen and heard.name in test.index:
        lower = test.accuracy[heard.name] - value
        sentence += f", {abs(lower):.1f} points {'below' if lower >= 0 else 'above'} device {heard.name}"
    sentence += f"; chance is {percent(chance(task))}"
    known = BY_NAME[(unseen or ALL_CLIPS).metric].test_name
    if baseline and known in baseline:
        sentence += f", the baseline reaches {percent(100 * baseline[known])} there"
    if every["locations"] > 1:
        sentence += f". Vertical lines are 95 % intervals over {every['locations']:.0f} locations"
    return f"{sentence}; horizontal lines are whole subsets."
