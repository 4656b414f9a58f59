"""Study files: YAML in, the table of runs out.

The table is the explicit ``rows`` followed by every point of the ``grid``, each merged into ``base``. Overrides are
nested or dotted (``training.epochs``); null switches an augmentation of the base off. A profile, such as ``small`` for
machines without a GPU, overrides settings of all rows; of the augmentations it changes those that a row uses.
"""

import copy
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import Field

from asc_study.base.errors import InputError, shown
from asc_study.base.files import read_input_text
from asc_study.base.plugins import put_first
from asc_study.base.schema import Strict, did_you_mean, label, require_row_name, validate
from asc_study.settings.ensemble_rows import EnsembleRow, read_ensembles
from asc_study.settings.profiles import SHIPPED, fitting
from asc_study.settings.run_config import RunConfig, canonical_json, resolve
from asc_study.settings.yaml_file import parse_override, read_yaml

#: Seeds are below this: what Keras and NumPy take.
SEED_LIMIT: Final = 2**32

#: Rows that a study may have, those of its grid included, and runs that it may be made of.
LARGEST_TABLE: Final = 10_000
_MOST_RUNS: Final = 100_000

#: Name of the row of the statistics baseline.
BASELINE: Final = "baseline"

_STUDY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


#: Sections whose keys name parts, which may be one's own.
PART_SECTIONS: Final = ("batch_augmentation", "waveform_augmentation")


class SettingsFile(Strict):
    """What study and search files share at their top level."""

    description: str = ""
    base: dict[str, Any] = {}
    profiles: dict[str, dict[str, Any]] = {}
    figures: Literal["inline", "cdn"] = "inline"


class StudyFile(SettingsFile):
    """The top level of a study file."""

    study: str
    rows: list[dict[str, Any]] = []
    grid: dict[str, list[Any] | dict[str, Any]] = {}
    ensembles: list[dict[str, Any]] = []
    seeds: list[int] = Field([0], min_length=1)
    baseline: bool = True
    published: str = ""


FileT = TypeVar("FileT", bound=SettingsFile)


@dataclass(frozen=True)
class Opened(Generic[FileT]):
    """A study or search file, checked by itself, with what was given beside it.

    Attributes
    ----------
    text, content
        The file as it stands there, and what it says.
    overrides
        The settings given with ``--set``: dotted key and value.
    profile
        The settings of the profile that was asked for.
    """

    text: str
    content: FileT
    overrides: tuple[tuple[str, Any], ...]
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One combination of the study: its name and its resolved settings."""

    name: str
    config: RunConfig


@dataclass(frozen=True)
class Study:
    """A study file with its rows resolved.

    ``published`` is the text of its table of published figures, or empty. ``baselines`` are the statistics baselines:
    a name and the settings whose train clips and features it uses.
    """

    name: str
    description: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    figures: str
    source: str
    published: str = ""
    ensembles: tuple[EnsembleRow, ...] = ()
    baselines: tuple[Row, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of all rows, those of the baselines first and those of the ensembles last."""
        return [row.name for row in (*self.baselines, *self.rows)] + [row.name for row in self.ensembles]

    def only(self, names: Sequence[str]) -> "Study":
        """The study with the named rows and ensembles alone; all if no name is given.

        Raises
        ------
        InputError
            If a name is not a row of the study.
        """
        for name in names:
            if name not in self.names:
                raise InputError(f"study {shown(self.name)} has no row {shown(name)}: {did_you_mean(name, self.names)}")
        rows = tuple(row for row in self.rows if not names or row.name in names)
        ensembles = tuple(row for row in self.ensembles if not names or row.name in names)
        baselines = tuple(row for row in self.baselines if not names or row.name in names)
        return replace(self, rows=rows, ensembles=ensembles, baselines=baselines)


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
        merged = merge(base, own, where=f"{path}: row {shown(name)}")
        merged = apply_profile(merged, opened.profile, where=f"{path}: profile {shown(profile)}", folder=path.parent)
        for key, value in settings:
            if key != "seeds":
                merged = merge(merged, {key: value}, where="--set")
        rows.append(Row(name, resolve(merged, where=f"{path}: row {shown(name)}", folder=path.parent)))
    _check_rows(rows, path)
    published = _read_published(path.parent, study.published) if study.published else ""
    ensembles = read_ensembles(study.ensembles, {row.name: row.config.task for row in rows}, where=str(path))
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
        _baselines(rows, ensembles, path) if study.baseline else (),
    )


def open_settings_file(
    path: Path, form: type[FileT], kind: str, keys: str, overrides: Sequence[str] = (), profile: str | None = None
) -> Opened[FileT]:
    """Read a study or search file and check what can be checked of it by itself.

    Parameters
    ----------
    path, form
        A YAML file, and what it must say.
    kind
        ``study`` or ``search``: the kind of input file, and the key of its name.
    keys
        The keys that it must have, for an error line.
    overrides, profile
        ``KEY=VALUE`` settings, and the name of one of its profiles.

    Raises
    ------
    InputError
        One line: file, key, rule, value received and remedy.
    """
    read = read_yaml(path, kind, keys)
    for key in read.content:
        if isinstance(key, str) and key not in form.model_fields and split_key(key)[0] in RunConfig.model_fields:
            raise InputError(
                f"{path}: a setting of the runs must not stand at the top level, got {shown(key)}: put it under `base`"
            )
    content = validate(form, read.content, where=str(path))
    require_name(kind, getattr(content, kind), str(path))
    settings = tuple(parse_override(override) for override in overrides)
    return Opened(read.text, content, settings, _choose_profile(content.profiles, profile, where=str(path)))


def profile_names(path: Path) -> list[str]:
    """The names of the profiles of a study file.

    Raises
    ------
    InputError
        As `load_study`.
    """
    own = open_settings_file(path, StudyFile, "study", "`study` and `rows`").content.profiles
    return [*own, *(name for name in SHIPPED if name not in own)]


def require_name(key: str, name: str, where: str = "") -> None:
    """Raise `InputError` unless ``name`` can be an experiment's name in every store, and a folder's."""
    if not _STUDY_NAME.fullmatch(name):
        raise InputError(
            f"{label(where)}`{key}` must be at most 100 letters, digits, '.', '_' or '-', got {name!r:.80}: rename it"
        )


def split_key(key: str) -> tuple[str, str]:
    """The first word of a dotted key, and the rest of it.

    A part of one's own, ``module:object``, is one word, whose module may have dots:
    ``batch_augmentation.my.parts:Gain.spread`` is ``batch_augmentation``, ``my.parts:Gain`` and ``spread``.
    """
    head, _, rest = key.partition(".")
    if ":" in key and head not in PART_SECTIONS:
        module, _, rest = key.partition(":")
        name, _, rest = rest.partition(".")
        head = f"{module}:{name}"
    return head, rest


def merge(base: Mapping[str, Any], own: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
    """``own`` merged into a copy of ``base``; mappings are merged, everything else is replaced.

    A dotted key addresses a nested setting: ``{"training.epochs": 3}`` is ``{"training": {"epochs": 3}}``.
    """
    result = copy.deepcopy(dict(base))
    for key, value in own.items():
        if not isinstance(key, str):
            raise InputError(f"{where}: a key must be text, got {shown(key)}: put it in quotes")
        head, rest = split_key(key)
        if rest:
            value = {rest: value}
        if isinstance(value, Mapping):
            inner = result.get(head)
            result[head] = merge(inner if isinstance(inner, Mapping) else {}, value, where=where)
        else:
            result[head] = copy.deepcopy(value)
    return result


def _choose_profile(profiles: Mapping[str, Mapping[str, Any]], name: str | None, *, where: str) -> Mapping[str, Any]:
    """The settings of a profile, one of the file's own or a shipped one; none if no name is given.

    Raises
    ------
    InputError
        If there is no profile of this name.
    """
    if name is None:
        return {}
    known = {**SHIPPED, **profiles}
    if name not in known:
        raise InputError(f"{where} has no profile {shown(name)}: {did_you_mean(name, known)}")
    return known[name]


def apply_profile(
    row: Mapping[str, Any], profile: Mapping[str, Any], *, where: str, folder: Path | None = None
) -> dict[str, Any]:
    """Merge a profile into a row of a file in ``folder``; what is of augmentations that the row lacks is left out."""
    nested = merge({}, fitting(profile, row, folder), where=where)
    for key in PART_SECTIONS:
        own = row.get(key) or {}
        if isinstance(nested.get(key), Mapping) and isinstance(own, Mapping):
            nested[key] = {name: value for name, value in nested[key].items() if own.get(name) is not None}
    return merge(row, nested, where=where)


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


def _baselines(rows: Sequence[Row], ensembles: Sequence[EnsembleRow], path: Path) -> tuple[Row, ...]:
    """The statistics baseline of each task: that of the first row has the plain name, the others have their task's."""
    first: dict[str, RunConfig] = {}
    for row in rows:
        if row.config.training.data == "train":  # without a test split there is nothing to compare
            first.setdefault(row.config.task, row.config)
    suffixes = [""] + [f"-{task.replace('_', '-')}" for task in list(first)[1:]]
    found = tuple(Row(f"{BASELINE}{suffix}", config) for suffix, config in zip(suffixes, first.values(), strict=False))
    taken = {row.name for row in rows} | {row.name for row in ensembles}
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
