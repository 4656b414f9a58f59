"""From a waveform to a scaled log-mel spectrogram, with loops that numba compiles and librosa's mel filters.

What is computed is said in `asc_study.features.front_end`.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from asc_study.base.compiled import compiled
from asc_study.features.front_end import LogMelSettings, Loops, log_mel_features

__all__ = ["LogMelSettings", "band_centres", "log_mel", "mel_filters"]


def log_mel(waveform: npt.NDArray[np.floating[Any]], settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """Compute the log-mel spectrogram of one clip; parameters, result and errors as of `log_mel_features`."""
    loops = Loops(compiled(_fill_windowed), compiled(_fill_power))
    return log_mel_features(waveform, settings, _sparse_filters(settings), loops)


def mel_filters(settings: LogMelSettings) -> npt.NDArray[np.float32]:
    """The mel filter bank (HTK scale, not normalised), (n_mels, n_fft / 2 + 1) float32."""
    from librosa.filters import mel  # takes a second or two, and only extraction needs it

    rate = settings.sample_rate
    filters: npt.NDArray[np.float32] = mel(
        sr=rate, n_fft=settings.n_fft, n_mels=settings.n_mels, fmin=0.0, fmax=rate / 2, htk=True, norm=None
    )
    return filters


def band_centres(settings: LogMelSettings) -> npt.NDArray[np.float64]:
    """The centre of each mel band in Hz, (n_mels,)."""
    from librosa import mel_frequencies

    edges = mel_frequencies(settings.n_mels + 2, fmin=0.0, fmax=settings.sample_rate / 2, htk=True)
    return np.asarray(edges[1:-1], dtype=np.float64)


@lru_cache
def _sparse_filters(settings: LogMelSettings) -> Any:
    """Sparse, because each band touches few bins, which makes it several times faster than dense."""
    return scipy.sparse.csr_array(mel_filters(settings))


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
