"""Scenes by devices: where a system loses, or differs from another."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from asc_study.base.taxonomy import taxonomy_for
from asc_study.figures.theme import DIFFERENCES, LAYOUT, REFERENCE, SHARES, finish, percent


def scenes_figure(
    shares: pd.DataFrame, name: str, *, against: pd.DataFrame | None = None, reference: str = ""
) -> go.Figure:
    """Heat map of the accuracy on each scene and device, or of its difference to that of a reference.

    Parameters
    ----------
    shares
        What `asc_study.evaluation.side_by_side.scenes_by_device` gives.
    name
        Whose it is.
    against, reference
        The same of the reference, and its name.
    """
    values = shares if against is None else shares - against.reindex_like(shares)
    most = 100.0 if against is None else max(5.0, float(np.nanmax(np.abs(values.to_numpy()))))
    signs = "+.0f" if against is not None else ".0f"
    scenes = [scene.replace("_", " ") for scene in values.index]
    figure = go.Figure(
        go.Heatmap(
            z=values.to_numpy(),
            x=list(values.columns),
            y=scenes,
            zmin=0 if against is None else -most,
            zmax=most,
            colorscale=[list(one) for one in (SHARES if against is None else DIFFERENCES)],
            texttemplate=f"%{{z:{signs}}}",
            hovertemplate="%{y}, device %{x}: %{z:" + signs.replace("0f", "1f") + "}<extra></extra>",
            name="points" if against is not None else "%",
            showscale=False,
            hoverongaps=False,
            xgap=1,
            ygap=1,
        )
    )
    devices = list(values.columns)
    seen = taxonomy_for(devices).seen_devices
    first = next((number for number, device in enumerate(devices) if device not in seen), 0)
    if first:
        figure.add_vline(x=first - 0.5, line={"color": REFERENCE, "width": 2})
    figure.update_yaxes(autorange="reversed", showgrid=False).update_xaxes(showgrid=False, title="device")
    title = f"Which scenes does {name} lose on which devices?"
    if against is not None:
        title = f"Where is {name} better or worse than {reference}?"
    sentence = _scenes_sentence(values, reference if against is not None else "")
    finish(figure, title, sentence, height=156 + 34 * len(scenes))
    return figure.update_layout(margin={"t": LAYOUT["margin"]["t"] - 44})


def _scenes_sentence(values: pd.DataFrame, reference: str) -> str:
    table = values.to_numpy()
    lowest = _place(np.nanargmin(table), table)
    scene, device = values.index[lowest[0]].replace("_", " "), values.columns[lowest[1]]
    if not reference:
        return (
            f"In % of the clips of each scene and device, mean over seeds; right of the line: devices never heard. "
            f"Lowest: {scene} on {device} with {percent(table[lowest])}."
        )
    highest = _place(np.nanargmax(table), table)
    best, where = values.index[highest[0]].replace("_", " "), values.columns[highest[1]]
    return (
        f"Points against {reference}, mean over seeds. Most gained: {best} on {where} ({table[highest]:+.1f}); most "
        f"lost: {scene} on {device} ({table[lowest]:+.1f}). A cell is few clips: the figure of devices tells noise."
    )


def _place(number: np.intp, table: npt.NDArray[np.float64]) -> tuple[int, int]:
    row, column = divmod(int(number), table.shape[1])
    return row, column
