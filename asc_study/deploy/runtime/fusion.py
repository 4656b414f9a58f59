"""How the outputs of a system's networks become one: means, and the two stages of section 2.1.

The same rules as `asc_study.ensemble`, without what fits them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError, shown

Probabilities = npt.NDArray[np.float64]

#: Ways to fuse networks of one task.
MEANS: Final = ("average", "product")

#: A probability counts as at least this in a product.
_FLOOR: Final = 1e-7


@dataclass(frozen=True)
class Stage:
    """The networks of one task.

    Attributes
    ----------
    rule
        ``average``: weighted mean of the probabilities; ``product``: geometric mean, normalised.
    weights
        One a network, at least 0; their sum is 1. The product has none.
    """

    rule: str
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.rule not in MEANS:
            raise InputError(f"networks are fused by one of {', '.join(MEANS)}, got {shown(self.rule)}")
        values = np.array(self.weights, np.float64)
        if not values.size or not np.isfinite(values).all() or (values < 0).any() or abs(values.sum() - 1) > 1e-6:
            raise InputError(f"weights must be at least 0 and sum to 1, got {shown(list(self.weights))}")

    def fuse(self, outputs: Sequence[Probabilities]) -> Probabilities:
        """Make one of the outputs (..., classes) of the networks."""
        stacked = np.stack(outputs)
        if self.rule == "average":
            mean: Probabilities = np.tensordot(self.weights, stacked, axes=1)
            return mean
        product = np.exp(np.log(np.maximum(stacked, _FLOOR)).mean(axis=0))
        scaled: Probabilities = product / product.sum(axis=-1, keepdims=True)
        return scaled


@dataclass(frozen=True)
class Fusion:
    """A stage of fine networks and, if there are two, one of coarse networks.

    Attributes
    ----------
    fine, coarse
        The stages.
    exponent
        On the coarse score; 1 is the paper's.
    group_column
        For each fine class the coarse class that it is in.
    """

    fine: Stage
    coarse: Stage | None = None
    exponent: float = 1.0
    group_column: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.exponent <= 100:
            raise InputError(f"the exponent must be in [0, 100], got {shown(self.exponent)}: 1 is the paper's")

    def fuse(self, fine: Sequence[Probabilities], coarse: Sequence[Probabilities] = ()) -> Probabilities:
        """Make the system's output (..., classes) of its networks': p10(scene) * p3(its group) ** exponent, scaled."""
        first = self.fine.fuse(fine)
        if self.coarse is None:
            return first
        product = first * self.coarse.fuse(coarse)[..., list(self.group_column)] ** self.exponent
        total = product.sum(axis=-1, keepdims=True)
        scaled: Probabilities = np.where(total > 0, product / np.where(total > 0, total, 1), first)
        return scaled

    def to_dict(self) -> dict[str, Any]:
        """In the types of JSON; the groups are those of ``labels.json``."""
        stages = {"fine": _stage(self.fine)} | ({"coarse": _stage(self.coarse)} if self.coarse else {})
        return stages | ({"join": "product", "exponent": self.exponent} if self.coarse else {})

    @staticmethod
    def from_dict(written: Mapping[str, Any], group_column: tuple[int, ...] = ()) -> "Fusion":
        """What `to_dict` wrote; a wrong type is a `TypeError`, a missing key a `KeyError`."""
        if written.get("join", "product") != "product":
            raise InputError(f"the stages of a bundle are joined by their product, got {shown(written['join'])}")
        stages = {
            name: Stage(str(written[name]["rule"]), tuple(float(weight) for weight in written[name]["weights"]))
            for name in ("fine", "coarse")
            if name in written
        }
        return Fusion(stages["fine"], stages.get("coarse"), float(written.get("exponent", 1.0)), group_column)


def _stage(stage: Stage) -> dict[str, Any]:
    return {"rule": stage.rule, "weights": list(stage.weights)}
