"""The contract of a waveform augmentation, checked on half a second of noise and a tiny set of training clips."""

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import soundfile

from asc_study.augmentation.copies import plan_copies
from asc_study.augmentation.waveform import Ingredients, TrainingSound, Waveform, WaveformAugmentation
from asc_study.data.identity import audio_digests
from asc_study.testing.rules import check_part, require, same, without_global_draws

_SAMPLE_RATE: Final = 16_000
_SAMPLES: Final = _SAMPLE_RATE // 2  # as short as is sensible

_SCENES, _SEGMENTS, _DEVICES = ("bus", "tram"), ("1", "2", "3"), ("a", "b", "s1")

#: What a copy differs by from its clip at least, somewhere, at full scale 1.
_AUDIBLE: Final = 1e-3

Augment = Callable[..., Waveform]


def check_waveform_augmentation(
    augmentation: WaveformAugmentation, *, draws: bool = True, channels_alike: bool = True
) -> None:
    """Check that a waveform augmentation keeps its contract; needs no data, only a temporary folder.

    Parameters
    ----------
    augmentation
        With the settings to check it with.
    draws
        Whether copies of a clip differ by the random generator.
    channels_alike
        Whether equal channels of a clip stay equal: all draws are shared by the channels.

    Raises
    ------
    AssertionError
        At the first rule that it breaks: the rule, what it has, what to do.
    """
    require(
        isinstance(augmentation, WaveformAugmentation),
        f"a waveform augmentation must be an object of a subclass of WaveformAugmentation, got {augmentation!r:.80}",
    )
    check_part(augmentation)
    with tempfile.TemporaryDirectory() as folder:
        sound = training_sound(Path(folder))
        with without_global_draws("`prepare` of a waveform augmentation"):
            ingredients = augmentation.prepare(sound)
        augment = _caller(augmentation, ingredients)
        for channels in (1, 2):
            _check_form(augment, channels)
        _check_draws(augment, draws)
        _check_channels(augment, channels_alike)
        _check_choice(augmentation, sound)
        _check_ingredients(augmentation, ingredients, sound)
        _check_copies(augmentation, sound)


def noise_clip(channels: int = 1, seed: int = 0) -> Waveform:
    """Half a second of noise that swells, (samples, channels) float32."""
    sound = 0.1 * np.random.default_rng(seed).standard_normal((_SAMPLES, channels))
    return (sound * np.linspace(0.2, 1, _SAMPLES)[:, np.newaxis]).astype(np.float32)


def training_sound(folder: Path) -> TrainingSound:
    """Write the recordings of a tiny training split, two scenes at three segments by three devices, to a folder."""
    rows = []
    recorded = [(scene, segment, device) for scene in _SCENES for segment in _SEGMENTS for device in _DEVICES]
    for number, (scene, segment, device) in enumerate(recorded):
        clip_id = f"{scene}-oslo-1-{segment}-{device}"
        soundfile.write(folder / f"{clip_id}.wav", noise_clip(seed=number), _SAMPLE_RATE, subtype="PCM_24")
        rows.append((clip_id, str(folder / f"{clip_id}.wav"), scene, device, "train"))
    columns = ["clip_id", "path", "scene", "device", "split"]
    # Rows of a clip table are not numbered from 0 once validation is cut off.
    clips = pd.DataFrame(rows, columns=columns, index=range(100, 100 + len(rows)))
    digests = audio_digests(clips["path"].tolist(), cache=folder / "cache")
    return TrainingSound(clips, digests, _SAMPLE_RATE, folder / "cache")


def _caller(augmentation: WaveformAugmentation, ingredients: Ingredients | None) -> Augment:
    value = ingredients.value if ingredients else None

    def augment(waveform: Waveform, seed: int = 0) -> Waveform:
        partner = np.repeat(noise_clip(seed=1), waveform.shape[1], axis=1)
        return augmentation(waveform, _SAMPLE_RATE, np.random.default_rng(seed), ingredients=value, partner=partner)

    return augment


def _check_form(augment: Augment, channels: int) -> None:
    waveform = noise_clip(channels)
    waveform.setflags(write=False)
    try:
        copy = augment(waveform)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError("the clip must not be changed: work on a copy of it") from error
    require(
        isinstance(copy, np.ndarray) and copy.dtype == np.float32,
        f"a copy must be float32, got {getattr(copy, 'dtype', type(copy))}",
    )
    require(copy.shape == waveform.shape, f"a copy must be as long as the clip, got {copy.shape} from {waveform.shape}")
    require(not np.shares_memory(copy, waveform), "a copy must have memory of its own: the clip is used again")
    require(bool(np.isfinite(copy).all()), "a copy must be finite")
    require(bool(copy.any(axis=0).all()), "a copy must not be silent in any channel")
    require(float(np.abs(copy - waveform).max()) > _AUDIBLE, "a copy must sound different from the clip")
    silence = augment(np.zeros((_SAMPLES, channels), np.float32))
    require(bool(np.isfinite(silence).all()), "a copy of silence must be finite: divide by no level without a floor")
    require(
        same(augment(np.asfortranarray(waveform)), copy), "a copy must depend on values, not on their order in memory"
    )


def _check_draws(augment: Augment, draws: bool) -> None:
    with without_global_draws("a waveform augmentation"):
        first = augment(noise_clip(), seed=3)
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    require(
        same(augment(noise_clip(), seed=3), first),
        "the same generator state must give the same copy: draw from `rng` alone, keep nothing between calls",
    )
    varies = any(not same(augment(noise_clip(), seed=seed), first) for seed in range(4, 12))
    require(
        varies == draws,
        "another generator state must give another copy: draw from `rng`, or check with draws=False"
        if draws
        else "without draws another generator state must give the same copy: check with draws=True",
    )


def _check_channels(augment: Augment, alike: bool) -> None:
    mono, stereo = augment(noise_clip()), augment(np.repeat(noise_clip(), 2, axis=1))
    equal = np.allclose(stereo[:, 0], stereo[:, 1], atol=1e-6) and np.allclose(stereo[:, :1], mono, atol=1e-5)
    require(
        equal == alike,
        "channels must share the draws: draw once for all, or check with channels_alike=False"
        if alike
        else "channels of their own draws must differ: check with channels_alike=True",
    )


def _check_choice(augmentation: WaveformAugmentation, sound: TrainingSound) -> None:
    rows = augmentation.rows(sound)
    require(
        len(rows) > 0 and bool((np.diff(rows) > 0).all()) and 0 <= rows[0] <= rows[-1] < len(sound.clips),
        f"`rows` must be positions of training clips, from 0 and rising, got {rows!r:.80}",
    )
    for row in rows:
        partner, again = (augmentation.partner(sound, int(row), np.random.default_rng(5)) for _ in range(2))
        require(partner == again, "a partner must follow from the generator alone")
        require(
            partner is None or (0 <= partner < len(sound.clips) and partner != row),
            f"a partner must be another training clip or None, got {partner} for {row} of {len(sound.clips)}",
        )


def _check_ingredients(
    augmentation: WaveformAugmentation, ingredients: Ingredients | None, sound: TrainingSound
) -> None:
    again = augmentation.prepare(sound)
    if ingredients is None or again is None:
        require(again is ingredients, "`prepare` must give ingredients always or never")
        return
    require(again.digest == ingredients.digest, "`prepare` must give the same digest for the same clips and settings")
    travelled = pickle.loads(pickle.dumps(ingredients))
    first, *others = (_caller(augmentation, used)(noise_clip()) for used in (ingredients, travelled, again))
    require(all(same(other, first) for other in others), "ingredients must give the same copy when they are made again")


def _check_copies(augmentation: WaveformAugmentation, sound: TrainingSound) -> None:
    """Make copies as a run does."""
    (planned,) = (copies for _, copies in plan_copies({"own": augmentation}, sound))
    expected = len(augmentation.rows(sound)) * augmentation.copies
    require(len(planned) == expected, f"each clip must get `copies` copies, got {len(planned)} for {expected}")
    made: list[Any] = [copy.load(_SAMPLE_RATE, 1) for copy in (planned[0], pickle.loads(pickle.dumps(planned[0])))]
    require(same(*made), "a copy must be the same in every process")
