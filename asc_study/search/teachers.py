"""The teachers of a search: rows and ensembles that it trains itself, before its trials learn from them.

A trial is judged on clips that its training did not hear: those of the validation locations and, where devices are held
out, of a device. A teacher that heard them would tell its students of them. So a teacher has the base's cut of
validation, is trained anew for each fold without the devices that the fold holds out, learns from labels alone, and is
put together by a rule that looks at no labels, for those that it would look at are the ones that decide.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from asc_study.base.errors import InputError, shown
from asc_study.base.plugins import looking_beside
from asc_study.base.schema import Strict, did_you_mean, require_row_name
from asc_study.ensemble.fuse import find_fusion
from asc_study.settings.ensemble_rows import EnsembleRow, read_ensembles
from asc_study.settings.identity import run_identity, signature
from asc_study.settings.run_config import RunConfig, resolve
from asc_study.settings.settings_file import merge
from asc_study.settings.study_file import BASELINE, Row, Study
from asc_study.systems.rows import row_combinations

#: The row of the base in the study of the best settings, which teachers stand in too.
BASE: Final = "base"

#: What a teacher has in common with those that it teaches, beside the whole of `validation`.
_SHARED: Final = ("data", "subset", "threads")

#: Settings of a row -> the folds of a trial that has them: name of each, and its settings.
Folds = Callable[[RunConfig], Mapping[str, RunConfig]]


class TeachersSection(Strict):
    """The ``teachers`` of a search file: rows on top of its base, and ensembles of them."""

    rows: list[dict[str, Any]] = []
    ensembles: list[dict[str, Any]] = []


@dataclass(frozen=True)
class Teachers:
    """Those that trials may learn from: trained rows, whose ``settings`` are as in a file, and ensembles of them."""

    rows: tuple[Row, ...] = ()
    ensembles: tuple[EnsembleRow, ...] = ()
    settings: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of all of them, rows first."""
        return [row.name for row in self.rows] + [row.name for row in self.ensembles]

    def require(self, config: RunConfig, where: str) -> None:
        """Raise `InputError` if settings need a row that is none of these; ``where`` begins the line."""
        if config.continues:
            raise InputError(
                f"{where}a search has no rows that could be continued, got continues.row "
                f"{shown(config.continues.row)}: compare its settings in the grid of a study"
            )
        if config.distillation and config.distillation.teacher not in self.names:
            teacher = config.distillation.teacher
            known = did_you_mean(teacher, self.names) if self.names else "it has none, list them there"
            raise InputError(
                f"{where}`distillation.teacher` must be one of the `teachers` of the search, got {shown(teacher)}: "
                f"{known}"
            )

    def of(self, names: Collection[str]) -> "Teachers":
        """Those of the given names, and what they are made of."""
        needed = set(names)
        for ensemble in reversed(self.ensembles):  # an ensemble names only ensembles above it
            if ensemble.name in needed:
                needed.update(ensemble.fine)
        return Teachers(
            tuple(row for row in self.rows if row.name in needed),
            tuple(row for row in self.ensembles if row.name in needed),
            {name: settings for name, settings in self.settings.items() if name in needed},
        )

    def combinations(self, digest: str) -> dict[str, str]:
        """Name -> combination (64 hex digits) on the data set of a digest; no device is held out."""
        trained = {row.name: signature(run_identity(row.config, digest)) for row in self.rows}
        return trained | row_combinations(self.ensembles, (), trained)

    def study(self, name: str, folds: Folds, *, seed: int, figures: Any) -> Study:
        """The study that trains them: each once for each fold, without the devices that the fold holds out."""
        trained = [(row, fold, config) for row in self.rows for fold, config in folds(row.config).items()]
        names = list(dict.fromkeys(fold for _, fold, _ in trained))
        ensembles = [_of_fold(row, fold) for fold in names for row in self.ensembles]
        description = "The teachers of a search, without the devices that its trials hold out."
        content = {
            "study": name,
            "description": description,
            "rows": [
                {
                    "name": without(row.name, fold),
                    **merge(self.settings[row.name], {"validation": config.validation.model_dump()}),
                }
                for row, fold, config in trained
            ],
            "ensembles": [written(row) for row in ensembles],
            "seeds": [seed],
            "baseline": False,
        }
        return Study(
            name,
            description,
            tuple(Row(without(row.name, fold), config) for row, fold, config in trained),
            (seed,),
            figures,
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100),
            ensembles=tuple(ensembles),
        )


#: Of a search whose trials learn from labels alone.
NO_TEACHERS: Final = Teachers()


def read_teachers(
    section: TeachersSection,
    base: RunConfig,
    settings: Callable[[Mapping[str, Any]], dict[str, Any]],
    *,
    where: str,
    folder: Path,
) -> Teachers:
    """Read the ``teachers`` of a search file.

    Parameters
    ----------
    section
        The section as the file gives it.
    base
        The settings of the search's base.
    settings
        What a row that sets these on top of the base is, profile and command line included.
    where, folder
        What to call the file in an error, and its folder.

    Raises
    ------
    InputError
        One line, if a row or an ensemble is wrong, or could tell its students of clips that they are judged on.
    """
    rows: dict[str, Row] = {}
    full: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(section.rows, 1):
        own = merge({}, row, where=where)
        name = require_row_name(own.pop("name", None), f"{where}: row {number} of `teachers`")
        here = f"{where}: teacher {shown(name)}"
        if name in rows or name in (BASE, BASELINE):
            raise InputError(f"{here}: the name is taken by another row: rename it")
        for key in ("distillation", "continues"):
            if own.get(key) is not None:
                raise InputError(f"{here} must learn from labels alone, got `{key}`: remove it")
        full[name] = {**settings(own), "distillation": None}
        rows[name] = Row(name, resolve(full[name], where=here, folder=folder))
        _require_alike(rows[name].config, base, here)
    tasks = {row.name: row.config.task for row in rows.values()}
    ensembles = read_ensembles(section.ensembles, tasks, where=f"{where}: teachers") if rows else []
    if section.ensembles and not rows:
        raise InputError(f"{where}: `teachers.ensembles` needs `teachers.rows` to be made of, got none: list some")
    for ensemble in ensembles:
        _require_unlearned(ensemble, f"{where}: teacher {shown(ensemble.name)}", folder)
    return Teachers(tuple(rows.values()), tuple(ensembles), full)


def without(name: str, fold: str) -> str:
    """What a training is called in which the devices of a fold are held out, if it holds any out."""
    return f"{name} without {fold}" if fold else name


def require_used(teachers: Teachers, named: Collection[str], where: str) -> None:
    """Raise `InputError` if there are teachers that nobody learns from; ``named`` are those that some point names."""
    used = teachers.of(named).names
    for name in teachers.names:
        if name not in used:
            raise InputError(
                f"{where}: no point of the space learns from the teacher {shown(name)}: name it as "
                "`distillation.teacher`, or remove it"
            )


def _require_alike(config: RunConfig, base: RunConfig, here: str) -> None:
    """Raise `InputError` unless a teacher is of the task, the clips and the cut of validation of the base."""
    pairs: list[tuple[str, Any, Any]] = [("task", config.task, base.task)]
    own, theirs = config.validation.model_dump(), base.validation.model_dump()
    pairs += [(f"validation.{key}", own[key], theirs[key]) for key in own]
    pairs += [(f"training.{key}", getattr(config.training, key), getattr(base.training, key)) for key in _SHARED]
    for key, got, wanted in pairs:
        if got != wanted:
            raise InputError(
                f"{here} must have the base's `{key}`, {shown(wanted)}, got {shown(got)}: remove it; a teacher must "
                "not hear what its students are judged on"
            )


def _require_unlearned(row: EnsembleRow, here: str, folder: Path) -> None:
    """Raise `InputError` if an ensemble looks at labels: those of the validation clips, held-out devices too."""
    if row.select:
        raise InputError(
            f"{here} must not be selected by the clips that its students are judged on, got `select`: name its rows "
            "under `fine`"
        )
    if row.devices:
        raise InputError(
            f"{here} must hear a held-out device as any other, got a system by device: name its rows under `fine`"
        )
    with looking_beside(folder):
        learns = find_fusion(row.fusion).learns
    if learns:
        raise InputError(
            f"{here} must not be fitted to the clips that its students are judged on, got fusion {row.fusion}: use "
            "average or product"
        )


def _of_fold(row: EnsembleRow, fold: str) -> EnsembleRow:
    return row.model_copy(update={"name": without(row.name, fold), "fine": [without(part, fold) for part in row.fine]})


def written(row: EnsembleRow) -> dict[str, Any]:
    """An ensemble as a study file lists it."""
    return {"name": row.name, "fine": list(row.fine), "fusion": row.fusion}
