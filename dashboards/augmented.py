"""What an augmentation makes of a clip, seen and heard: what training makes, on demand and in memory.

A waveform augmentation is applied by `asc_study.augmentation.copies`, as if the clip were among the training clips;
what it needs besides (a clip to add, pairs to measure) comes from a few of the real ones. A batch augmentation is
applied to features, so what comes out of it can be seen, not heard. Settings are those of the study where it has some.
"""

import importlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import flask
import numpy as np
import pandas as pd

from asc_study.augmentation import compose
from asc_study.augmentation.batch import BatchAugmentation
from asc_study.augmentation.copies import AugmentedCopy, plan_copies
from asc_study.augmentation.waveform import TrainingSound, Waveform, WaveformAugmentation
from asc_study.base.errors import InputError
from asc_study.base.paths import cache_dir
from asc_study.data.clips import paired_clips
from asc_study.data.identity import audio_digests
from asc_study.features.audio import read_audio
from asc_study.features.deltas import network_input
from asc_study.features.logmel import LogMelSettings, band_centres, log_mel
from asc_study.figures.confusions import spoken
from asc_study.figures.sounds import Drawn, change_of
from asc_study.figures.theme import listed, percent
from dashboards import recordings
from dashboards.augmentation_settings import MOST_DRAWS, Asked, Settings, augmentations, settings_of, words
from dashboards.kept import Kept
from dashboards.source import Source
from dashboards.state import decode

#: Training sounds of each device, and clips of a scene, that stand in for all training clips.
_PAIRS, _OF_SCENE = 3, 16

#: Results that are kept: the page asks for a sound that it has just drawn.
_KEPT: Final = 16

#: What no class says in its first sentence.
_REMARKS: Final[Mapping[str, str]] = {
    "spectrum_correction": "Nothing is drawn in it; its gain is measured on a few training sounds here, on more of "
    "them in training.",
    "spec_augment": "Shown are the static features; deltas are masked too.",
    "mixup": "The other clip is of another scene here, in training of any.",
}


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


_made: Final[Kept[Any, Made]] = Kept(_KEPT)
_plans: Final[Kept[Any, list[AugmentedCopy]]] = Kept(_KEPT)


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
    settings = settings_of(source, asked)
    draw = asked.draw % MOST_DRAWS
    key = (path, _digests(source, [asked.clip])[0], asked.study, settings.key, draw)
    part = settings.part
    if isinstance(part, WaveformAugmentation):
        return _made.get(key, lambda: _copied(source, asked, settings, part, draw))
    return _made.get(key, lambda: _batched(source, asked, settings, part, draw))


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


def _copied(source: Source, asked: Asked, settings: Settings, part: WaveformAugmentation, draw: int) -> Made:
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
    sentence = words(settings)
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
    source: Source, asked: Asked, settings: Settings, part: WaveformAugmentation
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

        return clip, _plans.get(key, copies)
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


def _batched(source: Source, asked: Asked, settings: Settings, part: BatchAugmentation, draw: int) -> Made:
    """What a batch augmentation makes of the features of a clip, and of others where it mixes."""
    pipeline = compose({settings.name: part})
    samples = 2 if part.needs_whole_batch else 1  # what mixes across a batch needs another clip in it
    names = [asked.clip, *_others(source, asked, samples * pipeline.clips_per_sample - 1, draw)]
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
    said = [words(settings), _REMARKS.get(settings.name, "")]
    if others:
        shares = [f"{percent(100 * share)} {spoken(scene)}" for scene, share in zip(classes, labels[0], strict=True)]
        said.append(f"Its label becomes {listed(shares)}.")
    else:
        said.append(_changed(panels["before"], panels["after"]))
    return Made(asked.clip, panels, None, others, " ".join(one for one in said if one))


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
    return network_input(static.astype(settings.dtype), deltas=settings.deltas)


def _static(features: Any, settings: LogMelSettings) -> Drawn:
    """The static features of the first channel; what is not scaled is told in decibels."""
    scaled = settings.scale != "none"
    values = np.array(features[:, :, 0]) * np.float32(1 if scaled else 10 / np.log(10))
    return Drawn(values, band_centres(settings), settings.seconds_per_frame, scaled)


def _changed(before: Drawn, after: Drawn) -> str:
    """How much of the picture is another one."""
    frames, kept = before.values.shape[1], after.values.shape[1]
    if frames != kept:
        return f"{kept} of {frames} frames are kept."
    share = 100 * float(np.mean(before.values != after.values))
    return f"{percent(share)} of the values change." if share else "This draw leaves the clip as it is."
