"""The ``teachers`` of a search file: read, and refused if they could tell their students what these are judged on."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from asc_study.base.errors import InputError, shown
from asc_study.base.plugins import looking_beside
from asc_study.base.schema import Strict, require_row_name
from asc_study.ensemble.fuse import find_fusion
from asc_study.search.teachers import BASE, Folds, Teachers, require_own_weights, without
from asc_study.settings.ensemble_rows import EnsembleRow, read_ensembles
from asc_study.settings.needs import depths, require_networks
from asc_study.settings.run_config import RunConfig, resolve
from asc_study.settings.settings_file import merge
from asc_study.settings.study_file import BASELINE, Row

#: What a teacher has in common with those that it teaches, beside the whole of `validation`.
_SHARED: Final = ("data", "subset", "threads")


class TeachersSection(Strict):
    """The ``teachers`` of a search file: rows on top of its base, and ensembles of them."""

    rows: list[dict[str, Any]] = []
    ensembles: list[dict[str, Any]] = []


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
    require_own_weights(base, f"{where}: base: ")
    rows: dict[str, Row] = {}
    full: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(section.rows, 1):
        own = merge({}, row, where=where)
        name = require_row_name(own.pop("name", None), f"{where}: row {number} of `teachers`")
        here = f"{where}: teacher {shown(name)}"
        if name in rows or name in (BASE, BASELINE):
            raise InputError(f"{here}: the name is taken by another row: rename it")
        if own.get("distillation") is not None:
            raise InputError(f"{here} must learn from labels alone, got `distillation`: remove it")
        full[name] = {**settings(own), "distillation": None}
        rows[name] = Row(name, resolve(full[name], where=here, folder=folder))
        _require_alike(rows[name].config, base, here)
    tasks = {row.name: row.config.task for row in rows.values()}
    ensembles = read_ensembles(section.ensembles, tasks, where=f"{where}: teachers") if rows else []
    if section.ensembles and not rows:
        raise InputError(f"{where}: `teachers.ensembles` needs `teachers.rows` to be made of, got none: list some")
    for ensemble in ensembles:
        _require_unlearned(ensemble, f"{where}: teacher {shown(ensemble.name)}", folder)
    needs = {row.name: row.config.needs for row in rows.values() if row.config.needs}
    depths(needs, tasks, {row.name: row.parts for row in ensembles}, where=f"{where}: teachers")
    require_networks({row.name: row.config for row in rows.values()}, where=f"{where}: teachers")
    return Teachers(tuple(rows.values()), tuple(ensembles), full)


def require_used(teachers: Teachers, named: Collection[str], where: str) -> None:
    """Raise `InputError` if there are teachers that nobody learns from; ``named`` are those that some point names."""
    used = teachers.of(named).names
    for name in teachers.names:
        if name not in used:
            raise InputError(
                f"{where}: no point of the space learns from the teacher {shown(name)}: name it as "
                "`distillation.teacher`, or remove it"
            )


def require_heard(teachers: Teachers, named: Collection[str], folds: Folds, where: str) -> None:
    """Raise `InputError` if a fold holds out all that one of the ``named`` teachers, or a part of it, is trained on."""
    for fold, part in teachers.in_folds(folds).items():
        for name in sorted(part.needed(set(named)).difference(part.names)):
            raise InputError(
                f"{where}: teacher {shown(name)} must be trained on more devices than the search holds out, got "
                f"{without('none left', fold)}: list it under `devices` of a system by device alone, or hold out "
                "another device"
            )
        for row in part.ensembles:
            if len(set(row.fine)) < len(row.fine):
                raise InputError(
                    f"{where}: teacher {shown(row.name)} must be of {without('different rows', fold)}, got "
                    f"{shown(row.fine)}, as a system by device is its general row there: name one of them"
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
    with looking_beside(folder):
        learns = find_fusion(row.fusion).learns
    if learns:
        raise InputError(
            f"{here} must not be fitted to the clips that its students are judged on, got fusion {row.fusion}: use "
            "average or product"
        )
