"""Figures of ensembles and fusions: overlap, the selection's path, what changed against the parts."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, Metric, Subset, subsets_among, unseen_among
from asc_study.evaluation.overlap import Overlap
from asc_study.figures.theme import (
    BLUE,
    REFERENCE,
    SHARES,
    VERMILION,
    finish,
    percent,
    subset_colours,
)

#: With more systems than this the cells of a heat map are too small for figures.
_MOST_WRITTEN = 20

#: Points that the axis of the path shows above and below its values at least.
_LEAST_SPAN = 5


def overlap_figure(found: Overlap, names: Sequence[str], split: str) -> go.Figure:
    """Heat maps of the share of equal decisions and of equal errors, in per cent of the clips."""
    titles = ("Equal decisions", "Equal errors")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.02, shared_yaxes=True)
    for column, shares in enumerate((found.decisions, found.errors), 1):
        figure.add_trace(_heat(100 * shares, names, whole=column == 1), 1, column)
    longest = max(len(name) for name in names)
    figure.update_yaxes(autorange="reversed", showgrid=False).update_xaxes(tickangle=-60, showgrid=False)
    finish(
        figure,
        f"Which systems decide alike? ({split})",
        _overlap_sentence(found, names),
        height=max(420, 26 * len(names) + 8 * longest + 150),
        least_width=2 * 22 * len(names) + 8 * longest + 80,
    )
    return figure.update_layout(margin={"l": 8 * longest, "b": 7 * longest})


def _overlap_sentence(found: Overlap, names: Sequence[str]) -> str:
    what = "In % of the clips; the diagonal of the errors is each system's error rate"
    pairs = np.where(np.triu(np.ones(found.decisions.shape, bool), 1), found.decisions, np.nan)
    if len(names) < 2:
        return f"{what}."
    ends = []
    for words, place in (("most alike", np.nanargmax(pairs)), ("least alike", np.nanargmin(pairs))):
        one, other = (int(number) for number in np.unravel_index(place, pairs.shape))
        ends.append(f"{words} are {names[one]} and {names[other]} ({percent(100 * pairs[one, other])})")
    return f"{what}: {', '.join(ends if len(names) > 2 else ends[:1])}."


def _heat(shares: npt.NDArray[np.float64], names: Sequence[str], *, whole: bool) -> go.Heatmap:
    """A heat map up to 100 per cent, or up to the highest share."""
    return go.Heatmap(
        z=shares,
        name="equal decisions (%)" if whole else "equal errors (%)",
        x=list(names),
        y=list(names),
        zmin=0,
        zmax=100 if whole else max(1.0, float(shares.max())),
        colorscale=SHARES,
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
    figure.update_layout(
        barmode="group", legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"}
    )
    finish(figure, f"Why these members? (chosen on {decided})", sentence, height=680, least_width=900)
    return figure.update_layout(margin={"t": 100, "b": 150})


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
        "color": REFERENCE,
    }
    line = {"color": BLUE, "width": 3}
    traces = [go.Scatter(x=steps, y=score, error_y=bars, line=line, mode="lines+markers", showlegend=False)]
    subsets = subsets_among(str(column).removeprefix("test_") for column in path)
    colours = subset_colours(subsets)
    for subset in (ALL_CLIPS, *subsets):
        if f"test_{subset.metric}" in path:
            dotted = {"color": colours.get(subset.name, REFERENCE), "width": 1.5, "dash": "dot"}
            test = 100 * path[f"test_{subset.metric}"]
            traces.append(go.Scatter(x=steps, y=test, name=f"test, {subset.title}", line=dotted, mode="lines+markers"))
    return traces


def _overlap_bars(path: pd.DataFrame, steps: Sequence[str]) -> list[go.Bar]:
    """How each member overlaps with those before it, in per cent of the clips."""
    kinds = {"overlap": ("equal decisions", REFERENCE), "both_wrong": ("both wrong", VERMILION)}
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
        (False, "not taken", {"color": REFERENCE, "symbol": "circle-open", "line": {"width": 1.5}, "size": 10}),
        (True, "taken, in this order", {"color": BLUE, "size": 20}),
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
                textposition="middle center" if taken else _inwards(shown["both_wrong"], candidates["both_wrong"]),
                textfont={"color": "white"} if taken else {"size": 12},
                customdata=np.column_stack([shown["name"], 100 * shown["overlap"]]),
                hovertemplate="%{customdata[0]}<br>alone %{y:.1f}<br>both wrong %{x:.1f} %<br>"
                "equal decisions %{customdata[1]:.1f} %<extra></extra>",
                name=name,
                cliponaxis=False,
            )
        )
    return traces


def _inwards(values: "pd.Series[float]", every: "pd.Series[float]") -> list[str]:
    """Where the name of each point stands, so that none runs over the panel's edge."""
    place = (values - every.min()) / max(every.max() - every.min(), 1e-9)
    return ["top right" if one < 1 / 3 else "top left" if one > 2 / 3 else "top center" for one in place]


def change_figure(parts: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """The test accuracy by subset of each part and, last, of what was made of them.

    Parameters
    ----------
    parts
        Name -> metrics.
    """
    metrics_of_all = {name for metrics in parts.values() for name in metrics}
    logged = {one: BY_NAME[one.metric].test_name for one in (*subsets_among(metrics_of_all), ALL_CLIPS)}
    subsets = [one for one, metric in logged.items() if any(metric in metrics for metrics in parts.values())]
    labels = ["all clips" if one is ALL_CLIPS else one.heading for one in subsets]
    values = pd.DataFrame(
        {name: [100 * metrics.get(logged[one], np.nan) for one in subsets] for name, metrics in parts.items()},
        index=labels,
    )
    figure = go.Figure()
    *made_of, result = values
    for number, name in enumerate(made_of):
        grey = {"color": REFERENCE, "symbol": "circle-open", "size": 8, "line": {"width": 1.5}}
        dots = go.Scatter(x=labels, y=values[name], mode="markers", marker=grey, text=[name] * len(labels))
        dots.update(name="part" if len(made_of) > 1 else name, legendgroup="part", showlegend=number == 0)
        figure.add_trace(dots.update(hovertemplate="%{text}<br>%{x}: %{y:.1f} %<extra></extra>"))
    text = ["" if np.isnan(value) else f"{value:.1f}" for value in values[result]]
    figure.add_scatter(
        x=labels,
        y=values[result],
        mode="markers+text",
        name=result,
        text=text,
        textposition="middle right",
        marker={"color": BLUE, "symbol": "diamond", "size": 11},
        hovertemplate=f"{result}<br>%{{x}}: %{{y:.1f}} %<extra></extra>",
    )
    figure.update_yaxes(title="test accuracy (%)", range=[0, 104], dtick=20).update_xaxes(showgrid=False)
    return finish(
        figure, "What is gained against the parts?", _change_sentence(values, unseen_among(metrics_of_all)), height=460
    )


def _change_sentence(values: pd.DataFrame, unseen: Subset | None) -> str:
    """What was gained over the best part, on all clips and on devices never heard."""
    *made_of, result = values
    found = []
    never_heard = unseen.heading if unseen else ""
    for label, words in (("all clips", "on all clips"), (never_heard, "on the devices never heard")):
        if made_of and label in values.index and values.loc[label].notna().all():
            gain = float(values[result][label] - max(values[name][label] for name in made_of))
            found.append(f"{words} {percent(float(values[result][label]))} ({gain:+.1f} points)")
    return f"{result} against the best part there: {', '.join(found)}." if found else f"{result} and its parts."
