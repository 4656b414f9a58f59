"""Which scenes a system takes for which, on all devices or some, and the clips behind each confusion."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, Subset, subsets_among, subsets_of
from asc_study.evaluation.by_clip import (
    Confusion,
    Seeds,
    confused_clips,
    confusion_shares,
    measure_confusion,
    most_changed,
    most_frequent,
    of_devices,
)
from asc_study.evaluation.metrics import taxonomy_of
from asc_study.evaluation.side_by_side import comparable
from asc_study.figures.confusions import change_text, confusions_figure, in_groups, spoken
from asc_study.figures.sounds import beliefs, clip_figure
from asc_study.figures.theme import percent
from dashboards import recordings
from dashboards.blocks import Block, Figure, Note, Table
from dashboards.pages.choices import first_rows, reference_control, reference_of, study_control
from dashboards.registry import Control, Page
from dashboards.source import Board, Source
from dashboards.state import State, encode

_PATH: Final = "/confusions"


@dataclass(frozen=True)
class Confusions(State):
    """Whose confusions are shown on which clips, and of which cell the clips are listed."""

    row: str = ""
    subset: str = "all"
    split: Literal["test", "validation"] = "test"
    against: bool = False
    true: str = ""
    decided: str = ""
    clip: str = ""


@dataclass(frozen=True)
class _Seen:
    """What a state shows: predictions of the chosen clips, the matrix, the cell, and what they were made of."""

    row: str
    reference: str
    own: Seeds
    against: Seeds
    subset: Subset | None
    shares: pd.DataFrame
    cell: tuple[str, str]
    runs: tuple[Any, ...]


def controls(source: Source, state: Confusions) -> Sequence[Control]:
    """What can be chosen."""
    board = source.board(state.study, state.reference)
    row = _chosen(board, state)[1]
    seen = _seen(source, board, state, [])
    subsets = {one.name: one.title for one in subsets_among(map(str, board.frame))}
    found = [
        study_control(source, state),
        Control("row", "System", row, {name: name for name in board.names}),
        reference_control(board, state),
        Control("subset", "Devices", state.subset if state.subset in subsets else "all", {"all": "all", **subsets}),
        Control("split", "Split", state.split, {"test": "test", "validation": "validation"}),
    ]
    if seen:
        scenes = {scene: spoken(scene) for scene in in_groups(list(seen.shares.index))}
        found.append(Control("true", "Clips of", seen.cell[0], scenes))
        found.append(Control("decided", "taken for", seen.cell[1], scenes))
    return [*found, Control("against", "Difference to the reference", state.against, kind="switch")]


def blocks(source: Source, state: Confusions) -> Sequence[Block]:
    """The matrix, the clip that is looked at, and the clips of the cell that is chosen."""
    board = source.board(state.study, state.reference)
    found: list[Block] = []
    seen = _seen(source, board, state, found)
    if seen is None:
        return found
    shown = seen.against if state.against else []
    reference = seen.reference if shown else ""

    def matrix() -> tuple[pd.DataFrame, Confusion | None]:
        shares = seen.shares - confusion_shares(shown) if shown else seen.shares
        most = most_changed(shares) if shown else most_frequent(shares)
        return shares, measure_confusion(seen.own, *most, shown) if most else None

    shares, most = source.kept(("confusions", seen.runs, bool(shown)), matrix)
    where = f"on {seen.subset.title}" if seen.subset else ""
    figure = confusions_figure(shares, seen.row, most, reference=reference, where=where, marked=seen.cell)
    found.append(Figure(figure, "confusions", shares.reset_index(names="true scene"), clickable=True))
    if state.clip:
        found += _clip(source, state, seen)
    return [*found, *_listed(source, state, seen)]


def clicked(state: Confusions, figure: str, point: dict[str, Any]) -> Confusions:
    """A cell lists its clips."""
    if figure != "confusions":
        return state
    true, decided = (str(point.get(axis, "")).replace(" ", "_") for axis in ("y", "x"))
    return replace(state, true=true, decided=decided, clip="")


def _chosen(board: Board, state: Confusions) -> tuple[str, str]:
    """The reference and the system: the link's, else the best on devices never heard."""
    reference = reference_of(board, state)
    if state.row in board.names:
        return reference, state.row
    others = [name for name in first_rows(board, reference, 2) if name != reference]
    return reference, (others or [reference])[0]


def _seen(source: Source, board: Board, state: Confusions, notes: list[Block]) -> _Seen | None:
    """What can be shown of the chosen system, with that of the reference; None, and a note, if nothing can."""
    reference, row = _chosen(board, state)
    systems = {name: source.tables(board, name, state.split) for name in dict.fromkeys((row, reference))}
    own, other = systems[row], systems[reference]
    if not own or row not in comparable({row: own}, row):
        why = "were measured on different clips" if own else f"have no predictions of the {state.split} split"
        notes.append(Note(f"The seeds of {row} {why}: choose another system.", kind="empty"))
        return None
    if reference == row:
        other = []
    elif not other or reference not in comparable({row: own, reference: other}, row):
        why = "was measured on other clips" if other else f"has no predictions of the {state.split} split"
        notes.append(Note(f"The reference {reference} {why}: {row} is shown alone."))
        other = []
    subset = next((one for one in subsets_of(taxonomy_of(own[0])) if one.name == state.subset), None)
    if subset:
        own, other = (of_devices(tables, subset.devices) for tables in (own, other))
    if own[0].empty:
        line = f"The {state.split} split has no clip of {(subset or ALL_CLIPS).title}: choose other devices."
        notes.append(Note(line, kind="empty"))
        return None
    named = [tuple(record.run_id for record in board.records[name]) for name in (row, reference)]
    runs = (*named, bool(other), state.split, state.subset)
    shares = source.kept(("shares", runs), lambda: confusion_shares(own))
    return _Seen(row, reference, own, other, subset, shares, _cell(shares, state), runs)


def _cell(shares: pd.DataFrame, state: Confusions) -> tuple[str, str]:
    """The cell whose clips are listed: the link's, else what is confused most often, with that true scene if chosen."""
    there = shares.dropna()
    if state.true in there.index:
        there = there.loc[[state.true]]
        if state.decided in there.columns:
            return state.true, state.decided
    true = str(there.index[0])
    if len(there) > 1:
        return most_frequent(shares.fillna(0)) or (true, true)
    wrong = there.loc[true].drop(true)
    return true, str(wrong.idxmax()) if wrong.max() > 0 else true


def _listed(source: Source, state: Confusions, seen: _Seen) -> list[Block]:
    """The clips of the chosen cell, with what both systems make of them."""
    clips, found = source.kept(
        ("confused clips", seen.runs, seen.cell),
        lambda: (
            confused_clips(seen.own, *seen.cell, seen.against),
            measure_confusion(seen.own, *seen.cell, seen.against),
        ),
    )
    what = f"{spoken(found.true)} taken for {spoken(found.decided)}"
    if found.true == found.decided:
        what = f"{spoken(found.true)}, rightly decided"
    between = "" if found.low is None else f" (95 % interval {found.low:.1f} to {found.high:.1f})"
    said = f"{what}: {percent(found.share)} of {found.clips} clips by {seen.row}{between}"
    if found.change is not None:
        said += f"; against {seen.reference} {change_text(found.change)}"
    notes: list[Block] = [Note(f"{said}.")]
    if clips.empty:
        return notes
    playable = _heard(source, state, clips["clip_id"].iloc[0], notes)
    headings = {"clip_id": "clip", "device": "device", "location": "location"}
    if len(seen.own) > 1:
        headings["seeds"] = f"of {len(seen.own)} seeds"
    for prefix, name in (("", seen.row), ("other_", seen.reference)):
        headings |= {f"{prefix}p_{one}": f"{name}: % {spoken(getattr(found, one))}" for one in ("true", "decided")}
    headings["other_decided"] = f"{seen.reference} decides"
    if found.true == found.decided:
        del headings["p_decided"], headings["other_p_decided"]
    names = list(clips["clip_id"])
    if "other_decided" in clips:
        clips = clips.assign(other_decided=clips["other_decided"].map(spoken))
    frame = clips[[name for name in headings if name in clips]].rename(columns=headings)
    links = {"clip": [_with_clip(state, seen, name) for name in names]} if playable else {}
    sounds = [recordings.address(name, state) for name in names] if playable else []
    return [*notes, Table(f"The clips: {what}", "clips", frame, links=links, sounds=sounds)]


def _with_clip(state: Confusions, seen: _Seen, clip: str) -> str:
    true, decided = seen.cell
    return f"{_PATH}?{encode(replace(state, true=true, decided=decided, clip=clip))}"


def _heard(source: Source, state: Confusions, clip: str, notes: list[Block]) -> bool:
    """Whether recordings can be played; if not, it is noted why."""
    try:
        recordings.recording(source, state.study, clip)
    except InputError as error:
        notes.append(recordings.silent(source, error))
        return False
    notes += recordings.other_data(source, source.board(state.study))
    return True


def _clip(source: Source, state: Confusions, seen: _Seen) -> list[Block]:
    """The clip that is looked at: its log-mel features, a player, and what both systems make of it."""
    try:
        drawn = recordings.clip_drawn(source, state.study, state.clip)
    except InputError as error:
        return [recordings.silent(source, error)]
    both = ((seen.row, seen.own), (seen.reference, seen.against))
    said = [beliefs(name, seeds, state.clip) for name, seeds in both if seeds]
    figure = clip_figure(drawn, state.clip, " ".join(one for one in said if one))
    return [Figure(figure, "clip"), recordings.players({state.clip: recordings.address(state.clip, state)})]


PAGE: Final = Page(_PATH, "Confusions", Confusions, controls, blocks, clicked, depends=("study", "reference", "row"))
