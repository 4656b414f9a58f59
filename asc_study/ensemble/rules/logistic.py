"""Stacking: logistic regression on the log-probabilities of all systems (section 5.4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from asc_study.ensemble.arrays import Probabilities, log_probabilities
from asc_study.ensemble.logistic import LogisticModel, fit_logistic
from asc_study.ensemble.rules import FusionRule

if TYPE_CHECKING:
    from asc_study.ensemble.stack import Stack


@dataclass(frozen=True)
class Logistic(FusionRule):
    """Logistic regression; a clip's features are the log-probabilities of the first system, then of the second.

    Attributes
    ----------
    model
        The regression, of m * c features.
    """

    name: ClassVar[str] = "logistic"
    learns: ClassVar[bool] = True
    by_class: ClassVar[bool] = True

    model: LogisticModel

    @classmethod
    def fit(cls, sample: "Stack") -> Self:
        """Fit the regression; its penalty is chosen by cross-validation over locations."""
        from asc_study.evaluation.metrics import LOG_LOSS_FLOOR

        features = _features(sample.probabilities, LOG_LOSS_FLOOR)
        return cls(sample.names, fit_logistic(features, sample.label, sample.context, len(sample.classes)))

    def apply(self, probabilities: Probabilities) -> Probabilities:
        """Predict."""
        return self.model.predict(_features(probabilities, self.model.floor))

    @property
    def learned(self) -> Mapping[str, Any]:
        """The inverse strength of the penalty."""
        return self.model.learned


def _features(probabilities: Probabilities, floor: float) -> Probabilities:
    logs = log_probabilities(probabilities, floor)
    return logs.transpose(1, 0, 2).reshape(logs.shape[1], -1)
