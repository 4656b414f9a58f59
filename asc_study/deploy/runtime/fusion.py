"""How the outputs of a system's networks become one: the fusion that its run logged, and those inside of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asc_study.base.errors import InputError, shown
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.fuse import FUSIONS
from asc_study.ensemble.fusion_file import FusionFile
from asc_study.ensemble.two_stage import JOINS, TWO_STAGE

#: What may stand as ``rule``: one of somebody's own would have to be imported, and a bundle runs no code.
_RULES: Final = frozenset({*FUSIONS, *JOINS, TWO_STAGE})

#: Fusions inside of fusions at most.
_DEEPEST: Final = 20


@dataclass(frozen=True)
class FusionTree:
    """A fusion whose systems are networks, or fusions themselves.

    Attributes
    ----------
    top
        Key of the whole.
    fusions
        Key -> fusion. Its systems are referred to by their ``run_id``, which is the key of a network or of a fusion.
    """

    top: str
    fusions: Mapping[str, FusionFile]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the output."""
        return self.fusions[self.top].output_classes

    def networks(self) -> dict[str, str]:
        """Key of each network below -> its task, in the order of the fusions.

        Raises
        ------
        InputError
            If a fusion is missing or holds itself, or a system has other classes than it is said to have.
        """
        if self.top not in self.fusions:
            raise InputError(f"the fusion {shown(self.top)} must be among those of the bundle: build it again")
        return self._below(self.top, 0)

    def _below(self, key: str, depth: int) -> dict[str, str]:
        if depth > _DEEPEST:
            raise InputError(f"fusions may hold fusions {_DEEPEST} deep, got more: one holds itself")
        found: dict[str, str] = {}
        file = self.fusions[key]
        for system in file.systems:
            inner = self.fusions.get(system.run_id)
            if inner is None:
                found[system.run_id] = system.task
            elif inner.output_classes != file.classes[system.task]:
                raise InputError(f"{system.name!r} must have the classes of {system.task}, got {inner.output_classes}")
            else:
                found |= self._below(system.run_id, depth + 1)
        return found

    def apply(self, outputs: Mapping[str, Probabilities]) -> Probabilities:
        """Fuse the outputs of all networks, by key, for the same n clips: (n, classes of its task) -> (n, classes)."""
        return self._apply(self.top, outputs)

    def _apply(self, key: str, outputs: Mapping[str, Probabilities]) -> Probabilities:
        if key not in self.fusions:
            return outputs[key]
        file = self.fusions[key]
        return file.apply({system.name: self._apply(system.run_id, outputs) for system in file.systems})

    def to_dict(self) -> dict[str, Any]:
        """In the types of JSON."""
        return {"top": self.top, "fusions": {key: fusion.to_dict() for key, fusion in self.fusions.items()}}

    @staticmethod
    def from_dict(written: Mapping[str, Any]) -> "FusionTree":
        """What `to_dict` wrote.

        Raises
        ------
        InputError
            If a fusion is damaged, or has a rule that is not built in.
        """
        for rule in _rules_in(written["fusions"]):
            if rule not in _RULES:
                raise InputError(
                    f"a bundle is fused by {', '.join(sorted(_RULES))}, got {shown(rule)}: it runs no code"
                )
        fusions = {str(key): FusionFile.from_dict(raw) for key, raw in written["fusions"].items()}
        return FusionTree(str(written["top"]), fusions)


def require_built_in(file: FusionFile, name: str) -> None:
    """Raise `InputError` if a fusion has a rule of somebody's own, which a bundle cannot carry."""
    foreign = [rule for rule in _rules_in(file.to_dict()) if rule not in _RULES]
    if foreign:
        raise InputError(
            f"a bundle carries the fusion rules {', '.join(sorted(FUSIONS))}, got {foreign[0]!r} in {name!r}: fuse "
            "with one of them"
        )


def _rules_in(tree: Any) -> list[Any]:
    """Whatever stands as ``rule`` anywhere in a tree of JSON."""
    if isinstance(tree, list):
        return [rule for inner in tree for rule in _rules_in(inner)]
    if not isinstance(tree, Mapping):
        return []
    own = [tree["rule"]] if "rule" in tree else []
    return own + [rule for inner in tree.values() for rule in _rules_in(inner)]
