"""The compander against closed forms, points of its curve computed by hand, and SoX itself where it is installed."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.acoustics.compander import PRESETS, Compander, compand, transfer_gain_db
from asc_study.base.errors import InputError

SAMPLE_RATE = 44_100

#: Without a knee, the gain in dB is minus half the level: the gain is one over the root of the level.
ROOT = Compander(((-100, -50), (0, 0)), attack_seconds=0.02, decay_seconds=0.05, knee_db=0)


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    """Noise whose level swings over 50 dB."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    swing = 10 ** (-(30 + 25 * np.sin(2 * np.pi * 0.7 * t)) / 20)
    drawn = np.random.default_rng(0).standard_normal((len(t), channels)) * swing[:, np.newaxis]
    return np.clip(drawn[:, 0] if channels == 1 else drawn, -0.99, 0.99)


def test_steady_gain_between_the_corners():
    # Preset "even": +20 dB up to -60 dB, then a line to 0 dB at 0 dB; 2 dB on top everywhere.
    gain = transfer_gain_db(np.array([-120.0, -80.0, -45.0, -30.0, 0.0]), PRESETS["even"])
    np.testing.assert_allclose(gain, [22, 22, 17, 12, 2], atol=1e-9)


def test_knee_is_the_parabola_through_its_ends_and_the_centroid():
    compander = Compander(((-40, -20), (0, 0)), knee_db=6)
    run, fall = 6 * 2 / np.sqrt(5), 6 / np.sqrt(5)  # 6 dB along a line that falls by one in two
    start, corner, end = (-46, 20), (-40, 20), (-40 + run, 20 - fall)
    centroid = np.mean([start, corner, end], axis=0)
    for level, gain in (start, centroid, end):
        assert transfer_gain_db(np.array([level]), compander)[0] == pytest.approx(gain, abs=1e-9)


@pytest.mark.parametrize(
    ("initial_level_db", "seconds"), [(0.0, ROOT.decay_seconds), (-40.0, ROOT.attack_seconds)], ids=["decay", "attack"]
)
def test_level_follows_a_step_exponentially(initial_level_db, seconds):
    signal = np.full(4410, 0.5)
    first = 10 ** (initial_level_db / 20)
    n = np.arange(1, len(signal) + 1)
    level = 0.5 + (first - 0.5) * np.exp(-n / (seconds * SAMPLE_RATE))
    companded = compand(signal, SAMPLE_RATE, ROOT, initial_level_db=initial_level_db)
    np.testing.assert_allclose(companded, np.minimum(0.5 / np.sqrt(level), 1), atol=1e-6)


def test_time_zero_follows_at_once():
    compander = Compander(((-100, -50), (0, 0)), attack_seconds=0, decay_seconds=0, knee_db=0)
    signal = np.array([0.01, -0.25, 0.04])
    np.testing.assert_allclose(compand(signal, SAMPLE_RATE, compander), [0.1, -0.5, 0.2], rtol=1e-6)


def test_channels_share_the_level_of_the_loudest():
    loud, quiet = noise(0.2), 0.1 * noise(0.2)
    companded = compand(np.stack([quiet, loud], axis=1), SAMPLE_RATE, PRESETS["strong"])
    np.testing.assert_array_equal(companded[:, 1], compand(loud, SAMPLE_RATE, PRESETS["strong"]))
    np.testing.assert_allclose(companded[:, 0], 0.1 * companded[:, 1], atol=1e-6)


def test_silence_stays_silent_and_output_is_clipped():
    assert not compand(np.zeros(1000), SAMPLE_RATE, PRESETS["heavy"]).any()
    loud = compand(np.full(1000, -0.9), SAMPLE_RATE, Compander(((0, 0),), gain_db=12))
    np.testing.assert_array_equal(loud, -1.0)


@pytest.mark.skipif(shutil.which("sox") is None, reason="SoX is not installed")
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "compander",
    [
        *PRESETS.values(),
        Compander(((-60, -30), (-58, -29), (-57, -25), (-20, -15)), attack_seconds=0.01, decay_seconds=0, knee_db=12),
        Compander(((-60, -70), (-40, -50), (-20, -15)), gain_db=-3, attack_seconds=0.01, decay_seconds=0.5, knee_db=0),
    ],
    ids=[*PRESETS, "short segments", "expander without knee"],
)
def test_equals_sox(compander: Compander, channels: int, tmp_path: Path):
    soundfile.write(tmp_path / "in.wav", noise(1.0, channels), SAMPLE_RATE, subtype="PCM_24")
    signal, _ = soundfile.read(tmp_path / "in.wav")
    points = ",".join(f"{level},{out}" for level, out in compander.points_db)
    times = f"{compander.attack_seconds},{compander.decay_seconds}"
    effect = ["compand", times, f"{compander.knee_db}:{points}", str(compander.gain_db)]
    command = ["sox", "-D", "in.wav", "-b", "32", "out.wav", *effect]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    expected, _ = soundfile.read(tmp_path / "out.wav")
    np.testing.assert_allclose(compand(signal, SAMPLE_RATE, compander), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points_db": ((-20, -10), (-40, -30))}, "rising input levels"),
        ({"points_db": ()}, "rising input levels"),
        ({"points_db": ((-20, 1),)}, "must not exceed 0 dB"),
        ({"points_db": ((-20, -10),), "attack_seconds": -0.1}, "attack_seconds must be 0 or more, got -0.1"),
        ({"points_db": ((-20, -10),), "knee_db": float("nan")}, "knee_db must be 0 or more, got nan"),
    ],
)
def test_refuses_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Compander(**settings)
