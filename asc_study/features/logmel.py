"""From a waveform to a scaled log-mel spectrogram, and from that to static, delta and delta-delta channels.

Axis order is frequency, time, channel throughout (Hu et al. 2020, section 5.1, and the authors' code).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import scipy.signal
import scipy.sparse

from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError

#: Frames that `with_deltas` takes off the time axis: two at each end for each of the two derivatives.
FRAMES_LOST_TO_DELTAS: Final = 8

#: Frames transformed at a time: few enough for their spectra to stay in the processor's cache.
_BLOCK_FRAMES: Final = 32

#: Bits of a float16 after its sign was extended to 32 bits and all were moved up by 13: clears the extra sign bits.
_SIGN_AND_MAGNITUDE: Final = np.int32(0x8FFFE000 - (1 << 32))

_LOG_OFFSET: Final = np.float32(1e-8)


@dataclass(frozen=True)
class LogMelSettings:
    """Everything that the values of a log-mel spectrogram depend on, besides the sound.

    Attributes
    ----------
    sample_rate
        Of the sound, in Hz.
    n_fft, hop_length
        Window length and step, in samples.
    n_mels
        Mel bands (HTK scale, not normalised) between 0 Hz and half the sample rate.
    scale
        ``min_max`` maps each clip to [0, 1], jointly over its channels; ``none`` leaves the natural logarithm.
    dtype
        What the feature store keeps. ``float16`` is off by at most 2.5e-4 on values in [0, 1]; with ``scale='none'``
        by up to 8e-3.
    """

    sample_rate: int
    n_fft: int = 2048
    hop_length: int = 1024
    n_mels: int = 128
    scale: Literal["min_max", "none"] = "min_max"
    dtype: Literal["float16", "float32"] = "float16"

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"`{name}` must be at least 1, got {value}: give a positive whole number")
        if self.n_fft % 2:
            raise InputError(f"`n_fft` must be even, got {self.n_fft}: frames are centred on their window's middle")
        for name, known in (("scale", ("min_max", "none")), ("dtype", ("float16", "float32"))):
            if getattr(self, name) not in known:
                raise InputError(f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    def canonical_json(self) -> str:
        """Return the settings as JSON that is equal for equal settings; part of a feature's cache key."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def frames(self, samples: int) -> int:
        """Return the number of centred frames that a sound of that many samples gives."""
        return 1 + samples // self.hop_length


def log_mel(waveform: npt.NDArray[np.floating[Any]], settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """Compute the log-mel spectrogram of one clip.

    ln(mel power + 1e-8) of Hann-windowed, centred, zero-padded frames. The transform runs in float64, as librosa's
    does: in float32 the rounding noise of a loud low tone lifts quiet bands by up to 5e-3 of the scaled range.

    Parameters
    ----------
    waveform
        (samples,) or (samples, channels), full scale is 1.
    settings
        Their ``sample_rate`` must be that of the waveform; ``dtype`` is the store's business and not applied here.

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
    for channel in range(channels.shape[1]):
        mel[:, :, channel] = _mel_power(channels[:, channel], settings)
    mel += _LOG_OFFSET
    np.log(mel, out=mel)
    low, high = mel.min(), mel.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("a waveform must hold finite samples only, got NaN or infinity: check the recording")
    if settings.scale == "min_max":
        mel -= low
        if high > low:
            mel /= high - low
    return mel


def deltas(static: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Differentiate along time: d[t] = (x[t+1] - x[t-1]) / 10 + (x[t+2] - x[t-2]) / 5, without padding.

    Parameters
    ----------
    static
        (frequency, time, channel) float32.

    Returns
    -------
    (frequency, time - 4, channel) float32.

    Raises
    ------
    InputError
        If there are fewer than 5 frames.
    """
    if static.shape[1] < 5:
        raise InputError(f"deltas need at least 5 frames, got {static.shape[1]}: use longer clips or a shorter hop")
    slope = _ten_slopes(static)
    slope *= np.float32(0.1)
    return slope


def with_deltas(
    static: npt.NDArray[np.floating[Any]], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Stack static, delta and delta-delta features as channels, trimmed to the frames that all three have.

    Parameters
    ----------
    static
        (frequency, time, channel), as the store gives it; float16 is widened first.
    out
        Written in place where given: (frequency, time - 8, 3 * channel) float32.

    Returns
    -------
    ``out`` or a new array. All statics come first, then all deltas, then all delta-deltas; a stereo clip gives static
    left, static right, delta left, delta right, delta-delta left, delta-delta right.

    Raises
    ------
    InputError
        If there are fewer than 9 frames, or ``out`` has another shape.
    """
    bands, frames, channels = static.shape
    if frames <= FRAMES_LOST_TO_DELTAS:
        raise InputError(
            f"features with deltas need at least {FRAMES_LOST_TO_DELTAS + 1} frames, got {frames}: "
            "use longer clips or a shorter hop_length"
        )
    shape = (bands, frames - FRAMES_LOST_TO_DELTAS, 3 * channels)
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape:
        raise InputError(f"`out` must have shape {shape}, got {out.shape}")
    if not out.flags.c_contiguous:
        out[...] = with_deltas(static)
        return out
    fill = compiled(_with_deltas_loop(channels))
    if static.dtype == np.float16:
        fill(np.ascontiguousarray(static).view(np.int16), 13, _SIGN_AND_MAGNITUDE, np.float32(2.0**112), out)
    else:
        fill(np.ascontiguousarray(static, np.float32).view(np.int32), 0, np.int32(-1), np.float32(1), out)
    return out


def widen(static: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """Convert finite float16 values to float32, exactly, and several times faster than ``astype``.

    A float16's bits, moved up by 13, are those of a float32 that is 2**112 too small.
    """
    if static.dtype != np.float16:
        return static.astype(np.float32, copy=False)
    bits = static.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_MAGNITUDE
    values = bits.view(np.float32)
    values *= np.float32(2.0**112)
    return values


@lru_cache
def _with_deltas_loop(channels: int) -> Callable[..., None]:
    """The loop behind `with_deltas`: to the compiler, the number of channels is a constant, which doubles its speed."""

    def fill(
        bits: npt.NDArray[np.signedinteger[Any]],
        shift: int,
        mask: np.int32,
        scale: np.float32,
        out: npt.NDArray[np.float32],
    ) -> None:
        """Widen (frequency, time, channel) bits of floats as `widen` does; write them and their deltas."""
        bands, frames, _ = bits.shape
        wide = np.empty(frames, np.float32)
        wide_bits = wide.view(np.int32)
        slopes = np.empty(frames - 4, np.float32)  # ten times the deltas, as in `_ten_slopes`
        for band in range(bands):
            for channel in range(channels):
                source = bits[band].reshape(-1)[channel:]
                target = out[band].reshape(-1)[channel:]
                for t in range(frames):
                    wide_bits[t] = (np.int32(source[channels * t]) << np.int32(shift)) & mask
                for t in range(frames):
                    wide[t] *= scale
                for t in range(frames - 4):
                    far = wide[t + 4] - wide[t]
                    slopes[t] = far + far + wide[t + 3] - wide[t + 1]
                for t in range(frames - 8):
                    far = slopes[t + 4] - slopes[t]
                    second = far + far + slopes[t + 3] - slopes[t + 1]
                    target[3 * channels * t] = wide[t + 4]
                    target[3 * channels * t + channels] = slopes[t + 2] * np.float32(0.1)
                    target[3 * channels * t + 2 * channels] = second * np.float32(0.01)

    return fill


def _ten_slopes(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Ten times the deltas of ``x``: the factor is applied where the result is written."""
    slopes = np.subtract(x[:, 4:], x[:, :-4])
    slopes += slopes
    slopes += x[:, 3:-1]
    slopes -= x[:, 1:-3]
    return slopes


def _mel_power(waveform: npt.NDArray[np.floating[Any]], settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """Mel power of one channel: (samples,) -> (n_mels, frames)."""
    n_fft, hop = settings.n_fft, settings.hop_length
    padded = np.zeros(len(waveform) + n_fft, np.result_type(waveform, np.float32))
    padded[n_fft // 2 : n_fft // 2 + len(waveform)] = waveform
    hann, basis = _hann(n_fft), _mel_basis(settings.sample_rate, n_fft, settings.n_mels)
    mel_power = np.empty((settings.n_mels, settings.frames(len(waveform))), np.float32)
    # Fresh memory for every block would cost more than the transform itself: the first touch of a page is slow.
    frames = np.empty((_BLOCK_FRAMES, n_fft))
    spectra = np.empty((_BLOCK_FRAMES, n_fft // 2 + 1), np.complex128)
    power = np.empty(spectra.shape[::-1], np.float32)
    for start in range(0, mel_power.shape[1], _BLOCK_FRAMES):
        used = min(_BLOCK_FRAMES, mel_power.shape[1] - start)
        compiled(_fill_windowed)(padded[start * hop :], hop, hann, frames[:used])
        np.fft.rfft(frames[:used], out=spectra[:used])
        compiled(_fill_power)(spectra, power)
        mel_power[:, start : start + used] = (basis @ power)[:, :used]
    return mel_power


def _fill_windowed(
    samples: npt.NDArray[np.floating[Any]], hop: int, window: npt.NDArray[np.float64], frames: npt.NDArray[np.float64]
) -> None:
    """Write as many frames, a hop apart, as ``frames`` has rows, each multiplied by the window."""
    for row in range(len(frames)):
        frame, excerpt = frames[row], samples[row * hop : row * hop + len(window)]
        for n in range(len(window)):
            frame[n] = excerpt[n] * window[n]


def _fill_power(spectra: npt.NDArray[np.complex128], power: npt.NDArray[np.float32]) -> None:
    """Write the squared magnitudes of (frames, bins) as (bins, frames)."""
    rows, bins = spectra.shape
    for k in range(bins):
        for row in range(rows):
            power[k, row] = spectra[row, k].real ** 2 + spectra[row, k].imag ** 2


@lru_cache
def _hann(n_fft: int) -> npt.NDArray[np.float64]:
    window: npt.NDArray[np.float64] = scipy.signal.get_window("hann", n_fft)
    return window


@lru_cache
def _mel_basis(sample_rate: int, n_fft: int, n_mels: int) -> Any:
    """Sparse (n_mels, bins) float32: each band touches few bins, which makes it several times faster than dense."""
    from librosa.filters import mel  # takes a second or two, and only extraction needs it

    basis = mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=0.0, fmax=sample_rate / 2, htk=True, norm=None)
    return scipy.sparse.csr_array(basis)
