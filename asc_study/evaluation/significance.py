"""Paired comparison of two systems on the same clips: ``compare(first, second) -> Comparison``.

Conventions. A side is one system, given as one predictions table a seed. Its seeds are averaged before comparing: a
clip counts with the share of seeds that decide it right, and with its mean loss. The mean of the probabilities is not
taken, because that would compare two ensembles. A difference is second minus first, as a share in [0, 1], or in nats
for the log loss, where lower is better.

The interval (``low``, ``high``) is that of `asc_study.evaluation.bootstrap`, both systems on the same draw; from few
locations it is too narrow (of 10, it covers about 90 %). McNemar's test (McNemar 1947; Dietterich 1998) asks on how
many clips only one side is right, and takes the clips for independent. The clips of one location are not: its segments
sound alike and each is heard through up to nine devices, so that one hard location may make dozens of such clips.
McNemar alone is therefore too optimistic, and ``significant`` is what the interval says. Neither covers how training
with other seeds varies, nor corrects for looking at several subsets.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, SUBSETS
from asc_study.base.taxonomy import CLASSES
from asc_study.base.text_table import text_table
from asc_study.evaluation.bootstrap import LocationDraws, interval
from asc_study.evaluation.metrics import groups, labels_of, losses, places_of
from asc_study.evaluation.predictions import check_predictions, classes_of

#: What must be the same for a clip in all tables, with its name in a message.
_SHARED: Final = {"scene": "true label", "device": "device", "city": "city", "location": "location"}

_HEADINGS: Final = {subset.metric: subset.heading for subset in (ALL_CLIPS, *SUBSETS)}


@dataclass(frozen=True)
class SubsetComparison:
    """Two systems on the clips of one subset.

    ``name`` is the accuracy's (``acc_avg``, ``acc_A`` ...). ``low`` and ``high`` are None where all clips are of one
    location. ``b`` clips are right with more of the first side's seeds, ``c`` clips with more of the second's; with one
    seed each these are the clips that only the first, or only the second, gets right.
    """

    name: str
    clips: int
    locations: int
    accuracy_first: float
    accuracy_second: float
    difference: float
    low: float | None
    high: float | None
    b: int
    c: int
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0; False without an interval."""
        return _excludes_zero(self.low, self.high)


@dataclass(frozen=True)
class Comparison:
    """Two systems on the clips of one split; ``subsets`` opens with ``acc_avg``, the log loss is of all clips."""

    clips: int
    seeds_first: int
    seeds_second: int
    split: str
    subsets: tuple[SubsetComparison, ...]
    log_loss_first: float
    log_loss_second: float
    log_loss_difference: float
    log_loss_low: float | None
    log_loss_high: float | None


@dataclass(frozen=True)
class _Right:
    """On how many seeds of each side each clip is right, two times (n,), and how many seeds the sides have."""

    first: npt.NDArray[np.int_]
    second: npt.NDArray[np.int_]
    seeds_first: int
    seeds_second: int


def compare(
    first: Sequence[pd.DataFrame], second: Sequence[pd.DataFrame], *, resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Compare two systems clip by clip, on all clips and on each device subset.

    Parameters
    ----------
    first, second
        One predictions table for each seed of the system, all of the same clips in any order, and of one split.
    resamples
        Number of bootstrap draws.
    seed
        Of the draws, so that the same tables give the same interval.

    Raises
    ------
    InputError
        If a side has no table, a table breaks the contract of predictions tables, or the tables differ in task, split,
        clips, or in what they say of a clip.
    """
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}: 2000 is usual")
    for side, tables in (("first", first), ("second", second)):
        if not tables:
            raise InputError(f"each side of a comparison needs at least one predictions table, the {side} has none")
    aligned = _aligned([*first, *second])
    context = aligned[0]
    classes = classes_of(context)
    label = labels_of(context, classes)
    probabilities = np.stack([table[list(classes)].to_numpy(np.float64) for table in aligned])
    right = probabilities.argmax(axis=2) == label
    loss = losses(probabilities, label)
    draws = LocationDraws.resampled(places_of(context), resamples, seed)
    here, there = slice(None, len(first)), slice(len(first), None)
    right_seeds = _Right(right[here].sum(axis=0), right[there].sum(axis=0), len(first), len(second))
    loss_first, loss_second = loss[here].mean(axis=0), loss[there].mean(axis=0)
    masks = groups(context)
    low, high = _interval(draws, loss_second - loss_first, masks[ALL_CLIPS.metric]) or (None, None)
    return Comparison(
        clips=len(context),
        seeds_first=len(first),
        seeds_second=len(second),
        split=str(context["split"].iloc[0]),
        subsets=tuple(_subset(name, mask, right_seeds, draws) for name, mask in masks.items()),
        log_loss_first=float(loss_first.mean()),
        log_loss_second=float(loss_second.mean()),
        log_loss_difference=float((loss_second - loss_first).mean()),
        log_loss_low=low,
        log_loss_high=high,
    )


def mcnemar(b: int, c: int) -> float:
    """p-value of McNemar's exact test, two-sided: how likely fair coins split b + c so unevenly or more.

    Parameters
    ----------
    b, c
        Numbers of clips that only the first, or only the second, system gets right.
    """
    return float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0


def to_frame(comparison: Comparison) -> pd.DataFrame:
    """One row a subset: the fields of `SubsetComparison` and ``significant``; an interval that is absent is NaN."""
    rows = [asdict(subset) | {"significant": subset.significant} for subset in comparison.subsets]
    return pd.DataFrame(rows).astype({"low": float, "high": float})


def render(comparison: Comparison, first_name: str, second_name: str) -> str:
    """Lay the comparison out as a text table, per cent with one decimal, with a sentence on what can be said."""
    header = ["Subset", "Clips", "Locations", first_name, second_name, "Difference [95 %]", "Ahead 1st/2nd", "McNemar"]
    lines = [header]
    for subset in comparison.subsets:
        change = _change(100 * subset.difference, _scaled(subset.low), _scaled(subset.high), 1)
        lines.append(
            [
                _HEADINGS[subset.name],
                str(subset.clips),
                str(subset.locations),
                f"{100 * subset.accuracy_first:.1f}",
                f"{100 * subset.accuracy_second:.1f}",
                f"{change} {'*' if subset.significant else ' '}",
                f"{subset.b}/{subset.c}",
                "p < 0.001" if subset.p_value < 0.001 else f"p = {subset.p_value:.3f}",
            ]
        )
    low, high = comparison.log_loss_low, comparison.log_loss_high
    lines.append(
        [
            "log loss",
            str(comparison.clips),
            str(comparison.subsets[0].locations),
            f"{comparison.log_loss_first:.3f}",
            f"{comparison.log_loss_second:.3f}",
            f"{_change(comparison.log_loss_difference, low, high, 3)} {'*' if _excludes_zero(low, high) else ' '}",
            "",
            "",
        ]
    )
    title = (
        f"{second_name} against {first_name} ({comparison.split} split, {comparison.clips} clips; "
        f"seeds: {comparison.seeds_second} against {comparison.seeds_first})"
    )
    notes = [
        "accuracy in %, log loss in nats; difference: second minus first, interval by location; *: it excludes 0",
        "McNemar takes the clips for independent, which those of one location are not: its p is too low",
    ]
    return "\n".join([title, text_table(lines), *notes, _verdict(comparison.subsets[0], first_name, second_name)])


def _verdict(overall: SubsetComparison, first_name: str, second_name: str) -> str:
    difference = _change(100 * overall.difference, _scaled(overall.low), _scaled(overall.high), 1)
    if overall.low is None:
        return (
            f"All clips are of one location, so there is no interval: nothing can be said beyond these clips "
            f"({difference} points)."
        )
    if not overall.significant:
        return (
            f"{second_name} minus {first_name} on all clips is {difference} points: "
            "the difference is within the noise of the locations."
        )
    better, sense = (second_name, "ahead") if overall.difference > 0 else (first_name, "behind")
    return (
        f"{better} is better on all clips: {second_name} is {sense}, {difference} points, and the interval excludes 0."
    )


def _aligned(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The tables, checked, with their clips in one order, whatever order they came in."""
    for table in tables:
        check_predictions(table)
    names = {classes: task for task, classes in CLASSES.items()}
    tasks = sorted({names[classes_of(table)] for table in tables})
    if len(tasks) > 1:
        raise InputError(f"only systems of one task can be compared, got {' and '.join(tasks)}: choose other runs")
    splits = sorted({str(split) for table in tables for split in table["split"].unique()})
    if len(splits) != 1:
        raise InputError(f"a comparison takes the clips of one split, got {splits or 'no clips'}: filter the tables")
    indexed = [table.set_index(table["clip_id"].astype(str)).sort_index() for table in tables]
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


def _interval(
    draws: LocationDraws, values: npt.NDArray[np.float64], chosen: npt.NDArray[np.bool_]
) -> tuple[float, float] | None:
    """Interval of the mean of ``values`` over the chosen clips; None if they are of one location."""
    return interval(draws.mean(values, chosen)) if len(np.unique(draws.place[chosen])) > 1 else None


def _subset(name: str, mask: npt.NDArray[np.bool_], right: _Right, draws: LocationDraws) -> SubsetComparison:
    # In whole numbers: differences of thirds do not add up to exactly 0, and the interval would seem to exclude it.
    lead = right.second * right.seeds_first - right.first * right.seeds_second
    scale = right.seeds_first * right.seeds_second
    ends = _interval(draws, lead.astype(np.float64), mask)
    b, c = int((lead[mask] < 0).sum()), int((lead[mask] > 0).sum())
    return SubsetComparison(
        name=name,
        clips=int(mask.sum()),
        locations=len(np.unique(draws.place[mask])),
        accuracy_first=float(right.first[mask].mean() / right.seeds_first),
        accuracy_second=float(right.second[mask].mean() / right.seeds_second),
        difference=float(lead[mask].mean() / scale),
        low=None if ends is None else ends[0] / scale,
        high=None if ends is None else ends[1] / scale,
        b=b,
        c=c,
        p_value=mcnemar(b, c),
    )


def _excludes_zero(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and (low > 0 or high < 0)


def _scaled(end: float | None) -> float | None:
    return None if end is None else 100 * end


def _change(value: float, low: float | None, high: float | None, digits: int) -> str:
    """A difference with its sign and interval; a rounded -0 is written +0."""
    shown, *ends = (f"{round(x, digits) + 0.0:+.{digits}f}" for x in (value, low, high) if x is not None)
    return f"{shown} [{', '.join(ends)}]" if ends else f"{shown} [no interval]"
