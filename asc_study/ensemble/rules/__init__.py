"""The contract of a fusion rule: several systems of one task become one.

A rule is a frozen dataclass. Its class is fitted, by `FusionRule.fit`; an instance is what came of that: the systems it
is for, in their order, and as plain numbers all that was learned. So a fitted rule can be written down
(`FusionRule.to_dict`, the ``fusion.json`` of `asc_study.ensemble.fusion_file`), read back, and applied to new clips.

A new rule is one file here and its line in `asc_study.ensemble.fuse.FUSIONS`. It is applied with NumPy alone, which is
all that a deployed system has: what only fitting needs (labels, scikit-learn) is imported inside of ``fit``. Its
contract is checked by `asc_study.testing.check_fusion`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from asc_study.base.errors import InputError
from asc_study.base.plain import from_plain, to_plain
from asc_study.ensemble.arrays import Probabilities

if TYPE_CHECKING:
    from asc_study.ensemble.stack import Stack


@dataclass(frozen=True)
class FusionRule:
    """Base of the fusion rules.

    Attributes
    ----------
    systems
        The names of the m systems that it is fitted for, in the order of the arrays that it is applied to.
    """

    #: What users and ``fusion.json`` call it; of one that is not built in, ``module:class``, where it is found again.
    name: ClassVar[str]

    #: Whether `fit` looks at labels.
    learns: ClassVar[bool] = False

    #: Whether it learns something of each class, so that a class it was not fitted on is lost.
    by_class: ClassVar[bool] = False

    systems: tuple[str, ...]

    def __init_subclass__(cls) -> None:
        if "name" not in cls.__dict__:
            cls.name = f"{cls.__module__}:{cls.__qualname__}"

    def __post_init__(self) -> None:
        if not self.systems or len(set(self.systems)) < len(self.systems):
            raise InputError(f"a fusion needs systems of different names, got {list(self.systems)}: it is damaged")

    @classmethod
    def fit(cls, sample: "Stack") -> Self:
        """Fit the rule; one that does not learn takes the systems' names alone."""
        return cls(sample.names)

    def apply(self, probabilities: Probabilities) -> Probabilities:
        """Fuse the outputs of the systems: each clip for itself, whatever the other clips.

        Parameters
        ----------
        probabilities
            (m, n, c), in the order of ``systems``; rows sum to 1.

        Returns
        -------
        (n, c)
            Rows sum to 1.
        """
        raise NotImplementedError

    def combine(self, sample: "Stack") -> Probabilities:
        """Fuse its systems among those of a stack, (n, c)."""
        return self.apply(sample.only(self.systems).probabilities)

    @property
    def learned(self) -> Mapping[str, Any]:
        """What was learned, for people: few numbers with names, in the types of JSON."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """All of it, in the types of JSON: its ``rule``, and its fields."""
        return {"rule": self.name, **to_plain(self)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: str = "fusion") -> Self:
        """What `to_dict` was given of.

        Raises
        ------
        InputError
            If something is missing, not known or of another type; ``where`` is what it is called then.
        """
        read: Self = from_plain(cls, {key: value for key, value in raw.items() if key != "rule"}, where)
        return read
