"""The deployed front end gives what training computes, with NumPy and SciPy alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import yaml

from asc_study.base.errors import InputError
from asc_study.data.formats import DATA_FORMATS
from asc_study.features.deltas import network_input
from asc_study.features.front_end import FrontEnd, hann, resample, with_channels, with_length
from asc_study.features.logmel import LogMelSettings, log_mel, mel_filters
from asc_study.settings.features import PRESETS, FeatureConfig

STUDIES = Path(__file__).parents[2] / "studies"


def feature_settings(node: Any) -> list[dict[str, Any]]:
    """Every ``features`` mapping in a tree of YAML."""
    if isinstance(node, list):
        return [found for item in node for found in feature_settings(item)]
    if not isinstance(node, dict):
        return []
    own = [node["features"]] if isinstance(node.get("features"), dict) else []
    return own + [found for value in node.values() for found in feature_settings(value)]


def shipped() -> list[dict[str, Any]]:
    """The feature settings of all study files, the defaults and the other scale and type among them."""
    found = [{}, {"scale": "none"}, {"dtype": "float32"}, *({"preset": name} for name in PRESETS)]
    for path in sorted(STUDIES.rglob("*.yaml")):
        found += feature_settings(yaml.safe_load(path.read_text(encoding="utf-8")))
    of_sound = [settings for settings in found if "embeddings" not in settings]
    return [settings for number, settings in enumerate(of_sound) if settings not in of_sound[:number]]


def front_end(settings: LogMelSettings, channels: int, samples: int) -> FrontEnd:
    return FrontEnd(settings, channels, samples, mel_filters(settings))


@pytest.mark.parametrize("data", sorted(DATA_FORMATS))
@pytest.mark.parametrize("given", shipped(), ids=str)
def test_features_are_those_of_training_for_all_shipped_settings(given: dict[str, Any], data: str) -> None:
    rate, channels = DATA_FORMATS[data].sample_rate, DATA_FORMATS[data].channels
    settings = FeatureConfig.model_validate(given).at(rate)
    rng = np.random.default_rng(5)
    time = np.arange(2 * rate)[:, np.newaxis] / rate
    sound = 0.3 * np.sin(2 * np.pi * 90 * time) + 0.05 * rng.standard_normal((2 * rate, channels))
    waveform = sound.astype(np.float32)
    trained_on = network_input(log_mel(waveform, settings).astype(settings.dtype), deltas=settings.deltas)
    ours = front_end(settings, channels, len(waveform))
    features = ours.features(waveform, rate)
    assert features.shape == ours.shape == trained_on.shape
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, trained_on, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_fft", [16, 1000, 1024, 2048, 65536])
def test_the_window_is_that_of_scipy(n_fft: int) -> None:
    np.testing.assert_array_equal(hann(n_fft), scipy.signal.get_window("hann", n_fft))
    symmetric = scipy.signal.get_window("hann", n_fft, fftbins=False)
    np.testing.assert_allclose(hann(n_fft, periodic=False), symmetric, rtol=0, atol=1e-15)


def test_a_tone_of_another_rate_is_heard_at_its_frequency() -> None:
    settings = LogMelSettings(16_000, n_fft=1024, hop_length=512, n_mels=40, dtype="float32")
    ours = front_end(settings, 1, 16_000)
    expected = ours.features(np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)[:, np.newaxis], 16_000)
    heard = ours.features(np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)[:, np.newaxis], 48_000)
    assert (heard[..., 0].argmax(axis=0) == expected[..., 0].argmax(axis=0)).all()
    assert len(resample(np.zeros((48_000, 1)), 48_000, 16_000)) == 16_000


def test_channels_are_mixed_down_or_duplicated() -> None:
    stereo = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)
    np.testing.assert_array_equal(with_channels(stereo, 1), [[0.5], [0.5]])
    np.testing.assert_array_equal(with_channels(stereo[:, :1], 2), [[1, 1], [0.5, 0.5]])
    np.testing.assert_array_equal(with_channels(np.repeat(stereo, 4, axis=1), 2), [[0.5, 0.5], [0.5, 0.5]])
    assert with_channels(stereo, 2) is stereo


def test_a_short_sound_is_repeated_and_a_long_one_cut() -> None:
    sound = np.arange(3.0)[:, np.newaxis]
    np.testing.assert_array_equal(with_length(sound, 7)[:, 0], [0, 1, 2, 0, 1, 2, 0])
    np.testing.assert_array_equal(with_length(sound, 2)[:, 0], [0, 1])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_samples_that_are_not_finite_are_refused_without_a_warning(value: float) -> None:
    waveform = np.zeros((16_000, 1), np.float32)
    waveform[500] = value
    with pytest.raises(InputError, match="finite samples only"):
        front_end(LogMelSettings(16_000), 1, 16_000).features(waveform, 16_000)


def test_filters_of_other_settings_are_refused() -> None:
    with pytest.raises(InputError, match=r"must be float32 of shape \(128, 1025\), got float32 \(40, 1025\)"):
        FrontEnd(LogMelSettings(16_000), 1, 16_000, mel_filters(LogMelSettings(16_000, n_mels=40)))
    with pytest.raises(InputError, match="at least 9 frames"):
        front_end(LogMelSettings(16_000), 1, 1024)
