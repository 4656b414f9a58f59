"""Reverberation + DRC against SciPy's convolution followed by the ``compand`` effect of SoX itself."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve

from asc_study.acoustics.compander import PRESETS, Compander
from asc_study.acoustics.impulse_responses import make_impulse_response
from asc_study.acoustics.rooms import simulate_rooms
from asc_study.augmentation.waveform.reverb_drc import ReverbDRC

pytestmark = pytest.mark.skipif(shutil.which("sox") is None, reason="the program sox is not on PATH")

SAMPLE_RATE = 44_100


def scene(channels: int) -> np.ndarray:
    """Noise whose level swings over 40 dB, different in each channel."""
    t = np.arange(round(1.5 * SAMPLE_RATE)) / SAMPLE_RATE
    swing = 10 ** (-(40 + 20 * np.sin(2 * np.pi * 0.9 * t)) / 20)
    drawn = np.random.default_rng(0).standard_normal((len(t), channels))
    return (drawn * swing[:, np.newaxis]).astype(np.float32)


def reverberate(dry: np.ndarray, response: np.ndarray) -> np.ndarray:
    peak = int(np.argmax(np.abs(response)))
    wet = np.stack([fftconvolve(channel, response)[peak : peak + len(dry)] for channel in dry.T.astype(float)], axis=1)
    return wet * np.sqrt(np.mean(dry.astype(float) ** 2) / np.mean(wet**2))


def sox_compand(signal: np.ndarray, compander: Compander, folder: Path) -> np.ndarray:
    soundfile.write(folder / "in.wav", signal, SAMPLE_RATE, subtype="PCM_32")
    points = ",".join(f"{level},{out}" for level, out in compander.points_db)
    effect = ["compand", "0.2,0.3", f"6:{points}", str(compander.gain_db)]
    subprocess.run(["sox", "-D", "in.wav", "-b", "32", "out.wav", *effect], cwd=folder, check=True, capture_output=True)
    return soundfile.read(folder / "out.wav", always_2d=True)[0]


@pytest.mark.parametrize("channels", [1, 2])
def test_every_copy_is_a_convolution_and_a_preset_of_sox(channels: int, tmp_path: Path) -> None:
    dry = scene(channels)
    room = make_impulse_response(np.random.default_rng(0), SAMPLE_RATE, decay_seconds=0.5, reverberant_db=-3)
    responses = (np.concatenate([np.zeros(1000, np.float32), room]), *simulate_rooms(1, 0, SAMPLE_RATE))
    expected = {
        (index, preset): sox_compand(reverberate(dry, response), compander, tmp_path)
        for index, response in enumerate(responses)
        for preset, compander in PRESETS.items()
    }
    rng = np.random.default_rng(0)
    made = set()
    for _ in range(60):
        copy = ReverbDRC()(dry, SAMPLE_RATE, rng, ingredients=responses)
        alike = [key for key, sound in expected.items() if np.abs(copy - sound).max() < 2e-5]
        assert len(alike) == 1
        made.update(alike)
    assert made == set(expected)
    assert len(made) == 10
