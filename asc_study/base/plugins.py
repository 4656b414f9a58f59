"""What a name in a study file stands for: something built in, announced by an installed package, or one's own.

All are declared in one form, that of an entry point, ``name = "module:object"``, and imported at their first use. What
is built in stands in a table of the program, not in the metadata of its package: a checkout that nobody installed has
its parts too.

A part of one's own is named ``module:object`` itself. The module is looked for beside the study file, then in the
working directory and among what is installed. Its folder is put on ``sys.path``, which the processes that train
inherit (`asc_study.workers.pool`), so in all of them the name means the same file.
"""

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from asc_study.base.errors import InputError, shown

#: Kind, as a study file's key names it -> the entry-point group in which other packages announce theirs.
ENTRY_POINT_GROUPS: Final[Mapping[str, str]] = {
    "architecture": "asc_study.architectures",
    "batch_augmentation": "asc_study.batch_augmentations",
    "waveform_augmentation": "asc_study.waveform_augmentations",
    "fusion_rule": "asc_study.fusion_rules",
    "data_format": "asc_study.data_formats",
    "worker_backend": "asc_study.worker_backends",
}

#: The name of a part of one's own. The object has no dots: in a key, what follows one is a setting of the part.
_OWN: Final = re.compile(r"(?P<module>[A-Za-z_]\w*)(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

PartT = TypeVar("PartT")

#: The folder of the study file that is being read.
_BESIDE: Final[ContextVar[Path | None]] = ContextVar("beside", default=None)


class _OwnParts:
    """What is done about parts of one's own before their code runs; a process has one."""

    def __init__(self) -> None:
        self.are_refused = False
        self.tell: Callable[[str], None] | None = None
        self._told: set[str] = set()

    def heed(self, kind: str, name: str) -> None:
        """Refuse a part, or tell of its file once; raises `InputError`."""
        found = _OWN.fullmatch(name)
        if found is None or (self.tell is None and not self.are_refused):
            return
        module = found["module"]
        if self.are_refused:
            raise InputError(
                f"--no-own-parts refuses code that a file names, got {kind} {name!r}: read {module}.py, then leave the "
                "option out, or take the part out of the file"
            )
        spec = PathFinder.find_spec(module)
        if self.tell is not None and spec is not None and module not in self._told:
            self._told.add(module)
            self.tell(f"note: runs the code of {_place(spec)} ({kind} {name!r}); --no-own-parts refuses that")


#: Of this process: the command line sets it.
OWN_PARTS: Final = _OwnParts()


class Parts(Mapping[str, PartT], Generic[PartT]):
    """All parts of one kind: a mapping of the built-in ones, in the order of their table, and the way to all others.

    Parameters
    ----------
    kind
        A key of `ENTRY_POINT_GROUPS`.
    base
        The class that a part has to be an instance of, or, with ``subclasses``, a subclass.
    builtin
        Name -> ``module:object``.
    """

    def __init__(self, kind: str, base: type, builtin: Mapping[str, str], *, subclasses: bool = False) -> None:
        self._kind, self._base, self._subclasses = kind, base, subclasses
        self._builtin = dict(builtin)

    def __getitem__(self, name: str) -> PartT:
        return self._load(EntryPoint(name, self._builtin[name], ENTRY_POINT_GROUPS[self._kind]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._builtin)

    def __len__(self) -> int:
        return len(self._builtin)

    def find(self, name: str) -> PartT:
        """Return what ``name`` stands for: a built-in name, an entry point's, or ``module:object``.

        Raises
        ------
        InputError
            If it cannot be found or imported, or is something else than the kind needs.
        """
        if name in self._builtin:
            return self[name]
        installed = _installed(ENTRY_POINT_GROUPS[self._kind])
        if name in installed:
            return self._load(installed[name])
        if _OWN.fullmatch(name):
            return self._load(EntryPoint(name, name, ENTRY_POINT_GROUPS[self._kind]))
        from asc_study.base.schema import did_you_mean  # which needs more than a deployed system has

        module, _, attribute = name.rpartition(".")
        if ":" in name:
            remedy = "a part of one's own is named module:object, two names that Python can import"
        elif module:
            remedy = f"a part of one's own is named module:object, so write {shown(f'{module}:{attribute}')}"
        else:
            remedy = did_you_mean(name, [*self._builtin, *installed])
        raise InputError(f"unknown {self._kind} {shown(name)}: {remedy}")

    def known(self) -> dict[str, PartT]:
        """Name -> part: the built-in ones, then those that installed packages announce.

        Raises
        ------
        InputError
            If one of these cannot be imported, or is something else than the kind needs.
        """
        names = dict.fromkeys([*self._builtin, *sorted(_installed(ENTRY_POINT_GROUPS[self._kind]))])
        return {name: self.find(name) for name in names}

    def _load(self, point: EntryPoint) -> PartT:
        found: PartT = _import(self._kind, point)
        fits = isinstance(found, type) and issubclass(found, self._base)
        if not (fits if self._subclasses else isinstance(found, self._base)):
            form = "a subclass of" if self._subclasses else "made with"
            raise InputError(
                f"{self._kind} {point.name!r} must be {form} {self._base.__module__}.{self._base.__name__}, got "
                f"{found!r:.80}: see 'Your own parts' in the README"
            )
        return found


@contextmanager
def looking_beside(folder: Path | None) -> Iterator[None]:
    """Look for parts of one's own in a folder first, that of the study file, while the block runs."""
    token = _BESIDE.set(folder)
    try:
        yield
    finally:
        _BESIDE.reset(token)


@lru_cache
def _installed(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _import(kind: str, point: EntryPoint) -> Any:
    if point.name == point.value:  # one's own
        _search_working_directory()
        if (folder := _BESIDE.get()) is not None:
            put_first(kind, point.value, folder)
        OWN_PARTS.heed(kind, point.value)
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # no such module or name, or whatever that module's own code raises
        reason = " ".join(str(error).split())
        raise InputError(
            f"{kind} {point.value!r} cannot be imported ({type(error).__name__}: {reason}): write module:object, and "
            "keep the module beside the study file or in the working directory, or install it"
        ) from None


def _search_working_directory() -> None:
    here = os.getcwd()
    if here not in sys.path:  # a console script, unlike python -m, does not search it
        sys.path.append(here)
        importlib.invalidate_caches()


def put_first(kind: str, name: str, folder: Path) -> None:
    """Search a folder before all others, from now on, if it has the module of a part of one's own.

    Only then, because any module that lies in it would hide an installed one of its name from the whole program.

    Parameters
    ----------
    kind
        A key of `ENTRY_POINT_GROUPS`.
    name
        ``module:object``; names of another form mean no module.
    folder
        That of the study file.

    Raises
    ------
    InputError
        If the name stands for a module of another place in this process already.
    """
    named = _OWN.fullmatch(name)
    if named is None:
        return
    module = named["module"]
    importlib.invalidate_caches()
    beside = PathFinder.find_spec(module, [str(folder.absolute())])
    if beside is None:
        return
    loaded = getattr(sys.modules.get(module), "__spec__", None)
    if loaded is None:
        sys.path.insert(0, str(folder.absolute()))
    elif _place(loaded) != _place(beside):
        raise InputError(
            f"{kind} {name!r} is in {_place(beside)}, but this process has already imported another module {module!r}, "
            f"{_place(loaded)}: rename one of them, or start anew"
        )


def _place(spec: ModuleSpec) -> str:
    """The file of a module; of a folder without code of its own, the folder."""
    if spec.has_location and spec.origin:
        return os.path.realpath(spec.origin)
    return next((os.path.realpath(place) for place in spec.submodule_search_locations or ()), str(spec.origin))
