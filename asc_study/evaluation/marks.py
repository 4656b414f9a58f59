"""Marks of systems that learned nothing: the one rule for the line of a run, the tables, the tag and the figures.

A system is *collapsed* if it decides for fewer classes than the clips are of, or is not better than the answer that is
always the most frequent class. It is *below baseline* if it is not better than the statistics baseline on the same
clips. Better means that the 95 % interval of the difference (bootstrap over locations, see
`asc_study.evaluation.bootstrap`) lies above 0; clips of a single location have no interval: the difference counts. The
difference to the baseline is paired; the share of the most frequent class is a constant, for a location is of one
scene, and which scenes a draw has says nothing of the system.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.evaluation.bootstrap import LocationDraws, interval
from asc_study.evaluation.metrics import labels_of, places_of
from asc_study.evaluation.predictions import classes_of

COLLAPSED: Final = "collapsed"
BELOW_BASELINE: Final = "below baseline"

#: What the tag says of a system that was looked at and is neither.
UNMARKED: Final = "none"

#: What the marks mean, for people, a line each.
LEGEND: Final = (
    f"{COLLAPSED}: decides for fewer classes than there are, or is not better than the most frequent class",
    f"{BELOW_BASELINE}: not better than the statistics baseline; better: the 95 % interval over locations is above 0",
)

_RESAMPLES: Final = 1000

#: Means of shares that are equal may differ by so much.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Mark:
    """What a system is marked as (`COLLAPSED` or `BELOW_BASELINE`), and by which figures."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def find_mark(predictions: pd.DataFrame, baseline: pd.DataFrame | None = None) -> Mark | None:
    """The mark of a system, if it deserves one.

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
    if answers < known:
        return Mark(COLLAPSED, f"decides for {answers} of {known} classes")
    right, place = decided == label, places_of(predictions)
    frequent = float(np.bincount(label).max() / len(label))
    if why := _why_not_better(right, frequent, place, f"the most frequent class ({100 * frequent:.1f} %)"):
        return Mark(COLLAPSED, why)
    theirs = None if baseline is None else _right_of(baseline, predictions)
    if theirs is None:
        return None
    why = _why_not_better(right, theirs, place, f"the baseline ({100 * theirs.mean():.1f} %)")
    return Mark(BELOW_BASELINE, why) if why else None


def marks(names: Sequence[str]) -> dict[str, Any]:
    """The marks of a row from those of its seeds, as columns of a table.

    Parameters
    ----------
    names
        What each seed is marked as; anything else than the two marks counts as none.

    Returns
    -------
    dict
        ``collapsed`` and ``below_baseline``: whether any seed is; ``mark``: a text with the number of seeds if not all
        are marked, empty without a mark.
    """
    counts = {name: sum(one == name for one in names) for name in (COLLAPSED, BELOW_BASELINE)}
    said = [name if count == len(names) else f"{name} {count}/{len(names)}" for name, count in counts.items() if count]
    return {
        "collapsed": counts[COLLAPSED] > 0,
        "below_baseline": counts[BELOW_BASELINE] > 0,
        "mark": ", ".join(said),
    }


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
    return f"{100 * right.mean():.1f} %, against {name} {100 * lead.mean():+.1f} points{shown}"
