"""The ``ensembles`` of a study file: rows that are made of other rows' predictions instead of training."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from asc_study.base.errors import InputError, shown
from asc_study.base.metric_table import DEFAULT_OBJECTIVE, require_objective
from asc_study.base.schema import Strict, did_you_mean, require_row_name, validate
from asc_study.base.taxonomy import known_devices, label_column


class SelectOptions(Strict):
    """How members are chosen among the ``fine`` rows; see `asc_study.ensemble.select.select`.

    ``budget`` is for systems: the best of all sets of quantised rows whose files fit, `asc_study.ensemble.budget`.
    """

    method: Literal["overlap", "greedy", "exhaustive", "caruana", "budget"] = "overlap"
    max_members: int = Field(5, ge=1)
    max_overlap: float | None = Field(None, gt=0, le=1)
    objective: str = DEFAULT_OBJECTIVE

    @model_validator(mode="after")
    def _check_objective(self) -> Self:
        require_objective(self.objective)
        return self


class MadeRow(Strict):
    """What an ensemble and a system have in common: whose outputs are put together, and how.

    ``what`` is what an error calls it.
    """

    what: ClassVar[str]

    name: str
    fine: list[str] = []
    coarse: list[str] = []
    fusion: str = "average"
    join: Literal["product", "learned"] = "product"
    exponent: float | str = 1.0
    select: SelectOptions | None = None

    @model_validator(mode="after")
    def _check_fusion(self) -> Self:
        if self.exponent != "fit" and (isinstance(self.exponent, str) or not 0 <= self.exponent <= 100):
            raise ValueError(
                f"`exponent` must be a number in [0, 100] or fit, got {shown(self.exponent)}: 1 is the paper's"
            )
        parts = [*self.fine, *self.coarse]
        if len(set(parts)) < len(parts):
            raise ValueError(
                f"{self.what} {shown(self.name)} must name each row once, got {shown(parts)}: leave the repeats out"
            )
        return self


class EnsembleRow(MadeRow):
    """One ensemble, made once for each seed of the study.

    ``fine`` names rows, or ensembles above it; without them, ``select`` chooses among all rows of the task of the
    study's first row. With ``coarse`` (three-class rows) it is a two-stage fusion. Whether there is a rule of the name
    ``fusion`` is found out by `asc_study.study.preflight`: rules are of a later stage.

    With ``general`` and ``devices`` it is a system by device: a clip is heard by the row of its device, or, if that has
    none, by the general one. These are its ``fine`` rows when it has been looked up, the general one first.
    """

    what: ClassVar[str] = "ensemble"

    general: str | None = None
    devices: dict[str, str] = {}

    @property
    def parts(self) -> list[str]:
        """The names of all that must be there before it is made."""
        return [*self.fine, *self.coarse]

    @property
    def routes(self) -> dict[str, int]:
        """Device -> place of its row among the ``fine`` ones of a system by device."""
        return {device: self.fine.index(row) for device, row in sorted(self.devices.items())}

    @model_validator(mode="after")
    def _check_devices(self) -> Self:
        here = f"ensemble {shown(self.name)}"
        if (self.general is None) == bool(self.devices):
            raise ValueError(
                f"{here} by device needs `general` and at least one of `devices`, got {shown(self.general)} and "
                f"{shown(self.devices)}: write general: ROW and devices: {{a: ROW}}"
            )
        for device, row in self.devices.items():
            if device not in known_devices():
                raise ValueError(f"{here}: unknown device {shown(device)}: {did_you_mean(device, [*known_devices()])}")
            if row == self.general:
                raise ValueError(f"{here} hears {shown(device)} by {shown(row)} anyway: leave it out of `devices`")
        if self.devices and (self.fine or self.coarse or self.select or self.fusion != "average"):
            raise ValueError(
                f"{here} is fused or by device, got `devices` beside `fine`, `coarse`, `select` or `fusion`: leave "
                "these out, and name it under `fine` of another ensemble"
            )
        return self

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.devices:
            return self
        if self.select and self.select.method == "budget" and not isinstance(self, BudgetRow):
            raise ValueError(
                f"ensemble {shown(self.name)} cannot select by `budget`, its rows have no files: that is for `systems`"
            )
        if self.select and self.coarse:
            raise ValueError(
                f"ensemble {shown(self.name)} must either select members or fuse two stages, got both: select in one "
                "ensemble and name it under `fine` of the next"
            )
        if not self.coarse and (self.join != "product" or self.exponent != 1):
            raise ValueError(
                f"ensemble {shown(self.name)}: `join` and `exponent` are for two stages, got {self.join}, "
                f"{self.exponent} without `coarse`: leave them out, or name three-class rows"
            )
        if self.select and len(self.fine) == 1:
            raise ValueError(
                f"ensemble {shown(self.name)} selects among at least 2 rows, got {shown(self.fine)}: name more or none"
            )
        if not self.select and len(self.fine) < (1 if self.coarse else 2):
            raise ValueError(
                f"ensemble {shown(self.name)} needs at least {'1 row' if self.coarse else '2 rows'} under `fine`, got "
                f"{shown(self.fine)}: name more, or let `select` choose"
            )
        return self


class BudgetRow(EnsembleRow):
    """The selection of a system among quantised rows, by a budget; no study file names it.

    ``max_kb`` is what the files of its members may have together with those of ``beside``, in units of 1,024 bytes.
    """

    max_kb: float
    beside: list[str] = []

    @property
    def parts(self) -> list[str]:
        """The names of all that must be there before it is made."""
        return [*self.fine, *self.beside]


def read_ensembles(raw: Sequence[Mapping[str, object]], tasks: Mapping[str, str], *, where: str) -> list[EnsembleRow]:
    """Validate the ensembles of a study file.

    Parameters
    ----------
    raw
        The section as the file gives it.
    tasks
        Row's name -> its task.
    where
        What to call the file in an error.

    Raises
    ------
    InputError
        If a setting is wrong, a name is taken, or a part is unknown or of the wrong task.
    """
    ensembles: list[EnsembleRow] = []
    for number, settings in enumerate(raw, 1):
        row = validate(EnsembleRow, settings, where=f"{where}: ensemble {number}")
        here = f"{where}: ensemble {shown(row.name)}"
        require_row_name(row.name, f"{where}: ensemble {number}")
        if row.name in tasks or any(row.name == other.name for other in ensembles):
            raise InputError(f"{here}: the name is taken by another row: rename it")
        row = checked(row, tasks, ensembles, here)
        if same := same_as(row, ensembles):
            raise InputError(f"{here} is the same as {shown(same.name)}: remove one, or change a setting")
        ensembles.append(row)
    return ensembles


def checked(row: EnsembleRow, tasks: Mapping[str, str], ensembles: Sequence[EnsembleRow], here: str) -> EnsembleRow:
    """An ensemble with its parts looked up; one that names none has all rows of the task of the first.

    Parameters
    ----------
    row
        The ensemble.
    tasks
        Row's name -> its task.
    ensembles
        Those above it, looked up.
    here
        What to call it in an error.

    Raises
    ------
    InputError
        If a part is unknown or of the wrong task.
    """
    if row.general is not None:
        by_device = (row.devices[device] for device in sorted(row.devices))
        row = row.model_copy(update={"fine": list(dict.fromkeys([row.general, *by_device]))})
    known = known_tasks([*row.fine, *row.coarse], tasks, ensembles, here)
    of_fine = {known[part] for part in row.fine} or {next(iter(tasks.values()))}
    if len(of_fine) > 1 or any(label_column(known[part]) != "scene_group" for part in row.coarse):
        raise InputError(
            f"{here}: `fine` takes rows of one task and `coarse` three-class rows (of groups), got "
            f"{ {part: known[part] for part in (*row.fine, *row.coarse)} }: correct the names"
        )
    if row.coarse and label_column(*of_fine) != "scene":
        raise InputError(f"{here}: the `fine` rows of two-stage fusion are ten-class ones (of scenes), got {row.fine}")
    everything = [name for name in tasks if {tasks[name]} == of_fine]
    return row if row.fine else row.model_copy(update={"fine": everything})


def known_tasks(
    parts: Sequence[str], tasks: Mapping[str, str], ensembles: Sequence[EnsembleRow], here: str
) -> dict[str, str]:
    """The task of every row and ensemble by name; raises `InputError` if one of ``parts`` is none of them."""
    known = dict(tasks)
    for other in ensembles:
        known[other.name] = known[other.fine[0]]
    for part in parts:
        if part not in known:
            raise InputError(f"{here} names the unknown row {shown(part)}: {did_you_mean(part, known)}")
    return known


def same_as(row: EnsembleRow, ensembles: Sequence[EnsembleRow]) -> EnsembleRow | None:
    """The one of other ensembles that is the same but for its name."""
    return next((other for other in ensembles if other.model_copy(update={"name": row.name}) == row), None)
