"""What fusions do with arrays of probabilities; NumPy alone, so that a deployed system can do it too."""

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float64]


def normalised(scores: npt.NDArray[np.floating], fallback: npt.NDArray[np.floating]) -> Probabilities:
    """Rows of ``scores`` (..., c) divided by their sums; rows of nothing but zeros are taken from ``fallback``."""
    total = scores.sum(axis=-1, keepdims=True)
    result: Probabilities = np.where(total > 0, scores / np.where(total > 0, total, 1), fallback)
    return result


def log_probabilities(probabilities: npt.NDArray[np.floating], floor: float) -> Probabilities:
    """Natural logarithms, not below that of ``floor``, which is above 0."""
    logs: Probabilities = np.log(np.maximum(probabilities, floor))
    return logs
