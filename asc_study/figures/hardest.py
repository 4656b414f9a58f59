"""How many clips few or no systems get right: whether systems err on the same clips."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from asc_study.base.metric_table import subsets_of
from asc_study.base.taxonomy import taxonomy_for
from asc_study.figures.confusions import spoken
from asc_study.figures.theme import BLUE, TITLE_HEIGHT, VERMILION, finish, listed, percent

_Counts = npt.NDArray[np.integer[Any]]

#: Ends of the shares of runs, in quarters.
_QUARTERS: Final = (0.25, 0.5, 0.75)


def hardest_figure(clips: pd.DataFrame, systems: int) -> go.Figure:
    """How many clips which share of the runs gets right, those of devices never heard apart.

    Parameters
    ----------
    clips
        What `asc_study.evaluation.by_clip.hardest_clips` gives.
    systems
        Of how many systems.
    """
    runs = int(clips["runs"].iloc[0])
    labels = _labels(runs)
    place = _places(clips["right"].to_numpy(), runs, len(labels))
    devices, named = _never_heard(clips)
    unseen = clips["device"].isin(devices).to_numpy()
    figure = go.Figure()
    for name, mask, colour in (("other devices", ~unseen, BLUE), (f"{named}, never heard", unseen, VERMILION)):
        if mask.any():
            counts = np.bincount(place[mask], minlength=len(labels))
            figure.add_bar(
                x=labels,
                y=counts,
                name=name,
                marker_color=colour,
                text=[str(count) if count else "" for count in counts],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                hovertemplate=f"%{{x}}: %{{y}} clips of {name}<extra></extra>",
            )
    figure.update_layout(barmode="stack", bargap=0.25, showlegend=bool(unseen.any() and not unseen.all()))
    figure.update_xaxes(title="runs that get a clip right", showgrid=False)
    figure.update_yaxes(title="clips", rangemode="tozero")
    finish(figure, "Do all systems get the same clips wrong?", _sentence(clips, systems), height=TITLE_HEIGHT + 330)
    return figure.update_layout(margin={"t": TITLE_HEIGHT + 40})


def _never_heard(clips: pd.DataFrame) -> tuple[set[str], str]:
    """The devices that training never hears, and the names of their subsets."""
    subsets = [one for one in subsets_of(taxonomy_for(clips["device"].unique())) if one.unseen]
    return {device for one in subsets for device in one.devices}, ", ".join(one.heading for one in subsets)


def _labels(runs: int) -> list[str]:
    if runs <= len(_QUARTERS) + 1:
        return ["none", *(str(right) for right in range(1, runs)), "all" if runs > 1 else "the only one"]
    return ["none", "up to 25 %", "26-50 %", "51-75 %", "76-99 %", "all"]


def _places(
    right: "np.ndarray[tuple[int], np.dtype[np.int_]]", runs: int, bars: int
) -> "np.ndarray[tuple[int], np.dtype[np.int_]]":
    """Which bar a clip belongs to that so many of the runs get right."""
    if bars == runs + 1:
        return right
    between = 1 + np.searchsorted(_QUARTERS, right / runs)
    return np.where(right == 0, 0, np.where(right == runs, bars - 1, between))


def _sentence(clips: pd.DataFrame, systems: int) -> str:
    runs, wrong = int(clips["runs"].iloc[0]), clips[clips["right"] == 0]
    who = f"all {runs} runs of {systems} systems" if runs > systems else f"all {systems} systems"
    if systems == 1:
        who = f"all {runs} runs" if runs > 1 else "the only run"
    if wrong.empty:
        return f"None of {len(clips)} clips is wrong in {who}."
    verb = "is" if len(wrong) == 1 else "are"
    said = f"{len(wrong)} of {len(clips)} clips ({percent(100 * len(wrong) / len(clips))}) {verb} wrong in {who}"
    devices, named = _never_heard(clips)
    unseen = clips["device"].isin(devices)
    if unseen.any() and not unseen.all():
        missed = clips["right"].eq(0)
        of_unseen, of_others = (percent(100 * missed[mask].mean()) for mask in (unseen, ~unseen))
        said += f": {of_unseen} of those of {named}, {of_others} of the others"
    scenes = wrong["scene"].value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
    most = [f"{spoken(str(name))} ({count})" for name, count in scenes.head(2).items()]
    return f"{said}. Most of them are of {listed(most)}."
