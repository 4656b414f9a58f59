"""Study files: YAML in, the table of runs out.

The table is the explicit ``rows`` followed by every point of the ``grid``, each merged into ``base``. Overrides are
nested or dotted (``training.epochs``); null switches an augmentation of the base off. A profile, such as ``small`` for
machines without a GPU, overrides settings of all rows; of the augmentations it changes those that a row uses.
"""

import copy
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field

from asc_study.base.errors import InputError
from asc_study.base.schema import Strict, did_you_mean, label, require_row_name, validate
from asc_study.settings.ensemble_rows import EnsembleRow, read_ensembles
from asc_study.settings.run_config import RunConfig, canonical_json, resolve

_STUDY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class StudyFile(Strict):
    """The top level of a study file."""

    study: str
    description: str = ""
    base: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    grid: dict[str, list[Any] | dict[str, Any]] = {}
    ensembles: list[dict[str, Any]] = []
    seeds: list[int] = Field([0], min_length=1)
    profiles: dict[str, dict[str, Any]] = {}
    published: str = ""
    figures: Literal["inline", "cdn"] = "inline"


@dataclass(frozen=True)
class Row:
    """One combination of the study: its name and its resolved settings."""

    name: str
    config: RunConfig


@dataclass(frozen=True)
class Study:
    """A study file with its rows resolved; ``published`` is the text of its table of published figures, or empty."""

    name: str
    description: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    figures: str
    source: str
    published: str = ""
    ensembles: tuple[EnsembleRow, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of all rows, those of the ensembles last."""
        return [row.name for row in self.rows] + [row.name for row in self.ensembles]

    def only(self, names: Sequence[str]) -> "Study":
        """The study with the named rows and ensembles alone; all if no name is given.

        Raises
        ------
        InputError
            If a name is not a row of the study.
        """
        for name in names:
            if name not in self.names:
                raise InputError(f"study {self.name!r} has no row {name!r}: {did_you_mean(name, self.names)}")
        rows = tuple(row for row in self.rows if not names or row.name in names)
        ensembles = tuple(row for row in self.ensembles if not names or row.name in names)
        return replace(self, rows=rows, ensembles=ensembles)


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
    raw = read_yaml(path)
    study = validate(StudyFile, raw, where=str(path))
    require_name("study", study.study, str(path))
    settings = [parse_override(override) for override in overrides]
    seeds = next((value for key, value in reversed(settings) if key == "seeds"), study.seeds)
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise InputError(
            f"{path}: `seeds` must be a list of whole numbers of at least 0, got {seeds!r}: write [0, 1, 2]"
        )
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: `seeds` names a seed twice, got {seeds!r}: each repeat needs a seed of its own")
    changes = choose_profile(study.profiles, profile, where=str(path))
    base = {"task": default_task} if default_task else {}
    base = merge(base, study.base, where=f"{path}: base")
    rows = []
    for name, own in _table(study, path):
        merged = merge(base, own, where=f"{path}: row {name!r}")
        merged = apply_profile(merged, changes, where=f"{path}: profile {profile!r}")
        for key, value in settings:
            if key != "seeds":
                merged = merge(merged, {key: value}, where="--set")
        rows.append(Row(name, resolve(merged, where=f"{path}: row {name!r}")))
    _check_rows(rows, path)
    source = path.read_text(encoding="utf-8")
    published = _read_published(path.parent / study.published) if study.published else ""
    ensembles = read_ensembles(study.ensembles, {row.name: row.config.task for row in rows}, where=str(path))
    return Study(
        study.study,
        study.description,
        tuple(rows),
        tuple(seeds),
        study.figures,
        source,
        published,
        tuple(ensembles),
    )


def require_name(key: str, name: str, where: str = "") -> None:
    """Raise `InputError` unless ``name`` can be an experiment's name in every store, and a folder's."""
    if not _STUDY_NAME.fullmatch(name):
        raise InputError(
            f"{label(where)}`{key}` must be at most 100 letters, digits, '.', '_' or '-', got {name!r:.80}: rename it"
        )


def merge(base: Mapping[str, Any], own: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
    """``own`` merged into a copy of ``base``; mappings are merged, everything else is replaced.

    A dotted key addresses a nested setting: ``{"training.epochs": 3}`` is ``{"training": {"epochs": 3}}``.
    """
    result = copy.deepcopy(dict(base))
    for key, value in own.items():
        if not isinstance(key, str):
            raise InputError(f"{where}: a key must be text, got {key!r}: put it in quotes")
        head, _, rest = (key, "", "") if ":" in key else key.partition(".")  # module:object names a part of one's own
        if rest:
            value = {rest: value}
        if isinstance(value, Mapping):
            inner = result.get(head)
            result[head] = merge(inner if isinstance(inner, Mapping) else {}, value, where=where)
        else:
            result[head] = copy.deepcopy(value)
    return result


def choose_profile(profiles: Mapping[str, Mapping[str, Any]], name: str | None, *, where: str) -> Mapping[str, Any]:
    """The settings of a profile; none if no name is given.

    Raises
    ------
    InputError
        If the file has no profile of this name.
    """
    if name is None:
        return {}
    if name not in profiles:
        hint = did_you_mean(name, profiles) if profiles else "the file has none"
        raise InputError(f"{where} has no profile {name!r}: {hint}")
    return profiles[name]


def apply_profile(row: Mapping[str, Any], profile: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Merge a profile into a row; the settings of an augmentation that the row does not use are left out."""
    nested = merge({}, profile, where=where)
    for key in ("batch_augmentation", "waveform_augmentation"):
        own = row.get(key) or {}
        if isinstance(nested.get(key), Mapping) and isinstance(own, Mapping):
            nested[key] = {name: value for name, value in nested[key].items() if own.get(name) is not None}
    return merge(row, nested, where=where)


def _read_published(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`published` must name a CSV file beside the study file, got {path} ({error})") from None
    from asc_study.settings.published import parse_published

    parse_published(text, str(path))
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
        raise InputError(f"{path}: grid axis {key!r} is empty: list its values, or remove it")
    if isinstance(axis, dict):
        return [(str(label), value) for label, value in axis.items()]
    for value in axis:
        if isinstance(value, Mapping | list):
            raise InputError(
                f"{path}: grid axis {key!r} must name its points when they are mappings, got {value!r}: write "
                f"{key}: {{label: {{...}}}}"
            )
    short = key.rsplit(".", 1)[-1]
    return [(value if isinstance(value, str) else f"{short}={value}", value) for value in axis]


def _check_rows(rows: Sequence[Row], path: Path) -> None:
    names = Counter(row.name for row in rows)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: {count} rows are named {name!r}: give each row a name of its own")
    seen: dict[str, str] = {}
    for row in rows:
        text = canonical_json(row.config.model_dump())
        if text in seen:
            raise InputError(f"{path}: rows {seen[text]!r} and {row.name!r} are the same combination: remove one")
        seen[text] = row.name
    threads = {row.config.training.threads for row in rows}
    if len(threads) > 1:
        raise InputError(
            f"{path}: training.threads must be the same in all rows, got {sorted(threads)}: a process keeps the thread "
            "count that it starts with; set it in `base`"
        )


def parse_override(text: str) -> tuple[str, Any]:
    """Take ``KEY=VALUE`` apart; the value is YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set takes KEY=VALUE, got {text!r}: for example --set training.epochs=2")
    try:
        return key.strip(), yaml.load(value, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"--set {key.strip()}: the value must be YAML, got {value!r}: quote it") from None


_MERGE: Final = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML as people write it: ``1e-5`` is a number, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        for key, count in Counter(map(str, keys)).items():
            if count > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path, kind: str = "study", keys: str = "`study` and `rows`") -> dict[str, Any]:
    """Read a file of some kind with these keys; whatever is wrong with it is an `InputError` of one line."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        json.dumps(raw, default=str)  # a mapping that holds itself (an anchor inside its own value) ends here
    except FileNotFoundError:
        raise InputError(f"{kind} file {str(path)!r} does not exist: give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{kind} file {str(path)!r} cannot be read ({error}): give the path of a YAML file") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        detail = " ".join(str(error).split())[:300]
        raise InputError(f"{kind} file {str(path)!r} is not valid YAML: {detail}: correct it") from None
    if not isinstance(raw, dict):
        raise InputError(f"{kind} file {str(path)!r} must hold a mapping with {keys}, got {raw!r:.60}")
    return raw
