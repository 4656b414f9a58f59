"""Metrics that systems are chosen by, as weights of the clips, so that one product scores many systems at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.schema import did_you_mean
from asc_study.base.taxonomy import CLASSES, DEVICE_SUBSETS, DEVICES
from asc_study.evaluation.metrics import Direction, Weights, direction, full_name, groups, losses


@dataclass(frozen=True)
class Objective:
    """A metric as a weighted sum over n clips: of what is right (accuracies, gap) or of the losses (log loss).

    Every metric of one split but the calibration error has this form, so one product scores many systems at once.
    """

    metric: str
    of_loss: bool
    weights: Weights
    direction: Direction

    @property
    def sign(self) -> int:
        """1 if a higher value is better, else -1."""
        return 1 if self.direction == "maximize" else -1

    def __call__(self, probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
        """The metric of each system.

        Parameters
        ----------
        probabilities
            (..., n, classes); need not be normalised for an accuracy, must be for the log loss.
        label
            (n,) column of each clip's true class.
        """
        if self.of_loss:
            values: Weights = losses(probabilities, label) @ self.weights
        else:
            values = (probabilities.argmax(axis=-1) == label).astype(np.float64) @ self.weights
        return values


def objective(metric: str, context: pd.DataFrame, classes: Sequence[str]) -> Objective:
    """Make ``metric`` of the given clips ready to score systems with.

    Parameters
    ----------
    metric
        A metric's name without its split: ``acc_avg``, ``acc_device_macro``, ``acc_s4-s6``, ``log_loss``,
        ``gap/A_to_unseen``, ``device/acc_s3``, ``scene/acc_tram`` ...; or as MLflow has it for validation.
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
    masks = groups(context)
    masks |= {f"device/acc_{known}": device == known for known in DEVICES}
    masks |= {f"scene/acc_{known}": scene == known for known in classes}
    weights = {known: mask / max(mask.sum(), 1) for known, mask in masks.items() if mask.any()}
    for macro, parts in (("acc_device_macro", "device/acc_"), ("acc_macro", "scene/acc_")):
        weights[macro] = np.mean([part for known, part in weights.items() if known.startswith(parts)], axis=0)
    if {"acc_A", "acc_s4-s6"} <= weights.keys():
        weights["gap/A_to_unseen"] = weights["acc_A"] - weights["acc_s4-s6"]
    if name == "log_loss":
        return Objective(name, of_loss=True, weights=everything, direction="minimize")
    if name not in weights:
        possible = f"use one of {', '.join([*weights, 'log_loss'])}"
        raise InputError(f"the clips that decide do not have the objective {metric!r}: {possible}")
    return Objective(name, of_loss=False, weights=weights[name], direction=direction(name))


def require_objective(metric: str) -> str:
    """The name without its split of a metric that can be an objective, whatever clips there are.

    Raises
    ------
    InputError
        If the metric is unknown, or one of the test split.
    """
    known = ["acc_avg", "acc_device_macro", "acc_macro", "log_loss", "gap/A_to_unseen"]
    known += [f"acc_{subset}" for subset in DEVICE_SUBSETS] + [f"device/acc_{device}" for device in DEVICES]
    known += [f"scene/acc_{scene}" for classes in CLASSES.values() for scene in classes]
    named = {full_name(name, "validation"): name for name in known}
    name = named.get(metric, metric.removeprefix("validation/"))
    if name.startswith("test/"):
        raise InputError(f"nothing is chosen on the test split, got the objective {metric!r}: use {name[5:]!r}")
    if name not in known:
        raise InputError(f"the objective must be a known metric, got {metric!r}: {did_you_mean(name, known)}")
    return name
