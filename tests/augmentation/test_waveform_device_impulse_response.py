from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.acoustics.microphones import simulate_microphones
from asc_study.augmentation.waveform import TrainingSound
from asc_study.augmentation.waveform.device_impulse_response import DeviceImpulseResponse
from asc_study.settings.identity import run_identity, signature
from asc_study.settings.run_config import resolve
from asc_study.testing.waveform_augmentations import noise_clip, training_sound

RATE = 16_000


@pytest.fixture
def sound(tmp_path: Path) -> TrainingSound:
    return training_sound(tmp_path)


def test_it_is_the_full_convolution_cut_to_the_clip_at_the_level_that_comes(sound: TrainingSound) -> None:
    responses = DeviceImpulseResponse(microphones=4).prepare(sound).value
    clip = noise_clip(channels=2)
    copy = DeviceImpulseResponse()(clip, RATE, np.random.default_rng(1), ingredients=responses)
    expected = [np.convolve(clip[:, 0], response)[: len(clip)] for response in responses]
    nearest = min(expected, key=lambda one: float(np.abs(one - copy[:, 0]).max()))
    np.testing.assert_allclose(copy[:, 0], nearest, atol=1e-5)


def test_a_folder_of_recorded_responses_counts_by_its_content(sound: TrainingSound, tmp_path: Path) -> None:
    def sign(settings: dict) -> str:
        raw = {"waveform_augmentation": {"device_impulse_response": settings}}
        return signature(run_identity(resolve(raw), "d"), 0)

    folders = [tmp_path / "mics", tmp_path / "same", tmp_path / "other"]
    for folder, value in zip(folders, (0.5, 0.5, 0.4), strict=True):
        folder.mkdir()
        soundfile.write(folder / "mic.wav", np.array([0.0, 1.0, value]) / 2, sound.sample_rate, subtype="FLOAT")
    first, same, other = ({"impulse_responses": str(folder)} for folder in folders)
    assert sign(first) == sign(same) == sign(first | {"microphones": 5}) != sign(other)
    (response,) = DeviceImpulseResponse(**first).prepare(sound).value
    np.testing.assert_allclose(response, [0, 0.5, 0.25])
    assert sign({"microphones": 5}) != sign({})


def test_only_clips_of_the_reference_device_are_copied(sound: TrainingSound) -> None:
    assert set(sound.clips["device"].to_numpy()[DeviceImpulseResponse().rows(sound)]) == {"a"}


def test_simulated_microphones_differ_and_colour_the_sound() -> None:
    microphones = simulate_microphones(12, 0, 44_100)
    assert all(np.array_equal(*pair) for pair in zip(simulate_microphones(5, 0, 44_100), microphones, strict=False))
    assert not np.array_equal(simulate_microphones(1, 1, 44_100)[0], microphones[0])
    gains = 20 * np.log10(np.abs(np.fft.rfft(microphones, 8192)) + 1e-9)
    middle, edge = gains[:, 180:370], gains[:, -20:]  # 1 to 2 kHz, and the highest frequencies
    assert np.median(middle.mean(axis=1) - edge.mean(axis=1)) > 12  # a band-pass, whose resonances differ
    assert np.ptp(gains[:, 100:600], axis=1).min() > 3
