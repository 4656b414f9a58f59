"""Which scenes are taken for which: confusion matrices with scenes of a group together, and the difference of two."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from asc_study.base.taxonomy import known_taxonomies
from asc_study.evaluation.by_clip import Confusion
from asc_study.evaluation.paired import Difference
from asc_study.figures.theme import DIFFERENCES, REFERENCE, SHARES, VERMILION, finish, percent


def confusions_figure(
    shares: pd.DataFrame,
    name: str,
    most: Confusion | None,
    *,
    reference: str = "",
    where: str = "",
    marked: tuple[str, str] | None = None,
) -> go.Figure:
    """Heat map of a system's confusions on some devices, or of their difference to those of a reference.

    Parameters
    ----------
    shares
        What `asc_study.evaluation.by_clip.confusion_shares` gives, or its difference to that of the reference.
    name
        Whose it is.
    most
        The most frequent confusion, or what changes most; None if there is none.
    reference
        The name of the reference if a difference is shown.
    where
        Which clips, for the title: ``on s4-s6``.
    marked
        A true scene and a decision whose cell is framed.
    """
    figure = confusion_heat(shares, difference=bool(reference))
    order = in_groups(list(shares.index))
    if marked is not None and set(marked) <= set(order):
        row, column = (order.index(scene) for scene in marked)
        ends = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
        figure.add_shape(type="rect", line={"color": VERMILION, "width": 3}, **ends)
    at = f" {where}" if where else ""
    if reference:
        title = f"What does {name} take for what more or less often than {reference}{at}?"
        return finish(figure, title, _change_sentence(most, reference), height=matrix_height(order), least_width=560)
    title = f"Which scenes does {name} take for which{at}?"
    return finish(figure, title, _sentence(most), height=matrix_height(order), least_width=560)


def confusion_heat(shares: pd.DataFrame, *, difference: bool = False) -> go.Figure:
    """The heat map alone, scenes beside those of their group, with lines between the groups."""
    order = in_groups(list(shares.index))
    values = shares.loc[order, order].to_numpy(float)
    most = max(5.0, float(np.nanmax(np.abs(values), initial=0))) if difference else 100.0
    labels = [spoken(scene) for scene in order]
    number = "%{z:+.1f} points" if difference else "%{z:.1f} %"
    heat = go.Heatmap(
        z=values,
        x=labels,
        y=labels,
        zmin=-most if difference else 0,
        zmax=most,
        colorscale=[list(one) for one in (DIFFERENCES if difference else SHARES)],
        text=[[_written(value, difference) for value in row] for row in values],
        texttemplate="%{text}",
        name="points" if difference else "% of the true scene",
        hovertemplate=f"true %{{y}}<br>decided %{{x}}<br>{number}<extra></extra>",
        hoverongaps=False,
        showscale=False,
        xgap=1,
        ygap=1,
    )
    figure = go.Figure(heat)
    group_of_scene = _groups_of(order)
    if len(order) > len(set(group_of_scene.values())) > 0:
        line = {"color": REFERENCE, "width": 2}
        groups = [group_of_scene[scene] for scene in order]
        for at in (number + 0.5 for number in range(len(order) - 1) if groups[number] != groups[number + 1]):
            figure.add_vline(x=at, line=line).add_hline(y=at, line=line)
        for group in dict.fromkeys(groups):
            places = [number for number, one in enumerate(groups) if one == group]
            at = sum(places) / len(places)
            figure.add_annotation(x=at, y=1, yref="paper", yanchor="bottom", yshift=4, text=f"<b>{group}</b>")
    figure.update_xaxes(title="decision", showgrid=False, tickangle=-45)
    return figure.update_yaxes(title="true scene", autorange="reversed", showgrid=False)


def _written(value: float, difference: bool) -> str:
    if not np.isfinite(value):
        return ""
    return f"{value:+.0f}" if difference and round(value) else f"{abs(round(value))}"


def in_groups(scenes: Sequence[str]) -> list[str]:
    """Scenes beside those of their group, where they have one: indoor, outdoor, transportation, by name within."""
    group_of_scene = _groups_of(scenes)
    return sorted(scenes, key=lambda name: (group_of_scene.get(name, ""), name))


def _groups_of(scenes: Sequence[str]) -> Mapping[str, str]:
    """Scene -> group in the data set that these scenes are of; empty where they are groups or have none."""
    known = (one.group_of_scene for one in reversed(known_taxonomies()))
    return next((groups for groups in known if set(scenes) <= set(groups)), {})


def spoken(scene: str) -> str:
    """``street traffic`` for ``street_traffic``."""
    return scene.replace("_", " ")


def matrix_height(order: Sequence[str]) -> int:
    """Of the figure of so many classes, in pixels."""
    return max(420, 30 * (len(order) + 10))


def _sentence(most: Confusion | None) -> str:
    start = "In % of the clips of each true scene, mean over seeds"
    if most is None:
        return f"{start}; every clip is right."
    between = "" if most.low is None else f", 95 % interval {most.low:.1f} to {most.high:.1f}"
    return (
        f"{start}. Most often {spoken(most.true)} is taken for {spoken(most.decided)}: {percent(most.share)} of "
        f"{_clips(most)}{between}."
    )


def _change_sentence(most: Confusion | None, reference: str) -> str:
    start = f"Points against {reference}, mean over seeds: blue is more often, orange less"
    if most is None or most.change is None:
        return f"{start}. They decide alike."
    change = most.change
    what = (
        f"{spoken(most.true)} is right"
        if most.true == most.decided
        else f"{spoken(most.true)} is taken for {spoken(most.decided)}"
    )
    return (
        f"{start}. What changes most: {what}, {change_text(change)}, {_clips(most)}. "
        "A cell is few clips: the page of devices tells which system is better."
    )


def change_text(change: Difference) -> str:
    """A difference in points, and whether it is more than noise."""
    points = f"{100 * change.value + 0.0:+.1f} points"
    if change.low is None or change.high is None:
        return f"{points} (one location: nobody can tell)"
    sure = "more than noise" if change.significant else "not more than noise"
    if not change.significant and change.low * change.high > 0:
        sure = "too few locations to be sure"
    ends = f"95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    return f"{points} ({ends}, p = {change.p_value:.3f}: {sure})"


def _clips(most: Confusion) -> str:
    places = f"{most.locations} location{'s' if most.locations > 1 else ''}"
    return f"{most.clips} clip{'s' if most.clips > 1 else ''} of {places}"
