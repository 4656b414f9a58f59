"""How every figure looks: colours that the colour-blind tell apart, symbols, light and dark grounds, its sentence.

A figure carries its title in ``layout.title`` and, in ``layout.meta``, the sentence that says what it shows; a page or
a dashboard sets both as text of its own. Whatever differs between the light and the dark ground is in the templates
`LIGHT` and `DARK`, of which the page sets one: a figure has none of them, for plotly checks one longer than all else.
Colours are those of Okabe and Ito ("Color Universal Design", 2008).
"""

from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go

from asc_study.base.metric_table import Subset
from asc_study.base.taxonomy import CLASSES, count_in_words, label_column

BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
SKY: Final = "#56B4E9"

#: What others are compared with.
REFERENCE: Final = "#8A8F98"

#: Lines of device subsets, in their order.
_SUBSET_COLOURS: Final = (BLUE, GREEN, ORANGE, VERMILION, PURPLE, SKY)

#: The ground of devices that training never hears.
TINT: Final = "rgba(213, 94, 0, 0.08)"

#: A system has a colour and a symbol, the same in every figure of its board; what others are compared with is grey.
_SYSTEM_COLOURS: Final = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
_SYSTEM_SYMBOLS: Final = ("square", "diamond", "triangle-up", "star", "cross", "triangle-down")

#: What is measured on fewer clips is not drawn: its accuracy would be chance.
LEAST_CLIPS: Final = 10

#: From nothing to everything, for shares.
SHARES: Final = ((0.0, "#F4F8FB"), (0.5, SKY), (1.0, "#00436B"))

#: From less to more, for differences around 0.
DIFFERENCES: Final = ((0.0, "#A63D00"), (0.25, "#E69F7A"), (0.5, "#F7F7F7"), (0.75, SKY), (1.0, "#00436B"))

#: What the title and the room around it take, in pixels; a page that sets the title itself takes it away.
TITLE_HEIGHT: Final = 44


def _template(ink: str, soft: str, ground: str, grid: str) -> dict[str, Any]:
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 8},
        "tickcolor": grid,
    }
    return {
        "layout": {
            "font": {"family": "Inter, system-ui, 'Segoe UI', Roboto, Arial, sans-serif", "size": 13, "color": ink},
            "paper_bgcolor": ground,
            "plot_bgcolor": ground,
            "colorway": [BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY],
            "xaxis": axis,
            "yaxis": axis,
            "title": {"x": 0, "xanchor": "left", "xref": "paper", "font": {"size": 16}},
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
            "annotationdefaults": {"font": {"size": 12, "color": soft}, "showarrow": False},
            "hoverlabel": {"font": {"size": 13}},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": soft, "activecolor": ink},
        }
    }


LIGHT: Final = _template("#222222", "#5A5F66", "#FFFFFF", "#E6E8EB")
DARK: Final = _template("#E4E6E9", "#A3A9B1", "#16191D", "#31363D")

LAYOUT: Final[dict[str, Any]] = {
    "margin": {"l": 60, "r": 20, "t": 60 + TITLE_HEIGHT, "b": 50},
    "font": {"size": 13},
}


def finish(figure: go.Figure, title: str, sentence: str, *, height: int, least_width: int = 0) -> go.Figure:
    """Give a figure its look, its title and the sentence that says what it shows.

    Parameters
    ----------
    figure
        What has been drawn.
    title
        The question that the figure answers.
    sentence
        The answer, computed from what is drawn, and how sure it is.
    height
        In pixels, the title's included.
    least_width
        Below so many pixels a page lets the reader scroll sideways instead of drawing it narrower.
    """
    figure.update_layout(title={"text": title}, height=height, **LAYOUT)
    return figure.update_layout(meta={"sentence": sentence, "least_width": least_width})


def looks(names: Sequence[str], reference: str = "") -> dict[str, tuple[str, str]]:
    """The colour and the symbol of each system, by its place among all systems of a board."""
    others, found = 0, {}
    for name in names:
        if name == reference:
            found[name] = (REFERENCE, "circle")
            continue
        colour = _SYSTEM_COLOURS[others % len(_SYSTEM_COLOURS)]
        symbol = _SYSTEM_SYMBOLS[(others + others // len(_SYSTEM_COLOURS)) % len(_SYSTEM_SYMBOLS)]
        found[name] = (colour, symbol)
        others += 1
    return found


def subset_colours(subsets: Sequence[Subset]) -> dict[str, str]:
    """The colour of each device subset by its place."""
    return {one.name: _SUBSET_COLOURS[number % len(_SUBSET_COLOURS)] for number, one in enumerate(subsets)}


def told_task(task: str) -> str:
    """What a task tells apart, in words: ``ten scenes``, ``three scene groups``."""
    return f"{count_in_words(task)} {'scene groups' if label_column(task) == 'scene_group' else 'scenes'}"


def chance(task: str) -> float:
    """The accuracy of guessing, in per cent."""
    return 100 / len(CLASSES[task])


def add_level(figure: go.Figure, level: float, name: str, **where: Any) -> None:
    """Draw a dotted horizontal line, with its name at the right end."""
    figure.add_hline(
        y=level,
        line={"color": REFERENCE, "width": 1.2, "dash": "dot"},
        annotation={"text": name, "xanchor": "right", "yanchor": "bottom", "font": {"size": 12}},
        annotation_position="right",
        **where,
    )


def upright(x: float, panel: int, *, width: float = 1.5, dash: str = "solid") -> dict[str, Any]:
    """A vertical line through a panel (from 1), as a shape; plotly's own are added in ten times the time."""
    line = {"color": REFERENCE, "width": width, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "xref": _axis("x", panel), **_whole("y", panel), "line": line}


def level(y: float, panel: int, *, width: float = 1.5, dash: str = "solid") -> dict[str, Any]:
    """A horizontal line through a panel (from 1), as a shape."""
    line = {"color": REFERENCE, "width": width, "dash": dash}
    return {"type": "line", "y0": y, "y1": y, "yref": _axis("y", panel), **_whole("x", panel), "line": line}


def ground(ends: tuple[float, float], panel: int) -> dict[str, Any]:
    """The ground of devices never heard, between two places of a panel (from 1), as a shape."""
    area = {"type": "rect", "layer": "below", "fillcolor": TINT, "line": {"width": 0}}
    return area | {"x0": ends[0], "x1": ends[1], "xref": _axis("x", panel), **_whole("y", panel)}


def _axis(letter: str, panel: int) -> str:
    return letter if panel == 1 else f"{letter}{panel}"


def _whole(letter: str, panel: int) -> dict[str, Any]:
    return {f"{letter}0": 0, f"{letter}1": 1, f"{letter}ref": f"{_axis(letter, panel)} domain"}


def percent(value: float) -> str:
    """``81.0 %``, with a space that no line is broken at."""
    return f"{value:.1f}\N{NO-BREAK SPACE}%"


def listed(names: list[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def epoch_ticks(epochs: int) -> int | None:
    """The distance of marks on an axis of epochs: every one if they are few, else what plotly finds."""
    return 1 if epochs <= 10 else None
