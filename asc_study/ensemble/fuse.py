"""Fusion rules: several systems of one task become one.

The paper's ensembles are plain averages (section 5.3) and, for Task 1b, logistic regression (section 5.4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from asc_study.base.errors import InputError
from asc_study.base.schema import did_you_mean
from asc_study.ensemble.crossfit import Fitted, Rule
from asc_study.ensemble.logistic import fit_logistic, log_probabilities
from asc_study.ensemble.stack import Probabilities, Stack, normalised
from asc_study.evaluation.metrics import LOG_LOSS_FLOOR


@dataclass(frozen=True)
class FusionRule:
    """A rule for m systems of one task."""

    learns: bool
    fit: Callable[[Stack], Fitted[Stack]]
    by_class: bool = False


def weighted_mean(weights: Probabilities) -> Callable[[Stack], Probabilities]:
    """The mean of the outputs with fixed ``weights`` (m,) that sum to 1."""
    return lambda sample: np.tensordot(weights, sample.probabilities, axes=1)


def _average(sample: Stack) -> Fitted[Stack]:
    """Plain mean of the probabilities: "non-weighted average score fusion" (section 5.3)."""
    return Fitted(weighted_mean(np.full(len(sample.names), 1 / len(sample.names))), {})


def _weighted(sample: Stack) -> Fitted[Stack]:
    """Mean with the weights (at least 0, sum 1) of the lowest log loss.

    The log loss is convex in the weights; expectation maximisation for mixture weights reaches its minimum.
    """
    true = sample.probabilities[:, np.arange(len(sample.context)), sample.label]
    true = np.maximum(true, LOG_LOSS_FLOOR)
    weights = np.full(len(true), 1 / len(true))
    for _ in range(1000):
        shares = weights[:, None] * true
        updated = (shares / shares.sum(axis=0)).mean(axis=1)
        moved, weights = float(abs(updated - weights).max()), updated
        if moved < 1e-6:
            break
    learned = {"weights": {name: float(weight) for name, weight in zip(sample.names, weights, strict=True)}}
    return Fitted(weighted_mean(weights), learned)


def _product(_: Stack) -> Fitted[Stack]:
    """Geometric mean of the probabilities, normalised; a probability counts as at least 1e-7."""

    def combine(sample: Stack) -> Probabilities:
        mean = np.exp(log_probabilities(sample.probabilities).mean(axis=0))
        return normalised(mean, mean)

    return Fitted(combine, {})


def _logistic(sample: Stack) -> Fitted[Stack]:
    """Logistic regression on the log-probabilities of all systems (section 5.4)."""

    def features(part: Stack) -> Probabilities:
        logs = log_probabilities(part.probabilities)
        return logs.transpose(1, 0, 2).reshape(len(part.context), -1)

    predict, strength = fit_logistic(features(sample), sample.label, sample.context, len(sample.classes))
    return Fitted(lambda part: predict(features(part)), {"regularisation_C": strength})


#: Name of a rule, as users write it -> the rule.
FUSIONS: Final = MappingProxyType(
    {
        "average": FusionRule(learns=False, fit=_average),
        "weighted": FusionRule(learns=True, fit=_weighted),
        "product": FusionRule(learns=False, fit=_product),
        "logistic": FusionRule(learns=True, fit=_logistic, by_class=True),
    }
)


def find_fusion(name: str) -> Rule[Stack]:
    """The fusion rule of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in FUSIONS:
        raise InputError(f"unknown fusion rule {name!r}: {did_you_mean(name, list(FUSIONS))}")
    return FUSIONS[name]
