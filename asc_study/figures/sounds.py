"""What a network is given of a sound: its log-mel spectrogram, and what systems make of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from asc_study.evaluation.predictions import classes_of
from asc_study.figures.confusions import spoken
from asc_study.figures.theme import TITLE_HEIGHT, finish, percent

#: From little to much, in steps that look alike, for eyes of every kind.
_COLOURS: Final = "Viridis"

#: What is drawn below the loudest.
_RANGE_DB: Final = 80

_TICKS_HZ: Final = (100, 500, 1000, 2000, 4000, 8000, 16000)


@dataclass(frozen=True)
class Drawn:
    """A spectrogram with its axes.

    Attributes
    ----------
    values
        (bands, frames) in decibels.
    centres
        Centre of each band in Hz.
    frame_seconds
        From one frame to the next.
    """

    values: npt.NDArray[np.floating[Any]]
    centres: npt.NDArray[np.float64]
    frame_seconds: float


def clip_figure(drawn: Drawn, name: str, said: str = "") -> go.Figure:
    """The spectrogram of one clip.

    Parameters
    ----------
    drawn
        Its spectrogram in decibels.
    name
        The clip's.
    said
        What systems make of it.
    """
    loudest = drawn.centres[int(np.argmax(drawn.values.mean(axis=1)))]
    sentence = f"{said} " if said else ""
    sentence += f"Its loudest band on average is that around {_hertz(loudest)}."
    decibels = np.rint(drawn.values - np.max(drawn.values))  # whole ones take a quarter of the room
    heat = go.Heatmap(
        z=np.clip(decibels, -127, 127).astype(np.int8),
        x=np.round(np.arange(drawn.values.shape[1]) * drawn.frame_seconds, 4),
        zmin=-_RANGE_DB,
        zmax=0,
        colorscale=_COLOURS,
        colorbar={"title": {"text": "dB"}, "thickness": 12, "outlinewidth": 0},
        name=name,
        hovertemplate="%{x:.2f} s, band %{y}: %{z} dB<extra></extra>",
    )
    figure = go.Figure(heat)
    figure.update_yaxes(title="Hz (mel scale)", **_frequencies(drawn)).update_xaxes(title="s", showgrid=False)
    finish(figure, f"What does {name} sound like?", sentence, height=TITLE_HEIGHT + 310)
    return figure.update_layout(margin={"t": TITLE_HEIGHT + 10})


def beliefs(name: str, seeds: Sequence[pd.DataFrame], clip: str) -> str:
    """What a system makes of a clip, the likeliest three classes first; empty if its predictions lack the clip."""
    rows = [table.loc[table["clip_id"].astype(str) == clip, list(classes_of(table))] for table in seeds]
    if not rows or any(row.empty for row in rows):
        return ""
    mean = pd.concat(rows).mean().sort_values(ascending=False, kind="stable")
    said = ", ".join(f"{spoken(str(scene))} {percent(100 * value)}" for scene, value in mean.head(3).items())
    return f"{name}: {said}."


def _frequencies(one: Drawn) -> dict[str, Any]:
    shown = [hertz for hertz in _TICKS_HZ if hertz <= one.centres[-1]]
    places = np.interp(shown, one.centres, np.arange(len(one.centres)))
    ticks = [f"{hertz // 1000}k" if hertz >= 1000 else str(hertz) for hertz in shown]
    return {"tickvals": list(places), "ticktext": ticks, "showgrid": False}


def _hertz(value: float) -> str:
    return f"{value / 1000:.1f} kHz" if value >= 1000 else f"{value:.0f} Hz"
