"""What is true of one data set, as a frozen dataclass; each data set has a file of its own beside this one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final, Literal

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import TAU, Taxonomy, know

#: Parts of a file name that the clip table needs; further ones, such as ``<segment>``, only tell clips apart.
NEEDED_PARTS: Final = ("scene", "city", "location", "device")

#: Names that parts cannot have, since the clip table or its reader uses them for something else.
_RESERVED: Final = frozenset({"clip_id", "path", "split", "scene_group", "filename", "scene_label", "row"})

_PART: Final = re.compile(r"<([a-z_]+)>")


@dataclass(frozen=True)
class Archive:
    """One zip: its file name, its size in bytes and its MD5 sum (32 hexadecimal digits)."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True)
class Archives:
    """A published data set: the address of the folder of its zips, the zips, and the bytes that they take unpacked.

    A zip's own top folder, named as the zip up to its first dot, is left out when it is unpacked.
    """

    url: str
    zips: tuple[Archive, ...]
    unpacked_size: int


@dataclass(frozen=True)
class Lists:
    """The lists of a data set and their columns; the defaults are the layout of TAU Urban Acoustic Scenes.

    Lists are UTF-8 text with a header line; paths are relative to the data set's folder and use ``/``.

    Attributes
    ----------
    meta
        The list of every clip.
    train, test
        The lists of the official fold, with labels.
    names
        The names of the test clips without labels, for systems that must not see them; None if there is no such list.
    file_column, label_column
        The columns of a clip's path and of its label.
    repeated
        Column of ``meta`` -> what it repeats of the file name, such as ``<city>-<location>``. Such a column may be
        missing; where it is there, it must agree.
    separator
        What separates the columns.
    parts
        Part of a clip (``device``, ``location``, ``city``) -> the column of ``meta`` that holds it. If there are any,
        ``meta`` says all that is known of a clip and file names are not taken apart; the label column holds its scene.
    split
        Where ``meta`` says of which split a clip is: its column, and the values that it has for train and for test;
        ``train`` and ``test`` are not read then.
    test_share
        Above 0: there is no official fold, and about this share of each scene, in whole locations, becomes the test
        split; ``train`` and ``test`` are not read then.
    subsets
        Name of a part of train -> the list that names its clips; lists that are not there are no problem.
    instead
        List -> the list that is read in its place where it is not there.
    """

    meta: str = "meta.csv"
    train: str = "evaluation_setup/fold1_train.csv"
    test: str = "evaluation_setup/fold1_evaluate.csv"
    names: str | None = "evaluation_setup/fold1_test.csv"
    file_column: str = "filename"
    label_column: str = "scene_label"
    repeated: Mapping[str, str] = field(
        default_factory=lambda: {"identifier": "<city>-<location>", "source_label": "<device>"}
    )
    separator: str = "\t"
    parts: Mapping[str, str] = field(default_factory=dict)
    split: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None
    test_share: float = 0.0
    subsets: Mapping[str, str] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("repeated", "parts", "subsets", "instead"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), _plain(self))

    @property
    def of_split(self) -> dict[str, str]:
        """Split -> the list of the official fold that names its clips; none where ``meta`` says it, or nothing does."""
        return {} if self.split or self.test_share else {"train": self.train, "test": self.test}


@dataclass(frozen=True)
class DataFormat:
    """What is true of one data set.

    Attributes
    ----------
    name
        What commands call it, in lower case, such as ``tau2020-mobile``.
    title
        Its full name.
    tasks
        The tasks that its labels serve; the first is the one whose classes stand in its lists. Those of TAU's data
        sets, ``ten_class`` and ``three_class``, have TAU's classes; any others are that of the scenes and, if these
        have groups, that of the groups.
    label
        What the label column holds: the ``scene``, or its ``scene_group``.
    scenes
        Its scenes in the order of tables.
    group_of_scene
        Scene -> scene group; empty if there are none.
    devices
        The recording devices that file names may name, in the order of tables.
    reference_device
        The device that trains always hear; it cannot be held out.
    seen_devices
        The devices that training hears; all of them if empty.
    device_subsets
        Name of a subset that results are given for -> its devices.
    sample_rate
        Of every recording, in Hz.
    channels
        Of every recording.
    clip_seconds
        Length of a recording as published, in seconds; another one is noted, not refused.
    file_name
        Form of a clip's path in the lists: text and parts in angle brackets, ``NEEDED_PARTS`` among them. No part may
        hold a character that separates parts. Recordings of one sound by several devices are found as pairs where
        ``-<device>`` stands at the end, before the extension. Where ``lists.parts`` says all of a clip, the form
        under which simulation writes it.
    lists
        Its lists and their columns.
    licence, citation
        Whose data it is and how it may be used.
    archives
        Where it can be downloaded; None if it cannot.

    Raises
    ------
    InputError
        If ``file_name`` lacks a needed part, names one twice, or calls one what the clip table calls something else.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    label: Literal["scene", "scene_group"]
    scenes: tuple[str, ...]
    group_of_scene: Mapping[str, str]
    devices: tuple[str, ...]
    reference_device: str
    device_subsets: Mapping[str, tuple[str, ...]]
    sample_rate: int
    channels: int
    clip_seconds: float
    file_name: str
    licence: str
    citation: str
    lists: Lists = Lists()
    archives: Archives | None = None
    seen_devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("group_of_scene", "device_subsets"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        parts = _PART.findall(PurePosixPath(self.file_name).name)
        twice = len(set(parts)) != len(parts) or len(_PART.findall(self.file_name)) != len(parts)
        if twice or not set(NEEDED_PARTS) <= set(parts) or not _RESERVED.isdisjoint(parts):
            needed = ", ".join(f"<{part}>" for part in NEEDED_PARTS)
            raise InputError(
                f"the file name of data format {self.name!r} must have the parts {needed} once each after its last /, "
                f"and none called {', '.join(sorted(_RESERVED))}, got {self.file_name!r}: correct its `file_name`"
            )

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), _plain(self))

    @property
    def task(self) -> str:
        """The task whose classes stand in the lists."""
        return self.tasks[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """What may stand in the label column."""
        if self.label == "scene":
            return self.scenes
        return tuple(sorted({self.group_of_scene[scene] for scene in self.scenes}))

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """Its words, as everything after the clip table needs them."""
        of_tau = set(self.tasks) <= set(TAU.classes)
        groups = tuple(self.group_of_scene.items())
        classes = (self.scenes, tuple(sorted({group for _, group in groups})))
        return Taxonomy(
            tasks=TAU.tasks if of_tau else tuple(zip(self.tasks, classes, strict=False)),
            groups=TAU.groups if of_tau else groups,
            devices=self.devices,
            seen_devices=self.seen_devices or self.devices,
            reference_device=self.reference_device,
            subsets=tuple(self.device_subsets.items()),
        )

    def identity(self) -> dict[str, Any]:
        """What decides results besides the clips: the classes, where they are not those of TAU's tasks."""
        return {} if set(self.tasks) <= set(TAU.classes) else {"classes": self.taxonomy.tasks}

    def label_of(self, scene: str) -> str:
        """What the label column holds for a clip of a scene."""
        return scene if self.label == "scene" else self.group_of_scene[scene]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches a clip's path in a list, with a group for each part and ``clip_id`` for the file name's stem."""
        form = PurePosixPath(self.file_name)
        separators = re.escape("".join(sorted(set(_PART.sub("", form.stem)))))
        stem = "".join(
            rf"(?P<{piece}>[^{separators}/\\\x00-\x1f]+)" if number % 2 else re.escape(piece)
            for number, piece in enumerate(_PART.split(form.stem))
        )
        folder = "" if form.parent == PurePosixPath() else f"{form.parent}/"
        return re.compile(rf"^{re.escape(folder)}(?P<clip_id>{stem}){re.escape(form.suffix)}\Z")

    def parse(self, file_name: str) -> dict[str, str] | None:
        """Take a clip's path in a list apart; None if it has another form."""
        match = self.pattern.match(file_name)
        return {part: text for part, text in match.groupdict().items() if part != "clip_id"} if match else None

    def path_of(self, parts: Mapping[str, str]) -> str:
        """Make a clip's path in a list of its parts."""
        return fill_in(self.file_name, parts)


def fill_in(form: str, parts: Mapping[Any, str]) -> str:
    """Put parts in the places of a form such as ``<city>-<location>``."""
    return _PART.sub(lambda match: parts[match[1]], form)


def _plain(instance: Any) -> dict[str, Any]:
    """The fields of a dataclass with plain dictionaries, since views of dictionaries cannot travel to workers."""
    values = {entry.name: getattr(instance, entry.name) for entry in fields(instance)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _remake(kind: type, values: dict[str, Any]) -> Any:
    made = kind(**values)
    if isinstance(made, DataFormat):
        know(made.taxonomy)  # a process that it travelled to has not read it
    return made
