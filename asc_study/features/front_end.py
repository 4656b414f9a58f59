"""From samples to what a network is given, with NumPy and SciPy alone.

The rule of the features stands here once. Training hands in loops that numba compiled (`asc_study.features.logmel`);
a deployed system, which carries a copy of this file, uses the plain ones. Axis order is frequency, time, channel
throughout (Hu et al. 2020, section 5.1, and the authors' code).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError
from asc_study.features.settings import LogMelSettings

Floats = npt.NDArray[np.floating[Any]]
Features = npt.NDArray[np.float32]

#: Frames transformed at a time: few enough for their spectra to stay in the processor's cache.
_BLOCK_FRAMES: Final = 32

#: What ``scale: fixed`` adds to a logarithm and then divides by (CP-Mobile).
_FIXED_SCALE: Final = (np.float32(4.5), np.float32(5))


@dataclass(frozen=True)
class Loops:
    """The two inner loops of the spectrogram, which may be compiled.

    Attributes
    ----------
    fill_windowed
        ``(samples, hop, window, frames)``: write as many frames, a hop apart, as ``frames`` has rows, each multiplied
        by the window.
    fill_power
        ``(spectra, power)``: write the squared magnitudes of (frames, bins) as (bins, frames).
    """

    fill_windowed: Callable[[Floats, int, npt.NDArray[np.float64], npt.NDArray[np.float64]], None]
    fill_power: Callable[[npt.NDArray[np.complex128], Features], None]


def _fill_windowed(samples: Floats, hop: int, window: npt.NDArray[np.float64], frames: npt.NDArray[np.float64]) -> None:
    excerpts = np.lib.stride_tricks.sliding_window_view(samples, len(window))[::hop]
    np.multiply(excerpts[: len(frames)], window, out=frames)


def _fill_power(spectra: npt.NDArray[np.complex128], power: Features) -> None:
    power[...] = (spectra.real**2 + spectra.imag**2).T


PLAIN_LOOPS: Final = Loops(_fill_windowed, _fill_power)


def log_mel_features(waveform: Floats, settings: LogMelSettings, mel_filters: Any, loops: Loops) -> Features:
    """Compute the log-mel spectrogram of one clip.

    ln(mel power + offset) of Hann-windowed, centred frames. The transform runs in float64, as librosa's does: in
    float32 the rounding noise of a loud low tone lifts quiet bands by up to 5e-3 of the scaled range.

    Parameters
    ----------
    waveform
        (samples,) or (samples, channels), full scale is 1.
    settings
        Their ``sample_rate`` must be that of the waveform; ``dtype`` is the store's business and not applied here.
    mel_filters
        (n_mels, n_fft / 2 + 1) float32, best sparse: each band touches few bins.
    loops
        What does the inner loops.

    Returns
    -------
    (n_mels, frames, channels) float32. With ``scale='min_max'`` in [0, 1]; a clip without any contrast, such as
    digital silence, is all zeros.

    Raises
    ------
    InputError
        If the waveform is empty, has a wrong number of axes, or holds values that are not finite.
    """
    if waveform.ndim not in (1, 2) or waveform.size == 0:
        raise InputError(
            f"a waveform must be (samples,) or (samples, channels) and not empty, got shape {waveform.shape}"
        )
    channels = waveform[:, np.newaxis] if waveform.ndim == 1 else waveform
    mel = np.empty((settings.n_mels, settings.frames(len(channels)), channels.shape[1]), np.float32)
    channels = resample(channels, settings.sample_rate, settings.rate)
    if settings.pre_emphasis:
        channels = channels[1:] - np.float32(settings.pre_emphasis) * channels[:-1]
    for channel in range(channels.shape[1]):
        mel[:, :, channel] = _mel_power(channels[:, channel], settings, mel_filters, loops)
    mel += np.float32(settings.log_offset)
    np.log(mel, out=mel)
    low, high = mel.min(), mel.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("a waveform must hold finite samples only, got NaN or infinity: check the recording")
    if settings.scale == "min_max":
        mel -= low
        if high > low:
            mel /= high - low
    if settings.scale == "fixed":
        mel += _FIXED_SCALE[0]
        mel /= _FIXED_SCALE[1]
    return mel


def _mel_power(waveform: Floats, settings: LogMelSettings, mel_filters: Any, loops: Loops) -> Features:
    """Mel power of one channel: (samples,) -> (n_mels, frames)."""
    n_fft, hop = settings.n_fft, settings.hop_length
    padded = _padded(waveform, settings)
    window = _window(n_fft, settings.samples_of_window, settings.window == "periodic")
    mel_power = np.empty((settings.n_mels, 1 + len(waveform) // hop), np.float32)
    # Fresh memory for every block would cost more than the transform itself: the first touch of a page is slow.
    frames = np.empty((_BLOCK_FRAMES, n_fft))
    spectra = np.zeros((_BLOCK_FRAMES, n_fft // 2 + 1), np.complex128)
    power = np.empty(spectra.shape[::-1], np.float32)
    for start in range(0, mel_power.shape[1], _BLOCK_FRAMES):
        used = min(_BLOCK_FRAMES, mel_power.shape[1] - start)
        loops.fill_windowed(padded[start * hop :], hop, window, frames[:used])
        np.fft.rfft(frames[:used], out=spectra[:used])
        loops.fill_power(spectra, power)
        mel_power[:, start : start + used] = (mel_filters @ power)[:, :used]
    return mel_power


def _padded(waveform: Floats, settings: LogMelSettings) -> Floats:
    """The samples with half a transform of something around them: (samples,) -> (samples + n_fft,)."""
    half = settings.n_fft // 2
    if settings.padding == "reflect":
        if len(waveform) <= half:
            raise InputError(
                f"`padding: reflect` needs clips of more than {half} samples at {settings.rate} Hz, half of n_fft, got "
                f"{len(waveform)}: use longer clips, a shorter n_fft, or padding: zeros"
            )
        return np.pad(waveform, half, mode="reflect")
    padded = np.zeros(len(waveform) + settings.n_fft, np.result_type(waveform, np.float32))
    padded[half : half + len(waveform)] = waveform
    return padded


@lru_cache
def _window(n_fft: int, samples: int, periodic: bool) -> npt.NDArray[np.float64]:
    """A Hann window of some samples in the middle of ``n_fft``, zeros around it."""
    window = np.zeros(n_fft)
    start = (n_fft - samples) // 2
    window[start : start + samples] = hann(samples, periodic=periodic)
    return window


def hann(samples: int, *, periodic: bool = True) -> npt.NDArray[np.float64]:
    """The Hann window, (samples,): SciPy's to the last bit, whose `signal` takes half a second to import."""
    points = samples + 1 if periodic else samples
    return (0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, points)))[:samples]


def ten_slopes(x: Features) -> Features:
    """Ten times the deltas of (frequency, time, channel) along time: the factor is applied where it is written."""
    slopes = np.subtract(x[:, 4:], x[:, :-4])
    slopes += slopes
    slopes += x[:, 3:-1]
    slopes -= x[:, 1:-3]
    return slopes


def stack_deltas(static: Features) -> Features:
    """Static, delta and delta-delta features as channels: (f, t, c) -> (f, t - 8, 3 c), all statics first."""
    first = ten_slopes(static)
    second = ten_slopes(first)
    return np.concatenate([static[:, 4:-4], first[:, 2:-2] * np.float32(0.1), second * np.float32(0.01)], axis=-1)


def resample(waveform: Floats, sample_rate: int, target_rate: int) -> Floats:
    """Change the sample rate (Hz) of (samples, channels) by SciPy's polyphase filter; equal rates change nothing."""
    if sample_rate == target_rate:
        return waveform
    from scipy.signal import resample_poly  # half a second, and most recordings need none

    divisor = math.gcd(sample_rate, target_rate)
    changed: Floats = resample_poly(waveform, target_rate // divisor, sample_rate // divisor, axis=0)
    return changed


def with_channels(waveform: Floats, channels: int) -> Floats:
    """Give (samples, c) another number of channels: the mean of all for one, or that mean for each of several."""
    if waveform.shape[1] == channels:
        return waveform
    mean = waveform.mean(axis=1, keepdims=True, dtype=np.float32)
    return mean if channels == 1 else np.repeat(mean, channels, axis=1)


def with_length(waveform: Floats, samples: int) -> Floats:
    """Cut (n, channels) to a number of samples, or repeat it from its beginning until it has them."""
    if len(waveform) >= samples:
        return waveform[:samples]
    repeats = -(-samples // len(waveform))
    return np.tile(waveform, (repeats, 1))[:samples]


@dataclass(frozen=True, eq=False)
class FrontEnd:
    """What one network is given of a sound.

    Attributes
    ----------
    settings
        Of its log-mel features.
    channels
        Audio channels that it hears: 1, or 2.
    samples
        Length of the clips that it was trained on, at the settings' sample rate.
    filters
        The mel filter bank, (n_mels, n_fft / 2 + 1) float32.
    """

    settings: LogMelSettings
    channels: int
    samples: int
    filters: Features = field(repr=False)

    def __post_init__(self) -> None:
        if self.channels < 1 or self.samples < 1:
            raise InputError(f"a front end needs channels and samples, got {self.channels} and {self.samples}")
        expected = (self.settings.n_mels, self.settings.n_fft // 2 + 1)
        if self.filters.shape != expected or self.filters.dtype != np.float32:
            raise InputError(
                f"mel filters must be float32 of shape {expected}, got {self.filters.dtype} {self.filters.shape}"
            )
        _ = self.shape  # which needs frames

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frequency bands, frames and channels of its features."""
        return self.settings.input_shape(self.samples, self.channels)

    @property
    def seconds(self) -> float:
        """Length of the clips that it was trained on."""
        return self.samples / self.settings.sample_rate

    @cached_property
    def _sparse_filters(self) -> Any:
        from scipy.sparse import csr_array

        return csr_array(self.filters)

    def features(self, waveform: Floats, sample_rate: int) -> Features:
        """The features of one window of sound.

        Parameters
        ----------
        waveform
            (n, channels), full scale is 1; of another rate it is resampled, of other channels it is mixed down or
            duplicated, of another length it is cut, or repeated.
        sample_rate
            In Hz.

        Returns
        -------
        (frequency, time, channel) float32 of `shape`: what training computes, rounded as its store rounds.

        Raises
        ------
        InputError
            If the window is empty or holds values that are not finite.
        """
        if waveform.ndim != 2 or waveform.size == 0:
            raise InputError(f"a window must be (samples, channels) and not empty, got shape {waveform.shape}")
        if not np.isfinite(waveform).all():
            raise InputError("a recording must hold finite samples only, got NaN or infinity: record it again")
        heard = with_channels(waveform, self.channels)
        heard = with_length(resample(heard, sample_rate, self.settings.sample_rate), self.samples)
        with np.errstate(over="ignore", invalid="ignore"):  # samples far beyond full scale: refused below
            static = log_mel_features(heard, self.settings, self._sparse_filters, PLAIN_LOOPS)
        stored = static.astype(self.settings.dtype).astype(np.float32)
        return stack_deltas(stored) if self.settings.deltas else stored
