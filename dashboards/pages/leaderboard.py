"""The start page: one row a combination, with intervals, the paired difference to a reference, and marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, Metric, columns_among, subsets_among
from asc_study.base.taxonomy import known_devices
from asc_study.evaluation.paired import LOG_LOSS
from asc_study.figures.study import study_figures
from asc_study.study.leaderboard import sorted_board
from dashboards.blocks import Block, Cell, Column, Figure, Grid, Note
from dashboards.links import export_link, link
from dashboards.pages.choices import board_looks, reference_control, reference_of, study_control
from dashboards.registry import Control, Page
from dashboards.source import Board, Source
from dashboards.state import State

#: Written as: name of the form -> ending of the file.
FORMS: Final = {"CSV": "csv", "Markdown": "md", "LaTeX": "tex", "JSON": "json"}


@dataclass(frozen=True)
class Leaderboard(State):
    """Whether accuracies are shown by device subset or by device, what the difference is of, and the order of rows."""

    columns: Literal["subsets", "devices"] = "subsets"
    difference: str = ALL_CLIPS.metric
    sort: str = ""


def controls(source: Source, state: Leaderboard) -> Sequence[Control]:
    """What can be chosen."""
    board = source.board(state.study, state.reference)
    shown = {"subsets": "device subsets", "devices": "single devices"}
    compared = {name: metric.heading for name, metric in _columns(board).items()}
    return [
        study_control(source, state),
        reference_control(board, state),
        Control("columns", "Accuracy by", state.columns, shown),
        Control("difference", "Difference in", _compared(board, state).name, compared),
        Control("sort", "Best first by", _sorted_by(board, state), {"": "the study's order", **compared}),
    ]


def blocks(source: Source, state: Leaderboard) -> Sequence[Block]:
    """The table, and what it says as figures."""
    board = source.board(state.study, state.reference)
    shown = board.frame[board.frame["seeds"] > 0]
    found: list[Block] = [Note(f"Missing: {board.lacking}.", kind="error")] if board.lacking else []
    found.append(_grid(board, state))
    figures = source.kept(("study figures", board.key), lambda: study_figures(_telling(board.among(board.names))))
    found += [Figure(one, f"{'-'.join(state.study) or 'study'}-{number}") for number, one in enumerate(figures, 1)]
    if shown["fingerprints"].gt(1).any():
        found.append(Note("other fingerprint: seeds of a row were computed by different back ends or versions."))
    return found


def _columns(board: Board) -> dict[str, Metric]:
    return {metric.name: metric for metric in columns_among(map(str, board.frame))}


def _sorted_by(board: Board, state: Leaderboard) -> str:
    return state.sort if state.sort in _columns(board) else ""


def _compared(board: Board, state: Leaderboard) -> Metric:
    known = _columns(board)
    return known.get(state.difference, known[ALL_CLIPS.metric])


def shown_frame(board: Board, state: Leaderboard) -> pd.DataFrame:
    """The frame of a board in the order that was chosen."""
    metric = _sorted_by(board, state)
    return sorted_board(board.frame, metric) if metric else board.frame


def _telling(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without steps of systems and quantised networks, which the table of another row tells of."""
    return frame[~frame["folded"].astype(bool)]


def _grid(board: Board, state: Leaderboard) -> Grid:
    frame = _telling(shown_frame(board, state))
    reference, compared = reference_of(board, state), _compared(board, state)
    if state.columns == "devices":
        accuracies = [BY_NAME[f"device_acc_{device}"] for device in known_devices() if f"device_acc_{device}" in frame]
        accuracies += [BY_NAME[ALL_CLIPS.metric]]
    else:
        accuracies = [BY_NAME[subset.metric] for subset in (*subsets_among(map(str, frame)), ALL_CLIPS)]
    metrics = [*accuracies, BY_NAME[LOG_LOSS]]
    narrow = 92 if frame["seeds"].max() < 2 else 110  # without or with a standard deviation
    columns = [Column("name", "System", "name", group="combination", width=230)]
    if frame["mark"].fillna("").ne("").any():
        columns.append(Column("mark", "Mark", "text", width=130))
    columns.append(Column("seeds", "Seeds", "text", width=82))
    columns += [Column(metric.name, metric.heading, group="test accuracy (%)", width=narrow) for metric in accuracies]
    columns.append(
        Column("difference", f"Difference in {compared.heading}", "difference", group=f"to {reference}", width=160)
    )
    columns.append(Column(LOG_LOSS, BY_NAME[LOG_LOSS].heading, width=90))
    costs = [metric for metric in _COSTS if metric.name in frame]
    columns += [Column(metric.name, metric.unit, width=124) for metric in costs]
    published = [metric for metric in metrics if _has(frame, f"published_{metric.name}")]
    columns += [Column(f"published_{one.name}", one.heading, group="published", width=84) for one in published]
    colours = board_looks(board, reference)
    rows = []
    for row in frame.to_dict("records"):
        name = str(row["name"])
        there = row["seeds"] > 0
        shown = {reference, name} if name != reference else {name}
        to = link("/devices", study=state.study, reference=state.reference, rows=tuple(sorted(shown, key=str)))
        cells: dict[str, Any] = {
            "name": name,
            "about": _about(row),
            "colour": colours[name][0],
            "symbol": colours[name][1],
            "link": link("/run", study=state.study, reference=state.reference, row=name) if there else "",
            "mark": row["mark"] if isinstance(row["mark"], str) else "",
            "seeds": str(row["seeds"]) if there else "-",
            "difference": _difference(row, compared, reference == name),
        }
        cells |= {metric.name: _cell(row, metric, to if there else "") for metric in (*metrics, *costs)}
        cells |= {
            f"published_{metric.name}": _plain(row.get(f"published_{metric.name}"), metric) for metric in published
        }
        rows.append(cells)
    exports = {form: export_link("leaderboard", ending, state) for form, ending in FORMS.items()}
    return Grid("Which combination survives the change of device?", _sentence(board), columns, rows, exports, _HINT)


_HINT: Final = (
    "Where the mouse or the focus is: the 95 % interval over locations, which a difference draws too. A figure opens "
    "the page of devices, a name that of its runs."
)

_COSTS: Final = (BY_NAME["cost/parameters"], BY_NAME["cost/model_kb"])


def _about(row: Any) -> str:
    """The architecture, the augmentations and the teacher, or what a row is made of."""
    parts = [part for part in (row.get("architecture"), row.get("augmentation")) if isinstance(part, str) and part]
    text = " + ".join(part for part in parts if part != "none")
    teacher = row.get("teacher")
    return f"{text}, taught by {teacher}" if isinstance(teacher, str) and teacher else text


def _cell(row: Any, metric: Metric, to: str) -> Cell:
    value = row.get(metric.name)
    if value is None or pd.isna(value):
        return Cell(None, "-")
    low, high = row.get(f"{metric.name}_lo"), row.get(f"{metric.name}_hi")
    rank = row.get(f"{metric.name}_rank")
    text = f"{value:,.{metric.digits}f}"
    spread = row.get(f"{metric.name}_sd")
    if spread is not None and not pd.isna(spread) and metric.column:
        text += f" ± {spread:.{metric.digits}f}"
    return Cell(value, text, _known(low), _known(high), rank if isinstance(rank, str) else "", to)


def _plain(value: Any, metric: Metric) -> Cell:
    return Cell(None, "") if value is None or pd.isna(value) else Cell(value, f"{value:.{metric.digits}f}")


def _difference(row: Any, metric: Metric, is_reference: bool) -> Cell:
    value = row.get(f"{metric.name}_change")
    if is_reference or value is None or pd.isna(value):
        return Cell(None, "reference" if is_reference else "-")
    low, high = _known(row[f"{metric.name}_change_lo"]), _known(row[f"{metric.name}_change_hi"])
    sure = row[f"{metric.name}_change_significant"] is True
    return Cell(value, f"{value + 0.0:+.{metric.digits}f}", low, high, "sure" if sure else "")


def _known(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _has(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool(frame[column].notna().any())


def _sentence(board: Board) -> str:
    seeds = int(board.frame["seeds"].max())
    spread = "mean ± standard deviation over seeds" if seeds > 1 else "one seed a system"
    return (
        f"Test split; {spread}. Bold: best of its column; ~: not to be told apart from it. A difference is paired "
        "on the same clips, bold where it is more than noise."
    )


PAGE: Final = Page("/", "Leaderboard", Leaderboard, controls, blocks)
