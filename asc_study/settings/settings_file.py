"""What study and search files share when they are opened: common keys, profiles, overrides, how settings are merged.

Overrides are nested or dotted (``training.epochs``); null switches an augmentation of the base off. A profile, such as
``small`` for machines without a GPU, overrides settings of all rows; of the augmentations it changes those that a row
uses.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import Strict, did_you_mean, label, validate
from asc_study.base.yaml_file import parse_override, read_yaml
from asc_study.settings.profiles import SHIPPED, fitting
from asc_study.settings.run_config import RunConfig

#: Seeds are below this: what Keras and NumPy take.
SEED_LIMIT: Final = 2**32

_STUDY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

#: Sections whose keys name parts, which may be one's own.
PART_SECTIONS: Final = ("batch_augmentation", "waveform_augmentation")


class SettingsFile(Strict):
    """What study and search files share at their top level."""

    description: str = ""
    base: dict[str, Any] = {}
    profiles: dict[str, dict[str, Any]] = {}
    figures: Literal["inline", "cdn"] = "inline"


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
