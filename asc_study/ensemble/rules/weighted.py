"""Weighted mean of the probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from asc_study.base.errors import InputError
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.rules import FusionRule

if TYPE_CHECKING:
    from asc_study.ensemble.stack import Stack


@dataclass(frozen=True)
class Weighted(FusionRule):
    """The mean with a weight for each system.

    Attributes
    ----------
    weights
        At least 0, in the order of ``systems``; they sum to 1.
    """

    name: ClassVar[str] = "weighted"
    learns: ClassVar[bool] = True

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        right = len(self.weights) == len(self.systems) and min(self.weights) >= 0
        if not right or abs(sum(self.weights) - 1) > 1e-6:
            raise InputError(
                f"weights must be at least 0, one a system, and sum to 1, got {list(self.weights)} for "
                f"{len(self.systems)} systems: it is damaged"
            )

    @classmethod
    def fit(cls, sample: "Stack") -> Self:
        """Find the weights of the lowest log loss.

        The log loss is convex in the weights; expectation maximisation for mixture weights reaches its minimum.
        """
        from asc_study.evaluation.metrics import LOG_LOSS_FLOOR

        true = sample.probabilities[:, np.arange(len(sample.context)), sample.label]
        true = np.maximum(true, LOG_LOSS_FLOOR)
        weights = np.full(len(true), 1 / len(true))
        for _ in range(1000):
            shares = weights[:, None] * true
            updated = (shares / shares.sum(axis=0)).mean(axis=1)
            moved, weights = float(abs(updated - weights).max()), updated
            if moved < 1e-6:
                break
        return cls(sample.names, tuple(weights.tolist()))

    def apply(self, probabilities: Probabilities) -> Probabilities:
        """Take the mean."""
        return np.tensordot(np.array(self.weights), probabilities, axes=1)

    @property
    def learned(self) -> Mapping[str, Any]:
        """The weight of each system."""
        return {"weights": dict(zip(self.systems, self.weights, strict=True))}
