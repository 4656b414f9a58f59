"""Study files: YAML in, the table of runs out.

The table is the explicit ``rows`` followed by every point of the ``grid``, each merged into ``base``, see
`asc_study.settings.settings_file`.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from asc_study.base.errors import InputError, shown
from asc_study.base.files import read_input_text
from asc_study.base.plugins import put_first
from asc_study.base.schema import did_you_mean, require_row_name, validate
from asc_study.settings.ensemble_rows import EnsembleRow, read_ensembles
from asc_study.settings.limits import NO_LIMITS, Limits
from asc_study.settings.needs import depths, require_networks
from asc_study.settings.profiles import SHIPPED
from asc_study.settings.run_config import RunConfig, canonical_json, resolve
from asc_study.settings.settings_file import SEED_LIMIT, SettingsFile, apply_profile, merge, open_settings_file
from asc_study.settings.system_rows import StudySystem, read_systems

#: Rows that a study may have, those of its grid included, and runs that it may be made of.
LARGEST_TABLE: Final = 10_000
_MOST_RUNS: Final = 100_000

#: Name of the row of the statistics baseline.
BASELINE: Final = "baseline"


class StudyFile(SettingsFile):
    """The top level of a study file."""

    study: str
    rows: list[dict[str, Any]] = []
    grid: dict[str, list[Any] | dict[str, Any]] = {}
    ensembles: list[dict[str, Any]] = []
    systems: list[dict[str, Any]] = []
    seeds: list[int] = Field([0], min_length=1)
    baseline: bool = True
    published: str = ""
    limits: Limits = Limits()


@dataclass(frozen=True)
class Row:
    """One combination of the study: its name, its resolved settings, and what its network may cost."""

    name: str
    config: RunConfig
    limits: Limits = NO_LIMITS


@dataclass(frozen=True)
class Study:
    """A study file with its rows resolved.

    ``published`` is the text of its table of published figures, or empty. ``baselines`` are the statistics baselines:
    a name and the settings whose train clips and features it uses. ``ensembles`` are those of the file, and then those
    that its ``systems`` need besides.
    """

    name: str
    description: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    figures: str
    source: str
    published: str = ""
    ensembles: tuple[EnsembleRow, ...] = ()
    systems: tuple[StudySystem, ...] = ()
    baselines: tuple[Row, ...] = ()

    @property
    def needs(self) -> dict[str, dict[str, str]]:
        """Row -> setting -> the row or ensemble that is trained or made before it, of those that need any."""
        return _needs(self.rows)

    @property
    def names(self) -> list[str]:
        """The names of all rows: those of the baselines first, then those of the ensembles and of the systems."""
        trained = [row.name for row in (*self.baselines, *self.rows)]
        return trained + [row.name for row in self.ensembles] + [system.name for system in self.systems]

    def only(self, names: Sequence[str]) -> "Study":
        """The study with the named rows, ensembles and systems alone; all if no name is given.

        A system brings the ensemble that it is of.

        Raises
        ------
        InputError
            If a name is not a row of the study.
        """
        for name in names:
            if name not in self.names:
                raise InputError(f"study {shown(self.name)} has no row {shown(name)}: {did_you_mean(name, self.names)}")
        rows = tuple(row for row in self.rows if not names or row.name in names)
        systems = tuple(system for system in self.systems if not names or system.name in names)
        brought = {*names, *(system.part for system in systems)}
        ensembles = tuple(row for row in self.ensembles if not names or row.name in brought)
        baselines = tuple(row for row in self.baselines if not names or row.name in names)
        return replace(self, rows=rows, ensembles=ensembles, systems=systems, baselines=baselines)


def load_study(
    path: Path, *, overrides: Sequence[str] = (), profile: str | None = None, default_task: str | None = None
) -> Study:
    """Read a study file and resolve its rows.

    Parameters
    ----------
    path
        A YAML file.
    overrides
        ``KEY=VALUE`` settings that win over base, rows and profile; the key is dotted, the value YAML. ``seeds`` may be
        given too.
    profile
        Name of one of the file's ``profiles``, whose settings win over base and rows.
    default_task
        The task of rows that name none: that of the data set.

    Raises
    ------
    InputError
        One line: file, row, rule, value received and remedy.
    """
    opened = open_settings_file(path, StudyFile, "study", "`study` and `rows`", overrides, profile)
    study, settings = opened.content, opened.overrides
    seeds = next((value for key, value in reversed(settings) if key == "seeds"), study.seeds)
    _check_seeds(seeds, path)
    _check_size(study, len(seeds), path)
    base = {"task": default_task} if default_task else {}
    base = merge(base, study.base, where=f"{path}: base")
    rows = []
    for name, own in _table(study, path):
        where = f"{path}: row {shown(name)}"
        limits = own.pop("limits", study.limits)
        if not isinstance(limits, Limits):
            limits = validate(Limits, limits or {}, where=where, path="limits")
        merged = merge(base, own, where=where)
        merged = apply_profile(merged, opened.profile, where=f"{path}: profile {shown(profile)}", folder=path.parent)
        for key, value in settings:
            if key != "seeds":
                merged = merge(merged, {key: value}, where="--set")
        rows.append(Row(name, resolve(merged, where=where, folder=path.parent), limits))
    _check_rows(rows, path)
    published = _read_published(path.parent, study.published) if study.published else ""
    tasks = {row.name: row.config.task for row in rows}
    ensembles = read_ensembles(study.ensembles, tasks, where=str(path))
    depths(_needs(rows), tasks, {row.name: row.parts for row in ensembles}, where=str(path))
    require_networks({row.name: row.config for row in rows}, where=str(path))
    systems, ensembles = read_systems(study.systems, tasks, ensembles, where=str(path))
    for ensemble in ensembles:
        put_first("fusion_rule", ensemble.fusion, path.parent)  # it is imported when the ensemble is made
    return Study(
        study.study,
        study.description,
        tuple(rows),
        tuple(seeds),
        study.figures,
        opened.text,
        published,
        tuple(ensembles),
        tuple(systems),
        _baselines(rows, [*ensembles, *systems], path) if study.baseline else (),
    )


def _needs(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    return {row.name: row.config.needs for row in rows if row.config.needs}


def profile_names(path: Path) -> list[str]:
    """The names of the profiles of a study file.

    Raises
    ------
    InputError
        As `load_study`.
    """
    own = open_settings_file(path, StudyFile, "study", "`study` and `rows`").content.profiles
    return [*own, *(name for name in SHIPPED if name not in own)]


def _check_seeds(seeds: Any, path: Path) -> None:
    if (
        not isinstance(seeds, list)
        or not seeds
        or not all(type(seed) is int and 0 <= seed < SEED_LIMIT for seed in seeds)
    ):
        raise InputError(
            f"{path}: `seeds` must be a list of whole numbers of at least 0 and below {SEED_LIMIT}, got "
            f"{shown(seeds)}: write [0, 1, 2]"
        )
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: `seeds` names a seed twice, got {shown(seeds)}: each repeat needs a seed of its own")


def _check_size(study: StudyFile, seeds: int, path: Path) -> None:
    """Refuse a table that would take minutes and gigabytes before the first run, by its size alone."""
    points = math.prod(len(axis) for axis in study.grid.values()) if study.grid else 0
    rows = len(study.rows) + points or 1
    if rows > LARGEST_TABLE:
        raise InputError(
            f"{path}: a study may have at most {LARGEST_TABLE:,} rows, got {rows:,} ({len(study.rows):,} rows and "
            f"{points:,} points of the grid): shorten an axis, or use `asc-study search`"
        )
    if rows * seeds > _MOST_RUNS:
        raise InputError(
            f"{path}: a study may have at most {_MOST_RUNS:,} runs, got {rows * seeds:,} ({rows:,} rows x {seeds:,} "
            "seeds): leave some out"
        )


def _read_published(folder: Path, name: str) -> str:
    """The text of the table of published figures, which lies beside the study file or below."""
    from asc_study.settings.published import parse_published

    text = read_input_text(folder / name, "published", within=folder)
    parse_published(text, str(folder / name))
    return text


def _table(study: StudyFile, path: Path) -> list[tuple[str, dict[str, Any]]]:
    table = []
    for number, row in enumerate(study.rows, 1):
        own = dict(row)
        name = own.pop("name", None)
        name = require_row_name(name, f"{path}: row {number}")
        table.append((name, own))
    axes = [[(key, label, value) for label, value in _labelled(key, axis, path)] for key, axis in study.grid.items()]
    if axes:
        for point in itertools.product(*axes):
            table.append(("-".join(label for _, label, _ in point), {key: value for key, _, value in point}))
    return table or [("base", {})]


def _labelled(key: str, axis: list[Any] | dict[str, Any], path: Path) -> list[tuple[str, Any]]:
    """The values of one grid axis with the part that each adds to the row's name."""
    if not axis:
        raise InputError(f"{path}: grid axis {shown(key)} is empty: list its values, or remove it")
    if isinstance(axis, dict):
        return [(str(label), value) for label, value in axis.items()]
    for value in axis:
        if isinstance(value, Mapping | list):
            raise InputError(
                f"{path}: grid axis {shown(key)} must name its points when they are mappings, got {shown(value)}: "
                f"write {key}: {{label: {{...}}}}"
            )
    short = key.rsplit(".", 1)[-1]
    return [(value if isinstance(value, str) else f"{short}={value}", value) for value in axis]


def _baselines(rows: Sequence[Row], made: Sequence[EnsembleRow | StudySystem], path: Path) -> tuple[Row, ...]:
    """The statistics baseline of each task: that of the first row has the plain name, the others have their task's."""
    first: dict[str, RunConfig] = {}
    for row in rows:
        if row.config.training.data == "train":  # without a test split there is nothing to compare
            first.setdefault(row.config.task, row.config)
    suffixes = [""] + [f"-{task.replace('_', '-')}" for task in list(first)[1:]]
    found = tuple(Row(f"{BASELINE}{suffix}", config) for suffix, config in zip(suffixes, first.values(), strict=False))
    taken = {row.name for row in rows} | {row.name for row in made}
    for row in found:
        if row.name in taken:
            raise InputError(
                f"{path}: {shown(row.name)} is the name of the statistics baseline, got a row of that name: rename the "
                "row, or set `baseline: false`"
            )
    return found


def _check_rows(rows: Sequence[Row], path: Path) -> None:
    names = Counter(row.name for row in rows)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: {count} rows are named {shown(name)}: give each row a name of its own")
    seen: dict[str, str] = {}
    for row in rows:
        text = canonical_json(row.config.model_dump())
        if text in seen:
            raise InputError(f"{path}: rows {seen[text]!r} and {shown(row.name)} are the same combination: remove one")
        seen[text] = row.name
    threads = {row.config.training.threads for row in rows}
    if len(threads) > 1:
        raise InputError(
            f"{path}: training.threads must be the same in all rows, got {sorted(threads)}: a process keeps the thread "
            "count that it starts with; set it in `base`"
        )
