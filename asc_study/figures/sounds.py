"""What a network is given of a sound: log-mel spectrograms side by side on one scale, and what systems make of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.evaluation.predictions import classes_of
from asc_study.figures.confusions import spoken
from asc_study.figures.theme import TITLE_HEIGHT, finish, percent

#: From little to much, in steps that look alike, for eyes of every kind.
_COLOURS: Final = "Viridis"

#: What is drawn below the loudest: as far down as all but this share of the values lie, within these decibels.
_QUIET: Final = 0.02
_LEAST_RANGE_DB, _RANGE_DB = 30.0, 80.0

_TICKS_HZ: Final = (100, 500, 1000, 2000, 4000, 8000, 16000)


@dataclass(frozen=True)
class Drawn:
    """A spectrogram with its axes.

    Attributes
    ----------
    values
        (bands, frames): decibels, or with ``scaled`` what a network is given, from 0 to 1.
    centres
        Centre of each band in Hz.
    frame_seconds
        From one frame to the next.
    scaled
        Which of the two the values are.
    """

    values: npt.NDArray[np.floating[Any]]
    centres: npt.NDArray[np.float64]
    frame_seconds: float
    scaled: bool = False


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
    return sounds_figure({name: drawn}, f"What does {name} sound like?", sentence)


def sounds_figure(panels: Mapping[str, Drawn], title: str, sentence: str, *, columns: int = 2) -> go.Figure:
    """Spectrograms side by side; a colour means the same in all of them.

    Parameters
    ----------
    panels
        What each is called -> the spectrogram, all of one kind; decibels are those below the loudest value of all.
    title, sentence
        The question and its answer.
    columns
        How many stand side by side.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    several = len(panels) > 1
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=list(panels) if several else None,
        shared_yaxes=True,
        horizontal_spacing=0.02,
        vertical_spacing=0.2 / rows if rows > 1 else 0,
    )
    top = max(float(np.max(one.values)) for one in panels.values())
    scaled = all(one.scaled for one in panels.values())
    for number, (name, one) in enumerate(panels.items()):
        row, column = divmod(number, columns)
        lowest = number + columns >= len(panels)
        figure.add_trace(_heat(one, name, top), row + 1, column + 1)
        figure.update_yaxes(_frequencies(one), row=row + 1, col=column + 1)
        figure.update_xaxes(
            title="s" if lowest else None, showticklabels=lowest, showgrid=False, row=row + 1, col=column + 1
        )
        if not column:
            figure.update_yaxes(title="Hz (mel scale)", row=row + 1, col=1)
    bar = {"title": {"text": "scaled" if scaled else "dB"}, "thickness": 12, "outlinewidth": 0}
    ends = {"cmin": 0, "cmax": 1} if scaled else {"cmin": _softest(panels.values(), top), "cmax": 0}
    figure.update_layout(coloraxis={"colorscale": _COLOURS, "colorbar": bar, **ends})
    figure.update_annotations(font={"size": 13})
    above = 30 if several else 10
    height = TITLE_HEIGHT + above + (290 if rows == 1 else 50 + 190 * rows)
    finish(figure, title, sentence, height=height, least_width=280 * columns if several else 0)
    return figure.update_layout(margin={"t": TITLE_HEIGHT + above})


def _softest(drawn: Iterable[Drawn], top: float) -> float:
    """Where the colours begin, so that none is kept for what hardly any value is: decibels below the loudest."""
    softest = min(float(np.quantile(one.values, _QUIET)) for one in drawn) - top
    return max(-_RANGE_DB, min(-_LEAST_RANGE_DB, 10 * math.floor(softest / 10)))


def _heat(one: Drawn, name: str, top: float) -> go.Heatmap:
    if one.scaled:
        values, number = one.values.astype(np.float32), "%{z:.2f}"
    else:  # whole decibels take a quarter of the room
        values, number = np.clip(np.rint(one.values - top), -127, 127).astype(np.int8), "%{z} dB"
    return go.Heatmap(
        z=values,
        x=np.round(np.arange(one.values.shape[1]) * one.frame_seconds, 4),
        coloraxis="coloraxis",
        name=name,
        hovertemplate=f"%{{x:.2f}} s, band %{{y}}: {number}<extra></extra>",
    )


def change_of(before: Drawn, after: Drawn) -> str:
    """Where the average spectrum of a sound changes most, in words."""
    change = after.values.mean(axis=1) - before.values.mean(axis=1)
    place = int(np.abs(change).argmax())
    return f"{change[place]:+.1f} dB around {_hertz(before.centres[place])}"


def beliefs(name: str, seeds: Sequence[pd.DataFrame], clip: str) -> str:
    """What a system makes of a clip, the likeliest three classes first; empty if its predictions lack the clip."""
    mean = mean_beliefs(seeds, [clip])
    if mean.empty:
        return ""
    first = mean.iloc[0].sort_values(ascending=False, kind="stable").head(3)
    said = ", ".join(f"{spoken(str(scene))} {percent(100 * value)}" for scene, value in first.items())
    return f"{name}: {said}."


def mean_beliefs(seeds: Sequence[pd.DataFrame], clips: Sequence[str]) -> pd.DataFrame:
    """The probabilities of a system for clips, mean over its seeds: clips as rows, classes as columns.

    Clips that the predictions lack are left out.
    """
    if not seeds:
        return pd.DataFrame()
    classes = list(classes_of(seeds[0]))
    tables = [table.assign(clip_id=table["clip_id"].astype(str)).set_index("clip_id")[classes] for table in seeds]
    wanted = list(clips)
    mean = sum((table.reindex(wanted) for table in tables[1:]), tables[0].reindex(wanted)) / len(tables)
    return mean.dropna()


def _frequencies(one: Drawn) -> dict[str, Any]:
    shown = [hertz for hertz in _TICKS_HZ if hertz <= one.centres[-1]]
    places = np.interp(shown, one.centres, np.arange(len(one.centres)))
    ticks = [f"{hertz // 1000}k" if hertz >= 1000 else str(hertz) for hertz in shown]
    return {"tickvals": list(places), "ticktext": ticks, "showgrid": False}


def _hertz(value: float) -> str:
    return f"{value / 1000:.1f} kHz" if value >= 1000 else f"{value:.0f} Hz"
