"""Impulse responses: loading measured ones, making parametric ones, and convolving a sound with one.

Conventions: an impulse response is a float32 array of the shape ``(samples,)``; a signal has the shape ``(samples,)``
or ``(samples, channels)``.
"""

import hashlib
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import resample_poly

from asc_study.base.errors import InputError
from asc_study.base.files import is_recording, open_input


def load_impulse_responses(folder: Path, sample_rate: int) -> tuple[NDArray[np.float32], ...]:
    """Load every WAV file of a folder (first channel), in the order of the names, resampled to ``sample_rate`` (Hz).

    Raises
    ------
    InputError
        If the folder holds no WAV file, or one that cannot be read or is silent; the message names all of these.
    """
    responses, bad = [], []
    for path in _response_files(folder):
        try:
            with open_input(path, "impulse response") as file:
                response, own_rate = soundfile.read(file, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError, InputError):
            bad.append(path.name)
            continue
        if not np.any(response[:, 0]):
            bad.append(path.name)
            continue
        common = math.gcd(own_rate, sample_rate)
        responses.append(resample_poly(response[:, 0], sample_rate // common, own_rate // common).astype(np.float32))
    if bad:
        names = ", ".join(bad)
        raise InputError(f"impulse responses must be readable and not silent, got {names}: remove or replace these")
    return tuple(responses)


def content_digest(folder: Path) -> str:
    """SHA-256 of the WAV files of a folder in the order of their names, wherever the folder lies.

    Raises
    ------
    InputError
        If the folder holds no WAV file, or one that cannot be read.
    """
    whole = hashlib.sha256()
    for path in _response_files(folder):
        try:
            with open_input(path, "impulse response") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(f"impulse responses must be readable, got {path}: {error.strerror}") from None
    return whole.hexdigest()


def _response_files(folder: Path) -> list[Path]:
    paths = (
        sorted(path for path in folder.glob("*") if is_recording(path) and path.suffix.lower() == ".wav")
        if folder.is_dir()
        else []
    )
    if not paths:
        raise InputError(f"impulse responses must be a folder with WAV files, got {folder} without any: add some")
    return paths


def convolve(signal: NDArray[np.floating], impulse_response: NDArray[np.floating]) -> NDArray[np.float32]:
    """Convolve a signal with an impulse response, aligned at the response's peak, at the signal's length and level.

    What the peak's delay would shift is taken back, so that events stay where they are; what rings past the end of the
    signal is cut. The root mean square over all channels is that of ``signal``.
    """
    samples = len(signal)
    length = fft.next_fast_len(samples + len(impulse_response) - 1, real=True)
    transfer = _transfer(impulse_response.astype(np.float32).tobytes(), length)
    dry = np.asarray(signal, dtype=np.float32)
    if dry.ndim == 2:
        transfer = transfer[:, np.newaxis]
    peak = int(np.argmax(np.abs(impulse_response)))
    wet = fft.irfft(fft.rfft(dry, length, axis=0) * transfer, length, axis=0)[peak : peak + samples]
    power = _power(wet)
    return np.asarray(wet * np.float32(math.sqrt(_power(dry) / power)) if power > 0 else wet, dtype=np.float32)


def make_impulse_response(
    rng: np.random.Generator,
    sample_rate: int,
    *,
    decay_seconds: float,
    reverberant_db: float,
    reflections: int = 6,
    reflection_seconds: float = 0.02,
) -> NDArray[np.float32]:
    """Make the impulse response of a room: direct sound, early reflections and an exponentially decaying noise tail.

    Parameters
    ----------
    rng
        Where the reflections and the tail are drawn from.
    sample_rate
        In Hz.
    decay_seconds
        Time in which the tail falls by 60 dB (the reverberation time), above 0.
    reverberant_db
        Energy of the tail relative to the direct sound.
    reflections, reflection_seconds
        How many early reflections, and the time after the direct sound that they fall in.

    Returns
    -------
    NDArray[np.float32]
        Shape ``(decay_seconds * sample_rate,)``; the direct sound is sample 0 and has the amplitude 1.
    """
    samples = max(int(decay_seconds * sample_rate), 2)
    seconds = np.arange(samples, dtype=np.float32) / sample_rate
    tail = rng.standard_normal(samples, dtype=np.float32) * 10 ** (-3 * seconds / decay_seconds)
    tail *= math.sqrt(10 ** (reverberant_db / 10) / float(np.sum(tail**2)))
    delays = rng.integers(1, max(int(reflection_seconds * sample_rate), 2), size=reflections)
    gains = rng.uniform(-0.6, 0.6, size=reflections)
    response = np.clip(tail, -0.9, 0.9)
    np.add.at(response, delays[delays < samples], gains[delays < samples])
    response[0] = 1.0
    return response.astype(np.float32)


def colour_response(
    rng: np.random.Generator,
    sample_rate: int,
    *,
    low_hz: float,
    high_hz: float,
    ripple_db: float,
    bands_per_octave: float = 1.0,
    taps: int = 2048,
) -> NDArray[np.float32]:
    """Make the impulse response of a device's microphone and case: a band-pass with random resonances and dips.

    Parameters
    ----------
    rng
        Where the resonances are drawn from.
    sample_rate
        In Hz.
    low_hz, high_hz
        The edges of the pass band; outside it the response falls by 12 dB per octave.
    ripple_db
        Standard deviation of the gain at the nodes of the curve.
    bands_per_octave
        How many nodes an octave has: more make narrower resonances.
    taps
        Length of the response.

    Returns
    -------
    NDArray[np.float32]
        Shape ``(taps,)``, minimum phase: the energy is as early as the magnitude response allows.
    """
    octaves = np.log2(np.maximum(fft.rfftfreq(4 * taps, 1 / sample_rate), 20.0) / 20.0)
    nodes = np.arange(0, octaves[-1] + 2 / bands_per_octave, 1 / bands_per_octave)
    ripple = rng.standard_normal(len(nodes))
    gain_db = np.interp(octaves, nodes, ripple_db * (ripple - ripple.mean()) / ripple.std())
    gain_db -= 12 * np.maximum(math.log2(low_hz / 20.0) - octaves, 0)
    gain_db -= 12 * np.maximum(octaves - math.log2(high_hz / 20.0), 0)
    return _minimum_phase(gain_db * (math.log(10) / 20))[:taps].astype(np.float32)


@lru_cache(maxsize=16)
def _transfer(response: bytes, length: int) -> NDArray[np.complex64]:
    """Return the spectrum of a float32 impulse response: one is used for many clips of one length."""
    return np.asarray(fft.rfft(np.frombuffer(response, dtype=np.float32), length))


def _minimum_phase(log_magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the minimum-phase impulse response with this log magnitude, through the folded real cepstrum."""
    cepstrum = fft.irfft(log_magnitude)
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    return np.asarray(fft.irfft(np.exp(fft.rfft(cepstrum))), dtype=np.float64)


def _power(signal: NDArray[np.float32]) -> float:
    return float(np.mean(np.square(signal, dtype=np.float64)))
