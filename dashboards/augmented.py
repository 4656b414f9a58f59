"""What an augmentation makes of a clip, seen and heard: what training makes, on demand and in memory.

A waveform augmentation is applied by `asc_study.augmentation.copies`, as if the clip were among the training clips;
what it needs besides (a clip to add, pairs to measure) comes from a few of the real ones. A batch augmentation is
applied to features, so what comes out of it can be seen, not heard. Settings are those of the study where it has some.
"""

import ast
import importlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import flask
import numpy as np
import pandas as pd

from asc_study.augmentation import AUGMENTATIONS, WAVEFORM_AUGMENTATIONS, compose
from asc_study.augmentation.batch import BatchAugmentation
from asc_study.augmentation.copies import AugmentedCopy, plan_copies
from asc_study.augmentation.waveform import TrainingSound, Waveform, WaveformAugmentation
from asc_study.base.errors import InputError
from asc_study.base.paths import cache_dir
from asc_study.base.schema import validate
from asc_study.data.clips import paired_clips
from asc_study.data.identity import audio_digests
from asc_study.features.audio import read_audio
from asc_study.features.deltas import with_deltas
from asc_study.features.logmel import LogMelSettings, band_centres, log_mel
from asc_study.figures.confusions import spoken
from asc_study.figures.sounds import Drawn, change_of
from asc_study.figures.theme import listed, percent
from asc_study.settings.run_config import FeatureConfig
from dashboards import recordings
from dashboards.blocks import text_of
from dashboards.source import Board, Source
from dashboards.state import State, decode

Part = WaveformAugmentation | BatchAugmentation

#: Copies of a clip that can be asked for: as many as a study can.
MOST_DRAWS: Final = 100

#: Training sounds of each device, and clips of a scene, that stand in for all training clips.
_PAIRS, _OF_SCENE = 3, 16

#: Results that are kept: the page asks for a sound that it has just drawn.
_KEPT: Final = 16

#: What names that are short for something are short for.
_CALLED: Final[Mapping[str, str]] = {"reverb_drc": "reverberation and compression", "spec_augment": "SpecAugment"}

#: What no class says in its first sentence.
_REMARKS: Final[Mapping[str, str]] = {
    "spectrum_correction": "Nothing is drawn in it; its gain is measured on a few training sounds here, on more of "
    "them in training.",
    "spec_augment": "Shown are the static features; deltas are masked too.",
    "mixup": "The other clip is of another scene here, in training of any.",
}


@dataclass(frozen=True)
class Asked(State):
    """Of which clip an augmentation's result is asked for: with the settings of which row, and which draw."""

    row: str = ""
    clip: str = ""
    augmentation: str = ""
    draw: int = 0


@dataclass(frozen=True, eq=False)
class Made:
    """What an augmentation made.

    Attributes
    ----------
    clip
        The clip that it was made of.
    panels
        What each is called -> its picture: before, whatever was mixed in, after.
    sound
        (samples, channels); None where there is none.
    others
        Clips that were mixed in and may be heard: what each is called -> its name.
    sentence
        What was done, and what changed.
    """

    clip: str
    panels: Mapping[str, Drawn]
    sound: Waveform | None
    others: Mapping[str, str]
    sentence: str


@dataclass(frozen=True, eq=False)
class _Settings:
    """An augmentation as a study uses it, ``whose``, or with its defaults, and the features that it is shown in."""

    name: str
    part: Part
    features: LogMelSettings
    whose: str

    @property
    def key(self) -> tuple[Any, ...]:
        return self.name, self.part.model_dump_json(), self.features, self.whose


class _Kept:
    """The latest results by key, made without holding up who asks for others."""

    def __init__(self, most: int) -> None:
        self._most, self._lock, self._found = most, threading.Lock(), OrderedDict[Any, Any]()

    def __call__(self, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        made = make()
        with self._lock:
            self._found[key] = made
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return made


_made, _plans = _Kept(_KEPT), _Kept(_KEPT)


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


def make(source: Source, asked: Asked) -> Made:
    """What an augmentation makes of a clip that may be heard.

    Raises
    ------
    InputError
        If the clip may not be heard, there is no such augmentation, or it cannot be applied to this clip.
    """
    if asked.augmentation not in augmentations():
        raise InputError(f"there is no augmentation {asked.augmentation!r}: choose another one")
    path = recordings.recording(source, asked.study, asked.clip)
    settings = _settings(source, asked)
    draw = asked.draw % MOST_DRAWS
    key = (path, _digests(source, [asked.clip])[0], asked.study, settings.key, draw)
    part = settings.part
    if isinstance(part, WaveformAugmentation):
        return _made(key, lambda: _copied(source, asked, settings, part, draw))  # type: ignore[no-any-return]
    return _made(key, lambda: _batched(source, asked, settings, part, draw))  # type: ignore[no-any-return]


def add_augmented(server: flask.Flask, source: Source) -> None:
    """Let a server play what an augmentation makes of what may be heard."""
    if source.data is not None:  # seconds that the first page need not wait for
        threading.Thread(target=importlib.import_module, args=("librosa.effects",), daemon=True).start()

    @server.get("/augmented.wav")
    def augmented() -> flask.Response:
        asked = decode(Asked, flask.request.query_string.decode("ascii", "replace"))
        try:
            made = make(source, asked)
            if made.sound is None:
                raise InputError(f"{asked.augmentation} acts on features: it cannot be heard")
            content = recordings.as_wav(made.sound, recordings.dataset(source).sample_rate)
        except InputError as error:
            return recordings.refused(error, source)
        return recordings.sent(content)


def features_of(source: Source, board: Board, row: str) -> LogMelSettings:
    """The feature settings of a row, else those of the first row that has some, else the defaults."""
    told = next((told for one in (row, *board.names) if (told := _told(board, one, "features"))), {})
    rate = recordings.dataset(source).sample_rate
    try:
        return LogMelSettings(rate, **validate(FeatureConfig, told).model_dump())
    except InputError:  # written by another version
        return LogMelSettings(rate)


def _settings(source: Source, asked: Asked) -> _Settings:
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
    return _Settings(name, part, features_of(source, board, whose or asked.row), whose)


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


def _words(settings: _Settings) -> str:
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


def _copied(source: Source, asked: Asked, settings: _Settings, part: WaveformAugmentation, draw: int) -> Made:
    """A copy that a waveform augmentation makes: of the clip, or of the recording of its sound that is copied."""
    known = recordings.dataset(source)
    clip, copies = _plan(source, asked, settings, part)
    copy = copies[draw]
    before = read_audio(copy.path, known.sample_rate, known.channels)
    after = copy.load(known.sample_rate, known.channels)
    panels = {"before": recordings.drawn(before, settings.features)}
    if copy.partner_path is not None:
        added = read_audio(copy.partner_path, known.sample_rate, known.channels)
        panels["what is added"] = recordings.drawn(added, settings.features)
    panels["after"] = recordings.drawn(after, settings.features)
    sentence = _words(settings)
    if clip != asked.clip:
        heard = recordings.clips_of(source)["device"]
        sentence += f" It copies clips of device {heard[clip]} alone, so that recording of the sound is shown."
    if settings.name in _REMARKS:
        sentence += f" {_REMARKS[settings.name]}"
    level = 20 * np.log10(max(_rms(after), 1e-9) / max(_rms(before), 1e-9))
    changed = f"Here the level changes by {level:+.1f} dB, the average spectrum most by"
    sentence = f"{sentence} {changed} {change_of(panels['before'], panels['after'])}."
    return Made(clip, panels, after, {}, sentence)


def _rms(sound: Waveform) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def _plan(
    source: Source, asked: Asked, settings: _Settings, part: WaveformAugmentation
) -> tuple[str, Sequence[AugmentedCopy]]:
    """The clip that is copied, and all its copies."""
    for clip in dict.fromkeys([asked.clip, *recordings.same_sound(source, asked.study, asked.clip)]):
        sound = _training_sound(source, clip)
        if 0 not in part.rows(sound):
            continue
        key = (tuple(sound.digests), settings.key)

        def copies(sound: TrainingSound = sound) -> list[AugmentedCopy]:
            planned = next(plan_copies({settings.name: part}, sound))[1]
            return [copy for copy in planned if copy.row == 0]

        return clip, _plans(key, copies)
    raise InputError(f"{settings.name} copies no recording of this sound: choose another clip, such as one of device a")


def _training_sound(source: Source, clip: str) -> TrainingSound:
    """A clip as the first of a few training clips."""
    known = recordings.dataset(source)
    clips = recordings.clips_of(source)
    company = source.kept(("company", source.data, clips["scene"][clip]), lambda: _company(clips, clips["scene"][clip]))
    names = [clip, *(name for name in company if name != clip)]
    return TrainingSound(
        clips=clips.loc[names].reset_index(drop=True),
        digests=_digests(source, names),
        sample_rate=known.sample_rate,
        cache=cache_dir() / "augmentation",
    )


def _company(clips: pd.DataFrame, scene: str) -> list[str]:
    """A few training clips: sounds that each device recorded beside the reference device, and others of a scene."""
    train = clips[clips["split"] == "train"]
    names = [str(name) for name in train["clip_id"]]
    device_of = dict(zip(names, train["device"].astype(str), strict=True))
    chosen: dict[str, None] = {}
    for device in sorted(set(device_of.values())):
        pairs = paired_clips(train, device)
        spread = np.unique(np.linspace(0, len(pairs) - 1, min(_PAIRS, len(pairs)), dtype=int))
        chosen |= dict.fromkeys(names[row] for row in pairs[spread].ravel())
    sounds = {recordings.sound_of(name, device_of[name]) for name in chosen}
    apart: dict[str, str] = {}  # one recording of a sound: they make no further pairs
    for name in (str(one) for one in train["clip_id"][train["scene"] == scene]):
        sound = recordings.sound_of(name, device_of[name])
        if sound not in sounds:
            apart.setdefault(sound, name)
    return [*chosen, *list(apart.values())[:_OF_SCENE]]


def _digests(source: Source, names: Sequence[str]) -> list[str]:
    return audio_digests(list(recordings.clips_of(source)["path"].loc[list(names)]), cache=cache_dir())


def _batched(source: Source, asked: Asked, settings: _Settings, part: BatchAugmentation, draw: int) -> Made:
    """What a batch augmentation makes of the features of a clip, and of others where it mixes."""
    pipeline = compose({settings.name: part})
    names = [asked.clip, *_others(source, asked, pipeline.clips_per_sample - 1, draw)]
    scenes = recordings.clips_of(source)["scene"].loc[names].tolist()
    classes = list(dict.fromkeys(scenes))
    features = np.stack([_features(source, asked.study, name, settings.features) for name in names])
    one_hot = np.eye(len(classes), dtype=np.float32)[[classes.index(scene) for scene in scenes]]
    after, labels = pipeline(features.copy(), one_hot, np.random.default_rng(draw))
    panels = {"before": _static(features[0], settings.features)}
    others = {}
    for number, name in enumerate(names[1:], 1):
        title = f"mixed with {spoken(scenes[number])}"
        title += f" ({number})" if title in panels else ""
        panels[title], others[title] = _static(features[number], settings.features), name
    panels["after"] = _static(after[0], settings.features)
    words = [_words(settings), _REMARKS.get(settings.name, "")]
    if others:
        shares = [f"{percent(100 * share)} {spoken(scene)}" for scene, share in zip(classes, labels[0], strict=True)]
        words.append(f"Its label becomes {listed(shares)}.")
    else:
        words.append(_changed(panels["before"], panels["after"]))
    return Made(asked.clip, panels, None, others, " ".join(word for word in words if word))


def _others(source: Source, asked: Asked, count: int, draw: int) -> list[str]:
    """Clips to mix a clip with: of other scenes, so that the labels show it."""
    if not count:
        return []
    clips = recordings.may_be_heard(source, asked.study)
    others = clips.index[clips["scene"] != clips["scene"][asked.clip]]
    if len(others) < count:
        raise InputError(f"{asked.augmentation} mixes {count + 1} clips: the data set has too few of other scenes")
    return [str(name) for name in np.random.default_rng([draw, 1]).choice(others, count, replace=False)]


def _features(source: Source, studies: Sequence[str], clip: str, settings: LogMelSettings) -> Any:
    """What training is given of a clip, deltas included: (bands, frames, channels) float32."""
    static = log_mel(recordings.read(source, studies, clip), settings)
    return with_deltas(static.astype(settings.dtype))


def _static(features: Any, settings: LogMelSettings) -> Drawn:
    """The static features of the first channel; what is not scaled is told in decibels."""
    scaled = settings.scale == "min_max"
    values = np.array(features[:, :, 0]) * np.float32(1 if scaled else 10 / np.log(10))
    return Drawn(values, band_centres(settings), settings.hop_length / settings.sample_rate, scaled)


def _changed(before: Drawn, after: Drawn) -> str:
    """How much of the picture is another one."""
    frames, kept = before.values.shape[1], after.values.shape[1]
    if frames != kept:
        return f"{kept} of {frames} frames are kept."
    share = 100 * float(np.mean(before.values != after.values))
    return f"{percent(share)} of the values change." if share else "This draw leaves the clip as it is."
