"""Calibration: whether a probability of 0.8 is right in 80 % of the cases, and the temperature that mends it.

Conventions. The confidence of a clip is its highest probability and the decision is that class (the first one on a
tie). The expected calibration error is that of Naeini et al. 2015 ("Obtaining Well Calibrated Probabilities Using
Bayesian Binning") in the form of Guo et al. 2017 ("On Calibration of Modern Neural Networks", equation 3): bins of
equal width on [0, 1], closed on the right, and the mean of |accuracy - confidence| over the bins, weighted by their
clips. The temperature T is that of section 4.2 there: it divides the logits, and softmax(ln p / T) is p**(1/T)
normalised, so that probabilities are enough. T > 1 means that the system was too sure. It changes no decision and is
fitted on validation, never on test.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.evaluation.metrics import LOG_LOSS_FLOOR, evaluate, labels_of
from asc_study.evaluation.predictions import as_float32, classes_of

#: Temperatures that a fit may give.
TEMPERATURE_RANGE: Final = (0.05, 20.0)

#: Less than this many nats gained is no reason to leave a temperature of 1: on uniform predictions none gains anything.
_LEAST_GAIN: Final = 1e-9


def expected_calibration_error(predictions: pd.DataFrame, *, bins: int = 15) -> float:
    """Mean distance of accuracy and confidence, in [0, 1]; 0 is perfect.

    Parameters
    ----------
    predictions
        A predictions table.
    bins
        Number of bins of equal width on [0, 1].

    Raises
    ------
    InputError
        If the table is empty or ``bins`` is below 1.
    """
    curve = reliability_curve(predictions, bins=bins)
    return float(np.average((curve["accuracy"] - curve["confidence"]).abs(), weights=curve["clips"]))


def reliability_curve(predictions: pd.DataFrame, *, bins: int = 15) -> pd.DataFrame:
    """Accuracy by confidence.

    Parameters
    ----------
    predictions
        A predictions table.
    bins
        Number of bins of equal width on [0, 1].

    Returns
    -------
    DataFrame
        One row a bin that has clips: ``confidence`` (mean of its clips), ``accuracy``, ``clips``, and its edges ``low``
        (excluded) and ``high`` (included).

    Raises
    ------
    InputError
        If the table is empty or ``bins`` is below 1.
    """
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}: 15 is usual")
    probabilities, label = _scores(predictions)
    confidence = np.minimum(probabilities.max(axis=1), 1.0)
    right = (probabilities.argmax(axis=1) == label).astype(np.float64)
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges, confidence, side="left") - 1
    clips = np.bincount(place, minlength=bins)
    held = clips > 0
    return pd.DataFrame(
        {
            "confidence": np.bincount(place, confidence, bins)[held] / clips[held],
            "accuracy": np.bincount(place, right, bins)[held] / clips[held],
            "clips": clips[held],
            "low": edges[:-1][held],
            "high": edges[1:][held],
        }
    )


def fit_temperature(validation: pd.DataFrame) -> float:
    """The temperature that minimises the log loss of p**(1/T) normalised, within `TEMPERATURE_RANGE`.

    Parameters
    ----------
    validation
        A predictions table of clips that the system was not trained on; probabilities count as at least 1e-7.

    Returns
    -------
    float
        T; 1 if no other temperature is better.

    Raises
    ------
    InputError
        If the table is empty or holds clips of the test split.
    """
    if "test" in set(validation["split"]):
        raise InputError("a temperature is never fitted on the test split, got its clips: give validation predictions")
    return calibrated_log_loss(*_scores(validation))[0]


def calibrated_log_loss(
    probabilities: npt.NDArray[np.float64], label: npt.NDArray[np.int_], *, precision: float = 1e-6
) -> tuple[float, float]:
    """The temperature that minimises the log loss of p**(1/T) normalised, and that loss in nats.

    Parameters
    ----------
    probabilities
        (n, classes); count as at least 1e-7.
    label
        (n,) column of each clip's true class.
    precision
        Of ln T; the loss is flat around its minimum, so that it is far more precise.
    """
    from scipy.optimize import minimize_scalar  # a third of a second, which most of what measures does without
    from scipy.special import logsumexp

    logits = np.log(np.maximum(probabilities, LOG_LOSS_FLOOR))
    clips = np.arange(len(label))

    def log_loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[clips, label]))

    # The loss is convex in 1/T, so it has a single valley in ln T.
    ends = tuple(np.log(TEMPERATURE_RANGE))
    best = minimize_scalar(log_loss, bounds=ends, method="bounded", options={"xatol": precision})
    plain = log_loss(0.0)
    return (float(np.exp(best.x)), float(best.fun)) if best.fun < plain - _LEAST_GAIN else (1.0, plain)


def with_temperature(predictions: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """The predictions with p**(1/T) normalised in place of p, float32; every decision stays what it was.

    Parameters
    ----------
    predictions
        A predictions table; probabilities count as at least 1e-7.
    temperature
        T > 0; above 1 the system is less sure, below 1 surer.

    Raises
    ------
    InputError
        If the temperature is not a positive number.
    """
    from scipy.special import logsumexp

    if not (np.isfinite(temperature) and temperature > 0):
        raise InputError(f"a temperature must be a number above 0, got {temperature}: 1 changes nothing")
    classes = list(classes_of(predictions))
    probabilities = predictions[classes].to_numpy(np.float64)
    scaled = np.log(np.maximum(probabilities, LOG_LOSS_FLOOR)) / temperature
    values = np.exp(scaled - logsumexp(scaled, axis=1, keepdims=True))
    changed = predictions.copy()
    changed[classes] = as_float32(values, probabilities.argmax(axis=1))
    return changed


def calibration_metrics(tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Calibration of a run, from its predictions tables by split (``test``, ``validation``).

    Returns
    -------
    dict
        ``<split>/ece`` for each table; with validation ``validation/temperature``, fitted there; with both
        ``test/calibrated_ece`` and ``test/calibrated_log_loss``, test after that temperature.

    Raises
    ------
    InputError
        If a table is empty, is of another split than its key says, or of another one than test and validation.
    """
    for split, table in tables.items():
        held = sorted(map(str, table["split"].unique()))
        if split not in ("test", "validation") or held not in ([], [split]):
            raise InputError(
                f"calibration takes one table of each split, test and validation, got {held} as {split!r}: filter them"
            )
    values = {f"{split}/ece": expected_calibration_error(table) for split, table in tables.items()}
    if "validation" not in tables:
        return values
    temperature = fit_temperature(tables["validation"])
    values["validation/temperature"] = temperature
    if "test" in tables:
        calibrated = with_temperature(tables["test"], temperature)
        values["test/calibrated_ece"] = expected_calibration_error(calibrated)
        values["test/calibrated_log_loss"] = evaluate(calibrated, intervals=False)["test/log_loss"]
    return values


def _scores(predictions: pd.DataFrame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int_]]:
    """Probabilities (n, classes) and the column of each clip's true class (n,)."""
    if predictions.empty:
        raise InputError("calibration needs at least one clip, got an empty predictions table: check the split")
    classes = classes_of(predictions)
    return predictions[list(classes)].to_numpy(np.float64), labels_of(predictions, classes)
