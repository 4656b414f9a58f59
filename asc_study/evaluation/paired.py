"""Several systems on the same clips: the interval of a mean, and of the difference of two, with a test.

Conventions. A system is one predictions table a seed. Its seeds are averaged: a clip counts with the share of seeds
that decide it right, and with its mean loss. The mean of the probabilities is not taken: that would be an ensemble.
A difference is second minus first, as a share in [0, 1], or in nats for the log loss, where lower is better.

An interval is that of `asc_study.evaluation.bootstrap`: locations are drawn, all systems on the same draw; where a
system has several seeds, each draw takes as many of them with replacement (two-way bootstrap, Owen 2007), so that it
holds for other trainings too, else for these trainings alone. From few locations or seeds it is too narrow (of 10
locations it covers about 90 %). The test is a paired permutation test (Fisher 1935; Good 2005, chapter 3) on the same
mean difference: if the systems were alike, each location's difference could as well have had the other sign. It is
exact up to 12 locations that differ; from 5 or fewer it can never give p < 0.05. It holds for these trainings.
A difference is *significant* where both agree: the interval excludes 0 and p < 0.05. Nothing corrects for looking at
several subsets or systems.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME
from asc_study.base.taxonomy import task_of_classes
from asc_study.evaluation.bootstrap import LocationDraws, Values, interval, one_thread
from asc_study.evaluation.metrics import groups, labels_of, losses, places_of
from asc_study.evaluation.predictions import CONTEXT_COLUMNS, check_predictions, classes_of

#: The metric that is no accuracy.
LOG_LOSS: Final = BY_NAME["log_loss"].name

#: p below this, and an interval without 0, is a significant difference.
LEVEL: Final = 0.05

#: Locations whose differences all have their sign tried; of more, so many random signs.
_EXACT_LOCATIONS: Final = 12
_RANDOM_SIGNS: Final = 9_999

#: Sums whose draws a panel keeps, 16 KB each: a leaderboard asks for those of a system against one other after another.
_KEPT_DRAWS: Final = 4096

#: What must be the same for a clip in all tables, with its name in a message.
_SHARED: Final = {"scene": "true label", "device": "device", "city": "city", "location": "location"}

#: Metric's name without its split -> (seeds, locations) sums over the clips of each location.
Sums = Mapping[str, Values]


@dataclass(frozen=True)
class Difference:
    """Second minus first; ``low`` and ``high`` are None where all clips are of one location."""

    value: float
    low: float | None
    high: float | None
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0 and the permutation test agrees."""
        return self.low is not None and self.high is not None and self.p_value < LEVEL and self.low * self.high > 0


class Panel:
    """The clips that systems are compared on, with the draws of their locations that all of them share.

    Parameters
    ----------
    context
        A predictions table of the n clips.
    resamples
        Number of bootstrap draws.
    seed
        Of all that is drawn, so that the same tables give the same figures.
    more
        Further accuracies: name -> (n,) its clips.

    Attributes
    ----------
    masks
        Name of an accuracy, or ``log_loss`` -> (n,) its clips.
    """

    def __init__(
        self,
        context: pd.DataFrame,
        *,
        resamples: int = 2000,
        seed: int = 0,
        more: Mapping[str, npt.NDArray[np.bool_]] = MappingProxyType({}),
    ) -> None:
        accuracies = groups(context)
        self.masks = accuracies | {LOG_LOSS: accuracies[ALL_CLIPS.metric]} | dict(more)
        self._seed = seed
        self._draws = LocationDraws.resampled(places_of(context), resamples, seed)
        self._often: dict[tuple[int, int], Values] = {}  # (side, seeds) -> how often each draw takes each seed
        self._kept: dict[tuple[int, int], tuple[Values, Values]] = {}  # (id of sums, side) -> sums, their draws
        self._count = {name: self._sum(np.ones((1, len(context))), mask)[0] for name, mask in self.masks.items()}
        self._clips = {name: self._draws.counts @ count for name, count in self._count.items()}  # (draws,) of each

    def locations(self, name: str) -> int:
        """How many locations the clips of a metric are of."""
        return int((self._count[name] > 0).sum())

    def sums(self, right: npt.NDArray[np.bool_], loss: Values) -> Sums:
        """What the comparison needs of one system.

        Parameters
        ----------
        right, loss
            (seeds, n) whether a clip's decision is right, and its -ln p in nats.
        """
        decided = right.astype(np.float64)
        return {name: self._sum(loss if name == LOG_LOSS else decided, mask) for name, mask in self.masks.items()}

    def value(self, system: Sums, name: str) -> float:
        """The mean of a metric over clips and seeds."""
        sums = system[name]
        return float(sums.sum() / (len(sums) * self._count[name].sum()))

    def mean(self, system: Sums, name: str) -> tuple[float, float | None, float | None]:
        """The mean of a metric over clips and seeds, and its interval."""
        sums = system[name]
        with one_thread():
            return (self.value(system, name), *self._ends(name, self._draw(sums, 0), len(sums)))

    def difference(self, first: Sums, second: Sums, name: str) -> Difference:
        """The difference of two systems in a metric; their sums must not be changed afterwards."""
        one, other = first[name], second[name]
        scale = len(one) * len(other)
        # In whole numbers: differences of thirds do not add up to exactly 0, and the interval would seem to exclude it.
        lead = len(one) * other.sum(axis=0) - len(other) * one.sum(axis=0)
        value = float(lead.sum() / (scale * self._count[name].sum()))
        with one_thread():
            drawn = len(one) * self._drawn(other, 1) - len(other) * self._drawn(one, 0)
            return Difference(value, *self._ends(name, drawn, scale), permutation_test(lead, self._seed))

    def _sum(self, values: Values, mask: npt.NDArray[np.bool_]) -> Values:
        """(k, n) values as (k, locations) sums over the chosen clips."""
        place, size = self._draws.place[mask], self._draws.locations
        return np.stack([np.bincount(place, row[mask], minlength=size) for row in values])

    def _drawn(self, sums: Values, side: int) -> Values:
        """What `_draw` gives, kept."""
        key = (id(sums), side)
        known = self._kept.get(key)  # which holds the sums, so that no others have their id
        if known is None:
            if len(self._kept) >= _KEPT_DRAWS:
                self._kept.clear()
            known = self._kept[key] = (sums, self._draw(sums, side))
        return known[1]

    def _draw(self, sums: Values, side: int) -> Values:
        """Sum over the seeds and locations of each draw, (draws,); the sides' seeds are drawn apart."""
        draws, seeds = len(self._draws.counts), len(sums)
        if seeds == 1:
            alone: Values = self._draws.counts @ sums[0]
            return alone
        if (side, seeds) not in self._often:
            rng = np.random.default_rng([self._seed, side, seeds])
            often = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
            self._often[side, seeds] = often.astype(np.float64)
        total: Values = np.einsum("dl,dl->d", self._often[side, seeds] @ sums, self._draws.counts)
        return total

    def _ends(self, name: str, drawn: Values, scale: int) -> tuple[float | None, float | None]:
        if self.locations(name) < 2:
            return None, None
        clips = self._clips[name]
        known = clips > 0  # else no location with such a clip was drawn
        return interval(drawn[known] / (scale * clips[known])) or (None, None)


def permutation_test(lead: Values, seed: int = 0) -> float:
    """p-value, two-sided, of the paired permutation test.

    Parameters
    ----------
    lead
        (locations,) summed difference of each location.
    seed
        Of the signs, where they are too many to be tried.

    Returns
    -------
    float
        The share of all signs of the locations' differences whose sum is as far from 0 as the one found, or farther.
    """
    differ = lead != 0
    if not differ.any():
        return 1.0
    exact = int(differ.sum()) <= _EXACT_LOCATIONS
    lead = lead[differ] if exact else lead  # whole: of all comparisons on the same clips the random signs are the same
    sums = np.abs(_signs(lead.size, None if exact else seed) @ lead)
    as_far = int((sums >= abs(lead.sum()) * (1 - 1e-12)).sum())
    return as_far / len(sums) if exact else (as_far + 1) / (len(sums) + 1)


@lru_cache(maxsize=4)
def _signs(count: int, seed: int | None) -> Values:
    """All signs of ``count`` numbers, or random ones of a seed: (signs, count) of 1 and -1."""
    if seed is None:
        negative = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    else:
        negative = np.random.default_rng(seed).integers(2, size=(_RANDOM_SIGNS, count))
    signs: Values = (1 - 2 * negative).astype(np.float64)
    return signs


def decisions(tables: Sequence[pd.DataFrame]) -> tuple[npt.NDArray[np.bool_], Values]:
    """Whether each clip is right, and its loss, both (tables, n), of tables that are `aligned`."""
    classes = classes_of(tables[0])
    label = labels_of(tables[0], classes)
    probabilities = np.stack([table[list(classes)].to_numpy(np.float64) for table in tables])
    return probabilities.argmax(axis=2) == label, losses(probabilities, label)


def paired_differences(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Difference]:
    """The differences of two predictions tables of the same clips: of each accuracy and the log loss."""
    tables = aligned([first, second])
    right, loss = decisions(tables)
    panel = Panel(tables[0])
    one, other = panel.sums(right[:1], loss[:1]), panel.sums(right[1:], loss[1:])
    return {name: panel.difference(one, other, name) for name in panel.masks}


def clips_key(table: pd.DataFrame) -> tuple[object, ...]:
    """What two predictions tables share if they can be compared: classes, clips and what is said of each clip."""
    context = table[list(CONTEXT_COLUMNS)].astype(str).sort_values("clip_id")
    return classes_of(table), pd.util.hash_pandas_object(context, index=False).to_numpy().tobytes()


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """A predictions table in the order of its clips, whatever order it came in, by clip."""
    return table.set_index(table["clip_id"].astype(str)).sort_index()


def aligned(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The tables, checked, with their clips in one order, whatever order they came in.

    Raises
    ------
    InputError
        If a table breaks the contract of predictions tables, or they differ in task, split, clips, or in what they say
        of a clip.
    """
    for table in tables:
        check_predictions(table)
    tasks = sorted({str(task_of_classes(classes_of(table))) for table in tables})
    if len(tasks) > 1:
        raise InputError(f"only systems of one task can be compared, got {' and '.join(tasks)}: choose other runs")
    splits = sorted({str(split) for table in tables for split in table["split"].unique()})
    if len(splits) != 1:
        raise InputError(f"a comparison takes the clips of one split, got {splits or 'no clips'}: filter the tables")
    indexed = [in_order(table) for table in tables]
    known = indexed[0].index
    for table in indexed[1:]:
        missing, extra = known.difference(table.index), table.index.difference(known)
        if len(missing) or len(extra):
            raise InputError(
                f"the tables to compare must hold the same clips, got {len(known)} and {len(table)}, of which "
                f"{len(missing)} and {len(extra)} are in one of the two alone, such as {missing.union(extra)[0]!r}: "
                "compare runs of one data set and split"
            )
        for column, name in _SHARED.items():
            ours, theirs = indexed[0][column].astype(str), table[column].astype(str)
            differs = (ours != theirs).to_numpy()
            if differs.any():
                row = int(np.argmax(differs))
                raise InputError(
                    f"the tables to compare must agree on the {name} of each clip; {int(differs.sum())} of "
                    f"{len(table)} differ, such as {known[row]!r}: {ours.iloc[row]!r} and {theirs.iloc[row]!r}; "
                    "compare runs of one data set"
                )
    return indexed
