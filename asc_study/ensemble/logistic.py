"""Multinomial logistic regression on log-probabilities, as stacking uses it. What is fitted needs NumPy alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError
from asc_study.ensemble.arrays import Probabilities

if TYPE_CHECKING:
    import pandas as pd

Features = npt.NDArray[np.float64]

#: Inverse strengths of the L2 penalty (scikit-learn's C) that are tried.
STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)

#: What is taken where locations are too few to try them: leaving one out leaves a class out.
_UNTRIED_STRENGTH: Final = 0.1


@dataclass(frozen=True)
class LogisticModel:
    """A fitted regression: the softmax of linear scores of standardised features.

    Attributes
    ----------
    means, scales
        Of each of the f features: it is standardised by ``(feature - mean) / scale``.
    columns
        The k classes that it was fitted on, as columns of the output.
    coefficients, intercepts
        (k, f) and (k,), of the scores of these classes.
    classes
        How many columns the output has.
    floor
        A probability is at least this before the rows are divided by their sums, also of a class that it was not
        fitted on.
    strength
        scikit-learn's C with which it was fitted.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    columns: tuple[int, ...]
    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]
    classes: int
    floor: float
    strength: float

    def __post_init__(self) -> None:
        shapes = {len(self.means), len(self.scales), *map(len, self.coefficients)}
        rows = {len(self.columns), len(self.coefficients), len(self.intercepts)}
        inside = all(0 <= column < self.classes for column in self.columns)
        if len(shapes) > 1 or len(rows) > 1 or not self.columns or not inside or min(self.scales, default=0) <= 0:
            raise InputError(
                "a logistic regression needs a mean, a scale above 0 and a coefficient for each feature, and a column, "
                f"a row of coefficients and an intercept for each class, got {len(self.means)} means, "
                f"{len(self.scales)} scales, {len(self.coefficients)} rows and the columns {list(self.columns)} of "
                f"{self.classes}: it is damaged"
            )

    def predict(self, features: Features) -> Probabilities:
        """Class probabilities (n, classes) of the features (n, f); rows sum to 1."""
        standardised = (features - np.array(self.means)) / np.array(self.scales)
        scores = standardised @ np.array(self.coefficients).T + np.array(self.intercepts)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        output = np.full((len(features), self.classes), self.floor)
        output[:, list(self.columns)] = np.maximum(powers / powers.sum(axis=1, keepdims=True), self.floor)
        result: Probabilities = output / output.sum(axis=1, keepdims=True)
        return result

    @property
    def learned(self) -> Mapping[str, Any]:
        """What people are told of it."""
        return {"regularisation_C": self.strength}


def fit_logistic(
    features: Features, label: npt.NDArray[np.int_], context: "pd.DataFrame", classes: int
) -> LogisticModel:
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

    Raises
    ------
    InputError
        If all clips are of one class.
    """
    from asc_study.ensemble.crossfit import location_folds
    from asc_study.evaluation.metrics import places_of

    if len(np.unique(label)) < 2:
        raise InputError("logistic regression needs clips of at least 2 classes, got 1: use a rule that learns nothing")
    several = len(np.unique(places_of(context))) > 1
    best = _best_strength(features, label, location_folds(context), classes) if several else _UNTRIED_STRENGTH
    return _fit(features, label, best, classes)


def _best_strength(features: Features, label: npt.NDArray[np.int_], fold: npt.NDArray[np.int_], classes: int) -> float:
    """The penalty of the lowest held-out log loss, over clips whose class the other folds know."""
    from asc_study.evaluation.metrics import losses

    lost = dict.fromkeys(STRENGTHS, 0.0)
    tried = 0
    for held_out in (fold == k for k in range(int(fold.max()) + 1)):
        known = np.unique(label[~held_out])
        judged = held_out & np.isin(label, known)
        if len(known) < 2 or not judged.any():
            continue
        tried += int(judged.sum())
        for strength in STRENGTHS:
            model = _fit(features[~held_out], label[~held_out], strength, classes)
            lost[strength] += float(losses(model.predict(features[judged]), label[judged]).sum())
    if tried < len(label) / 2:
        return _UNTRIED_STRENGTH
    return min(STRENGTHS, key=lambda strength: lost[strength])  # on a tie the stronger penalty


def _fit(features: Features, label: npt.NDArray[np.int_], strength: float, classes: int) -> LogisticModel:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    from asc_study.evaluation.metrics import LOG_LOSS_FLOOR

    with threadpool_limits(1):  # the matrices are small: more threads are several times slower
        scaler = StandardScaler().fit(features)
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(scaler.transform(features), label)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two classes scikit-learn scores the second alone, against a 0 of the first
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([[0.0], intercepts])
    return LogisticModel(
        means=tuple(scaler.mean_.tolist()),
        scales=tuple(scaler.scale_.tolist()),
        columns=tuple(model.classes_.tolist()),
        coefficients=tuple(map(tuple, coefficients.tolist())),
        intercepts=tuple(intercepts.tolist()),
        classes=classes,
        floor=LOG_LOSS_FLOOR,
        strength=strength,
    )
