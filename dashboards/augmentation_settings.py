"""Which augmentations can be shown, and with which settings: those of the study where it has some."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asc_study.augmentation import AUGMENTATIONS, WAVEFORM_AUGMENTATIONS
from asc_study.augmentation.batch import BatchAugmentation
from asc_study.augmentation.waveform import WaveformAugmentation
from asc_study.base.errors import InputError
from asc_study.base.schema import validate
from asc_study.features.logmel import LogMelSettings
from asc_study.figures.confusions import spoken
from asc_study.settings.features import FeatureConfig
from dashboards import recordings
from dashboards.blocks import text_of
from dashboards.source import Board, Source
from dashboards.state import State

Part = WaveformAugmentation | BatchAugmentation

#: Copies of a clip that can be asked for: as many as a study can.
MOST_DRAWS: Final = 100

#: What names that are short for something are short for.
_CALLED: Final[Mapping[str, str]] = {
    "reverb_drc": "reverberation and compression",
    "spec_augment": "SpecAugment",
    "freq_mixstyle": "Freq-MixStyle",
    "cutmix": "CutMix",
}


@dataclass(frozen=True)
class Asked(State):
    """Of which clip an augmentation's result is asked for: with the settings of which row, and which draw."""

    row: str = ""
    clip: str = ""
    augmentation: str = ""
    draw: int = 0


@dataclass(frozen=True, eq=False)
class Settings:
    """An augmentation as a study uses it, ``whose``, or with its defaults, and the features that it is shown in."""

    name: str
    part: Part
    features: LogMelSettings
    whose: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What a result depends on besides the clip and the draw."""
        return self.name, self.part.model_dump_json(), self.features, self.whose


def augmentations() -> dict[str, type[Part]]:
    """All that can be shown, those that are heard first.

    Raises
    ------
    InputError
        If one that an installed package announces cannot be imported.
    """
    return {**WAVEFORM_AUGMENTATIONS.known(), **AUGMENTATIONS.known()}


def called(name: str) -> str:
    """What an augmentation is called where people read it."""
    return _CALLED.get(name, spoken(name))


def is_heard(name: str) -> bool:
    """Whether an augmentation makes sounds, not only features."""
    return issubclass(augmentations()[name], WaveformAugmentation)


def features_of(source: Source, board: Board, row: str) -> LogMelSettings:
    """The log-mel settings of a row, else those of the first row that has some, else the defaults."""
    found = (_told(board, one, "features") for one in (row, *board.names) if not on_embeddings(board, one))
    told = next(filter(None, found), {})
    rate = recordings.dataset(source).sample_rate
    try:
        return validate(FeatureConfig, told).at(rate)
    except InputError:  # written by another version
        return LogMelSettings(rate)


def on_embeddings(board: Board, row: str) -> str:
    """The file of embeddings that a row was trained on; empty if it hears sound."""
    return str(_told(board, row, "features").get("embeddings") or "")


def settings_of(source: Source, asked: Asked) -> Settings:
    """The settings of the row that is asked for, else of the first row that uses the augmentation, else its own."""
    board = source.board(asked.study)
    name, kind = asked.augmentation, augmentations()[asked.augmentation]
    group = "waveform_augmentation" if issubclass(kind, WaveformAugmentation) else "batch_augmentation"
    rows = (one for one in (asked.row, *board.names) if _told(board, one, f"{group}.{name}"))
    whose = next(rows, "")
    told = _told(board, whose, f"{group}.{name}")
    told.pop("impulse_responses", None)  # a folder of the machine that trained
    more = {"copies": MOST_DRAWS} if group == "waveform_augmentation" else {}
    try:
        part: Part = validate(kind, told | more)
    except InputError:  # written by another version
        part, whose = validate(kind, more), ""
    return Settings(name, part, features_of(source, board, whose or asked.row), whose)


def _told(board: Board, row: str, group: str) -> dict[str, Any]:
    """The settings of a group that the runs of a row logged; empty if it has none."""
    records = board.records.get(row, ())
    params = records[0].params if records else {}
    start = f"{group}."
    return {name.removeprefix(start): _value(text) for name, text in params.items() if name.startswith(start)}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def words(settings: Settings) -> str:
    """What an augmentation does, by the first sentence of its class, and with which settings."""
    told = {
        name: f"{value:g}" if isinstance(value, float) else text_of(value, 0)
        for name, value in settings.part.model_dump(exclude={"copies", "seed"}, exclude_none=True).items()
    }
    doc = re.sub(r" \(section [^)]*\)", "", " ".join((type(settings.part).__doc__ or "").split()))
    said = doc.partition(". ")[0].rstrip(".") or settings.name
    left = [f"{spoken(name)} {value}" for name, value in told.items() if f"``{name}``" not in said]
    for name, value in told.items():
        said = said.replace(f"``{name}``", value)
    whose = f"as {settings.whose} has it" if settings.whose else "with its defaults"
    return f"{said} ({': '.join([whose, *([', '.join(left)] if left else [])])})."
