"""Metrics that systems are chosen by, as weights of the clips, so that one product scores many systems at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError, shown
from asc_study.base.metric_table import BY_NAME, Metric, require_objective
from asc_study.evaluation.metrics import Weights, derived_metrics, groups, losses, taxonomy_of


@dataclass(frozen=True)
class Objective:
    """A metric as a weighted sum over n clips: of what is right (accuracies, gap) or of the losses (log loss).

    Every metric of one split but the calibration error has this form, so one product scores many systems at once.
    """

    metric: Metric
    of_loss: bool
    weights: Weights

    @property
    def sign(self) -> int:
        """1 if a higher value is better, else -1."""
        return 1 if self.metric.direction == "maximize" else -1

    def __call__(self, probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
        """The metric of each system.

        Parameters
        ----------
        probabilities
            (..., n, classes); need not be normalised for an accuracy, must be for the log loss.
        label
            (n,) column of each clip's true class.
        """
        values: Weights = self._of_clips(probabilities, label) @ self.weights
        return values

    def parts(self, probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int_]) -> Weights:
        """What each clip adds to the metric of each system, (..., n); the parameters are those of a call."""
        parts: Weights = self._of_clips(probabilities, label) * self.weights
        return parts

    def _of_clips(self, probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int_]) -> Weights:
        right = probabilities.argmax(axis=-1) == label
        return losses(probabilities, label) if self.of_loss else right.astype(np.float64)


def objective(metric: str, context: pd.DataFrame, classes: Sequence[str]) -> Objective:
    """Make ``metric`` of the given clips ready to score systems with.

    Parameters
    ----------
    metric
        A metric's name without its split: ``acc_avg``, ``acc_device_macro``, ``acc_s4-s6``, ``log_loss``,
        ``gap_A_to_unseen``, ``device_acc_s3``, ``scene_acc_tram`` ...; or as MLflow has it for validation.
    context
        Context columns of the n clips (a predictions table will do).
    classes
        The class columns in order.

    Raises
    ------
    InputError
        If the metric is unknown, is one of the test split or of no split, or these clips do not have it.
    """
    name = require_objective(metric)
    count = len(context)
    everything = np.full(count, 1 / count)
    device, scene = context["device"].to_numpy(str), context["scene"].to_numpy(str)
    masks, taxonomy = groups(context), taxonomy_of(context)
    masks |= {f"device_acc_{known}": device == known for known in taxonomy.devices}
    masks |= {f"scene_acc_{known}": scene == known for known in classes}
    weights = {known: mask / max(mask.sum(), 1) for known, mask in masks.items() if mask.any()}
    for entry in derived_metrics(taxonomy):
        if entry.mean_of:
            parts = [part for known, part in weights.items() if known.startswith(entry.mean_of)]
            weights[entry.name] = np.mean(parts, axis=0)
        elif entry.difference_of and set(entry.difference_of) <= weights.keys():
            first, second = entry.difference_of
            weights[entry.name] = weights[first] - weights[second]
    if name == "log_loss":
        return Objective(BY_NAME[name], of_loss=True, weights=everything)
    if name not in weights:
        possible = f"use one of {', '.join([*weights, 'log_loss'])}"
        raise InputError(f"the clips that decide do not have the objective {shown(metric)}: {possible}")
    return Objective(BY_NAME[name], of_loss=False, weights=weights[name])
