"""The teachers of a search: rows and ensembles that it trains itself, before its trials learn from them.

A trial is judged on clips that its training did not hear: those of the validation locations and, where devices are held
out, of a device. A teacher that heard them would tell its students of them. So a teacher has the base's cut of
validation, is trained anew for each fold without the devices that the fold holds out, learns from labels alone (from
the weights of another teacher of the fold, if it continues one), and is put together by a rule that looks at no labels,
for those that it would look at are the ones that decide. A system by device has no row of a held-out device: its
students have no clips of it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import did_you_mean
from asc_study.settings.ensemble_rows import EnsembleRow
from asc_study.settings.identity import signature
from asc_study.settings.run_config import RunConfig
from asc_study.settings.settings_file import merge
from asc_study.settings.study_file import Row, Study
from asc_study.study.teachers import identities
from asc_study.systems.rows import row_combinations

#: The row of the base in the study of the best settings, which teachers stand in too.
BASE: Final = "base"

#: Settings of a row -> the folds of a trial that has them: name of each, and its settings.
Folds = Callable[[RunConfig], Mapping[str, RunConfig]]


@dataclass(frozen=True)
class Teachers:
    """Those that trials may learn from: trained rows, whose ``settings`` are as in a file, and ensembles of them.

    ``stand_ins`` are, of those of a fold, the systems by device whose devices it holds out, and the general rows that
    they are without these.
    """

    rows: tuple[Row, ...] = ()
    ensembles: tuple[EnsembleRow, ...] = ()
    settings: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of all of them, rows first."""
        return [row.name for row in self.rows] + [row.name for row in self.ensembles]

    def require(self, config: RunConfig, where: str) -> None:
        """Raise `InputError` if settings need a row that is none of these; ``where`` begins the line."""
        require_own_weights(config, where)
        if config.distillation and config.distillation.teacher not in self.names:
            teacher = config.distillation.teacher
            known = did_you_mean(teacher, self.names) if self.names else "it has none, list them there"
            raise InputError(
                f"{where}`distillation.teacher` must be one of the `teachers` of the search, got {shown(teacher)}: "
                f"{known}"
            )

    def of(self, names: Collection[str]) -> "Teachers":
        """Those of the given names, and what they are made of."""
        needed = self.needed(names)
        return Teachers(
            tuple(row for row in self.rows if row.name in needed),
            tuple(row for row in self.ensembles if row.name in needed),
            {name: settings for name, settings in self.settings.items() if name in needed},
            self.stand_ins,
        )

    def needed(self, names: Collection[str]) -> set[str]:
        """What is trained or made for those of the given names."""
        needed = {self.stand_ins.get(name, name) for name in names}
        for ensemble in reversed(self.ensembles):  # an ensemble names only ensembles above it
            if ensemble.name in needed:
                needed.update(ensemble.parts)
        begun = {row.name: row.config.continues.row for row in self.rows if row.config.continues}
        for name in list(needed):
            while name := begun.get(name, ""):
                needed.add(name)
        return needed

    def combinations(self, digest: str) -> dict[str, str]:
        """Name -> combination (64 hex digits) on the data set of a digest; no device is held out."""
        known = identities(Study("", "", self.rows, (0,), "", "", ensembles=self.ensembles), digest)
        trained = {name: signature(identity) for name, identity in known.items()}
        return trained | row_combinations(self.ensembles, (), trained)

    def in_folds(self, folds: Folds) -> dict[str, "Teachers"]:
        """Fold -> those that are trained for it, under the same names, without the devices that it holds out."""
        configs = {row.name: folds(row.config) for row in self.rows}
        found = {}
        for fold in next(iter(configs.values()), {}):
            rows = [Row(row.name, _heard(configs[row.name][fold])) for row in self.rows]
            rows = [row for row in rows if row.config.training.devices != []]
            held_out = configs[self.rows[0].name][fold].validation.holdout_devices
            ensembles, stand_ins = _without_devices(self.ensembles, held_out)
            found[fold] = Teachers(tuple(rows), tuple(ensembles), self.settings, stand_ins)
        return found

    def study(self, name: str, folds: Folds, *, seed: int, figures: Any) -> Study:
        """The study that trains them: each once for each fold, without the devices that the fold holds out."""
        parts = self.in_folds(folds)
        trained = [
            (row.name, _row_of_fold(row, fold))
            for name in (row.name for row in self.rows)
            for fold, part in parts.items()
            for row in part.rows
            if row.name == name
        ]
        ensembles = [_of_fold(row, fold) for fold, part in parts.items() for row in part.ensembles]
        description = "The teachers of a search, without the devices that its trials hold out."
        content = {
            "study": name,
            "description": description,
            "rows": [
                {"name": row.name, **merge(self.settings[name], _settings_of_fold(row.config))} for name, row in trained
            ],
            "ensembles": [written(row) for row in ensembles],
            "seeds": [seed],
            "baseline": False,
        }
        return Study(
            name,
            description,
            tuple(row for _, row in trained),
            (seed,),
            figures,
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100),
            ensembles=tuple(ensembles),
        )


#: Of a search whose trials learn from labels alone.
NO_TEACHERS: Final = Teachers()


def without(name: str, fold: str) -> str:
    """What a training is called in which the devices of a fold are held out, if it holds any out."""
    return f"{name} without {fold}" if fold else name


def require_own_weights(config: RunConfig, where: str) -> None:
    """Raise `InputError` if a trial would begin with the weights of a row; ``where`` begins the line."""
    if config.continues:
        raise InputError(
            f"{where}the trials of a search begin with weights of their own, got continues.row "
            f"{shown(config.continues.row)}: compare its settings in the grid of a study"
        )


def _heard(config: RunConfig) -> RunConfig:
    """The settings of a row without the devices that are held out; ``training.devices`` is empty if none is left."""
    if config.training.devices is None:
        return config
    left = [device for device in config.training.devices if device not in config.validation.holdout_devices]
    return config.model_copy(update={"training": config.training.model_copy(update={"devices": left})})


def _without_devices(
    rows: Sequence[EnsembleRow], held_out: Collection[str]
) -> tuple[list[EnsembleRow], dict[str, str]]:
    """Ensembles without devices, and those that are the row of their general one without them."""
    left: list[EnsembleRow] = []
    stand_ins: dict[str, str] = {}
    for row in rows:  # an ensemble names only ensembles above it
        fine = [stand_ins.get(part, part) for part in row.fine]
        if not row.devices:
            left.append(row.model_copy(update={"fine": fine}))
            continue
        general = fine[0]
        devices = {device: fine[place] for device, place in row.routes.items() if device not in held_out}
        devices = {device: part for device, part in devices.items() if part != general}
        if devices:
            parts = list(dict.fromkeys([general, *devices.values()]))
            left.append(row.model_copy(update={"general": general, "devices": devices, "fine": parts}))
        else:
            stand_ins[row.name] = general
    return left, stand_ins


def _row_of_fold(row: Row, fold: str) -> Row:
    config, begun = row.config, row.config.continues
    if begun:
        begun = begun.model_copy(update={"row": without(begun.row, fold)})
        config = config.model_copy(update={"continues": begun})
    return Row(without(row.name, fold), config)


def _settings_of_fold(config: RunConfig) -> dict[str, Any]:
    """What the settings of a row of a fold have of its own, as in a file."""
    own: dict[str, Any] = {"validation": config.validation.model_dump()}
    if config.training.devices:
        own["training"] = {"devices": config.training.devices}
    return own | ({"continues": config.continues.model_dump()} if config.continues else {})


def _of_fold(row: EnsembleRow, fold: str) -> EnsembleRow:
    changed: dict[str, Any] = {"name": without(row.name, fold), "fine": [without(part, fold) for part in row.fine]}
    if row.devices:
        changed["general"] = changed["fine"][0]
        changed["devices"] = {device: without(part, fold) for device, part in row.devices.items()}
    return row.model_copy(update=changed)


def written(row: EnsembleRow) -> dict[str, Any]:
    """An ensemble as a study file lists it."""
    if row.devices:
        return {"name": row.name, "general": row.general, "devices": dict(row.devices)}
    return {"name": row.name, "fine": list(row.fine), "fusion": row.fusion}
