"""Marks of systems that learned little: the one rule for the line of a run, the tables, the tag and the figures.

A system is *collapsed* if it answers with fewer than half of the classes that the clips are of. It is *not surely
above chance* if it cannot be told from the answer that is always the most frequent class, and *not surely above
baseline* if it cannot be told from the statistics baseline on the same clips, or is worse. It can be told if the 95 %
interval of the difference (bootstrap over locations, see `asc_study.evaluation.bootstrap`) lies above 0; clips of a
single location have no interval: the difference counts. The difference to the baseline is paired; the share of the
most frequent class is a constant, for a location is of one scene, and which scenes a draw has says nothing of the
system.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.evaluation.bootstrap import LocationDraws, interval
from asc_study.evaluation.metrics import labels_of, places_of
from asc_study.evaluation.predictions import classes_of

COLLAPSED: Final = "collapsed"
UNSURE_CHANCE: Final = "not surely above chance"
UNSURE_BASELINE: Final = "not surely above baseline"

#: What a system can be marked as, the worst first.
MARKS: Final = (COLLAPSED, UNSURE_CHANCE, UNSURE_BASELINE)

#: What the tag says of a system that was looked at and is none of them.
UNMARKED: Final = "none"

#: What the marks mean, for people.
LEGEND: Final[Mapping[str, str]] = MappingProxyType(
    {
        COLLAPSED: "answers with fewer than half of the classes",
        UNSURE_CHANCE: "may be no better than always answering the most frequent class: the lead is within the noise",
        UNSURE_BASELINE: "worse than the statistics of the row baseline, or ahead of them only within the noise",
    }
)

_RESAMPLES: Final = 1000

#: Means of shares that are equal may differ by so much.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Mark:
    """What a system is marked as, one of `MARKS`, and by which figures."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def find_mark(predictions: pd.DataFrame, baseline: pd.DataFrame | None = None) -> Mark | None:
    """The worst mark that a system deserves, if any.

    Parameters
    ----------
    predictions
        Predictions table of one labelled split.
    baseline
        That of the statistics baseline; one of other clips or another task is not looked at.
    """
    classes = classes_of(predictions)
    label = labels_of(predictions, classes)
    decided = predictions[list(classes)].to_numpy().argmax(axis=1)
    known, answers = len(np.unique(label)), len(np.unique(decided))
    if 2 * answers < known:
        return Mark(COLLAPSED, f"answers with {answers} of {known} classes")
    right, place = decided == label, places_of(predictions)
    frequent = float(np.bincount(label).max() / len(label))
    if why := _why_not_better(right, frequent, place, f"the most frequent class ({100 * frequent:.1f} %)"):
        return Mark(UNSURE_CHANCE, why)
    theirs = None if baseline is None else _right_of(baseline, predictions)
    if theirs is None:
        return None
    why = _why_not_better(right, theirs, place, f"the baseline ({100 * theirs.mean():.1f} %)")
    return Mark(UNSURE_BASELINE, why) if why else None


def marks(names: Sequence[str]) -> dict[str, Any]:
    """The marks of a row from those of its seeds, as columns of a table.

    Parameters
    ----------
    names
        What each seed is marked as; anything else than one of `MARKS` counts as none.

    Returns
    -------
    dict
        A column for each of `MARKS` (see `mark_column`): whether any seed has it; ``mark``: a text with the number of
        seeds if not all are marked, empty without a mark.
    """
    counts = {name: sum(one == name for one in names) for name in MARKS}
    said = [name if count == len(names) else f"{name} {count}/{len(names)}" for name, count in counts.items() if count]
    columns: dict[str, Any] = {mark_column(name): count > 0 for name, count in counts.items()}
    return columns | {"mark": ", ".join(said)}


def mark_column(name: str) -> str:
    """The column of a table that tells of each row whether a seed of it has a mark."""
    return name.replace(" ", "_")


def _right_of(baseline: pd.DataFrame, predictions: pd.DataFrame) -> npt.NDArray[np.bool_] | None:
    """On which clips of ``predictions`` the baseline is right; None if it did not see the same clips and classes."""
    classes = classes_of(baseline)
    if classes != classes_of(predictions) or set(baseline["clip_id"]) != set(predictions["clip_id"]):
        return None
    aligned = baseline.set_index("clip_id").loc[predictions["clip_id"]]
    right: npt.NDArray[np.bool_] = aligned[list(classes)].to_numpy().argmax(axis=1) == labels_of(aligned, classes)
    return right


def _why_not_better(
    right: npt.NDArray[np.bool_], rival: npt.NDArray[np.bool_] | float, place: npt.NDArray[np.int_], name: str
) -> str:
    """The figures that show that a system is not better than a rival, by clip or a share; empty if it is."""
    lead = right.astype(np.float64) - rival
    ends = None
    if place.max() > 0:
        ends = interval(LocationDraws.resampled(place, _RESAMPLES, seed=0).mean(lead, np.ones(len(lead), bool)))
    low, high = ends or (lead.mean(), lead.mean())
    if low > _ROUNDING:
        return ""
    shown = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if ends else ""
    return f"{100 * right.mean():.1f} %, {100 * lead.mean():+.1f} points{shown} to {name}"
