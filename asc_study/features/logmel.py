"""From a waveform to a scaled log-mel spectrogram, with loops that numba compiles and librosa's mel filters.

What is computed is said in `asc_study.features.front_end`.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from asc_study.base.compiled import compiled
from asc_study.features.front_end import Loops, log_mel_features
from asc_study.features.settings import LogMelSettings

__all__ = ["LogMelSettings", "band_centres", "log_mel", "mel_filters"]


def log_mel(waveform: npt.NDArray[np.floating[Any]], settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """Compute the log-mel spectrogram of one clip; parameters, result and errors as of `log_mel_features`."""
    loops = Loops(compiled(_fill_windowed), compiled(_fill_power))
    return log_mel_features(waveform, settings, _sparse_filters(settings), loops)


def mel_filters(settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """The mel filter bank, not normalised, (n_mels, n_fft / 2 + 1) float32."""
    if settings.mel_scale == "kaldi":
        return _kaldi_filters(settings)
    from librosa.filters import mel  # takes a second or two, and only extraction needs it

    filters: npt.NDArray[np.float32] = mel(
        sr=settings.rate,
        n_fft=settings.n_fft,
        n_mels=settings.n_mels,
        fmin=settings.fmin,
        fmax=settings.highest_hz,
        htk=True,
        norm=None,
    )
    return filters


def _kaldi_filters(settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """Triangles over mel, where those of librosa are over frequency; as in Kaldi, nothing hears the highest bin."""
    hz = np.arange(settings.n_fft // 2) * settings.rate / settings.n_fft
    edges = np.linspace(_mel(settings.fmin), _mel(settings.highest_hz), settings.n_mels + 2)[:, np.newaxis]
    rising = (_mel(hz) - edges[:-2]) / np.diff(edges[:-1], axis=0)
    falling = (edges[2:] - _mel(hz)) / np.diff(edges[1:], axis=0)
    filters = np.maximum(0, np.minimum(rising, falling))
    return np.pad(filters, ((0, 0), (0, 1))).astype(np.float32)


def _mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1127 * np.log1p(np.asarray(hz, np.float64) / 700)


def band_centres(settings: LogMelSettings) -> npt.NDArray[np.float64]:
    """The centre of each mel band in Hz, (n_mels,)."""
    from librosa import mel_frequencies

    edges = mel_frequencies(settings.n_mels + 2, fmin=settings.fmin, fmax=settings.highest_hz, htk=True)
    return np.asarray(edges[1:-1], dtype=np.float64)


@lru_cache
def _sparse_filters(settings: LogMelSettings) -> Any:
    """Sparse, because each band touches few bins, which makes it several times faster than dense."""
    from scipy.sparse import csr_array

    return csr_array(mel_filters(settings))


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
