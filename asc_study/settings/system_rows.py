"""The systems of a study file: deployable ones, made of its rows and ensembles and quantised.

A system is written as what it consists of. The ensembles that it needs (the selection of its members, their fusion)
become ensembles of the study like those that the file has; one that the file has already is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import did_you_mean, require_row_name, validate
from asc_study.settings.ensemble_rows import BudgetRow, EnsembleRow, MadeRow, checked, known_tasks, same_as

#: Ways to convert a network. ``dynamic``: weights in 8 bits, sums in float32 (the paper's); ``int8``: weights and
#: activations in 8 bits, whose ranges are measured on training clips.
Scheme = Literal["float32", "float16", "dynamic", "int8"]


class SystemRow(MadeRow):
    """One deployable system, made once for each seed of the study.

    Unlike in an `EnsembleRow`, members may be selected and fused in two stages at once, and one row alone will do.
    """

    what: ClassVar[str] = "system"

    scheme: Scheme = "dynamic"
    max_kb: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.select and self.select.method == "budget" and self.max_kb is None:
            raise ValueError(
                f"system {shown(self.name)} selects by `budget`, got no `max_kb`: say what its files may have together"
            )
        if not self.fine and not self.select:
            raise ValueError(
                f"system {shown(self.name)} needs at least 1 row under `fine`, got none: name "
                "some, or let `select` choose"
            )
        alone = len(self.fine) == 1 and not self.coarse
        if alone and (self.fusion, self.join, self.exponent) != ("average", "product", 1):
            raise ValueError(
                f"system {shown(self.name)} of one row fuses nothing, got {self.fusion}, {self.join}, {self.exponent}: "
                "leave `fusion`, `join` and `exponent` out, or name more rows"
            )
        return self

    @property
    def by_budget(self) -> bool:
        """Whether its members are chosen by the size of their files."""
        return self.select is not None and self.select.method == "budget"

    def steps(self) -> list[tuple[type[EnsembleRow], dict[str, Any]]]:
        """The ensembles that it needs, those that others are made of first, as a study file would have them."""
        fine, coarse = self.fine, self.coarse
        steps: list[tuple[type[EnsembleRow], dict[str, Any]]] = []
        if self.by_budget:
            fine, coarse = ([quantised_name(row, self.scheme) for row in rows] for rows in (fine, coarse))
        if self.select:
            name = step_names(self.name)[0]
            step: dict[str, Any] = {"name": name, "fine": fine, "fusion": self.fusion, "select": self.select}
            if self.by_budget:
                steps.append((BudgetRow, step | {"max_kb": self.max_kb, "beside": coarse}))
            else:
                steps.append((EnsembleRow, step))
            fine = [name]
        if coarse or len(fine) > 1:
            fusion = self.fusion if max(len(fine), len(coarse)) > 1 else "average"
            stages = {"coarse": coarse, "join": self.join, "exponent": self.exponent}
            name = step_names(self.name)[1]
            steps.append((EnsembleRow, {"name": name, "fine": fine, "fusion": fusion, **stages}))
        return steps


@dataclass(frozen=True)
class StudySystem:
    """A system as the study has it.

    Attributes
    ----------
    name
        Of the system.
    part
        The row or ensemble that says which networks it has, and how they are fused.
    scheme
        How its networks are quantised.
    max_kb
        What their files may have together, in units of 1,024 bytes; None: anything.
    candidates
        Rows that are quantised before its members are chosen.
    """

    name: str
    part: str
    scheme: Scheme
    max_kb: float | None = None
    candidates: tuple[str, ...] = ()

    @property
    def quantised(self) -> dict[str, str]:
        """Name of each candidate that is quantised -> its row."""
        return {quantised_name(row, self.scheme): row for row in self.candidates}


def step_names(system: str) -> tuple[str, str]:
    """The names of the ensembles that a system adds to a study: the selection of its members, and their fusion."""
    return f"{system}-selection", f"{system}-fusion"


def quantised_name(row: str, scheme: str) -> str:
    """The name of a row's quantised network."""
    return f"{row}-{scheme}"


def read_systems(
    raw: Sequence[Mapping[str, object]], tasks: Mapping[str, str], ensembles: Sequence[EnsembleRow], *, where: str
) -> tuple[list[StudySystem], list[EnsembleRow]]:
    """Validate the systems of a study file.

    Parameters
    ----------
    raw
        The section as the file gives it.
    tasks
        Row's name -> its task.
    ensembles
        Those that the file has.
    where
        What to call the file in an error.

    Returns
    -------
    (systems, ensembles)
        ``ensembles`` are all of the study: those of the file, then those that its systems need besides.

    Raises
    ------
    InputError
        If a setting is wrong, a name is taken, or a part is unknown or of the wrong task.
    """
    known = _Known(dict(tasks), list(ensembles), [])
    for number, settings in enumerate(raw, 1):
        row = validate(SystemRow, settings, where=f"{where}: system {number}")
        require_row_name(row.name, f"{where}: system {number}")
        known.add(row, f"{where}: system {shown(row.name)}")
    return known.systems, known.ensembles


@dataclass(frozen=True)
class _Known:
    """What a study has, as its systems are read: rows and quantised rows with their task, ensembles, systems."""

    tasks: dict[str, str]
    ensembles: list[EnsembleRow]
    systems: list[StudySystem]

    def add(self, row: SystemRow, here: str) -> None:
        candidates: tuple[str, ...] = ()
        if row.by_budget:
            row = self._candidates(row, here)
            candidates = (*row.fine, *row.coarse)
        renamed: dict[str, str] = {}
        for form, settings in row.steps():
            settings["fine"] = [renamed.get(name, name) for name in settings["fine"]]
            step = checked(validate(form, settings, where=here), self.tasks, self.ensembles, here)
            there = same_as(step, self.ensembles)
            renamed[step.name] = there.name if there else step.name
            if there is None:
                self._require_free(step.name, here)
                self.ensembles.append(step)
        part = list(renamed.values())[-1] if renamed else row.fine[0]
        known_tasks([part], self.tasks, self.ensembles, here)
        self._require_free(row.name, here)
        if any(row.name == quantised_name(name, row.scheme) for name in self.tasks):
            raise InputError(f"{here}: the name {shown(row.name)} is that of a row's quantised network: rename it")
        self.systems.append(StudySystem(row.name, part, row.scheme, row.max_kb, candidates))

    def _candidates(self, row: SystemRow, here: str) -> SystemRow:
        """A system that chooses by budget, with its candidates looked up and known under their quantised names too."""
        trained = [name for name in self.tasks if name not in self._quantised]
        fine = row.fine or [name for name in trained if self.tasks[name] == self.tasks[trained[0]]]
        for name in (*fine, *row.coarse):
            if name not in trained:
                raise InputError(
                    f"{here} chooses by `budget` among trained rows, got {shown(name)}: {did_you_mean(name, trained)}"
                )
            quantised = quantised_name(name, row.scheme)
            if quantised not in self._quantised:
                self._require_free(quantised, here)
            self.tasks[quantised] = self.tasks[name]
        return row.model_copy(update={"fine": fine})

    @property
    def _quantised(self) -> set[str]:
        return {name for system in self.systems for name in system.quantised}

    def _require_free(self, name: str, here: str) -> None:
        if name in (*self.tasks, *_names(self.ensembles), *_names(self.systems)):
            raise InputError(f"{here}: the name {shown(name)} is taken by another row: rename it")


def _names(rows: Sequence[EnsembleRow] | Sequence[StudySystem]) -> list[str]:
    return [row.name for row in rows]
