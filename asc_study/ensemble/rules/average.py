"""Plain mean of the probabilities: "non-weighted average score fusion" (section 5.3)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.rules import FusionRule


@dataclass(frozen=True)
class Average(FusionRule):
    """The mean, in which each system counts alike."""

    name: ClassVar[str] = "average"

    def apply(self, probabilities: Probabilities) -> Probabilities:
        """Take the mean."""
        count = len(self.systems)
        return np.tensordot(np.full(count, 1 / count), probabilities, axes=1)
