"""From a waveform to a scaled log-mel spectrogram.

Axis order is frequency, time, channel throughout (Hu et al. 2020, section 5.1, and the authors' code).
"""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError

#: Frames transformed at a time: few enough for their spectra to stay in the processor's cache.
_BLOCK_FRAMES: Final = 32

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
    from scipy.signal import get_window  # half of the time that a plan would take to start

    window: npt.NDArray[np.float64] = get_window("hann", n_fft)
    return window


@lru_cache
def _mel_basis(sample_rate: int, n_fft: int, n_mels: int) -> Any:
    """Sparse (n_mels, bins) float32: each band touches few bins, which makes it several times faster than dense."""
    from librosa.filters import mel  # takes a second or two, and only extraction needs it

    basis = mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=0.0, fmax=sample_rate / 2, htk=True, norm=None)
    return scipy.sparse.csr_array(basis)
