"""What data sets tell apart and on which devices: classes, scene groups, devices and subsets of these.

`TAU` are the words of TAU Urban Acoustic Scenes 2020 and 2022. Those of another data set are known from the moment that
it, or a run on it, is read (`know`), in every process on its own. Whatever is computed of clips finds the words by what
the clips hold (`taxonomy_for`), and what is shown of a study by the metrics that its runs have, so that one store can
hold studies of several data sets.

Sources: the data sets' own descriptions (DCASE 2020 Task 1) and Hu et al. 2020, sections 2.1 and 5.3.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from asc_study.base.contract import Tag
from asc_study.base.errors import InputError, shown

#: The ten scenes in alphabetical order, which is also the order of the class columns.
SCENES: Final = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)

#: The three scene groups (the labels of Task 1b) in alphabetical order.
SCENE_GROUPS: Final = ("indoor", "outdoor", "transportation")

#: Scene -> scene group (section 2.1 of the paper).
GROUP_OF_SCENE: Final = MappingProxyType(
    {
        "airport": "indoor",
        "bus": "transportation",
        "metro": "transportation",
        "metro_station": "indoor",
        "park": "outdoor",
        "public_square": "outdoor",
        "shopping_mall": "indoor",
        "street_pedestrian": "outdoor",
        "street_traffic": "outdoor",
        "tram": "transportation",
    }
)

#: The nine recording devices of the development set; s4-s6 are heard in the test fold only.
DEVICES: Final = ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")

#: Devices that the official training fold holds.
SEEN_DEVICES: Final = ("a", "b", "c", "s1", "s2", "s3")

#: The four device subsets of Table 1, in the paper's order.
DEVICE_SUBSETS: Final = MappingProxyType(
    {"A": ("a",), "BC": ("b", "c"), "s1-s3": ("s1", "s2", "s3"), "s4-s6": ("s4", "s5", "s6")}
)

#: Numbers as texts write them.
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

#: MLflow keeps no longer tag than this.
_LONGEST_TEXT: Final = 8000


@dataclass(frozen=True)
class Taxonomy:
    """The words of a data set.

    Attributes
    ----------
    tasks
        (task, its classes in the order of their columns), that of the scenes first; what a task is called stands in
        tags of runs.
    groups
        (scene, its group); empty where scenes have none.
    devices
        All devices, in the order of tables.
    seen_devices
        Those that training hears.
    reference_device
        The one that training always hears.
    subsets
        (name, devices) of what accuracies are reported on.
    """

    tasks: tuple[tuple[str, tuple[str, ...]], ...]
    groups: tuple[tuple[str, str], ...]
    devices: tuple[str, ...]
    seen_devices: tuple[str, ...]
    reference_device: str
    subsets: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Task -> its classes."""
        return dict(self.tasks)

    @property
    def group_of_scene(self) -> Mapping[str, str]:
        """Scene -> its group."""
        return dict(self.groups)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups by name, which is the order of their columns."""
        return tuple(sorted({group for _, group in self.groups}))

    @property
    def group_columns(self) -> tuple[int, ...]:
        """The column of each scene's group among the groups, in the order of the scenes."""
        return tuple(self.group_names.index(self.group_of_scene[scene]) for scene in self.tasks[0][1] if self.groups)

    def is_of_groups(self, task: str) -> bool:
        """Whether the classes of a task are scene groups."""
        return bool(self.groups) and self.classes[task] == self.group_names

    def to_json(self) -> str:
        """All of it as text, for a tag."""
        return json.dumps(vars(self), separators=(",", ":"))


TAU: Final = Taxonomy(
    tasks=(("ten_class", SCENES), ("three_class", SCENE_GROUPS)),
    groups=tuple(GROUP_OF_SCENE.items()),
    devices=DEVICES,
    seen_devices=SEEN_DEVICES,
    reference_device="a",
    subsets=tuple(DEVICE_SUBSETS.items()),
)

#: Those that this process has met, that of the data read last at the end; replaced as a whole, for threads read it.
_known: tuple[Taxonomy, ...] = (TAU,)


def know(taxonomy: Taxonomy, *, told: bool = False) -> None:
    """From now on the words of a data set are known in this process.

    Parameters
    ----------
    taxonomy
        The words.
    told
        By a run in a store: words of data that were read themselves, or were told by a run that was read before (stores
        give the newest first), stay before these.

    Raises
    ------
    InputError
        If a task has other classes than one of the same name that is TAU's, or the description is too long to be kept
        with the runs.
    """
    global _known
    if taxonomy in (TAU, _known[-1]) or (told and taxonomy in _known):
        return
    for task, classes in taxonomy.tasks:
        if TAU.classes.get(task, classes) != classes:
            raise InputError(f"the task {task!r} has the classes of TAU's data sets, got others: give it another name")
    if len(taxonomy.to_json()) > _LONGEST_TEXT:
        raise InputError(
            f"classes, groups, devices and subsets of a data set must fit a tag of {_LONGEST_TEXT:,} characters, got "
            f"{len(taxonomy.to_json()):,}: shorten their names"
        )
    others = [one for one in _known[1:] if one != taxonomy]
    _known = (TAU, taxonomy, *others) if told else (TAU, *others, taxonomy)


def known_taxonomies() -> tuple[Taxonomy, ...]:
    """Those that this process has met, TAU's first, that of the data read last at the end."""
    return _known


def taxonomy_of_task(task: str) -> Taxonomy:
    """The words that a task is of: those read last where several data sets share it.

    Raises
    ------
    InputError
        If no data set of the task was read.
    """
    for taxonomy in reversed(_known):
        if task in taxonomy.classes:
            return taxonomy
    raise InputError(f"the task must be one of {', '.join(CLASSES)}, got {shown(task)}")


def taxonomy_for(devices: Iterable[str], classes: Sequence[str] = ()) -> Taxonomy:
    """The words of clips, by the devices and classes that they hold.

    Parameters
    ----------
    devices
        Those of the clips.
    classes
        The classes that are decided between; any if not given.

    Returns
    -------
    Taxonomy
        That of the data read last among those that know all of these; if none does, among those of these classes; if
        none is, TAU's.
    """
    heard, wanted = set(devices), tuple(classes)
    of_classes = [one for one in reversed(_known) if not wanted or wanted in one.classes.values()]
    found = [one for one in of_classes if heard.issubset(one.devices)]
    return next(iter(found or of_classes), TAU)


def known_devices() -> tuple[str, ...]:
    """The devices of all data sets that this process has met, in the order of tables."""
    return tuple(dict.fromkeys(device for taxonomy in _known for device in taxonomy.devices))


def label_column(task: str) -> str:
    """The column of the clip table that holds a clip's class for a task: ``scene`` or ``scene_group``."""
    return "scene_group" if taxonomy_of_task(task).is_of_groups(task) else "scene"


def count_in_words(task: str) -> str:
    """How many classes a task has: ``ten``, ``three``, ``12``."""
    count = len(CLASSES[task])
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


class _Classes(Mapping[str, tuple[str, ...]]):
    """Task -> classes of all data sets that this process has met."""

    def __getitem__(self, task: str) -> tuple[str, ...]:
        return self._now()[task]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    @staticmethod
    def _now() -> dict[str, tuple[str, ...]]:
        return {task: classes for taxonomy in _known for task, classes in taxonomy.tasks}


#: Task -> its classes, in column order; also those of data sets that were read.
CLASSES: Final = _Classes()


def task_of_classes(classes: Sequence[str]) -> str | None:
    """The task that has exactly these classes; None if no data set is known that has it."""
    found = (task for one in reversed(_known) for task, known in one.tasks if known == tuple(classes))
    return next(found, None)


def taxonomy_tag(taxonomy: Taxonomy) -> dict[str, str]:
    """The tag by which a run tells the words of its data set; none for TAU's."""
    return {} if taxonomy == TAU else {Tag.TAXONOMY: taxonomy.to_json()}


def know_told(text: str) -> None:
    """Know the words that a run tells of its data set; nothing if a person changed the tag to something else."""
    if taxonomy := _from_json(text):
        with suppress(InputError):
            know(taxonomy, told=True)


@lru_cache(maxsize=64)
def _from_json(text: str) -> Taxonomy | None:
    try:
        raw: dict[str, Any] = json.loads(text)
        return Taxonomy(**{name: _tuple(raw[name]) for name in vars(TAU)})
    except (ValueError, KeyError, TypeError):
        return None


def _tuple(value: Any) -> Any:
    return tuple(_tuple(inner) for inner in value) if isinstance(value, list) else value
