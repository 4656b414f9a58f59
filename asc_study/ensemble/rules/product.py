"""Product of the probabilities."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from asc_study.ensemble.arrays import Probabilities, log_probabilities, normalised
from asc_study.ensemble.rules import FusionRule

if TYPE_CHECKING:
    from asc_study.ensemble.stack import Stack


@dataclass(frozen=True)
class Product(FusionRule):
    """The geometric mean, normalised.

    Attributes
    ----------
    floor
        A probability counts as at least this.
    """

    name: ClassVar[str] = "product"

    floor: float

    @classmethod
    def fit(cls, sample: "Stack") -> Self:
        """Take the floor of the log loss."""
        from asc_study.evaluation.metrics import LOG_LOSS_FLOOR

        return cls(sample.names, LOG_LOSS_FLOOR)

    def apply(self, probabilities: Probabilities) -> Probabilities:
        """Take the geometric mean."""
        mean = np.exp(log_probabilities(probabilities, self.floor).mean(axis=0))
        return normalised(mean, mean)
