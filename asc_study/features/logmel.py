"""From a waveform to a scaled log-mel spectrogram, with loops that numba compiles where that pays, and mel filters.

What is computed is said in `asc_study.features.front_end`.
"""

import warnings
from functools import lru_cache
from itertools import count
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.compiled import compiled
from asc_study.features.front_end import PLAIN_LOOPS, Loops, log_mel_features
from asc_study.features.settings import LogMelSettings

__all__ = ["LogMelSettings", "band_centres", "log_mel", "mel_filters"]

#: Clips that a process makes before it takes the second that numba's import needs, which compiled loops save again in
#: some hundreds; the values of both are the same.
_FEW: Final = 20

#: Counts the clips of this process.
_CLIPS: Final = count()


def log_mel(waveform: npt.NDArray[np.floating[Any]], settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """Compute the log-mel spectrogram of one clip; parameters, result and errors as of `log_mel_features`."""
    loops = PLAIN_LOOPS if next(_CLIPS) < _FEW else Loops(compiled(_fill_windowed), compiled(_fill_power))
    return log_mel_features(waveform, settings, _sparse_filters(settings), loops)


def mel_filters(settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """The mel filter bank, not normalised, (n_mels, n_fft / 2 + 1) float32."""
    return _kaldi_filters(settings) if settings.mel_scale == "kaldi" else _htk_filters(settings)


def _htk_filters(settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """Triangles over frequency: those of `librosa.filters.mel`, bit for bit, without its import of two seconds."""
    edges = _htk_frequencies(settings)
    ramps = np.subtract.outer(edges, np.fft.rfftfreq(settings.n_fft, 1 / settings.rate))
    width = np.diff(edges)
    filters = np.zeros((settings.n_mels, 1 + settings.n_fft // 2), np.float32)
    for band in range(settings.n_mels):
        rising, falling = -ramps[band] / width[band], ramps[band + 2] / width[band + 1]
        filters[band] = np.maximum(0, np.minimum(rising, falling))
    if not np.all((edges[:-2] == 0) | (filters.max(axis=1) > 0)):
        warnings.warn(
            "Empty filters detected in mel frequency basis. Some channels will produce empty responses. Try increasing "
            "your sampling rate (and fmax) or reducing n_mels.",
            stacklevel=2,
        )
    return filters


def _htk_frequencies(settings: LogMelSettings) -> npt.NDArray[np.float64]:
    """The lower edge of the first band, the centres of all, the upper edge of the last, in Hz: (n_mels + 2,)."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (settings.fmin, settings.highest_hz))
    return 700 * (10 ** (np.linspace(low, high, settings.n_mels + 2) / 2595) - 1)


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
    return _htk_frequencies(settings)[1:-1]


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
