"""A simulated data set in the layout of TAU's or of a ``dataset.yaml``: where it is laid out and how it is written."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from asc_study import __version__
from asc_study.base.errors import InputError
from asc_study.base.files import read_input, write_file
from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.data.description import FILE_NAME, read_description
from asc_study.data.formats import TAU2020_3CLASS, TAU2020_MOBILE, DataFormat, find_format
from asc_study.simulation.scenes import Place, make_place, render
from asc_study.simulation.write_tau import (
    DeviceSet,
    Segment,
    Written,
    check_seed_and_jobs,
    choose_devices,
    open_folder,
    write_audio,
    write_data_set,
)

#: The cities are invented, as is everything in them.
CITIES: Final = ("eastvale", "midford", "northport", "southam", "westbury")

#: Task -> the data set whose layout and sound the simulated one has.
FORMATS: Final[dict[str, DataFormat]] = {"ten_class": TAU2020_MOBILE, "three_class": TAU2020_3CLASS}

#: Test segments of a scene for each train segment (about 0.3 in TAU, counting device a).
TEST_SHARE: Final = 0.2

#: Fewest train segments of a scene: one for each of the three locations that a validation cut by location needs.
FEWEST_CLIPS: Final = 3

#: Most locations of a scene in a split: two a city in train, one a city in test.
TRAIN_LOCATIONS: Final = 10
TEST_LOCATIONS: Final = 5

#: Clips that a recording is cut into where names tell the second.
PIECES: Final = 10

#: How names must begin that are written here.
_NAMES: Final = "audio/<scene>-<city>-<location>-<segment>-"

_README = """# Simulated acoustic scenes

Nothing in this folder was recorded: the scenes are made of parametric sources, the cities are invented, and the devices
are simulated. It has the layout of {title}, so that everything that reads that data set
runs on this one. Results on it say nothing about real scenes.

Made by asc-study {version}, and made again by:

    asc-study data simulate DIR {made_by} --clips-per-scene {clips_per_scene} --seconds {seconds:g} --seed {seed}
"""


def simulate(
    root: Path,
    *,
    task: str = "ten_class",
    data_format: str | None = None,
    clips_per_scene: int,
    seconds: float | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> Written:
    """Write a simulated data set, or complete one that was interrupted.

    Ten scenes at several locations in five cities; a location belongs to one split. Train segments are recorded on
    device a, and a few of them also on b, c, s1, s2 and s3; test segments on all nine devices. The three-class task has
    device a only, 48 kHz and two channels. A data set of one's own has its classes, each of which sounds like one of
    the ten scenes, and its devices, the reference as device a and the others as b, c, s1 to s6 in their order.

    Parameters
    ----------
    root
        An empty or new folder, or one that the same call has begun.
    task
        ``ten_class`` or ``three_class``: which of the data sets of 2020.
    data_format
        Another one: ``tau2022-mobile`` or the like, or the path of a ``dataset.yaml``.
    clips_per_scene
        Train segments of a scene, at least `FEWEST_CLIPS`; there are `TEST_SHARE` as many test segments, at least two.
        Where clips are pieces of a recording, a segment is ten clips.
    seconds
        Length of a clip, at least 1; by default as in the format: 10, in ``tau2022-mobile`` 1.
    seed
        The same seed gives the same bytes, whatever ``jobs`` is.
    jobs
        Processes to use.

    Raises
    ------
    InputError
        If a setting is out of range or ``root`` holds something else.
    """
    if data_format is None and task not in FORMATS:
        raise InputError(f"--task must be one of {', '.join(FORMATS)}, got {task}: choose one of these")
    if clips_per_scene < FEWEST_CLIPS:
        raise InputError(f"--clips-per-scene must be at least {FEWEST_CLIPS}, got {clips_per_scene}: raise it")
    check_seed_and_jobs(seed, jobs)
    described = Path(data_format) if data_format and Path(data_format).suffix in (".yaml", ".yml") else None
    known = _format(task, data_format, described)
    if seconds is None:
        seconds = max(1.0, known.clip_seconds)
    if not 1.0 <= seconds <= 600.0:
        raise InputError(f"--seconds must be in 1 to 600, got {seconds}: TAU's clips have 10")
    which = {"task": task} if data_format is None else {"format": known.name}
    if described:
        which["description_digest"] = hashlib.sha256(read_input(described, "description")).hexdigest()[:16]
    settings = {
        "command": "data simulate",
        **which,
        "clips_per_scene": clips_per_scene,
        "seconds": float(seconds),
        "seed": seed,
    }
    taxonomy = known.taxonomy
    pieces = PIECES if "<second>" in known.file_name else 1
    segments = lay_out(clips_per_scene, known.scenes, pieces)
    recordings: dict[Segment, tuple[str, ...]] = dict.fromkeys(segments, ("a",))
    if known is not TAU2020_3CLASS:
        recordings = choose_devices(segments, seed, taxonomy)
    made_by = f"--task {task}" if data_format is None else f"--format {described.name if described else known.name}"
    readme = _README.format(title=known.title, made_by=made_by, version=__version__, **settings)
    names = (known.reference_device, *(one for one in known.devices if one != known.reference_device))
    sounds_like = dict(zip(known.scenes, itertools.cycle(SCENES), strict=False))
    with open_folder(root, settings, readme):
        if described:
            write_file(root / FILE_NAME, read_input(described, "description").decode())
        common = (DeviceSet(seed, known.sample_rate, names=names), known.channels, seconds, sounds_like)
        return write_data_set(root, known, recordings, _write_segment, common, jobs=jobs)


def _format(task: str, name: str | None, described: Path | None) -> DataFormat:
    if name is None:
        return FORMATS[task]
    known = read_description(described) if described else find_format(name)
    if not known.file_name.startswith(_NAMES) or len(known.devices) > len(DEVICES):
        raise InputError(
            f"a format to simulate has names like {_NAMES}... and at most {len(DEVICES)} devices, got "
            f"{known.file_name} and {len(known.devices)}: simulate another one"
        )
    return known


def lay_out(clips_per_scene: int, scenes: Sequence[str] = SCENES, pieces: int = 1) -> list[Segment]:
    """Spread the segments of every scene over locations, and the locations over cities."""
    counts = {"train": clips_per_scene, "test": max(2, round(TEST_SHARE * clips_per_scene))}
    most = {"train": TRAIN_LOCATIONS, "test": TEST_LOCATIONS}
    segments, location, number = [], 0, 0
    for scene in scenes:
        for split, count in counts.items():
            locations = min(count, most[split])
            for index in range(count):
                place = location + index % locations
                city = CITIES[index % locations % len(CITIES)]
                stem = f"{scene}-{city}-{place + 1}-{number + 1}"
                segments.append(Segment(stem, scene, city, str(place + 1), split, pieces))
                number += 1
            location += locations
    return segments


def _write_segment(
    root: Path,
    segment: Segment,
    devices: tuple[str, ...],
    device_set: DeviceSet,
    channels: int,
    seconds: float,
    sounds_like: Mapping[str, str],
) -> int:
    scene = sounds_like[segment.scene]
    place = _place(scene, segment.city, segment.location, device_set.sample_rate, channels, device_set.seed)
    number = int(segment.stem.rpartition("-")[2])
    signal = render(place, seconds * segment.pieces, np.random.default_rng([device_set.seed, _SEGMENT_STREAM, number]))
    for device in devices:
        recorded = device_set.record(signal, segment, device)
        clips = np.split(recorded, segment.pieces)
        for name, clip in zip(segment.filenames(device), clips, strict=True):
            write_audio(root / name, clip, device_set.sample_rate)
    return len(devices) * segment.pieces


# Keep the draws of segments, places and cities apart.
_SEGMENT_STREAM, _PLACE_STREAM, _CITY_STREAM = 1, 2, 3


@lru_cache(maxsize=64)
def _place(scene: str, city: str, location: str, sample_rate: int, channels: int, seed: int) -> Place:
    city_rng = np.random.default_rng([seed, _CITY_STREAM, CITIES.index(city)])
    rng = np.random.default_rng([seed, _PLACE_STREAM, int(location)])
    return make_place(scene, sample_rate, channels, city_rng, rng)
