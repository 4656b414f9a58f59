"""Several systems side by side on each device, those that no training heard apart."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.base.metric_table import ALL_CLIPS, Subset, subsets_among, unseen_among
from asc_study.base.taxonomy import known_devices
from asc_study.figures.theme import (
    LAYOUT,
    REFERENCE,
    chance,
    finish,
    ground,
    level,
    listed,
    percent,
    upright,
)

Looks = Mapping[str, tuple[str, str]]

#: How far apart the systems of one device are drawn at most, where 1 is the distance of devices.
_STEP: Final = 0.18


def devices_figure(
    measured: pd.DataFrame,
    reference: str,
    looks: Looks,
    *,
    task: str = "ten_class",
    baseline: Mapping[str, float] | None = None,
) -> go.Figure:
    """Systems on every device, with their intervals, and below the paired difference of each to the reference.

    Parameters
    ----------
    measured
        What `asc_study.evaluation.side_by_side.side_by_side` gives.
    reference
        The system that the others were compared with.
    looks
        System -> colour and symbol.
    task
        Which task, for the level of chance.
    baseline
        Metric (without its split) -> accuracy in per cent of the system that all should beat.
    """
    systems = list(dict.fromkeys(measured["system"]))
    prefix = "device_acc_"
    devices = [one for one in known_devices() if (measured["metric"] == f"{prefix}{one}").any()]
    compared = len(systems) > 1
    rows = 2 if compared else 1
    heights = [0.6, 0.4] if compared else [1.0]
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.07)
    step = min(_STEP, 0.8 / len(systems))
    for number, system in enumerate(systems):
        shift = (number - (len(systems) - 1) / 2) * step
        own = measured[measured["system"] == system].set_index("metric").reindex([f"{prefix}{one}" for one in devices])
        at = [place + shift for place in range(len(devices))]
        colour, symbol = looks[system]
        figure.add_trace(_dots(own, at, system, (colour, symbol), devices), 1, 1)
        if compared and system != reference:
            figure.add_trace(_changes(own, at, system, (colour, symbol), devices, reference), 2, 1)
    shapes, notes = _grounds(devices, rows, subsets_among(measured["metric"]))
    shapes.append(level(chance(task), 1, width=1.2, dash="dot"))
    right = {"x": 1, "xref": "paper", "xanchor": "right", "yanchor": "bottom", "font": {"size": 12}}
    notes.append({"text": "chance", "y": chance(task), "yref": "y", **right})
    if baseline:
        _baseline(figure, shapes, devices, baseline)
    figure.update_yaxes(title="accuracy (%)", range=[0, 103], dtick=20, row=1, col=1)
    if compared:
        figure.update_yaxes(title="difference to the<br>reference (points)", row=2, col=1)
        shapes.append(level(0, 2))
    figure.update_layout(shapes=shapes, annotations=notes)
    figure.update_xaxes(range=[-0.5, len(devices) - 0.5], showgrid=False, fixedrange=True)
    figure.update_xaxes(tickvals=list(range(len(devices))), ticktext=devices)
    sentence = _devices_sentence(measured, systems, reference)
    finish(
        figure,
        "Which system holds on devices never heard?",
        sentence,
        height=620 if compared else 460,
        least_width=max(640, 26 * len(systems) * len(devices) // 3),
    )
    legend = {"y": 1.12 if compared else 1.16, "yanchor": "bottom"}
    return figure.update_layout(margin={"t": LAYOUT["margin"]["t"] + 45 + 20 * (len(systems) // 5)}, legend=legend)


def _dots(
    own: pd.DataFrame, at: Sequence[float], name: str, look: tuple[str, str], devices: Sequence[str]
) -> go.Scatter:
    colour, symbol = look
    return go.Scatter(
        x=at,
        y=own["value"],
        error_y=_bars(own, "value", "low", "high", colour),
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 9},
        name=name,
        legendgroup=name,
        ids=list(devices),
        showlegend=True,
        customdata=np.column_stack([devices, own["low"], own["high"], own["clips"], own["locations"], own["seeds"]]),
        hovertemplate="%{customdata[0]}: %{y:.1f} % (%{customdata[1]:.1f} to %{customdata[2]:.1f})<br>%{customdata[3]} "
        "clips of %{customdata[4]} locations, %{customdata[5]} seeds",
    )


def _changes(
    own: pd.DataFrame,
    at: Sequence[float],
    name: str,
    look: tuple[str, str],
    devices: Sequence[str],
    reference: str,
) -> go.Scatter:
    colour, symbol = look
    sure = own["significant"].eq(True)
    return go.Scatter(
        x=at,
        y=own["change"],
        error_y=_bars(own, "change", "change_low", "change_high", colour),
        mode="markers",
        marker={
            "color": colour,
            "symbol": [symbol if one else f"{symbol}-open" for one in sure],
            "size": 9,
            "line": {"width": 1.5, "color": colour},
        },
        name=f"{name}, difference",
        legendgroup=name,
        ids=list(devices),
        showlegend=False,
        customdata=np.column_stack([devices, own["change_low"], own["change_high"], own["p_value"]]),
        hovertemplate=f"%{{customdata[0]}}: %{{y:+.1f}} points to {reference}<br>%{{customdata[1]:+.1f}} to "
        "%{customdata[2]:+.1f}, p = %{customdata[3]:.3f}",
    )


def _bars(own: pd.DataFrame, value: str, low: str, high: str, colour: str) -> dict[str, object]:
    return {
        "array": (own[high] - own[value]).fillna(0),
        "arrayminus": (own[value] - own[low]).fillna(0),
        "color": colour,
        "thickness": 1.5,
        "width": 0,
    }


def _grounds(
    devices: Sequence[str], rows: int, subsets: Sequence[Subset]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The subsets: thin lines between, a tint where training never heard a device; and their names above."""
    place = {device: number for number, device in enumerate(devices)}
    shapes, notes = [], []
    for subset in subsets:
        heard = [place[device] for device in subset.devices if device in place]
        if not heard:
            continue
        ends = (min(heard) - 0.5, max(heard) + 0.5)
        for row in range(1, rows + 1):
            if subset.unseen:
                shapes.append(ground(ends, row))
            elif ends[1] < len(devices) - 0.5:
                shapes.append(upright(ends[1], row, width=0.5))
        text = f"<b>{subset.heading}</b><br>{subset.heard or ' '}"
        notes.append({"x": sum(ends) / 2, "xref": "x", "y": 1, "yref": "paper", "yanchor": "bottom", "text": text})
    return shapes, notes


def _baseline(
    figure: go.Figure, shapes: list[dict[str, Any]], devices: Sequence[str], baseline: Mapping[str, float]
) -> None:
    line = {"color": REFERENCE, "width": 2, "dash": "dash"}
    for number, device in enumerate(devices):
        found = baseline.get(f"device_acc_{device}")
        if found is not None and np.isfinite(found):
            ends = {"x0": number - 0.5, "x1": number + 0.5, "y0": found, "y1": found}
            shapes.append({"type": "line", "line": line, **ends, "xref": "x", "yref": "y"})
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", name="statistics baseline", line=line), 1, 1)


def _devices_sentence(measured: pd.DataFrame, systems: Sequence[str], reference: str) -> str:
    unseen = unseen_among(measured["metric"])
    metric, where = (unseen or ALL_CLIPS).metric, "on the devices never heard" if unseen else "on all clips"
    rows = measured[measured["metric"] == metric].set_index("system")
    own = rows.loc[[reference]].iloc[0]
    legend = f"Lines: 95 % intervals over {own['locations']} locations, and over seeds where there are several"
    if len(systems) == 1:
        return f"{reference} reaches {percent(own['value'])} {where}. {legend}."
    others = rows.drop(index=reference).sort_values("change", ascending=False)
    best = others.index[0]
    found = others.loc[best]
    sure = bool(found["significant"])
    effect = f"{found['change']:+.1f} points"
    if np.isfinite(found["change_low"]):
        effect += f", 95 % interval {found['change_low']:+.1f} to {found['change_high']:+.1f}"
    seeds = f"{found['seeds']} seed{'s' if found['seeds'] > 1 else ''}, {found['locations']} locations"
    if sure:
        said = f"{best} is {'better' if found['change'] > 0 else 'worse'} than {reference} {where}"
    else:
        said = f"{best} cannot be told apart from {reference} {where}"
    sentence = f"{said} ({effect}, {seeds})"
    rest = others.drop(index=best)
    better = [str(name) for name in rest.index[rest["significant"].eq(True) & (rest["change"] > 0)]]
    worse = [str(name) for name in rest.index[rest["significant"].eq(True) & (rest["change"] < 0)]]
    even = [str(name) for name in rest.index[~rest["significant"].eq(True)]]
    for names, words in ((better, "better too"), (worse, "worse"), (even, "not to be told apart from it")):
        if names:
            who = listed(names) if len(names) <= 3 else f"{len(names)} others"
            sentence += f"; {who}: {words}"
    return f"{sentence}. Filled: the difference is more than noise, open: it is not. {legend}."
