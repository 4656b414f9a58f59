"""``dataset.yaml``: what is true of a data set of one's own, beside its recordings.

Classes, groups, devices and what accuracies are reported on; rate, channels and length of a clip; and what the columns
of its metadata file are. Everything after the clip table takes these from here.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import Strict, did_you_mean, validate
from asc_study.base.taxonomy import TAU, know
from asc_study.base.yaml_file import parse_yaml, read_yaml
from asc_study.data.formats import known_formats
from asc_study.data.formats.data_format import NEEDED_PARTS, DataFormat, Lists

#: The file in the folder of a data set.
FILE_NAME: Final = "dataset.yaml"

#: Task of the groups of a data set: its name with this ending.
OF_GROUPS: Final = "-groups"

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+&-]{0,59}")
_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

#: Names that metrics and tables use for something else.
_TAKEN: Final = frozenset({"avg", "macro", "device_macro", "clip_id", "scene", "device", "city", "location", "split"})


def word(text: str) -> str:
    """A class, group, device or place as metadata has it, as a name: without spaces around, ``_`` for those inside."""
    return "_".join(text.split())


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text in TAU.classes:
        raise ValueError(
            f"`name` must be lower case letters and digits joined by -, got {shown(text)}: tasks are called by it"
        )
    return text


def _word(text: str) -> str:
    if not _WORD.fullmatch(word(text)) or word(text) in _TAKEN:
        raise ValueError(
            f"names of classes, groups, devices and subsets are letters, digits and _ . + & -, and none of "
            f"{', '.join(sorted(_TAKEN))}, got {shown(text)}: give it another name"
        )
    return word(text)


Word = Annotated[str, AfterValidator(_word)]


class Columns(Strict):
    """What the columns of the metadata file are called; without a location every clip is a place of its own."""

    file: str = "filename"
    label: str = "scene_label"
    device: str = "device"
    location: str | None = None
    city: str | None = None


class Split(Strict):
    """Which clips test: a column of the metadata file, lists of file names, or a share in whole locations."""

    column: str | None = None
    train: list[str] = ["train"]
    test: list[str] = ["test"]
    train_list: str | None = None
    test_list: str | None = None
    test_share: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        ways = [self.column is not None, self.train_list is not None or self.test_list is not None, self.test_share > 0]
        if sum(ways) != 1 or (self.train_list is None) != (self.test_list is None):
            raise ValueError(
                "`split` must have one of `column`, `train_list` with `test_list`, or `test_share`, got "
                f"{', '.join(sorted(self.model_fields_set)) or 'none'}: say which clips are for testing"
            )
        if set(self.train) & set(self.test):
            raise ValueError(
                f"`split.train` and `split.test` must differ, got {self.train} and {self.test}: a clip is of one split"
            )
        return self


class Metadata(Strict):
    """The metadata file: one line a clip, below a line that names the columns."""

    file: str = "meta.csv"
    separator: str = Field("\t", min_length=1, max_length=1)
    columns: Columns = Columns()


class DatasetDescription(Strict):
    """A ``dataset.yaml``; lengths in seconds, rates in Hz.

    ``groups`` maps a scene group to its classes, for two-stage systems. ``seen`` are the devices that training hears,
    all if left out; ``subsets`` are what accuracies are reported on, each device if left out.
    """

    name: Annotated[str, AfterValidator(_name)]
    title: str = ""
    classes: list[Word] = Field(min_length=2, max_length=90)
    groups: dict[Word, list[Word]] = {}
    devices: list[Word] = Field(min_length=1)
    reference_device: Word | None = None
    seen: list[Word] = []
    subsets: dict[Word, list[Word]] = {}
    sample_rate: int = Field(ge=1000, le=384_000)
    channels: int = Field(ge=1, le=32)
    clip_seconds: float = Field(gt=0, le=3600)
    metadata: Metadata = Metadata()
    split: Split
    licence: str = "private"
    citation: str = "none"

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        grouped = [one for classes in self.groups.values() for one in classes]
        known = {"classes": self.classes, "devices": self.devices}
        for key, named, of in (
            ("groups", grouped, "classes"),
            ("seen", self.seen, "devices"),
            ("reference_device", [self.reference_device] if self.reference_device else [], "devices"),
            *((f"subsets.{name}", devices, "devices") for name, devices in self.subsets.items()),
        ):
            for one in named:
                if one not in known[of]:
                    raise ValueError(f"`{key}` must be of `{of}`, got {one!r}: {did_you_mean(one, known[of])}")
        for key, named in (*known.items(), ("groups", grouped)):
            if len(set(named)) != len(named):
                twice = next(one for one in named if named.count(one) > 1)
                raise ValueError(f"`{key}` must name each once, got {twice!r} twice: remove one")
        if self.groups and set(grouped) != set(self.classes):
            left = ", ".join(one for one in self.classes if one not in grouped)
            raise ValueError(f"every class must be in one of `groups`, {left} is in none: add it, or leave groups out")
        if self.groups and (len(self.groups) < 2 or set(self.groups) & set(self.classes)):
            raise ValueError(
                f"`groups` must be two or more and called otherwise than classes, got {', '.join(self.groups)}: "
                "rename them, or leave groups out"
            )
        if self._reference not in (self.seen or self.devices):
            raise ValueError(
                f"`reference_device` must be one of `seen`, got {self._reference!r}: training always hears it"
            )
        for name, devices in self.subsets.items():
            if not devices or (name in self.devices and devices != [name]):
                raise ValueError(f"subset {name!r} must hold devices, and that of its name alone if there is one, got "
                                 f"{devices}: correct `subsets`")  # fmt: skip
        return self

    @property
    def _reference(self) -> str:
        return self.reference_device or (self.seen or self.devices)[0]

    @property
    def _group_of_scene(self) -> dict[str, str]:
        if tuple(sorted(self.classes)) == TAU.classes["three_class"]:  # labels are scene groups: each is its own
            return {group: group for group in self.classes}
        return {scene: group for group, scenes in self.groups.items() for scene in scenes}

    def to_format(self) -> DataFormat:
        """The data format that it describes."""
        split, columns = self.split, self.metadata.columns
        order = [one for one in self.devices if one == self._reference] + [
            one for one in self.devices if one != self._reference
        ]
        return DataFormat(
            name=self.name,
            title=self.title or self.name,
            tasks=_tasks(self),
            label="scene",
            scenes=tuple(sorted(self.classes)),
            group_of_scene=self._group_of_scene,
            devices=tuple(self.devices),
            reference_device=self._reference,
            seen_devices=tuple(self.seen),
            device_subsets={name: tuple(devices) for name, devices in self.subsets.items()}
            or {device: (device,) for device in order},
            sample_rate=self.sample_rate,
            channels=self.channels,
            clip_seconds=float(self.clip_seconds),
            file_name="audio/" + "-".join(f"<{part}>" for part in (*NEEDED_PARTS[:-1], "segment", "device")) + ".wav",
            licence=self.licence,
            citation=self.citation,
            lists=Lists(
                meta=self.metadata.file,
                train=split.train_list or "",
                test=split.test_list or "",
                names=None,
                file_column=columns.file,
                label_column=columns.label,
                repeated={},
                separator=self.metadata.separator,
                parts={
                    part: column
                    for part, column in (
                        ("device", columns.device),
                        ("location", columns.location),
                        ("city", columns.city),
                    )
                    if column
                },
                split=(split.column, tuple(split.train), tuple(split.test)) if split.column else None,
                test_share=split.test_share,
            ),
        )


def _tasks(description: DatasetDescription) -> tuple[str, ...]:
    """TAU's tasks for TAU's classes, so that systems can be compared; else the data set's own."""
    classes, groups = tuple(sorted(description.classes)), tuple(sorted(description.groups))
    if classes == TAU.classes["three_class"]:
        return ("three_class",)
    if classes == TAU.classes["ten_class"] and (not groups or description._group_of_scene == TAU.group_of_scene):
        return tuple(TAU.classes) if groups else ("ten_class",)
    return (description.name, f"{description.name}{OF_GROUPS}") if groups else (description.name,)


def described(root: Path) -> DataFormat | None:
    """The format that the ``dataset.yaml`` of a folder describes; None if the folder has none.

    Raises
    ------
    InputError
        If the file is wrong: one line.
    """
    path = root / FILE_NAME
    return read_description(path) if path.exists() else None


def read_description(path: Path) -> DataFormat:
    """Read a ``dataset.yaml``.

    Raises
    ------
    InputError
        If it is wrong: one line.
    """
    return _format_of(read_yaml(path, "description", "`name`, `classes` and `devices`").text, str(path))


@lru_cache(maxsize=8)
def _format_of(text: str, where: str) -> DataFormat:
    content = parse_yaml(text, where)
    try:
        return validate(DatasetDescription, content, where=where).to_format()
    except TypeError as error:  # keys that are no text
        raise InputError(f"{where}: {error}: write KEY: VALUE") from None


def meet(root: Path) -> None:
    """Know the words of the data set of a folder before its lists are read: settings may name its tasks and devices.

    Raises
    ------
    InputError
        If its ``dataset.yaml`` cannot be used.
    """
    found = described(root)
    for data_format in [found] if found else known_formats().values():
        know(data_format.taxonomy)


def meet_list(path: Path) -> DataFormat | None:
    """Know the words of the data set that a list is of, if a ``dataset.yaml`` in its folder or the one above says them.

    Raises
    ------
    InputError
        If that cannot be used.
    """
    found = described(path.parent) or described(path.parent.parent)
    if found:
        know(found.taxonomy)
    return found
