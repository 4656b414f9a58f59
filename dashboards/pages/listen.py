"""What augmentations do to a clip, one sound on every device, and the clips that systems get wrong, all to be heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd
from dash import dcc, html

from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, subsets_of
from asc_study.base.taxonomy import taxonomy_for
from asc_study.evaluation.by_clip import Seeds, hardest_clips
from asc_study.evaluation.side_by_side import comparable
from asc_study.figures.confusions import in_groups, spoken
from asc_study.figures.hardest import hardest_figure
from asc_study.figures.sounds import Drawn, change_of, mean_beliefs, sounds_figure
from asc_study.figures.theme import listed, percent
from dashboards import augmented, recordings
from dashboards.augmentation_settings import (
    MOST_DRAWS,
    Asked,
    augmentations,
    called,
    features_of,
    is_heard,
    on_embeddings,
)
from dashboards.blocks import Block, Figure, Note, Table
from dashboards.pages.choices import comparable_rows, first_rows, reference_of, study_control
from dashboards.registry import Control, Page
from dashboards.source import Board, Source
from dashboards.state import encode

_PATH: Final = "/listen"

#: Systems that are asked which clips are hard: the best. Clips that are listed, each with a player.
_MOST_SYSTEMS, _LISTED = 30, 30


@dataclass(frozen=True)
class Listen(Asked):
    """What is listened to; a clip of another scene than ``scene`` is none."""

    scene: str = ""


def controls(source: Source, state: Listen) -> Sequence[Control]:
    """What can be chosen."""
    board = source.board(state.study, state.reference)
    found = [
        study_control(source, state),
        Control("row", "System", _row(board, state), {name: name for name in board.names}),
    ]
    if source.data is None:
        return found
    clips = recordings.may_be_heard(source, state.study)
    clip = _clip(clips, state)
    scene = str(clips["scene"][clip])
    scenes = {name: spoken(name) for name in in_groups(list(set(clips["scene"])))}
    of_scene = clips.index[clips["scene"] == scene]
    names = {name: name.removeprefix(f"{scene}-") for name in of_scene}
    offered = {name: called(name) + ("" if is_heard(name) else " (seen only)") for name in augmentations()}
    return [
        *found,
        Control("scene", "Scene", scene, scenes),
        Control("clip", "Clip", clip, names),
        Control("augmentation", "Augmentation", _augmentation(state), offered),
    ]


def blocks(source: Source, state: Listen) -> Sequence[Block]:
    """The clip with an augmentation, its sound on other devices, and the clips that are hard for all systems."""
    board = source.board(state.study, state.reference)
    row = _row(board, state)
    found: list[Block] = []
    try:
        clips = recordings.may_be_heard(source, state.study)
        found += recordings.other_data(source, board)
        found += _unheard(board, row)
        chosen = replace(state, row=row, clip=_clip(clips, state), augmentation=_augmentation(state), scene="")
        found += _augmented(source, chosen)
        found += _devices(source, board, chosen, state)
    except InputError as error:
        found.append(recordings.silent(source, error))
    return [*found, *_hardest(source, board, row, state)]


def _unheard(board: Board, row: str) -> list[Block]:
    """A line if a system was given no sound: what is drawn here is not what it decided by."""
    file = on_embeddings(board, row)
    if not file:
        return []
    what = f"{row} decides by embeddings of the clips ({file}), which cannot be drawn or augmented here"
    return [Note(f"{what}: spectrograms have other settings. Choose a system on spectrograms to see its own.")]


def _row(board: Board, state: Listen) -> str:
    """The system whose settings and decisions are shown: the link's, else the best on devices never heard."""
    if state.row in board.names:
        return state.row
    reference = reference_of(board, state)
    return next((name for name in first_rows(board, reference, 2) if name != reference), reference)


def _clip(clips: pd.DataFrame, state: Listen) -> str:
    """The clip of the link if it is of its scene; else, of the sound that most devices recorded, the first."""
    if state.clip in clips.index and state.scene in ("", clips["scene"][state.clip]):
        return state.clip
    there = clips[clips["scene"] == state.scene] if state.scene in set(clips["scene"]) else clips
    devices = there.groupby("sound", sort=True).size()
    return str(there.index[there["sound"] == devices.idxmax()].sort_values()[0])


def _augmentation(state: Listen) -> str:
    known = augmentations()
    return state.augmentation if state.augmentation in known else next(iter(known))


def _augmented(source: Source, chosen: Listen) -> list[Block]:
    """A clip before and after an augmentation."""
    what = called(chosen.augmentation)
    title = f"What does {what} do to a clip?"
    try:
        made = augmented.make(source, chosen)
    except InputError as error:
        return [Note(f"{what} cannot be shown on {chosen.clip}: {error}.", kind="empty")]
    draw = chosen.draw % MOST_DRAWS
    sounds = {f"before: {made.clip}": recordings.address(made.clip, chosen)}
    sounds |= {name: recordings.address(clip, chosen) for name, clip in made.others.items()}
    more: list[Any] = []
    if made.sound is None:
        more.append(html.P("It acts on features: what comes out can be seen, not heard."))
    else:
        sounds["after"] = f"/augmented.wav?{encode(chosen)}"
    again = dcc.Link("Another draw", href=_address(replace(chosen, draw=(draw + 1) % MOST_DRAWS)))
    more.append(html.P([f"Draw {draw + 1} of {MOST_DRAWS}. ", again]))
    figure = sounds_figure(made.panels, title, made.sentence, columns=3)
    return [Figure(figure, "augmentation"), recordings.players(sounds, *more)]


def _devices(source: Source, board: Board, chosen: Listen, state: Listen) -> list[Block]:
    """The sound of a clip as each device recorded it, with what a system decides on each."""
    names = recordings.same_sound(source, chosen.study, chosen.clip)
    device_of = {name: str(recordings.clips_of(source)["device"][name]) for name in names}
    features = features_of(source, board, chosen.row)
    seeds = _seeds(source, board, chosen.row, chosen.clip)
    decided = mean_beliefs(seeds, names)
    subsets = subsets_of(taxonomy_for(device_of.values()))
    heard = {device: one.heard for one in subsets for device in one.devices if one.heard}
    panels, sounds, links = {}, {}, {}
    for name, device in device_of.items():
        title = f"{device}, {heard[device]}" if device in heard else device
        links[title] = _address(replace(state, clip=name, scene=""))
        sounds[title] = recordings.address(name, chosen)
        if name in decided.index:
            title += f": {spoken(str(decided.T[name].idxmax()))} {percent(100 * float(decided.T[name].max()))}"
        panels[title] = recordings.clip_drawn(source, chosen.study, name, features)
    sentence = _decisions(chosen, seeds, decided, device_of)
    drawn = dict(zip(device_of.values(), panels.values(), strict=True))
    first = next(iter(drawn))
    if len(drawn) > 1:
        furthest = max((one for one in drawn if one != first), key=lambda one: _apart(drawn[first], drawn[one]))
        change = change_of(drawn[first], drawn[furthest])
        sentence += f" The average spectrum of {furthest} is furthest from that of {first}: {change}."
        title = f"What do {len(drawn)} devices make of the same sound?"
    else:
        title = f"What does device {first} make of it?"
        sentence += " No other device recorded this sound at the same time."
    figure = sounds_figure(panels, title, sentence.strip(), columns=3)
    holder = "players three" if len(drawn) > 1 else "players"
    return [Figure(figure, "devices"), recordings.players(sounds, links=links, name=holder)]


def _apart(one: Drawn, other: Drawn) -> float:
    return float(abs(one.values.mean(axis=1) - other.values.mean(axis=1)).mean())


def _seeds(source: Source, board: Board, row: str, clip: str) -> Seeds:
    """The predictions of a system, of the split that has the clip; empty if none has."""
    for split in ("test", "validation"):
        seeds = source.tables(board, row, split)
        if seeds and clip in set(seeds[0]["clip_id"].astype(str)):
            return seeds
    return []


def _decisions(chosen: Listen, seeds: Seeds, decided: pd.DataFrame, device_of: Mapping[str, str]) -> str:
    """On which devices a system is right about a sound, and what it takes it for on the others."""
    if decided.empty:
        return f"{chosen.row} has no predictions of this sound."
    table = seeds[0].assign(clip_id=seeds[0]["clip_id"].astype(str)).set_index("clip_id")
    truth = str(table["scene"][decided.index[0]])
    by_scene: dict[str, list[str]] = {}
    for name, scene in zip(decided.index, decided.idxmax(axis=1), strict=True):
        by_scene.setdefault(str(scene), []).append(device_of[name])
    right = by_scene.pop(truth, [])
    said = [f"{spoken(truth)}, rightly, on {listed(right)}"] if right else []
    said += [f"{spoken(scene)} on {listed(on)}" for scene, on in by_scene.items()]
    return f"It is {spoken(truth)}: {chosen.row} decides {'; '.join(said)}."


def _hardest(source: Source, board: Board, row: str, state: Listen) -> list[Block]:
    """How many clips all systems get wrong, and the hardest of them."""
    rows = board.among([name for name in comparable_rows(board, row, telling=True) if name != row])
    best = rows.sort_values(ALL_CLIPS.metric, ascending=False, kind="stable")["name"].head(_MOST_SYSTEMS - 1)
    names = [row, *(str(name) for name in best)]
    if not source.tables(board, row):
        return [Note(f"{row} has no predictions of the test split: choose another system.", kind="empty")]
    runs = tuple((name, *(record.run_id for record in board.records[name])) for name in names)

    def measure() -> tuple[pd.DataFrame, int]:
        tables = {name: source.tables(board, name) for name in names}
        same = comparable({name: seeds for name, seeds in tables.items() if seeds}, row)
        return (hardest_clips(same), len(same)) if same else (pd.DataFrame(), 0)

    clips, systems = source.kept(("hardest", runs), measure)
    if clips.empty:
        return [Note(f"The seeds of {row} were measured on different clips: choose another system.", kind="empty")]
    figure = hardest_figure(clips, systems)
    return [Figure(figure, "right"), _listed(source, clips, state)]


def _listed(source: Source, clips: pd.DataFrame, state: Listen) -> Table:
    runs = int(clips["runs"].iloc[0])
    shown = clips.head(_LISTED)
    frame = pd.DataFrame(
        {
            "clip": shown["clip_id"],
            "scene": shown["scene"].map(spoken),
            "most often taken for": shown["decided"].map(spoken),
            "device": shown["device"],
            "location": shown["location"],
            "% for its scene": shown["p_true"],
            f"right of {runs} runs" if runs > 1 else "right": shown["right"],
        }
    )
    names = list(shown["clip_id"])
    try:
        heard = recordings.may_be_heard(source, state.study).index
    except InputError:  # the page has said why
        return Table(f"The {len(frame)} hardest clips", "hardest", frame)
    links = [_address(replace(state, clip=name, scene="")) if name in heard else "" for name in names]
    sounds = [recordings.address(name, state) for name in names]
    return Table(f"The {len(frame)} hardest clips", "hardest", frame, links={"clip": links}, sounds=sounds)


def _address(state: Listen) -> str:
    query = encode(state)
    return f"{_PATH}?{query}" if query else _PATH


PAGE: Final = Page(
    _PATH,
    "Listen",
    Listen,
    controls,
    blocks,
    depends=("study", "row", "scene", "clip"),
    in_report=False,
    needs_data=True,
)
