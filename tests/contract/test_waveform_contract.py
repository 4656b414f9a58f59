"""What every registered waveform augmentation has to hold."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from asc_study.augmentation import WAVEFORM_AUGMENTATIONS
from asc_study.augmentation.waveform import Ingredients, TrainingSound, Waveform, WaveformAugmentation
from asc_study.data.identity import audio_digests

SAMPLE_RATE = 16_000
SAMPLES = SAMPLE_RATE // 2  # as short as is sensible

#: Settings that make preparing quicker.
SETTINGS: dict[str, dict[str, Any]] = {"reverb_drc": {"rooms": 3}}

#: Those that draw nothing: all copies of a clip are alike.
WITHOUT_DRAWS = {"spectrum_correction"}

#: Those whose channels differ although the clip's are alike.
INDEPENDENT_CHANNELS = {"noise"}

SCENES, SEGMENTS, DEVICES = ("bus", "tram"), ("1", "2", "3"), ("a", "b", "s1")


def clip(channels: int = 1, seed: int = 0) -> Waveform:
    sound = 0.1 * np.random.default_rng(seed).standard_normal((SAMPLES, channels))
    return (sound * np.linspace(0.2, 1, SAMPLES)[:, np.newaxis]).astype(np.float32)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> TrainingSound:
    folder = tmp_path_factory.mktemp("training-sound")
    rows = []
    for number, (scene, segment, device) in enumerate(
        (scene, segment, device) for scene in SCENES for segment in SEGMENTS for device in DEVICES
    ):
        clip_id = f"{scene}-oslo-1-{segment}-{device}"
        soundfile.write(folder / f"{clip_id}.wav", clip(seed=number), SAMPLE_RATE, subtype="PCM_24")
        rows.append((clip_id, str(folder / f"{clip_id}.wav"), scene, device, "train"))
    clips = pd.DataFrame(rows, columns=["clip_id", "path", "scene", "device", "split"], index=range(100, 118))
    digests = audio_digests(clips["path"].tolist(), cache=folder / "cache")
    return TrainingSound(clips, digests, SAMPLE_RATE, folder / "cache")


@pytest.fixture(scope="module", params=WAVEFORM_AUGMENTATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def augmentation(name: str) -> WaveformAugmentation:
    return WAVEFORM_AUGMENTATIONS[name](**SETTINGS.get(name, {}))


@pytest.fixture(scope="module")
def ingredients(augmentation: WaveformAugmentation, sound: TrainingSound) -> Ingredients | None:
    return augmentation.prepare(sound)


@pytest.fixture
def augment(augmentation: WaveformAugmentation, ingredients: Ingredients | None) -> Callable[..., Waveform]:
    def call(waveform: Waveform, seed: int = 0) -> Waveform:
        partner = np.repeat(clip(seed=1), waveform.shape[1], axis=1)
        value = ingredients.value if ingredients else None
        return augmentation(waveform, SAMPLE_RATE, np.random.default_rng(seed), ingredients=value, partner=partner)

    return call


def test_defaults_are_complete_and_settings_strict(name: str) -> None:
    made = WAVEFORM_AUGMENTATIONS[name]()
    assert WAVEFORM_AUGMENTATIONS[name](**made.model_dump()) == made
    assert (made.seed, made.copies) == (0, 1)
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        WAVEFORM_AUGMENTATIONS[name](no_such_setting=1)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_copy_is_like_the_clip_in_form_and_unlike_in_sound(augment, channels: int) -> None:
    waveform = clip(channels)
    copy = augment(waveform)
    assert copy.shape == waveform.shape
    assert copy.dtype == np.float32
    assert np.isfinite(copy).all()
    assert np.abs(copy - waveform).max() > 1e-3
    assert copy.any(axis=0).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_the_clip_is_not_changed(augment, channels: int) -> None:
    waveform = clip(channels)
    waveform.setflags(write=False)
    copy = augment(waveform)
    assert not np.shares_memory(copy, waveform)
    np.testing.assert_array_equal(waveform, clip(channels))


def test_the_same_generator_state_gives_the_same_copy(augment, name: str) -> None:
    first = augment(clip(), seed=3)
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    np.testing.assert_array_equal(augment(clip(), seed=3), first)
    others = [augment(clip(), seed=seed) for seed in range(4, 8)]
    assert any(not np.array_equal(first, other) for other in others) == (name not in WITHOUT_DRAWS)


def test_global_random_state_is_neither_used_nor_changed(augmentation, augment, sound: TrainingSound) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    augmentation.prepare(sound)
    augment(clip())
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_gives_something_finite(augment, channels: int) -> None:
    assert np.isfinite(augment(np.zeros((SAMPLES, channels), np.float32))).all()


def test_channels_share_the_draws(augment, name: str) -> None:
    mono = augment(clip())
    stereo = augment(np.repeat(clip(), 2, axis=1))
    if name in INDEPENDENT_CHANNELS:
        assert not np.array_equal(stereo[:, 0], stereo[:, 1])
    else:
        np.testing.assert_allclose(stereo[:, 0], stereo[:, 1], atol=1e-6)
        np.testing.assert_allclose(stereo[:, :1], mono, atol=1e-5)


def test_memory_order_does_not_matter(augment) -> None:
    waveform = clip(2)
    np.testing.assert_array_equal(augment(np.asfortranarray(waveform)), augment(waveform))


def test_rows_are_positions_of_training_clips(augmentation, sound: TrainingSound) -> None:
    rows = augmentation.rows(sound)
    assert len(rows) > 0
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < len(sound.clips)


def test_a_partner_is_another_clip_and_follows_from_the_generator(augmentation, sound: TrainingSound) -> None:
    for row in augmentation.rows(sound):
        partner = augmentation.partner(sound, int(row), np.random.default_rng(5))
        assert partner == augmentation.partner(sound, int(row), np.random.default_rng(5))
        if partner is not None:
            assert 0 <= partner < len(sound.clips)
            assert partner != row


def test_ingredients_travel_and_are_identified(augmentation, ingredients, sound: TrainingSound) -> None:
    again = augmentation.prepare(sound)
    if ingredients is None:
        assert again is None
        return
    assert again.digest == ingredients.digest
    copied = pickle.loads(pickle.dumps(ingredients))
    copies = [
        augmentation(clip(), SAMPLE_RATE, np.random.default_rng(0), ingredients=used.value)
        for used in (ingredients, copied, again)
    ]
    np.testing.assert_array_equal(copies[1], copies[0])
    np.testing.assert_array_equal(copies[2], copies[0])


def test_all_six_of_the_paper_are_there() -> None:
    paper = {"spectrum_correction", "reverb_drc", "pitch_shift", "speed_change", "noise", "mix"}
    assert paper <= set(WAVEFORM_AUGMENTATIONS)
