"""What a name in a study file stands for: something built in, installed by another package, or written by the user.

A name is looked up among the built-in ones, then among the entry points of installed packages, and else taken as a
dotted path, ``my_package.my_module.MyObject``, which is imported; the working directory is searched too.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import did_you_mean

#: Kind, as a study file's key names it -> the entry-point group in which other packages announce theirs.
ENTRY_POINT_GROUPS: Final[Mapping[str, str]] = {
    "architecture": "asc_study.architectures",
    "batch_augmentation": "asc_study.batch_augmentations",
    "waveform_augmentation": "asc_study.waveform_augmentations",
    "fusion_rule": "asc_study.fusion_rules",
    "data_format": "asc_study.data_formats",
}


def find(kind: str, name: str, builtin: Mapping[str, Any], expected: type) -> Any:
    """Return what ``name`` stands for.

    Parameters
    ----------
    kind
        A key of `ENTRY_POINT_GROUPS`.
    name
        A built-in name, an entry point's, or a dotted path: ``module:object`` or ``module.object``.
    builtin
        The registry of the kind.
    expected
        What it has to be an instance or a subclass of.

    Raises
    ------
    InputError
        If it cannot be found or imported, or is something else than the kind needs.
    """
    if name in builtin:
        return builtin[name]
    found = _load(kind, name, builtin)
    if not (isinstance(found, expected) or (isinstance(found, type) and issubclass(found, expected))):
        raise InputError(
            f"{kind} {name!r} must be made with {expected.__module__}.{expected.__name__}, got {found!r:.80}: see "
            "'Your own parts' in the README"
        )
    return found


def known(kind: str, builtin: Mapping[str, Any], expected: type) -> dict[str, Any]:
    """Name -> part: the built-in ones, then those that installed packages announce.

    Raises
    ------
    InputError
        If one of these cannot be imported, or is something else than the kind needs.
    """
    names = dict.fromkeys([*builtin, *sorted(_installed(ENTRY_POINT_GROUPS[kind]))])
    return {name: find(kind, name, builtin, expected) for name in names}


def _load(kind: str, name: str, builtin: Mapping[str, Any]) -> Any:
    installed = _installed(ENTRY_POINT_GROUPS[kind])
    if name in installed:
        return _import(kind, installed[name])
    module, colon, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    if not colon:
        raise InputError(f"unknown {kind} {shown(name)}: {did_you_mean(name, {**builtin, **installed})}")
    return _import(kind, EntryPoint(name, f"{module}:{attribute}", ENTRY_POINT_GROUPS[kind]))


@lru_cache
def _installed(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _import(kind: str, point: EntryPoint) -> Any:
    here = os.getcwd()
    if here not in sys.path:  # a console script, unlike python -m, does not search it
        sys.path.append(here)
        importlib.invalidate_caches()
    try:
        return point.load()
    except Exception as error:  # no such module or name, or whatever that module's own code raises
        reason = " ".join(str(error).split())
        raise InputError(
            f"{kind} {point.value!r} cannot be imported ({type(error).__name__}: {reason}): write module:object and "
            "start in the folder of the module, or install it"
        ) from None
