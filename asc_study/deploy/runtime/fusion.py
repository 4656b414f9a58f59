"""How the outputs of a system's networks become one: the fusion that its run logged, and those inside of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from asc_study.base.errors import InputError, shown
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.by_device import BY_DEVICE, ByDevice
from asc_study.ensemble.fuse import FUSIONS
from asc_study.ensemble.fusion_file import FusionFile, System
from asc_study.ensemble.two_stage import JOINS, TWO_STAGE

#: What may stand as ``rule``: one of somebody's own would have to be imported, and a bundle runs no code.
_RULES: Final = frozenset({*FUSIONS, *JOINS, TWO_STAGE, BY_DEVICE})

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

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that have networks of their own."""
        routed = (file.fusion for file in self.fusions.values() if isinstance(file.fusion, ByDevice))
        return tuple(sorted({device for fusion in routed for device in fusion.devices}))

    def running(self, device: str = "") -> frozenset[str]:
        """Keys of the networks that run for a clip of a device; all, unless a fusion in it is by device."""
        return frozenset(self._running(self.top, device))

    def most(self, each: Mapping[str, float]) -> float:
        """The sum over the networks that run for a clip, of what each has by key: for the device that has most."""
        return max(sum(each[key] for key in self.running(device)) for device in ("", *self.devices))

    def _running(self, key: str, device: str) -> list[str]:
        if key not in self.fusions:
            return [key]
        return [network for system in self._heard(key, device) for network in self._running(system.run_id, device)]

    def _heard(self, key: str, device: str) -> tuple[System, ...]:
        """The systems of a fusion that are heard of a clip of a device."""
        file = self.fusions[key]
        if not isinstance(file.fusion, ByDevice):
            return file.systems
        return tuple(system for system in file.systems if system.name == file.fusion.system_of(device))

    def apply(self, outputs: Mapping[str, Probabilities], devices: Sequence[str] = ()) -> Probabilities:
        """Fuse the outputs of networks, by key, for the same n clips: (n, classes of its task) -> (n, classes).

        Parameters
        ----------
        outputs
            Of the networks that run for these clips (`running`).
        devices
            Of the n clips, where they are known; of one that is not, the general network is heard.
        """
        if not devices or not self.devices:
            return self._apply(self.top, outputs, "")
        of_clip = np.asarray(devices)
        fused = np.empty((len(of_clip), len(self.classes)))
        for device in sorted(set(devices)):
            rows = of_clip == device
            heard = {key: outputs[key][rows] for key in self.running(device)}
            fused[rows] = self._apply(self.top, heard, device)
        return fused

    def _apply(self, key: str, outputs: Mapping[str, Probabilities], device: str) -> Probabilities:
        if key not in self.fusions:
            return outputs[key]
        file, heard = self.fusions[key], self._heard(key, device)
        inside = {system.name: self._apply(system.run_id, outputs, device) for system in heard}
        return next(iter(inside.values())) if isinstance(file.fusion, ByDevice) else file.apply(inside)

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
