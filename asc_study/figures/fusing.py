"""Systems that somebody puts together: what they gain over the best of them, and who would add something."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.base.metric_table import ALL_CLIPS, Metric, subsets_among, unseen_among
from asc_study.figures.theme import BLUE, REFERENCE, TINT, VERMILION, chance, finish, listed, percent

Looks = Mapping[str, tuple[str, str]]

#: With more systems than this their names would lie on each other: they are told when pointed at.
_MOST_WRITTEN: Final = 14

#: What was put together: its colour and symbol, in the order of the steps.
_MADE: Final = ((BLUE, "diamond"), (VERMILION, "triangle-up"))

#: How far from a column's middle systems are drawn, where 1 is the distance of columns.
_STEP: Final = 0.14


def fused_figure(
    measured: pd.DataFrame,
    best: str,
    members: Mapping[str, Mapping[str, float]],
    split: str,
    *,
    task: str = "ten_class",
) -> go.Figure:
    """What was put together beside its members on each device subset, and its paired difference to the best of them.

    Parameters
    ----------
    measured
        What `asc_study.evaluation.side_by_side.side_by_side` gives of the best member and, after it, of one or two
        systems that were put together, against the best member.
    best
        The best member.
    members
        Member -> accuracy (without its split) -> its value in per cent; the best one may be among them.
    split
        Which clips these are: ``validation`` or ``test``.
    task
        Which task, for the level of chance.
    """
    there = set(measured["metric"])
    columns = [one for one in (*subsets_among(there), ALL_CLIPS) if one.metric in there]
    made = [name for name in dict.fromkeys(measured["system"]) if name != best]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.07)
    metrics = [one.metric for one in columns]
    others = [
        (place, name, values.get(metric))
        for name, values in members.items()
        if name != best
        for place, metric in enumerate(metrics)
    ]
    if others:
        places, names, heights = zip(*others, strict=True)
        grey = {"color": REFERENCE, "symbol": "circle-open", "size": 7, "line": {"width": 1.2}}
        dots = go.Scatter(x=places, y=heights, text=names, mode="markers", marker=grey, name="other members")
        figure.add_trace(dots.update(hovertemplate="%{text}: %{y:.1f} %<extra></extra>"), 1, 1)
    looks = {best: (REFERENCE, "circle")} | dict(zip(made, _MADE, strict=False))
    for number, (name, look) in enumerate(looks.items()):
        own = measured[measured["system"] == name].set_index("metric").reindex(metrics)
        at = [place + (number - len(made) / 2) * _STEP for place in range(len(columns))]
        called = f"{best}, the best member" if name == best else name
        figure.add_trace(_dots(own, at, called, look, name == made[-1]), 1, 1)
        if name != best:
            figure.add_trace(_changes(own, at, name, best, look), 2, 1)
    for place, one in enumerate(columns):
        if one.unseen:
            ends = {"x0": place - 0.5, "x1": place + 0.5}
            figure.add_vrect(**ends, fillcolor=TINT, line_width=0, layer="below", row="all", col=1)
    figure.add_hline(y=chance(task), line={"color": REFERENCE, "width": 1.2, "dash": "dot"}, row=1, col=1)
    right = {"x": 1, "xref": "paper", "xanchor": "right", "yanchor": "bottom"}
    figure.add_annotation(text="chance", y=chance(task), yref="y", **right)
    figure.add_hline(y=0, line={"color": REFERENCE, "width": 1.5}, row=2, col=1)
    figure.update_yaxes(title=f"{split} accuracy (%)", range=[0, 103], dtick=20, row=1, col=1)
    figure.update_yaxes(title="difference to the<br>best member (points)", row=2, col=1)
    figure.update_xaxes(range=[-0.5, len(columns) - 0.5], showgrid=False, tickvals=list(range(len(columns))))
    ticks = [one.heading + (f"<br>{one.heard}" if one.heard else "") for one in columns]
    figure.update_xaxes(ticktext=ticks, fixedrange=True)
    sentence = _fused_sentence(measured, best, made, split)
    return finish(figure, f"What do they gain together? ({split})", sentence, height=600, least_width=560)


def _dots(own: pd.DataFrame, at: Sequence[float], name: str, look: tuple[str, str], written: bool) -> go.Scatter:
    colour, symbol = look
    return go.Scatter(
        x=at,
        y=own["value"],
        error_y=_bars(own, "value", "low", "high", colour),
        mode="markers+text" if written else "markers",
        text=["" if math.isnan(value) else f" {value:.1f}" for value in own["value"]],
        textposition="middle right",
        textfont={"size": 12},
        marker={"color": colour, "symbol": symbol, "size": 10},
        name=name,
        customdata=np.column_stack([own["low"], own["high"], own["clips"], own["locations"]]),
        hovertemplate="%{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f})<br>%{customdata[2]:.0f} clips of "
        "%{customdata[3]:.0f} locations",
    )


def _changes(own: pd.DataFrame, at: Sequence[float], name: str, best: str, look: tuple[str, str]) -> go.Scatter:
    colour, symbol = look
    symbols = [symbol if one else f"{symbol}-open" for one in own["significant"].eq(True)]
    return go.Scatter(
        x=at,
        y=own["change"],
        error_y=_bars(own, "change", "change_low", "change_high", colour),
        mode="markers",
        marker={"color": colour, "symbol": symbols, "size": 10, "line": {"width": 1.5, "color": colour}},
        name=f"{name}, difference",
        showlegend=False,
        customdata=np.column_stack([own["change_low"], own["change_high"], own["p_value"]]),
        hovertemplate=f"%{{y:+.1f}} points to {best}<br>%{{customdata[0]:+.1f}} to %{{customdata[1]:+.1f}}, p = "
        "%{customdata[2]:.3f}",
    )


def _bars(own: pd.DataFrame, value: str, low: str, high: str, colour: str) -> dict[str, Any]:
    bars = {"array": (own[high] - own[value]).fillna(0), "arrayminus": (own[value] - own[low]).fillna(0)}
    return bars | {"color": colour, "thickness": 1.5, "width": 0}


def _fused_sentence(measured: pd.DataFrame, best: str, made: Sequence[str], split: str) -> str:
    unseen = unseen_among(measured["metric"]) if split == "test" else None
    metric = (unseen or ALL_CLIPS).metric
    where = "on the devices never heard" if unseen else f"on all {split} clips"
    rows = measured[measured["metric"] == metric].set_index("system")
    found = []
    for name in made:
        row = rows.loc[[name]].iloc[0]
        effect = f"{row['change']:+.1f} points"
        if math.isfinite(row["change_low"]):
            effect += f", 95 % interval {row['change_low']:+.1f} to {row['change_high']:+.1f}"
        if bool(row["significant"]):
            said = "which is better" if row["change"] > 0 else "which is worse"
        else:
            said = "which cannot be told apart from it"
        found.append(f"{name} reaches {percent(row['value'])} {where} ({effect} against {best}), {said}")
    own = rows.loc[[best]].iloc[0]
    clips = f"{own['clips']} clips of {own['locations']} locations, one training each"
    filled = "Filled: the difference is more than noise, open: it is not"
    return f"{'; '.join(found)} ({clips}). {filled}. Lines: 95 % intervals over locations."


def diversity_figure(candidates: pd.DataFrame, looks: Looks, metric: Metric, split: str) -> go.Figure:
    """Each candidate by what it reaches alone and how often it is wrong together with the members.

    Parameters
    ----------
    candidates
        One row a candidate: ``name``, ``score``, ``overlap``, ``both_wrong`` (shares, NaN without other members) and
        ``taken``, as `asc_study.ensemble.candidates.Candidate` has it.
    looks
        Candidate -> colour and symbol.
    metric
        What ``score`` is.
    split
        The clips that it was measured on.
    """
    known = candidates[candidates["both_wrong"].notna()].reset_index(drop=True)
    figure = go.Figure()
    written = len(known) <= _MOST_WRITTEN
    for taken, size in ((False, 9), (True, 13)):
        for _, row in known[known["taken"] == taken].iterrows():
            colour, symbol = looks[row["name"]]
            line = {"width": 1.8, "color": colour}
            figure.add_scatter(
                x=[100 * row["both_wrong"]],
                y=[metric.factor * row["score"]],
                mode="markers+text" if written else "markers",
                text=[row["name"]],
                textposition="top center",
                textfont={"size": 12},
                marker={"color": colour, "symbol": symbol if taken else f"{symbol}-open", "size": size, "line": line},
                name=row["name"],
                showlegend=False,
                cliponaxis=False,
                hovertemplate=f"%{{fullData.name}} ({'member' if taken else 'no member'})<br>alone %{{y:.1f}}<br>both "
                f"wrong %{{x:.1f}} %<br>equal decisions {100 * row['overlap']:.1f} %<extra></extra>",
            )
    axis = f"{metric.name} (%)" if metric.unit == "share" else f"{metric.name} ({metric.unit})"
    wrong = 100 * known["both_wrong"].to_numpy(float)
    room = max(1.0, 0.15 * float(np.ptp(wrong))) if len(wrong) else 1.0  # names stand beside their dots
    ends = [wrong.min() - room, wrong.max() + room] if len(wrong) else None
    figure.update_xaxes(title="wrong together with the other members (% of the clips)", range=ends)
    figure.update_yaxes(title=f"alone: {axis}")
    title = f"Who is good and errs elsewhere? ({split})"
    return finish(figure, title, _diversity_sentence(known, metric, split), height=480, least_width=480)


def _diversity_sentence(known: pd.DataFrame, metric: Metric, split: str) -> str:
    lead = f"Up and left is what members should be: good alone on {split}, and seldom wrong together with the others"
    left = known[~known["taken"].astype(bool)]
    if left.empty:
        return f"{lead}. All candidates are members."
    first = left.sort_values(["both_wrong", "score"], ascending=[True, metric.direction == "minimize"]).iloc[0]
    taken = [str(name) for name in known.loc[known["taken"].astype(bool), "name"]]
    who = listed(taken) if 0 < len(taken) <= 3 else f"the {len(taken)} members"
    reached = f"{metric.factor * first['score']:.1f}\N{NO-BREAK SPACE}{'%' if metric.unit == 'share' else metric.unit}"
    return (
        f"{lead}. Filled: members. Of the others {first['name']} is wrong together with {who} least often "
        f"({percent(100 * first['both_wrong'])} of the clips) and reaches {reached} alone."
    )
