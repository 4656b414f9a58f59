"""Bootstrap by location: the clips of one location are not independent, so that locations are drawn, not clips.

Conventions. A draw takes as many locations as there are, with replacement; a clip counts as often as its location is
drawn. An interval holds 95 % of the values of the draws (percentile method, Efron and Tibshirani 1993, chapter 13; of
clusters, Field and Welsh 2007). The seed is fixed by the caller, so that the same table gives the same ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Values = npt.NDArray[np.float64]

#: The ends of an interval, as percentiles of the draws.
ENDS: Final = (2.5, 97.5)


@dataclass(frozen=True)
class LocationDraws:
    """Draws of locations.

    Attributes
    ----------
    counts
        (draws, locations): how often each location is drawn.
    place
        (n,) number of each clip's location.
    """

    counts: Values
    place: npt.NDArray[np.int_]

    @classmethod
    def each_once(cls, place: npt.NDArray[np.int_]) -> Self:
        """The one draw that takes every location once: means of it are those of the clips themselves."""
        return cls(np.ones((1, _locations(place))), place)

    @classmethod
    def resampled(cls, place: npt.NDArray[np.int_], resamples: int, seed: int) -> Self:
        """``resamples`` draws with replacement."""
        locations = _locations(place)
        even = np.full(locations, 1 / locations)
        counts = np.random.default_rng(seed).multinomial(locations, even, size=resamples).astype(np.float64)
        return cls(counts, place)

    @property
    def locations(self) -> int:
        """How many locations the clips are of."""
        return int(self.counts.shape[1])

    def mean(self, values: Values, chosen: npt.NDArray[np.bool_]) -> Values:
        """Mean of ``values`` (n,) over the chosen clips (n,) for each draw; NaN where a draw has no such clip."""
        total = self.counts @ np.bincount(self.place[chosen], values[chosen], minlength=self.locations)
        count = self.counts @ np.bincount(self.place[chosen], minlength=self.locations).astype(np.float64)
        mean: Values = np.divide(total, count, out=np.full(len(self.counts), np.nan), where=count > 0)
        return mean

    def sums(self, values: Values) -> Values:
        """Sum of ``values`` (..., n) over the clips for each draw, (..., draws): of differences, they are paired."""
        by_place = np.zeros((self.locations, *values.shape[:-1]))
        np.add.at(by_place, self.place, np.moveaxis(values, -1, 0))
        drawn: Values = np.moveaxis(np.tensordot(self.counts, by_place, axes=1), 0, -1)
        return drawn


def interval(drawn: Values) -> tuple[float, float] | None:
    """The ends of the interval of a value, from its values by draw; NaN is left out, None if nothing else is there."""
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return None
    low, high = np.percentile(known, ENDS)
    return float(low), float(high)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it one thread computes products: they are small, and on a busy machine two are ten times slower."""
    with _libraries().limit(limits=1):
        yield


@cache
def _libraries() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _locations(place: npt.NDArray[np.int_]) -> int:
    return int(place.max()) + 1
