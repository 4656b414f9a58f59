"""Impulse responses against SciPy's convolution and the properties they are asked for."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve

from asc_study.acoustics.impulse_responses import (
    colour_response,
    content_digest,
    convolve,
    load_impulse_responses,
    make_impulse_response,
)
from asc_study.base.errors import InputError

SAMPLE_RATE = 44_100


def rms(signal):
    return np.sqrt(np.mean(np.square(signal, dtype=np.float64)))


def test_convolution_is_aligned_at_the_peak_and_keeps_length_and_level():
    rng = np.random.default_rng(0)
    signal, response = 0.1 * rng.standard_normal(5000), 0.1 * rng.standard_normal(300)
    response[40] = -1.0
    expected = fftconvolve(signal, response)[40:5040]
    expected *= rms(signal) / rms(expected)
    np.testing.assert_allclose(convolve(signal, response), expected, atol=1e-6)


def test_a_delayed_impulse_changes_nothing():
    signal = 0.1 * np.random.default_rng(0).standard_normal((2000, 2))
    response = np.zeros(100)
    response[70] = 0.5
    np.testing.assert_allclose(convolve(signal, response), signal, atol=1e-6)


def test_channels_are_convolved_alike_and_silence_stays_silent():
    rng = np.random.default_rng(0)
    one, response = rng.standard_normal(1000), rng.standard_normal(50)
    both = convolve(np.stack([one, one], axis=1), response)
    np.testing.assert_allclose(both[:, 0], convolve(one, response), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    assert not convolve(np.zeros(1000), response).any()


def test_room_decays_by_60_db_in_its_reverberation_time():
    response = make_impulse_response(
        np.random.default_rng(0), SAMPLE_RATE, decay_seconds=0.5, reverberant_db=0.0, reflections=0
    )
    assert response[0] == 1.0
    assert len(response) == SAMPLE_RATE // 2
    fifth = len(response) // 5
    decay_db = 20 * np.log10(rms(response[1:fifth]) / rms(response[4 * fifth :]))
    assert decay_db == pytest.approx(48, abs=1)  # four fifths of 60 dB
    assert np.sum(response[1:] ** 2) == pytest.approx(1.0, rel=0.02)  # 0 dB relative to the direct sound


def test_colour_is_a_band_pass_with_the_ripple_asked_for():
    response = colour_response(np.random.default_rng(0), SAMPLE_RATE, low_hz=400, high_hz=4_000, ripple_db=0.0)
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(response, SAMPLE_RATE)))  # one bin a Hz
    assert gain_db[1_500] == pytest.approx(0, abs=0.3)
    assert gain_db[100] == pytest.approx(-24, abs=1)  # two octaves below the band
    assert gain_db[16_000] == pytest.approx(-24, abs=1)  # two octaves above it
    rippled = colour_response(np.random.default_rng(0), SAMPLE_RATE, low_hz=20, high_hz=22_050, ripple_db=6.0)
    nodes = 20 * 2 ** np.arange(1, 10)
    node_gain_db = 20 * np.log10(np.abs(np.fft.rfft(rippled, SAMPLE_RATE)))[nodes]
    assert node_gain_db.std() == pytest.approx(6, abs=2)
    assert np.argmax(np.abs(rippled)) < 10  # minimum phase: the energy comes first


def test_loads_a_folder_in_the_order_of_names_at_the_rate_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "b.wav", 0.1 * rng.standard_normal((2205, 2)), 22_050)
    soundfile.write(tmp_path / "a.WAV", 0.1 * rng.standard_normal(300), SAMPLE_RATE)
    (tmp_path / "notes.txt").write_text("not a response")
    first, second = load_impulse_responses(tmp_path, SAMPLE_RATE)
    assert len(first) == 300
    assert len(second) == 4410
    left, _ = soundfile.read(tmp_path / "b.wav")
    np.testing.assert_allclose(second[::2], left[:, 0], atol=0.05)


def test_refuses_a_folder_without_usable_responses(tmp_path):
    with pytest.raises(InputError, match="must be a folder with WAV files"):
        load_impulse_responses(tmp_path, SAMPLE_RATE)
    with pytest.raises(InputError, match="must be a folder with WAV files"):
        load_impulse_responses(tmp_path / "missing", SAMPLE_RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), SAMPLE_RATE)
    soundfile.write(tmp_path / "usable.wav", np.ones(100) / 2, SAMPLE_RATE)
    with pytest.raises(InputError, match=r"got broken\.wav, silent\.wav: remove"):
        load_impulse_responses(tmp_path, SAMPLE_RATE)


def test_a_pipe_among_the_responses_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"readable and not silent, got a\.wav"):
        load_impulse_responses(tmp_path, 8000)
    with pytest.raises(InputError, match=r"an impulse response must be a regular file, got a pipe under .*a\.wav"):
        content_digest(tmp_path)


def test_hidden_files_are_no_responses(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.ones(100) / 2, SAMPLE_RATE)
    alone = content_digest(tmp_path)
    (tmp_path / "._a.wav").write_bytes(b"\0\5\x16\7")
    assert len(load_impulse_responses(tmp_path, SAMPLE_RATE)) == 1
    assert content_digest(tmp_path) == alone
