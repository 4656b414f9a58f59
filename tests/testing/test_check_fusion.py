"""The suite for fusion rules: what is built in keeps the contract, and what breaks it is found and named."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from asc_study.ensemble.fuse import FUSIONS
from asc_study.ensemble.rules import FusionRule
from asc_study.testing import check_fusion


@pytest.mark.parametrize("name", FUSIONS)
def test_every_rule_keeps_the_contract(name):
    check_fusion(FUSIONS[name])
    assert FUSIONS[name].name == name


@dataclass(frozen=True)
class Median(FusionRule):
    """A rule of one's own."""

    def apply(self, probabilities):
        middle = np.maximum(np.median(probabilities, axis=0), 1e-7)
        return middle / middle.sum(axis=1, keepdims=True)


def test_a_rule_of_ones_own_keeps_it(monkeypatch):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    assert Median.name == f"{__name__}:Median"
    check_fusion(Median)


class NoDataclass(Median):
    """What it would add as fields is no part of it."""


@dataclass(frozen=True)
class Unnormalised(Median):
    def apply(self, probabilities):
        return np.median(probabilities, axis=0)


@dataclass(frozen=True)
class Product(Median):
    def apply(self, probabilities):
        product = probabilities.prod(axis=0)
        with np.errstate(invalid="ignore"):
            return product / product.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class OfAllClips(Median):
    def apply(self, probabilities):
        scores = probabilities.mean(axis=0) / probabilities.mean(axis=(0, 1))
        return scores / scores.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Loose:
    """Not a rule at all."""


@dataclass(frozen=True)
class Closure(Median):
    weigh: object = None

    @classmethod
    def fit(cls, sample):
        return cls(sample.names, np.mean)


@dataclass(frozen=True)
class ArrayInside(Median):
    weights: tuple[float, ...] = ()

    @classmethod
    def fit(cls, sample):
        return cls(sample.names, (np.float32(1), 2.0))


@dataclass(frozen=True)
class SaysNothingOfLabels(Median):
    prior: tuple[float, ...] = ()

    @classmethod
    def fit(cls, sample):
        seen = sample.context["scene"].value_counts().to_dict()
        return cls(sample.names, tuple(float(seen.get(name, 0) + 1) for name in sample.classes))


@dataclass(frozen=True)
class LearnsNothing(Median):
    learns: ClassVar[bool] = True


@dataclass(frozen=True)
class Remembers(Median):
    """Labels that it has seen in one fold are still there in the next."""

    learns: ClassVar[bool] = True
    memory: ClassVar[dict[str, int]] = {}
    bias: float = 0.0

    @classmethod
    def fit(cls, sample):
        cls.memory.update(zip(sample.context["clip_id"], sample.label.tolist(), strict=True))
        return cls(sample.names, float(sum(number * label for number, label in enumerate(cls.memory.values()))))

    def apply(self, probabilities):
        middle = super().apply(probabilities) + self.bias * 1e-6
        return middle / middle.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class ChangesItsInput(Median):
    def apply(self, probabilities):
        probabilities /= 2
        return super().apply(probabilities)


@dataclass(frozen=True)
class NamedLikeAnother(Median):
    name: ClassVar[str] = "average"


@dataclass(frozen=True)
class ReversesTheSystems(Median):
    @classmethod
    def fit(cls, sample):
        return cls(sample.names[::-1])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Loose, "must be a subclass of FusionRule"),
        (NoDataclass, "must be a dataclass itself"),
        (Product, "must be finite, also where systems contradict"),
        (OfAllClips, "must not depend on the clips beside it"),
        (Closure, "`to_dict` must be in the types of JSON"),
        (ArrayInside, "`to_dict` must be in the types of JSON"),
        (SaysNothingOfLabels, "a rule that looks at labels must say so"),
        (Remembers, "labels of a location must not reach its own output"),
        (LearnsNothing, "labels must have an influence"),
        (ChangesItsInput, "must leave the outputs of three systems as they are"),
        (NamedLikeAnother, "`name` must stand for it, 'average' stands for Average"),
        (ReversesTheSystems, "must keep the systems of its sample in their order"),
        (Unnormalised, "rows of the output of three systems must sum to 1"),
    ],
)
def test_what_breaks_the_contract_is_named(rule, message):
    with pytest.raises(AssertionError, match=message):
        check_fusion(rule)
