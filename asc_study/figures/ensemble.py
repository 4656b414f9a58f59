"""Figures of ensembles and fusions: overlap, the selection's path, what changed against the parts."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, SUBSETS
from asc_study.evaluation.overlap import Overlap
from asc_study.figures.theme import (
    BLUE,
    LAYOUT,
    REFERENCE,
    SHARES,
    SUBSET_COLOURS,
    SUBSET_NAMES,
    UNSEEN,
    finish,
    percent,
)

#: With more systems than this the cells of a heat map are too small for figures.
_MOST_WRITTEN = 20

_BELOW = {"orientation": "h", "y": -0.12, "yanchor": "top"}


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
    """The test accuracy by subset of each part and, last, of what was made of them.

    Parameters
    ----------
    parts
        Name -> metrics.
    """
    logged = {one: BY_NAME[one.metric].test_name for one in (*SUBSETS, ALL_CLIPS)}
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
    return finish(figure, "What is gained against the parts?", _change_sentence(values), height=460)


def _change_sentence(values: pd.DataFrame) -> str:
    """What was gained over the best part, on all clips and on devices never heard."""
    *made_of, result = values
    found = []
    for label, words in (("all clips", "on all clips"), (UNSEEN, "on the devices never heard")):
        if made_of and label in values.index and values.loc[label].notna().all():
            gain = float(values[result][label] - max(values[name][label] for name in made_of))
            found.append(f"{words} {percent(float(values[result][label]))} ({gain:+.1f} points)")
    return f"{result} against the best part there: {', '.join(found)}." if found else f"{result} and its parts."
