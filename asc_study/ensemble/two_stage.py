"""Two-stage fusion (section 2.1): ten-class scores sharpened by those of a three-class system.

Class(x) = argmax over scenes q in group p of F1_p(x) * F2_q(x), with F1 the three-class and F2 the ten-class output.
What is fitted is applied with NumPy alone, as `asc_study.ensemble.rules` asks of a rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError, shown
from asc_study.base.plain import from_plain, to_plain
from asc_study.base.taxonomy import TAU
from asc_study.ensemble.arrays import Probabilities, log_probabilities, normalised
from asc_study.ensemble.fuse import read_rule
from asc_study.ensemble.logistic import LogisticModel, fit_logistic
from asc_study.ensemble.rules import FusionRule

if TYPE_CHECKING:
    from asc_study.ensemble.stack import Pair

#: How the two stages can be joined.
JOINS: Final = ("product", "learned")

#: What ``fusion.json`` calls a fusion of two stages.
TWO_STAGE: Final = "two_stage"

#: Exponents on the coarse score that a fit looks at: 0 leaves the ten-class output as it is.
_HIGHEST_EXPONENT: Final = 5.0

#: Column of each scene's group among the three classes, of TAU's data sets.
GROUP_COLUMNS: Final = TAU.group_columns


def two_stage_product(
    fine: npt.NDArray[np.floating],
    coarse: npt.NDArray[np.floating],
    exponent: float = 1.0,
    group_columns: tuple[int, ...] = GROUP_COLUMNS,
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
    group_columns
        The column in ``coarse`` of each scene's group.

    Returns
    -------
    (n, 10)
        Rows sum to 1. Where the two contradict each other altogether (all products are 0), the row is that of ``fine``.
    """
    return normalised(fine * coarse[:, list(group_columns)] ** exponent, fine)


@dataclass(frozen=True)
class ProductJoin:
    """The paper's rule, with an exponent on the coarse score; see `two_stage_product`."""

    exponent: float
    group_columns: tuple[int, ...] = GROUP_COLUMNS

    def __post_init__(self) -> None:
        groups = set(self.group_columns)
        if self.exponent < 0 or groups != set(range(len(groups))):
            raise InputError(
                "a product of two stages needs an exponent of at least 0 and columns of groups, each of which has a "
                f"scene, got {self.exponent:g} and {list(self.group_columns)}: it is damaged"
            )

    def apply(self, fine: Probabilities, coarse: Probabilities) -> Probabilities:
        """Join (n, 10) and (n, 3) to (n, 10)."""
        return two_stage_product(fine, coarse, self.exponent, self.group_columns)

    @property
    def learned(self) -> Mapping[str, Any]:
        """The exponent."""
        return {"exponent": self.exponent}


@dataclass(frozen=True)
class LearnedJoin:
    """Logistic regression on the log-probabilities of the scenes, then of the groups."""

    model: LogisticModel

    def apply(self, fine: Probabilities, coarse: Probabilities) -> Probabilities:
        """Join (n, 10) and (n, 3) to (n, 10)."""
        return self.model.predict(_features(fine, coarse, self.model.floor))

    @property
    def learned(self) -> Mapping[str, Any]:
        """The inverse strength of the penalty."""
        return self.model.learned


#: ``rule`` of a join in ``fusion.json`` -> what it is.
_JOINS: Final[Mapping[str, type[ProductJoin] | type[LearnedJoin]]] = {"product": ProductJoin, "learned": LearnedJoin}


@dataclass(frozen=True)
class FittedTwoStage:
    """A fitted `TwoStage`: the rule of each stage, and how the two are joined."""

    fine: FusionRule
    coarse: FusionRule
    join: ProductJoin | LearnedJoin

    def apply(self, fine: Probabilities, coarse: Probabilities) -> Probabilities:
        """Fuse the outputs of the ten-class systems (m, n, 10) and of the three-class ones (k, n, 3) to (n, 10)."""
        return self.join.apply(self.fine.apply(fine), self.coarse.apply(coarse))

    def combine(self, sample: "Pair") -> Probabilities:
        """Fuse the systems of a pair, (n, 10)."""
        return self.join.apply(self.fine.combine(sample.fine), self.coarse.combine(sample.coarse))

    @property
    def learned(self) -> Mapping[str, Any]:
        """What the stages and the join learned."""
        return {"fine": dict(self.fine.learned), "coarse": dict(self.coarse.learned), **self.join.learned}

    def to_dict(self) -> dict[str, Any]:
        """All of it, in the types of JSON."""
        name = next(name for name, kind in _JOINS.items() if isinstance(self.join, kind))
        return {
            "rule": TWO_STAGE,
            "fine": self.fine.to_dict(),
            "coarse": self.coarse.to_dict(),
            "join": {"rule": name, **to_plain(self.join)},
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: str = "fusion") -> Self:
        """What `to_dict` was given of.

        Raises
        ------
        InputError
            If something is missing, not known or of another type; ``where`` is what it is called then.
        """
        join = raw.get("join")
        kind = _JOINS.get(str(join.get("rule"))) if isinstance(join, Mapping) else None
        if set(raw) != {"rule", "fine", "coarse", "join"} or kind is None or not isinstance(join, Mapping):
            raise InputError(
                f"{where} must hold rule, fine, coarse and a join by {' or '.join(_JOINS)}, got {', '.join(raw)} with "
                f"the join {shown(join)}: it is damaged"
            )
        values = {key: value for key, value in join.items() if key != "rule"}
        return cls(
            read_rule(raw["fine"], f"{where}.fine"),
            read_rule(raw["coarse"], f"{where}.coarse"),
            from_plain(kind, values, f"{where}.join"),
        )


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

    fine: type[FusionRule]
    coarse: type[FusionRule]
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

    def fit(self, sample: "Pair") -> FittedTwoStage:
        """Fit what learns; the join on cross-fitted outputs of the stages, because fitted ones would flatter."""
        return FittedTwoStage(self.fine.fit(sample.fine), self.coarse.fit(sample.coarse), self._fit_join(sample))

    def _fit_join(self, sample: "Pair") -> ProductJoin | LearnedJoin:
        from asc_study.ensemble.crossfit import cross_fit
        from asc_study.evaluation.metrics import LOG_LOSS_FLOOR

        if not self._join_learns:
            return ProductJoin(self.exponent or 0.0, sample.group_columns)
        fine, coarse = cross_fit(self.fine, sample.fine), cross_fit(self.coarse, sample.coarse)
        if self.join == "product":
            columns = sample.group_columns
            return ProductJoin(_best_exponent(fine, coarse, sample.fine.label, columns), columns)
        features = _features(fine, coarse, LOG_LOSS_FLOOR)
        return LearnedJoin(fit_logistic(features, sample.fine.label, sample.context, len(sample.classes)))


def _features(fine: Probabilities, coarse: Probabilities, floor: float) -> Probabilities:
    return np.hstack([log_probabilities(fine, floor), log_probabilities(coarse, floor)])


def _best_exponent(
    fine: Probabilities, coarse: Probabilities, label: npt.NDArray[np.int_], group_columns: tuple[int, ...]
) -> float:
    from scipy.optimize import minimize_scalar

    from asc_study.evaluation.metrics import losses

    def log_loss(exponent: float) -> float:
        return float(losses(two_stage_product(fine, coarse, exponent, group_columns), label).mean())

    return float(minimize_scalar(log_loss, bounds=(0, _HIGHEST_EXPONENT), method="bounded").x)
