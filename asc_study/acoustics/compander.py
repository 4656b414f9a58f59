"""A compander (dynamic range compressor and expander) with the semantics of SoX's ``compand`` effect.

Conventions: levels are in dB relative to full scale (amplitude 1.0); a signal has the shape ``(samples,)`` or
``(samples, channels)``; channels share one level, that of the loudest, so that the stereo image stays where it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError

_NEPER_PER_DB: Final = math.log(10.0) / 20.0
_SILENCE: Final = 1e-30  # Far below every transfer function; has a logarithm.


@dataclass(frozen=True)
class Compander:
    """The settings of a compander.

    Attributes
    ----------
    points_db
        The transfer function: (input level, output level) pairs in dB, inputs rising, none above 0. (0, 0) is appended
        where no pair has the input 0; below the first pair the gain stays that of the first pair.
    gain_db
        Added to every output level.
    attack_seconds, decay_seconds
        Time constants with which the measured level follows a rising and a falling signal, 0 or more.
    knee_db
        How far, in dB along the curve, a corner of the transfer function is rounded to either side.

    Raises
    ------
    InputError
        If a time is negative, the inputs do not rise or a level is above 0 dB.
    """

    points_db: tuple[tuple[float, float], ...]
    gain_db: float = 0.0
    attack_seconds: float = 0.2
    decay_seconds: float = 0.3
    knee_db: float = 6.0

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("attack_seconds", "decay_seconds", "knee_db"):
            value = getattr(self, name)
            if not value >= 0:
                raise InputError(f"compander {name} must be 0 or more, got {value}: raise it")
        inputs = [point[0] for point in self.points_db]
        if not inputs or any(low >= high for low, high in pairwise(inputs)):
            raise InputError(f"compander points_db must have rising input levels, got {self.points_db}: sort them")
        if any(not level <= 0 for point in self.points_db for level in point):
            raise InputError(f"compander points_db must not exceed 0 dB, got {self.points_db}: lower them")


#: The five presets of the reverberation + DRC augmentation (section 3 of Hu et al. 2020; the numbers are from the
#: authors' code), by how much they lift quiet sound.
PRESETS: Final[Mapping[str, Compander]] = MappingProxyType(
    {
        "light": Compander(((-70, -60), (-20, -10), (0, 0)), gain_db=2),
        "even": Compander(((-90, -70), (-60, -40), (0, 0)), gain_db=2),
        "loud": Compander(((-90, -70), (-35, -20), (0, 0)), gain_db=5),
        "strong": Compander(((-80, -50), (-50, -20), (0, 0)), gain_db=1),
        "heavy": Compander(((-90, -60), (-60, -20), (0, 0)), gain_db=1),
    }
)


def compand(
    signal: NDArray[np.floating], sample_rate: int, compander: Compander, *, initial_level_db: float = 0.0
) -> NDArray[np.float32]:
    """Compress (or expand) the dynamic range of a signal.

    Parameters
    ----------
    signal
        Shape ``(samples,)`` or ``(samples, channels)``, full scale at 1.0.
    sample_rate
        In Hz.
    compander
        The settings.
    initial_level_db
        The level measured before the first sample; SoX's default, 0, starts with the gain of a loud sound.

    Returns
    -------
    NDArray[np.float32]
        Same shape; clipped to [-1, 1], as SoX does.
    """
    rectified = np.abs(signal, dtype=np.float64)
    level = rectified if rectified.ndim == 1 else rectified.max(axis=1)
    followed = compiled(_follow)(
        np.minimum(level, 1.0),
        10 ** (initial_level_db / 20),
        _smoothing(compander.attack_seconds, sample_rate),
        _smoothing(compander.decay_seconds, sample_rate),
    )
    gain = _gain(followed, compander)
    companded = signal * (gain if signal.ndim == 1 else gain[:, np.newaxis])
    return np.clip(companded, -1.0, 1.0).astype(np.float32)


def transfer_gain_db(level_db: NDArray[np.floating], compander: Compander) -> NDArray[np.float64]:
    """Return the gain in dB that a steady level (dB, at most 0) gets: the transfer function minus the identity."""
    gain = _gain(10 ** (np.asarray(level_db, dtype=np.float64) / 20), compander)
    return np.asarray(20 * np.log10(gain), dtype=np.float64)


def _gain(level: NDArray[np.float64], compander: Compander) -> NDArray[np.float64]:
    log_level = np.log(np.maximum(level, _SILENCE))
    return np.asarray(np.exp(compiled(_look_up)(log_level, _transfer_segments(compander))))


def _smoothing(seconds: float, sample_rate: int) -> float:
    """Return the share of the way to the new level that the measured level goes in one sample."""
    return 1.0 - math.exp(-1.0 / (seconds * sample_rate)) if seconds * sample_rate > 1 else 1.0


def _transfer_segments(compander: Compander) -> NDArray[np.float64]:
    """Return the transfer function as quadratic pieces of log gain over log level.

    Rows are (start, gain at the start, quadratic, linear coefficient), all in nepers. A corner becomes a parabola
    through three points: one on either side of it, a knee away, and the centroid of these two and the corner itself.
    """
    knee = max(compander.knee_db, 0.01)
    points = [(level, out - level) for level, out in compander.points_db]
    if points[-1][0] != 0:
        points.append((0.0, 0.0))
    points.insert(0, (points[0][0] - 2 * knee, points[0][1]))
    line = [(x * _NEPER_PER_DB, (gain + compander.gain_db) * _NEPER_PER_DB) for x, gain in _without_collinear(points)]
    knee *= _NEPER_PER_DB

    before, pieces = line[0], []
    for corner, after in pairwise(line[1:]):
        # The line before a corner may be used up whole, the one after it to its middle: the rest is the next corner's.
        start = _towards(corner, before, min(knee, math.dist(corner, before)))
        end = _towards(corner, after, min(knee, math.dist(corner, after) / 2))
        middle = ((start[0] + corner[0] + end[0]) / 3, (start[1] + corner[1] + end[1]) / 3)
        slope_to_middle = (middle[1] - start[1]) / (middle[0] - start[0])
        slope_to_end = (end[1] - start[1]) / (end[0] - start[0])
        bend = (slope_to_end - slope_to_middle) / (end[0] - middle[0])
        pieces.append((*start, bend, slope_to_middle - bend * (middle[0] - start[0])))
        pieces.append((*end, 0.0, (after[1] - end[1]) / (after[0] - end[0])))
        before = end
    if not pieces:  # One gain for every level.
        pieces.append((*line[0], 0.0, 0.0))
    return np.array(pieces, dtype=np.float64)


def _without_collinear(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out the points at which the line does not turn."""
    kept = points[:1]
    for point, after in pairwise(points[1:]):
        rise, run = point[1] - kept[-1][1], point[0] - kept[-1][0]
        if not math.isclose(rise * (after[0] - point[0]), (after[1] - point[1]) * run, abs_tol=1e-12):
            kept.append(point)
    return [*kept, points[-1]]


def _towards(origin: tuple[float, float], target: tuple[float, float], distance: float) -> tuple[float, float]:
    share = distance / math.dist(origin, target)
    return origin[0] + share * (target[0] - origin[0]), origin[1] + share * (target[1] - origin[1])


# Each level depends on the one before, so there is no vector form; compiled, 10 s of sound take a few milliseconds.
def _follow(level: NDArray[np.float64], measured: float, attack: float, decay: float) -> NDArray[np.float64]:
    """Return the measured level at every sample: a leaky follower of the level, at one of two speeds."""
    followed = np.empty_like(level)
    for n in range(len(level)):
        difference = level[n] - measured
        measured += difference * (attack if difference > 0.0 else decay)
        followed[n] = measured
    return followed


def _look_up(log_level: NDArray[np.float64], segments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log gain of every log level; the search starts at the segment of the one before."""
    log_gain = np.empty_like(log_level)
    last = len(segments) - 1
    k = 0
    for n in range(len(log_level)):
        while k < last and log_level[n] > segments[k + 1, 0]:
            k += 1
        while k > 0 and log_level[n] <= segments[k, 0]:
            k -= 1
        distance = max(log_level[n] - segments[k, 0], 0.0)
        log_gain[n] = segments[k, 1] + distance * (segments[k, 2] * distance + segments[k, 3])
    return log_gain
