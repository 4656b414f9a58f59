"""Simulated microphones: impulse responses that stand in for a collection of measured ones, such as MicIRP."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from asc_study.acoustics.impulse_responses import colour_response

_MICROPHONE_STREAM: Final = 17  # Keeps the draws of microphones apart from others with the same seed.

#: Ranges of the edges of the pass band in Hz, and of the deviation of its gain in dB: from a telephone's microphone of
#: old to one of today.
_LOW_HZ: Final = (40.0, 400.0)
_HIGH_HZ: Final = (3_500.0, 16_000.0)
_RIPPLE_DB: Final = (2.0, 7.0)


def simulate_microphones(count: int, seed: int, sample_rate: int) -> tuple[NDArray[np.float32], ...]:
    """Make the impulse responses of random microphones.

    Parameters
    ----------
    count
        How many, at least 1. More of them begin with the same ones.
    seed
        The same seed gives the same microphones.
    sample_rate
        In Hz.

    Returns
    -------
    tuple of NDArray[np.float32]
        Each of shape (samples,), minimum phase: a band-pass with resonances and dips. The edges are drawn uniformly
        over octaves.
    """
    responses = []
    for rng in np.random.default_rng([seed, _MICROPHONE_STREAM]).spawn(count):
        low, high = (float(np.exp(rng.uniform(*np.log(edges)))) for edges in (_LOW_HZ, _HIGH_HZ))
        ripple, nodes = rng.uniform(*_RIPPLE_DB), rng.uniform(0.8, 2.0)
        responses.append(
            colour_response(rng, sample_rate, low_hz=low, high_hz=high, ripple_db=ripple, bands_per_octave=nodes)
        )
    return tuple(responses)
