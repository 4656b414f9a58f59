"""``fusion.json``: all that rebuilds a fusion from the outputs of its systems. NumPy is enough to read and apply it.

Every run made of a fusion (kinds ``ensemble`` and ``fusion``) logs one. The format, version 1; numbers are float64,
written so that they are read back unchanged::

    {
      "format": "asc-study fusion",
      "version": 1,
      "basis": "validation",            which labels it, or a system that is one of these itself, was fitted on: "fixed"
                                        (none), "validation", or "cross-fitted" (all test clips; the figures of the run
                                        are those of rules fitted fold by fold)
      "classes": {"ten_class": [...]},  task -> its classes: the order of the columns of a system of that task
      "systems": [                      in the order of the arrays; those of the first task before the others
        {"name": "fcnn seed 0",         by which the fusion below refers to it; unique
         "task": "ten_class",
         "kind": "train",               of the run: an "ensemble" or "fusion" has a fusion.json of its own
         "run_id": "...", "signature": "..."}
      ],
      "fusion": {"rule": "weighted", "systems": ["fcnn seed 0", ...], "weights": [0.25, ...]}
    }

``fusion`` is a fitted rule of one task, which has its ``systems`` and, by ``rule``,

- ``average``: nothing more;
- ``weighted``: ``weights``, one a system;
- ``product``: ``floor``, what a probability counts as at least;
- ``logistic``: ``model``, see `asc_study.ensemble.logistic.LogisticModel`;
- of a package of one's own, ``module:class``: its fields;

or of two stages: ``{"rule": "two_stage", "fine": a fitted rule, "coarse": a fitted rule, "join": ...}`` with the joins
``{"rule": "product", "exponent": 1.0, "group_columns": [...]}`` (the coarse column of each fine class) and
``{"rule": "learned", "model": ...}``; or by device: ``{"rule": "by_device", "systems": [...], "routes": [{"device":
"a", "system": "..."}, ...]}``, of each clip the output of its device's system, else that of the first. The output has
the classes of the first system's task, and rows that sum to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np

from asc_study.base.contract import Artifact
from asc_study.base.errors import InputError, shown
from asc_study.base.plain import from_plain, to_plain
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.by_device import BY_DEVICE, ByDevice
from asc_study.ensemble.fuse import read_rule
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.two_stage import TWO_STAGE, FittedTwoStage

FORMAT: Final = "asc-study fusion"
VERSION: Final = 1

_BASES: Final = ("fixed", "validation", "cross-fitted")


@dataclass(frozen=True)
class System:
    """A system that is fused: the run that holds it, and what the fusion calls it."""

    name: str
    task: str
    kind: str
    run_id: str
    signature: str


@dataclass(frozen=True)
class FusionFile:
    """What the file holds; see the module.

    Attributes
    ----------
    basis
        Which labels had a part in it.
    classes
        Task -> its classes.
    systems
        The systems, the ten-class ones of two stages first.
    fusion
        The fitted rule.
    """

    basis: Literal["fixed", "validation", "cross-fitted"]
    classes: Mapping[str, tuple[str, ...]]
    systems: tuple[System, ...]
    fusion: FusionRule | FittedTwoStage

    def __post_init__(self) -> None:
        stages = self._stages
        names = [name for stage in stages for name in stage.systems]
        if names != [system.name for system in self.systems]:
            raise InputError(
                f"{Artifact.FUSION} must list the systems that are fused, {', '.join(names)}, got "
                f"{', '.join(system.name for system in self.systems)}: it is damaged"
            )
        tasks = [list(dict.fromkeys(system.task for system in self._of(stage))) for stage in stages]
        if any(len(found) > 1 or found[0] not in self.classes for found in tasks):
            raise InputError(
                f"{Artifact.FUSION} must have the systems of a stage of one task, whose classes it lists, got "
                f"{'; '.join(', '.join(found) for found in tasks)} and the classes of {', '.join(self.classes)}: it is "
                "damaged"
            )

    @property
    def _stages(self) -> tuple[FusionRule, ...]:
        return (self.fusion,) if isinstance(self.fusion, FusionRule) else (self.fusion.fine, self.fusion.coarse)

    def _of(self, stage: FusionRule) -> list[System]:
        return [system for system in self.systems if system.name in stage.systems]

    @property
    def output_classes(self) -> tuple[str, ...]:
        """The classes of the output's columns."""
        return self.classes[self.systems[0].task]

    def apply(self, outputs: Mapping[str, Probabilities], devices: Sequence[str] | None = None) -> Probabilities:
        """Fuse the outputs of the systems for the same n clips.

        Parameters
        ----------
        outputs
            System's name -> (n, classes of its task) probabilities; rows sum to 1.
        devices
            Of the n clips, where they are known: a system by device goes by them.

        Returns
        -------
        (n, output_classes)
            Rows sum to 1.

        Raises
        ------
        InputError
            If a system's output is missing or of another shape.
        """
        shapes = {system.name: np.shape(outputs.get(system.name, ())) for system in self.systems}
        clips = next(iter(shapes.values()))[:1]
        for system in self.systems:
            expected = (*clips, len(self.classes[system.task]))
            if shapes[system.name] != expected or not clips:
                raise InputError(
                    f"a fusion needs of each system the probabilities of the same clips, got {shapes[system.name]} of "
                    f"{system.name!r} in place of {expected or '(clips, classes)'}: give those of {system.task}"
                )
        stacks = [np.stack([np.asarray(outputs[name], np.float64) for name in stage.systems]) for stage in self._stages]
        if isinstance(self.fusion, ByDevice):
            return self.fusion.apply(stacks[0], devices)
        return self.fusion.apply(*stacks)

    def to_dict(self) -> dict[str, Any]:
        """All of it, in the types of JSON."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "basis": self.basis,
            "classes": {task: list(names) for task, names in self.classes.items()},
            "systems": to_plain(self.systems),
            "fusion": self.fusion.to_dict(),
        }

    @classmethod
    def from_dict(cls, raw: Any, where: str = Artifact.FUSION) -> Self:
        """What `to_dict` gave.

        Raises
        ------
        InputError
            If it is something else, of a later version, or damaged; ``where`` is what the file is called then.
        """
        if not isinstance(raw, Mapping) or raw.get("format") != FORMAT:
            raise InputError(f"{where} must be a mapping with the format {FORMAT!r}, got {shown(raw)}: name another")
        if raw.get("version") != VERSION:
            raise InputError(
                f"{where} must be of version {VERSION}, got {shown(raw.get('version'))}: use the version of asc-study "
                "that wrote it"
            )
        keys = ("format", "version", "basis", "classes", "systems", "fusion")
        if set(raw) != set(keys) or raw["basis"] not in _BASES or not isinstance(raw["classes"], Mapping):
            raise InputError(
                f"{where} must hold {', '.join(keys)}, with a basis of {', '.join(_BASES)} and the classes by task, "
                f"got {', '.join(map(str, raw))} and the basis {shown(raw.get('basis'))}: it is damaged"
            )
        classes = {
            str(task): from_plain(tuple[str, ...], names, f"{where}: classes.{task}")
            for task, names in raw["classes"].items()
        }
        systems = from_plain(tuple[System, ...], raw["systems"], f"{where}: systems")
        fusion, place = raw["fusion"], f"{where}: fusion"
        if isinstance(fusion, Mapping) and fusion.get("rule") == TWO_STAGE:
            return cls(raw["basis"], classes, systems, FittedTwoStage.from_dict(fusion, place))
        if isinstance(fusion, Mapping) and fusion.get("rule") == BY_DEVICE:
            return cls(raw["basis"], classes, systems, ByDevice.from_dict(fusion, place))
        return cls(raw["basis"], classes, systems, read_rule(fusion, place))
