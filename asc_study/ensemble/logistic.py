"""Multinomial logistic regression on log-probabilities, as stacking uses it."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.ensemble.crossfit import location_folds
from asc_study.ensemble.stack import Probabilities
from asc_study.evaluation.metrics import LOG_LOSS_FLOOR, losses, places_of

Features = npt.NDArray[np.float64]

#: Inverse strengths of the L2 penalty (scikit-learn's C) that are tried.
STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)

#: What is taken where locations are too few to try them: leaving one out leaves a class out.
_UNTRIED_STRENGTH: Final = 0.1


def log_probabilities(probabilities: npt.NDArray[np.floating]) -> Features:
    """Natural logarithms, not below ln(1e-7)."""
    logs: Features = np.log(np.maximum(probabilities, LOG_LOSS_FLOOR))
    return logs


def fit_logistic(
    features: Features, label: npt.NDArray[np.int_], context: pd.DataFrame, classes: int
) -> tuple[Callable[[Features], Probabilities], float]:
    """Fit scikit-learn's logistic regression; the penalty is chosen by cross-validation over locations.

    Parameters
    ----------
    features
        (n, f).
    label
        (n,) class of each clip, in [0, classes).
    context
        The clips' context columns, for their locations.
    classes
        How many classes there are; one that does not occur gets the probability 1e-7.

    Returns
    -------
    (predict, strength)
        ``predict`` turns (k, f) features into (k, classes) probabilities; the chosen C.

    Raises
    ------
    InputError
        If all clips are of one class.
    """
    if len(np.unique(label)) < 2:
        raise InputError("logistic regression needs clips of at least 2 classes, got 1: use a rule that learns nothing")
    several = len(np.unique(places_of(context))) > 1
    best = _best_strength(features, label, location_folds(context), classes) if several else _UNTRIED_STRENGTH
    model = _fit(features, label, best)
    return lambda new: _predict(model, new, classes), best


def _best_strength(features: Features, label: npt.NDArray[np.int_], fold: npt.NDArray[np.int_], classes: int) -> float:
    """The penalty of the lowest held-out log loss, over clips whose class the other folds know."""
    lost = dict.fromkeys(STRENGTHS, 0.0)
    tried = 0
    for held_out in (fold == k for k in range(int(fold.max()) + 1)):
        known = np.unique(label[~held_out])
        judged = held_out & np.isin(label, known)
        if len(known) < 2 or not judged.any():
            continue
        tried += int(judged.sum())
        for strength in STRENGTHS:
            model = _fit(features[~held_out], label[~held_out], strength)
            lost[strength] += float(losses(_predict(model, features[judged], classes), label[judged]).sum())
    if tried < len(label) / 2:
        return _UNTRIED_STRENGTH
    return min(STRENGTHS, key=lambda strength: lost[strength])  # on a tie the stronger penalty


def _fit(features: Features, label: npt.NDArray[np.int_], strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300, tol=1e-3))
    with threadpool_limits(1):  # the matrices are small: more threads are several times slower
        return model.fit(features, label)


def _predict(model: Any, features: Features, classes: int) -> Probabilities:
    output = np.full((len(features), classes), LOG_LOSS_FLOOR)
    output[:, model.classes_] = np.maximum(model.predict_proba(features), LOG_LOSS_FLOOR)
    result: Probabilities = output / output.sum(axis=1, keepdims=True)
    return result
