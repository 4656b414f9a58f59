"""Search files: YAML in, a checked `Search` out.

A search tries points of a ``space`` on top of a ``base`` combination. A trial trains once for each held-out device in
turn (or once), at a lower ``fidelity`` if wanted; what is best becomes a study at full fidelity. Its ``teachers`` are
trained first, see `asc_study.search.teachers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import Strict, label
from asc_study.search.objective import HOLDOUT, SearchObjective, parse_objectives
from asc_study.search.points import corners, grid_size
from asc_study.search.sampler import PrunerOptions, SamplerOptions, pruner_options, sampler_options
from asc_study.search.space import Point, Space, describe, parse_space, settings_of
from asc_study.search.teachers import NO_TEACHERS, Teachers
from asc_study.search.teachers_file import TeachersSection, read_teachers, require_heard, require_used
from asc_study.settings.identity import run_identity, signature
from asc_study.settings.run_config import RunConfig, flatten, resolve
from asc_study.settings.settings_file import SEED_LIMIT, SettingsFile, apply_profile, merge, open_settings_file
from asc_study.settings.study_file import Study


class Holdout(Strict):
    """Devices that stand for unseen ones: each left out of a training of its own, or all of one training."""

    devices: list[str] = Field(["s3", "b"], min_length=1)
    mode: Literal["in_turn", "together"] = "in_turn"


class Budget(Strict):
    """When a search is over: trials in total, over all launches; seconds of one launch, after which none starts."""

    trials: int | None = Field(None, ge=1)
    timeout_seconds: float | None = Field(None, gt=0)


class Fidelity(Strict):
    """What trials save at: epochs, the share of the train clips, the width of the model."""

    epochs: int | None = Field(None, ge=1)
    clip_fraction: float | None = Field(None, gt=0, le=1)
    width: float | None = Field(None, gt=0)

    def settings(self) -> dict[str, Any]:
        """The settings that trials get, by dotted key."""
        keys = {"epochs": "training.epochs", "clip_fraction": "training.clip_fraction", "width": "model.width"}
        return {keys[name]: value for name, value in self.model_dump().items() if value is not None}


class Final(Strict):
    """The final training: seeds of each of its rows."""

    seeds: list[int] = Field([0, 1, 2], min_length=1)


class SearchFile(SettingsFile):
    """The top level of a search file."""

    search: str
    space: dict[str, dict[str, Any]]
    objectives: list[str] = Field([HOLDOUT], min_length=1)
    holdout: Holdout = Holdout()
    sampler: dict[str, Any] = {"name": "tpe"}
    pruner: dict[str, Any] = {"name": "none"}
    budget: Budget = Budget()
    fidelity: Fidelity = Fidelity()
    seed: int = Field(0, ge=0, lt=SEED_LIMIT)
    final: Final = Final()
    teachers: TeachersSection = TeachersSection()


@dataclass(frozen=True)
class Search:
    """A search file, checked: its text, ``source``, its ``folder``, and the command line's settings, ``overrides``."""

    name: str
    description: str
    base: Mapping[str, Any]
    profile: Mapping[str, Any]
    overrides: tuple[tuple[str, Any], ...]
    space: Space
    objectives: tuple[SearchObjective, ...]
    holdout: Holdout
    sampler: SamplerOptions
    pruner: PrunerOptions
    budget: Budget
    fidelity: Fidelity
    seed: int
    final_seeds: tuple[int, ...]
    figures: str
    source: str
    folder: Path
    teachers: Teachers = NO_TEACHERS

    @property
    def holds_out(self) -> bool:
        """Whether trials leave devices out of training."""
        return any(objective.name == HOLDOUT for objective in self.objectives)

    def settings(self, point: Mapping[str, Any], *, full: bool = False) -> dict[str, Any]:
        """The settings of a point as the row of a study file gives them, at the fidelity of trials or at full fidelity.

        A profile and ``--set`` win over the fidelity: they are for machines that need still less.
        """
        own = settings_of(self.space, point)
        merged = merge(self.base, own, where="point")
        if not full:
            merged = merge(merged, self.fidelity.settings(), where="fidelity")
        return self._overridden(merge(self._profiled(merged), own, where="point"))

    def settings_of_teacher(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a row on top of the base, in full: as in a study, profile and ``--set`` win over it."""
        return self._overridden(self._profiled(merge(self.base, own, where="teachers")))

    def _profiled(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return apply_profile(settings, self.profile, where="profile", folder=self.folder)

    def _overridden(self, settings: dict[str, Any]) -> dict[str, Any]:
        for key, value in self.overrides:
            settings = merge(settings, {key: value}, where="--set")
        return settings

    def config(self, point: Mapping[str, Any], *, full: bool = False, where: str = "") -> RunConfig:
        """The resolved settings of a point, at the fidelity of trials or at full fidelity; no device is held out."""
        config = resolve(self.settings(point, full=full), where=where, folder=self.folder)
        self.teachers.require(config, label(where))
        return config

    def folds(self, config: RunConfig) -> dict[str, RunConfig]:
        """What a trial trains: the name of each training and its settings."""
        if not self.holds_out:
            return {"": config}
        together = self.holdout.mode == "together"
        devices = [sorted(self.holdout.devices)] if together else [[device] for device in self.holdout.devices]
        return {
            "+".join(held_out): config.model_copy(
                update={"validation": config.validation.model_copy(update={"holdout_devices": held_out})}
            )
            for held_out in devices
        }

    def teacher_study(self) -> Study:
        """The study that trains the teachers, for each fold without its devices, with the seed of the trials."""
        return self.teachers.study(f"{self.name[:91]}-teachers", self.folds, seed=self.seed, figures=self.figures)

    def corners(self, where: str = "") -> list[tuple[Point, RunConfig]]:
        """Points that reach every end of the space, with their settings at the fidelity of trials.

        Raises
        ------
        InputError
            If one of them cannot be: one line that names it.
        """
        return [(point, self.config(point, where=label(where) + name_point(point))) for point in corners(self.space)]

    def epochs(self) -> int:
        """Epochs of the longest training of a trial."""
        return max(config.training.epochs for _, config in self.corners())

    def identity(self, dataset_digest: str) -> dict[str, Any]:
        """What must not change while trials are added, in the types of JSON: the code of every part at any end too."""
        config = self.config({})
        base = run_identity(config, dataset_digest)
        taught = {"distillation.teacher": config.distillation.teacher} if config.distillation else {}
        code, versions = dict(base["code"]), dict(base["versions"])
        for _, config in self.corners():
            own = run_identity(config, dataset_digest)
            code |= own["code"]
            versions |= own["versions"]
        return {
            "space": describe(self.space),
            "objectives": [[objective.name, objective.direction] for objective in self.objectives],
            "holdout": self.holdout.model_dump() if self.holds_out else {},
            "settings": flatten(base["config"]) | taught,
            "profile": flatten(self.profile),
            "schema": base["schema"],
            "versions": dict(sorted(versions.items())),
            "code": dict(sorted(code.items())),
            "seed": self.seed,
            "data": dataset_digest,
            **({"teachers": self.teachers.combinations(dataset_digest)} if self.teachers.names else {}),
        }

    def combination(self, config: RunConfig, dataset_digest: str) -> str:
        """The combination of a point's settings (64 hex digits), its teacher's with it; no device is held out."""
        teacher = ""
        if config.distillation:
            teacher = self.teachers.combinations(dataset_digest)[config.distillation.teacher]
        return signature(run_identity(config, dataset_digest, teacher=teacher))


def name_point(point: Mapping[str, Any]) -> str:
    """A point as text: ``alpha=0.1, frames=100``, with the last word of each key."""
    return ", ".join(f"{name.rpartition('.')[2]}={_short(value)}" for name, value in point.items()) or "base"


def load_search(
    path: Path, *, overrides: Sequence[str] = (), profile: str | None = None, default_task: str | None = None
) -> Search:
    """Read a search file and check everything that can be checked without the data.

    Parameters
    ----------
    path
        A YAML file.
    overrides
        ``KEY=VALUE`` settings of all trials; the key is dotted, the value YAML.
    profile
        Name of one of the file's ``profiles``, whose settings win over those of the base.
    default_task
        The task if the base names none: that of the data set.

    Raises
    ------
    InputError
        One line: file, key, rule, value received and remedy.
    """
    where = str(path)
    opened = open_settings_file(path, SearchFile, "search", "`search` and `space`", overrides, profile)
    file = opened.content
    space = parse_space(file.space, where=where)
    _require_apart(space, file.fidelity.settings(), f"{where}: `fidelity`")
    _require_apart(space, dict(opened.overrides), "--set")
    objectives = parse_objectives(file.objectives, where=where)
    search = Search(
        name=file.search,
        description=file.description,
        base=merge({"task": default_task} if default_task else {}, file.base, where=f"{where}: base"),
        profile=opened.profile,
        overrides=opened.overrides,
        space=space,
        objectives=objectives,
        holdout=file.holdout,
        sampler=sampler_options(file.sampler, where=where, objectives=len(objectives)),
        pruner=pruner_options(file.pruner, where=where, objectives=len(objectives)),
        budget=file.budget,
        fidelity=file.fidelity,
        seed=file.seed,
        final_seeds=tuple(file.final.seeds),
        figures=file.figures,
        source=opened.text,
        folder=path.parent.absolute(),
    )
    search = replace(search, teachers=_teachers(search, file.teachers, where))
    if search.sampler.name == "grid":
        grid_size(space, where=where)
    _check_settings(search, where)
    return search


def _teachers(search: Search, section: TeachersSection, where: str) -> Teachers:
    base = resolve(search.settings({}), where=f"{where}: base", folder=search.folder)
    return read_teachers(section, base, search.settings_of_teacher, where=where, folder=search.folder)


def _require_apart(space: Space, settings: Mapping[str, Any], what: str) -> None:
    for key in settings:
        for name in space:
            if key == name or key.startswith(f"{name}.") or name.startswith(f"{key}."):
                raise InputError(f"{what} sets {key!r}, which is searched ({name!r}): remove one of them")


def _check_settings(search: Search, where: str) -> None:
    thin = [objective.name for objective in search.objectives if objective.name.startswith("cost/")]
    if thin and search.fidelity.width is not None:
        raise InputError(
            f"{where}: `fidelity.width` would make {thin[0]!r} that of a thinner model, got {search.fidelity.width}: "
            "remove it"
        )
    base = search.config({}, where=f"{where}: base")
    if base.validation.holdout_devices and search.holds_out:
        raise InputError(
            f"{where}: validation.holdout_devices is set by `holdout` in a search for {HOLDOUT!r}, got "
            f"{base.validation.holdout_devices} in the base: name the devices in `holdout`"
        )
    if base.folds:
        raise InputError(
            f"{where}: a search tries settings on one cut of validation, got validation.folds {base.folds}: remove it, "
            "and cross-validate what is found in a study"
        )
    if base.training.data == "development" or base.validation.share == 0:
        raise InputError(
            f"{where}: a search needs a validation split, got training.data {base.training.data!r} and "
            f"validation.share {base.validation.share}: train on the train split and cut validation from it"
        )
    if len(set(search.holdout.devices)) < len(search.holdout.devices):
        raise InputError(f"{where}: holdout.devices must be different, got {search.holdout.devices}: remove one")
    seeds = search.final_seeds
    if len(set(seeds)) < len(seeds) or not all(0 <= seed < SEED_LIMIT for seed in seeds):
        raise InputError(
            f"{where}: final.seeds must be different, at least 0 and below {SEED_LIMIT}, got {shown(list(seeds))}: "
            "write [0, 1, 2]"
        )
    search.config({}, full=True, where=f"{where}: base")
    corners = search.corners(where)
    for name in search.space:
        if not any(name in point for point, _ in corners):
            raise InputError(f"{where}: `space.{name}` is never drawn: its `when` asks for what cannot be at once")
    learning = [config.distillation for config in (base, *(config for _, config in corners)) if config.distillation]
    named = {settings.teacher for settings in learning}
    require_used(search.teachers, named, where)
    require_heard(search.teachers, named, search.folds, where)
    for point, config in corners:
        for fold in search.folds(config).values():
            resolve(fold.model_dump(), where=f"{where}: {name_point(point)}", folder=search.folder)
    least = getattr(search.pruner, "min_resource", 1)
    if least > search.epochs():
        raise InputError(
            f"{where}: pruner.min_resource must be at most the epochs of a trial ({search.epochs()}), got {least}: "
            "lower it"
        )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
