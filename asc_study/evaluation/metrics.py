"""Metrics of a predictions table: ``evaluate(predictions) -> dict[str, float]``.

Conventions. Accuracies are shares in [0, 1], the decision is the class of the highest probability (the first one on a
tie). ``acc_avg`` is the share of all clips that are right ("Avg acc." of Table 1: the test fold holds every device
equally); ``acc_macro`` is the mean of the per-class recalls (the DCASE convention). ``log_loss`` is the mean of
-ln p(true class) in nats, with p clipped at 1e-7 ("val loss" of Table 1). The four device subsets are those of
section 5.3. A metric without clips (a subset that the data lacks) is left out, never NaN.

Names: MLflow groups charts by the part before the slash. For the test split: ``test/...``, ``device/...``,
``scene/...``, ``gap/...``; for validation everything stands under ``validation/``. ``<metric>_lo`` and ``<metric>_hi``
are the ends of a 95 % bootstrap interval that resamples locations, because clips of one location are not independent.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.errors import InputError
from asc_study.evaluation.predictions import classes_of
from asc_study.taxonomy import DEVICE_SUBSETS, DEVICES

Direction = Literal["maximize", "minimize"]
Weights = npt.NDArray[np.float64]

#: Probabilities below this count as this in the log loss.
LOG_LOSS_FLOOR: Final = 1e-7

#: The first of these words in a metric's name tells which way is better.
_DIRECTIONS: Final[dict[str, Direction]] = {"acc": "maximize", "log": "minimize", "gap": "minimize", "cost": "minimize"}


@dataclass(frozen=True)
class _Clips:
    """What the metrics need of a predictions table, as arrays of n clips."""

    correct: Weights
    loss: Weights
    label: npt.NDArray[np.int_]
    device: npt.NDArray[np.str_]
    location: npt.NDArray[np.int_]
    classes: tuple[str, ...]


def direction(metric: str) -> Direction:
    """Whether a higher or a lower value of ``metric`` is better: the one place where that is said.

    Raises
    ------
    InputError
        If the metric is unknown.
    """
    for word in metric.replace("/", "_").split("_"):
        if word in _DIRECTIONS:
            return _DIRECTIONS[word]
    raise InputError(f"metric {metric!r} has no declared direction: use a test/, validation/, gap/ or cost/ metric")


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
    locations = int(clips.location.max()) + 1
    each_once = np.ones((1, locations))
    values = {
        name: float(value[0]) for name, value in (_averages(clips, each_once) | _details(clips, each_once)).items()
    }
    if intervals and locations > 1:
        values |= _intervals(clips, locations)
    return {_full_name(name, splits[0]): value for name, value in values.items() if np.isfinite(value)}


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Confusion matrix in clips, true classes as rows, decisions as columns."""
    classes = classes_of(predictions)
    decided = np.asarray(classes)[predictions[list(classes)].to_numpy().argmax(axis=1)]
    table = pd.crosstab(predictions["scene"], decided)
    return table.reindex(index=list(classes), columns=list(classes), fill_value=0)


def _arrays(predictions: pd.DataFrame) -> _Clips:
    classes = classes_of(predictions)
    probabilities = predictions[list(classes)].to_numpy(np.float64)
    label = pd.Index(classes).get_indexer(pd.Index(predictions["scene"]))
    true_probability = probabilities[np.arange(len(label)), label]
    place = predictions["city"].astype(str) + "-" + predictions["location"].astype(str)
    return _Clips(
        correct=(probabilities.argmax(axis=1) == label).astype(np.float64),
        loss=-np.log(np.maximum(true_probability, LOG_LOSS_FLOOR)),
        label=label,
        device=predictions["device"].to_numpy(str),
        location=pd.factorize(place)[0],
        classes=classes,
    )


def _mean(clips: _Clips, values: Weights, chosen: npt.NDArray[np.bool_], draws: Weights) -> Weights:
    """Mean of ``values`` over the chosen clips for each draw of locations; NaN where a draw has no such clip.

    ``draws`` (resamples, locations) counts how often each location is drawn.
    """
    size = draws.shape[1]
    total = draws @ np.bincount(clips.location[chosen], values[chosen], minlength=size)
    count = draws @ np.bincount(clips.location[chosen], minlength=size).astype(np.float64)
    mean: Weights = np.divide(total, count, out=np.full(len(draws), np.nan), where=count > 0)
    return mean


def _averages(clips: _Clips, draws: Weights) -> dict[str, Weights]:
    """The metrics that get an interval, one value a draw."""
    everything = np.ones(len(clips.label), bool)
    values = {
        "acc_avg": _mean(clips, clips.correct, everything, draws),
        "log_loss": _mean(clips, clips.loss, everything, draws),
    }
    for subset, devices in DEVICE_SUBSETS.items():
        values[f"acc_{subset}"] = _mean(clips, clips.correct, np.isin(clips.device, devices), draws)
    recalls = np.stack([_mean(clips, clips.correct, clips.label == k, draws) for k in range(len(clips.classes))])
    known = np.isfinite(recalls)  # a class without clips has no recall
    values["acc_macro"] = np.where(known, recalls, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    values["gap/A_to_unseen"] = values["acc_A"] - values["acc_s4-s6"]
    return values


def _details(clips: _Clips, draws: Weights) -> dict[str, Weights]:
    """Accuracy of every device and every class."""
    values = {f"device/acc_{name}": _mean(clips, clips.correct, clips.device == name, draws) for name in DEVICES}
    for k, name in enumerate(clips.classes):
        values[f"scene/acc_{name}"] = _mean(clips, clips.correct, clips.label == k, draws)
    return values


def _intervals(clips: _Clips, locations: int, resamples: int = 1000) -> dict[str, float]:
    """Percentile intervals; the seed is fixed, so that the same table gives the same ends."""
    even = np.full(locations, 1 / locations)
    draws = np.random.default_rng(0).multinomial(locations, even, size=resamples).astype(np.float64)
    ends: dict[str, float] = {}
    for name, drawn in _averages(clips, draws).items():
        known = drawn[np.isfinite(drawn)]
        if known.size:
            ends[f"{name}_lo"], ends[f"{name}_hi"] = (float(end) for end in np.percentile(known, [2.5, 97.5]))
    return ends


def _full_name(name: str, split: str) -> str:
    if split == "test":
        return name if "/" in name else f"test/{name}"
    return f"{split}/{name.replace('/', '_')}"
