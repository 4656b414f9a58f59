"""Two-stage fusion (section 2.1): ten-class scores sharpened by those of a three-class system.

Class(x) = argmax over scenes q in group p of F1_p(x) * F2_q(x), with F1 the three-class and F2 the ten-class output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from asc_study.ensemble.crossfit import Fitted, Rule, cross_fit
from asc_study.ensemble.logistic import fit_logistic, log_probabilities
from asc_study.ensemble.stack import GROUP_COLUMN, Pair, Probabilities, Stack, normalised
from asc_study.evaluation.metrics import losses

#: How the two stages can be joined.
JOINS: Final = ("product", "learned")

#: Exponents on the coarse score that a fit looks at: 0 leaves the ten-class output as it is.
_HIGHEST_EXPONENT: Final = 5.0

Join = Callable[[Probabilities, Probabilities], Probabilities]


def two_stage_product(
    fine: npt.NDArray[np.floating], coarse: npt.NDArray[np.floating], exponent: float = 1.0
) -> Probabilities:
    """The paper's rule: p(scene) proportional to p10(scene) * p3(group of scene) ** exponent.

    Parameters
    ----------
    fine
        (n, 10) probabilities of the scenes.
    coarse
        (n, 3) probabilities of the scene groups.
    exponent
        At least 0; 1 is the paper's.

    Returns
    -------
    (n, 10)
        Rows sum to 1. Where the two contradict each other altogether (all products are 0), the row is that of ``fine``.
    """
    return normalised(fine * coarse[:, GROUP_COLUMN] ** exponent, fine)


@dataclass(frozen=True)
class TwoStage:
    """Fuse the ten-class systems and the three-class systems, then join both.

    Attributes
    ----------
    fine, coarse
        How the systems of either task are fused.
    join
        ``product`` (the paper's rule) or ``learned`` (logistic regression on both log-probability vectors).
    exponent
        Of the product's coarse score; None: the one of the lowest log loss in [0, 5].
    """

    fine: Rule[Stack]
    coarse: Rule[Stack]
    join: Literal["product", "learned"] = "product"
    exponent: float | None = 1.0

    @property
    def learns(self) -> bool:
        """Whether anything depends on labels."""
        return self._join_learns or self.fine.learns or self.coarse.learns

    @property
    def by_class(self) -> bool:
        """Whether anything is learned of each class."""
        return self.join == "learned" or self.fine.by_class or self.coarse.by_class

    @property
    def _join_learns(self) -> bool:
        return self.join == "learned" or self.exponent is None

    def fit(self, sample: Pair) -> Fitted[Pair]:
        """Fit what learns; the join on cross-fitted outputs of the stages, because fitted ones would flatter."""
        fine, coarse = self.fine.fit(sample.fine), self.coarse.fit(sample.coarse)
        learned: dict[str, Any] = {"fine": dict(fine.learned), "coarse": dict(coarse.learned)}
        if self._join_learns:
            outputs = cross_fit(self.fine, sample.fine), cross_fit(self.coarse, sample.coarse)
            join, join_learned = self._fit_join(*outputs, sample.fine)
        else:
            join, join_learned = self._product(self.exponent or 0.0)
        learned |= join_learned
        return Fitted(lambda part: join(fine.combine(part.fine), coarse.combine(part.coarse)), learned)

    def _fit_join(self, fine: Probabilities, coarse: Probabilities, sample: Stack) -> tuple[Join, dict[str, Any]]:
        if self.join == "product":
            return self._product(_best_exponent(fine, coarse, sample.label))
        predict, strength = fit_logistic(_features(fine, coarse), sample.label, sample.context, len(sample.classes))
        return lambda p10, p3: predict(_features(p10, p3)), {"regularisation_C": strength}

    @staticmethod
    def _product(exponent: float) -> tuple[Join, dict[str, Any]]:
        return lambda fine, coarse: two_stage_product(fine, coarse, exponent), {"exponent": exponent}


def _features(fine: Probabilities, coarse: Probabilities) -> Probabilities:
    return np.hstack([log_probabilities(fine), log_probabilities(coarse)])


def _best_exponent(fine: Probabilities, coarse: Probabilities, label: npt.NDArray[np.int_]) -> float:
    from scipy.optimize import minimize_scalar

    def log_loss(exponent: float) -> float:
        return float(losses(two_stage_product(fine, coarse, exponent), label).mean())

    return float(minimize_scalar(log_loss, bounds=(0, _HIGHEST_EXPONENT), method="bounded").x)
