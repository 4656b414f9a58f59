"""Metrics of a predictions table: ``evaluate(predictions) -> dict[str, float]``.

Conventions. Accuracies are shares in [0, 1], the decision is the class of the highest probability (the first one on a
tie). ``acc_avg`` is the share of all clips that are right ("Avg acc." of Table 1: the test fold holds every device
equally); ``acc_macro`` is the mean of the per-class recalls (the DCASE convention) and ``acc_device_macro`` the mean of
the accuracies of the devices, so that validation, three quarters of which are device A, can stand for the test fold.
``log_loss`` is the mean of -ln p(true class) in nats, with p clipped at 1e-7 ("val loss" of Table 1). The device
subsets are those of the data set: of TAU's the four of section 5.3. A metric without clips (a subset that the data
lacks) is left out, never NaN.

Names, directions and headings are those of `asc_study.base.metric_table`. ``<metric>_lo`` and ``<metric>_hi`` are the
ends of a 95 % interval, see `asc_study.evaluation.bootstrap`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, METRICS, Metric, full_name, gap_of, subsets_of
from asc_study.base.taxonomy import Taxonomy, task_of_classes, taxonomy_for
from asc_study.evaluation.bootstrap import LocationDraws, interval
from asc_study.evaluation.predictions import classes_of

Weights = npt.NDArray[np.float64]

#: Probabilities below this count as this in the log loss.
LOG_LOSS_FLOOR: Final = 1e-7

#: Draws of locations that an interval is made of.
RESAMPLES: Final = 1000


@dataclass(frozen=True)
class _Clips:
    """What the metrics need of a predictions table, as arrays of n clips."""

    correct: Weights
    loss: Weights
    label: npt.NDArray[np.int_]
    device: npt.NDArray[np.str_]
    place: npt.NDArray[np.int_]
    classes: tuple[str, ...]
    taxonomy: Taxonomy
    groups: dict[str, npt.NDArray[np.bool_]]


def evaluate(predictions: pd.DataFrame, *, intervals: bool = True) -> dict[str, float]:
    """All metrics of the predictions of one split.

    Parameters
    ----------
    predictions
        A predictions table whose rows all have the same ``split``, test or validation.
    intervals
        Whether to add the bootstrap intervals of the averages, the subsets and the gap.

    Returns
    -------
    dict
        Metric name -> value; see the conventions at the top of the module.

    Raises
    ------
    InputError
        If the table is empty or mixes splits.
    """
    splits = list(predictions["split"].unique())
    if splits not in (["test"], ["validation"]):
        raise InputError(f"metrics take the predictions of one split, test or validation, got {splits}: filter them")
    clips = _arrays(predictions)
    once = LocationDraws.each_once(clips.place)
    values = {name: float(value[0]) for name, value in (_averages(clips, once) | _details(clips, once)).items()}
    if intervals and once.locations > 1:
        values |= _intervals(clips)
    return {full_name(name, splits[0]): value for name, value in values.items() if np.isfinite(value)}


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, name: str, *, resamples: int = 1000
) -> tuple[float, float] | None:
    """The interval of a metric of the second system minus that of the first, both on the same draws of locations.

    Parameters
    ----------
    first, second
        Predictions tables of the same clips in any order.
    name
        A metric without its split.
    resamples
        Number of bootstrap draws; their seed is fixed.

    Returns
    -------
    (low, high), or None
        None if the clips are of one location, or not the same.
    """
    sides = [_arrays(table.sort_values("clip_id")) for table in (first, second)]
    place = sides[0].place
    if set(first["clip_id"]) != set(second["clip_id"]) or place.max() == 0:
        return None
    draws = LocationDraws.resampled(place, resamples, seed=0)
    one, other = ((_details(clips, draws) | _averages(clips, draws))[name] for clips in sides)
    return interval(other - one)


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Confusion matrix in clips, true classes as rows, decisions as columns."""
    classes = classes_of(predictions)
    decided = np.asarray(classes)[predictions[list(classes)].to_numpy().argmax(axis=1)]
    table = pd.crosstab(predictions["scene"], decided)
    return table.reindex(index=list(classes), columns=list(classes), fill_value=0)


def groups(context: pd.DataFrame) -> dict[str, npt.NDArray[np.bool_]]:
    """Which clips each of the averaged accuracies is of: ``acc_avg`` and the device subsets that have clips.

    Parameters
    ----------
    context
        A predictions table, or its context columns alone; n rows.

    Returns
    -------
    dict
        Name of the accuracy -> (n,) bool, ``acc_avg`` first, the subsets in the order of the data set.
    """
    device = context["device"].to_numpy(str)
    found = {ALL_CLIPS.metric: np.ones(len(context), bool)}
    subsets = subsets_of(taxonomy_of(context))
    found |= {subset.metric: np.isin(device, subset.devices) for subset in subsets}
    return {name: mask for name, mask in found.items() if mask.any()}


def taxonomy_of(context: pd.DataFrame) -> Taxonomy:
    """The words of the data set that clips are of, by what a predictions table, or its context columns, holds."""
    classes = classes_of(context)
    return taxonomy_for(context["device"].unique(), classes if task_of_classes(classes) else ())


def derived_metrics(taxonomy: Taxonomy) -> list[Metric]:
    """The metrics of a data set that are means or differences of others."""
    gap = gap_of(taxonomy)
    return [metric for metric in METRICS if metric.mean_of] + ([gap] if gap else [])


def losses(probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int_]) -> Weights:
    """-ln p(true class) of each clip in nats, with p clipped at 1e-7.

    Parameters
    ----------
    probabilities
        (..., n, classes), normalised.
    label
        (n,) column of each clip's true class.

    Returns
    -------
    (..., n) float64
    """
    true = probabilities[..., np.arange(len(label)), label].astype(np.float64)
    loss: Weights = -np.log(np.maximum(true, LOG_LOSS_FLOOR))
    return loss


def labels_of(context: pd.DataFrame, classes: Sequence[str]) -> npt.NDArray[np.int_]:
    """The column of each clip's true class, (n,) int."""
    label: npt.NDArray[np.int_] = pd.Index(classes).get_indexer(pd.Index(context["scene"]))
    return label


def places_of(context: pd.DataFrame) -> npt.NDArray[np.int_]:
    """A number for each clip's location (city and location identifier), (n,) int from 0, in alphabetical order."""
    place = context["city"].astype(str) + "-" + context["location"].astype(str)
    number: npt.NDArray[np.int_] = pd.factorize(place, sort=True)[0]
    return number


def _arrays(predictions: pd.DataFrame) -> _Clips:
    classes = classes_of(predictions)
    probabilities = predictions[list(classes)].to_numpy(np.float64)
    label = labels_of(predictions, classes)
    return _Clips(
        correct=(probabilities.argmax(axis=1) == label).astype(np.float64),
        loss=losses(probabilities, label),
        label=label,
        device=predictions["device"].to_numpy(str),
        place=places_of(predictions),
        classes=classes,
        taxonomy=taxonomy_of(predictions),
        groups=groups(predictions),
    )


def _averages(clips: _Clips, draws: LocationDraws) -> dict[str, Weights]:
    """The metrics that get an interval, one value a draw."""
    values = {name: draws.mean(clips.correct, mask) for name, mask in clips.groups.items()}
    values["log_loss"] = draws.mean(clips.loss, clips.groups[ALL_CLIPS.metric])
    details = _details(clips, draws)
    known = details | values
    for metric in derived_metrics(clips.taxonomy):
        if metric.mean_of:
            values[metric.name] = _mean([value for name, value in details.items() if name.startswith(metric.mean_of)])
        elif metric.difference_of and set(metric.difference_of) <= known.keys():
            first, second = metric.difference_of
            values[metric.name] = known[first] - known[second]
    return values


def _mean(shares: Sequence[Weights]) -> Weights:
    """Mean over several groups of clips; where a draw has no clip of a group, the group does not count."""
    known = np.isfinite(shares)
    mean: Weights = np.where(known, shares, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean


def _details(clips: _Clips, draws: LocationDraws) -> dict[str, Weights]:
    """Accuracy of every device and every class, one value a draw."""
    values = {f"device_acc_{name}": draws.mean(clips.correct, clips.device == name) for name in clips.taxonomy.devices}
    for k, name in enumerate(clips.classes):
        values[f"scene_acc_{name}"] = draws.mean(clips.correct, clips.label == k)
    return values


def _intervals(clips: _Clips) -> dict[str, float]:
    """The ends of the interval of every average; the seed is fixed, so that the same table gives the same ends."""
    ends: dict[str, float] = {}
    for name, drawn in _averages(clips, LocationDraws.resampled(clips.place, RESAMPLES, seed=0)).items():
        if found := interval(drawn):
            ends[f"{name}_lo"], ends[f"{name}_hi"] = found
    return ends
