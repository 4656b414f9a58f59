"""What accuracy costs: systems by size, multiply-accumulates or latency, with the limits of challenges as lines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from asc_study.evaluation.pareto import front
from asc_study.figures.theme import REFERENCE, finish, listed, percent

Looks = Mapping[str, tuple[str, str]]

#: With more systems than this their names would lie on each other: they are told when pointed at.
_MOST_WRITTEN: Final = 14

#: Points that the axis of accuracies shows above and below what is drawn.
_ROOM: Final = 4

#: What a system's rank on the leaderboard says of it beside the best of all.
_STANDINGS: Final = {
    "best": ", the best of all",
    "even": ", which cannot be told apart from the best of all",
    "": ", worse than the best of all by more than noise",
}

#: Share of the axis of costs that a name takes.
_NEAR: Final = 0.12


@dataclass(frozen=True)
class Limit:
    """What a challenge allows; ``rule`` says which."""

    value: float
    name: str
    rule: str


@dataclass(frozen=True)
class Cost:
    """What systems cost.

    Attributes
    ----------
    label
        What it is called where it is chosen.
    axis
        The title of its axis, with the unit.
    metrics
        Names of metrics; a system's cost is the first that it has.
    unit
        Behind a value.
    scale
        Values are divided by it before they are shown.
    limits
        Of challenges, the tightest first.
    """

    label: str
    axis: str
    metrics: tuple[str, ...]
    unit: str
    scale: float = 1
    limits: tuple[Limit, ...] = ()

    def shown(self, value: float) -> str:
        """A value (scaled) with its unit."""
        digits = max(0, 2 - math.floor(math.log10(value))) if 0 < value < 100 else 0
        return f"{value:,.{min(digits, 2)}f}\N{NO-BREAK SPACE}{self.unit}"


#: DCASE 2020 Task 1B allowed 500 kB of non-zero weights; DCASE 2022 Task 1 allowed 128,000 weights of 8 bits, zeros
#: included, and 30 million multiply-accumulates for a clip of one second.
COSTS: Final[Mapping[str, Cost]] = MappingProxyType(
    {
        "kb": Cost(
            "size of the weights",
            "size of the weights (kB)",
            ("cost/stored_kb", "cost/model_kb"),
            "kB",
            limits=(Limit(128, "128 kB", "DCASE 2022 Task 1"), Limit(500, "500 kB", "DCASE 2020 Task 1B")),
        ),
        "macs": Cost(
            "multiply-accumulates",
            "multiply-accumulates for a clip (millions)",
            ("cost/macs",),
            "M",
            scale=1e6,
            limits=(Limit(30, "30 M", "DCASE 2022 Task 1"),),
        ),
        "latency": Cost("latency", "latency for a clip, one thread (ms)", ("cost/latency_ms",), "ms"),
    }
)


def size_figure(
    systems: pd.DataFrame,
    cost: Cost,
    accuracy: str,
    looks: Looks,
    *,
    published: pd.DataFrame | None = None,
) -> go.Figure:
    """The accuracy of systems against what they cost, with the Pareto front and the limits.

    Parameters
    ----------
    systems
        One row a system: ``row``, ``cost`` (scaled, above 0), ``accuracy``, ``low`` and ``high`` (per cent; NaN:
        unknown), ``rank`` (`asc_study.study.standing.add_standings`: ``best``, ``even`` or empty; None: unknown); of a
        quantised network ``source``, the row that it was made of (else empty), and the paired difference
        to it: ``change``, ``change_low``, ``change_high`` (points), ``significant``.
    cost
        What their cost is.
    accuracy
        What their accuracy is of, in words.
    looks
        System -> colour and symbol.
    published
        Figures of others: ``row``, ``cost``, ``accuracy``.
    """
    systems = systems.reset_index(drop=True)
    best = front(systems["cost"].to_numpy(), systems["accuracy"].to_numpy())
    figure = go.Figure()
    edge = systems.loc[best].sort_values("cost")
    line = {"color": REFERENCE, "width": 1.2, "dash": "dot", "shape": "hv"}
    figure.add_scatter(
        x=edge["cost"], y=edge["accuracy"], mode="lines", line=line, name="Pareto front", hoverinfo="skip"
    )
    _add_steps(figure, systems)
    written = len(systems) <= _MOST_WRITTEN
    costs = [*systems["cost"], *(limit.value for limit in cost.limits)]
    costs += [] if published is None else list(published["cost"])
    ends = math.log10(min(costs) * 0.8), math.log10(max(costs) * 1.4)
    sides = _sides(systems, ends)
    for place, row in systems.iterrows():
        figure.add_trace(_dot(row, cost, looks[row["row"]], sides[int(str(place))] if written else ""))
    if published is not None and len(published):
        figure.add_trace(_published(published, cost, accuracy))
    _add_limits(figure, cost)
    ticks = _ticks(*ends)
    figure.update_xaxes(
        title=cost.axis, type="log", range=ends, tickvals=ticks, ticktext=[f"{one:,g}" for one in ticks]
    )
    heights = systems[["accuracy", "low", "high"]].to_numpy(float)
    also = np.array([]) if published is None else published["accuracy"].to_numpy(float)
    drawn = np.concatenate([heights[np.isfinite(heights)], also])
    bottom, top = max(0.0, drawn.min() - _ROOM), min(103.0, drawn.max() + _ROOM)
    figure.update_yaxes(title=f"accuracy, {accuracy} (%)", range=[bottom, top])
    title = f"What does accuracy cost? ({cost.label})"
    sentence = _sentence(systems, best, cost, accuracy)
    finish(figure, title, sentence, height=560, least_width=640)
    return figure.update_layout(showlegend=published is not None and len(published) > 0)


def _dot(row: "pd.Series[Any]", cost: Cost, look: tuple[str, str], side: str) -> go.Scatter:
    colour, symbol = look
    ends = [float(row[end]) for end in ("accuracy", "low", "high")]
    reach = [0.0 if math.isnan(end) else abs(end - ends[0]) for end in ends[1:]]
    told = percent(ends[0]) + ("" if math.isnan(ends[1]) else f" ({ends[1]:.1f} to {ends[2]:.1f})")
    return go.Scatter(
        x=[row["cost"]],
        y=[ends[0]],
        error_y={"array": [reach[1]], "arrayminus": [reach[0]], "color": colour, "thickness": 1.2, "width": 0},
        mode="markers+text" if side else "markers",
        text=[row["row"]],
        textposition=side or None,
        textfont={"size": 12},
        marker={"color": colour, "symbol": symbol, "size": 10},
        name=str(row["row"]),
        showlegend=False,
        cliponaxis=False,
        hovertemplate=f"%{{fullData.name}}<br>{told}<br>{cost.shown(float(row['cost']))}<extra></extra>",
    )


def _sides(systems: pd.DataFrame, ends: tuple[float, float]) -> list[str]:
    """On which side above its dot each name stands: to the right, where neither a neighbour nor the end is near."""
    at = (np.log10(systems["cost"].to_numpy(float)) - ends[0]) / (ends[1] - ends[0])
    height = systems["accuracy"].to_numpy(float)
    sides = []
    for place in range(len(at)):
        near = (np.abs(at - at[place]) < _NEAR) & (np.abs(height - height[place]) < _ROOM)
        after = near & ((at > at[place]) | ((at == at[place]) & (np.arange(len(at)) > place)))
        alone_at_the_end = at[place] > 1 - _NEAR and near.sum() == 1
        left = "top left" if at[place] > 2 * _NEAR else "bottom right"  # at the start it would lie on the axis
        sides.append(left if after.any() or alone_at_the_end else "top right")
    return sides


def _add_steps(figure: go.Figure, systems: pd.DataFrame) -> None:
    """A segment from each network to what it is after quantisation."""
    place = {name: number for number, name in enumerate(systems["row"])}
    for _, row in systems.iterrows():
        if row["source"] in place:
            before = systems.loc[place[row["source"]]]
            figure.add_scatter(
                x=[before["cost"], row["cost"]],
                y=[before["accuracy"], row["accuracy"]],
                mode="lines",
                line={"color": REFERENCE, "width": 2},
                name=f"{row['source']} to {row['row']}",
                showlegend=False,
                hoverinfo="skip",
            )


def _published(published: pd.DataFrame, cost: Cost, accuracy: str) -> go.Scatter:
    return go.Scatter(
        x=published["cost"],
        y=published["accuracy"],
        mode="markers",
        marker={"color": REFERENCE, "symbol": "x-thin-open", "size": 11, "line": {"width": 2, "color": REFERENCE}},
        text=published["row"],
        name="published, quantised",
        hovertemplate=f"%{{text}}, published<br>{accuracy} %{{y:.1f}} %<br>%{{x:,.0f}} {cost.unit}<extra></extra>",
    )


def _add_limits(figure: go.Figure, cost: Cost) -> None:
    for limit in cost.limits:
        figure.add_vline(x=limit.value, line={"color": REFERENCE, "width": 1.5, "dash": "dash"})
        figure.add_annotation(
            x=math.log10(limit.value),
            y=1,
            yref="paper",
            yanchor="bottom",
            text=f"{limit.name}<br>{limit.rule}",
            font={"size": 12},
        )


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... between two powers of ten; the powers alone where that were too many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < 3 else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= math.log10(step) + power <= high]


def _sentence(systems: pd.DataFrame, best: Sequence[int], cost: Cost, accuracy: str) -> str:
    names = [str(systems["row"][place]) for place in sorted(best, key=lambda place: float(systems["cost"][place]))]
    who = listed(names) if len(names) <= 4 else f"{len(names)} systems"
    found = [f"Up and left is better. No other system is both cheaper and better than {who}"]
    for limit in cost.limits:
        within = systems[systems["cost"] <= limit.value]
        if within.empty:
            found.append(f"Nothing stays within {limit.name} ({limit.rule})")
        else:
            first = within.iloc[int(within["accuracy"].argmax())]
            stands = _STANDINGS.get(str(first.get("rank")), "")
            found.append(
                f"Best within {limit.name} ({limit.rule}): {first['row']} with {percent(first['accuracy'])} on "
                f"{accuracy} at {cost.shown(float(first['cost']))}{stands}"
            )
    return f"{'. '.join([*found, *_quantised(systems, cost)])}."


def _quantised(systems: pd.DataFrame, cost: Cost) -> list[str]:
    """What quantisation changes, of the network that it changes most."""
    made = systems[systems["source"].isin(systems["row"]) & systems["change"].notna()]
    if made.empty:
        return []
    row = made.iloc[int(made["change"].abs().argmax())]
    before = systems[systems["row"] == row["source"]].iloc[0]
    effect = f"{row['change']:+.1f} points"
    if math.isfinite(row["change_low"]):
        effect += f", 95 % interval {row['change_low']:+.1f} to {row['change_high']:+.1f}"
    sure = "more than noise" if bool(row["significant"]) else "not to be told from noise"
    lead = "" if len(made) == 1 else f"Of {len(made)} quantised networks "
    most = f"{row['row']} changes" if len(made) == 1 else f"{row['row']} changes most"
    costs = [cost.shown(float(one["cost"])) for one in (before, row)]
    cheaper = f" from {costs[0]} to {costs[1]} and" if costs[0] != costs[1] else ""
    return [f"{lead}{most}{cheaper} by {effect} ({sure})"]
