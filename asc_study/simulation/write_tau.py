"""Writing a data set in the layout of TAU Urban Acoustic Scenes, or of one's own: audio, lists, state of the folder.

What `asc_study.simulation.simulate` and `asc_study.simulation.add_devices` share. Files appear under their names only
when they are whole, and the lists come last: a folder without ``meta.csv`` was interrupted, and the same call completes
it.
"""

import json
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from filelock import FileLock
from numpy.typing import NDArray

from asc_study import __version__
from asc_study.acoustics.devices import Device, make_devices, record
from asc_study.acoustics.impulse_responses import load_impulse_responses
from asc_study.base.errors import InputError
from asc_study.base.files import (
    is_temporary,
    open_input,
    read_input,
    remove_left_over,
    replacing,
    write_file,
    writing,
)
from asc_study.base.progress import progress_bar
from asc_study.base.taxonomy import DEVICES, TAU, Taxonomy
from asc_study.data.formats import DataFormat
from asc_study.data.formats.data_format import Lists, fill_in
from asc_study.workers.pool import require_jobs, run_parallel

#: Share of a scene's train segments that each seen device other than a records, as in TAU (750 of 10,215).
SPARSE_SHARE: Final = 750 / 10_215

#: Says which command with which settings made (or is making) a folder.
SETTINGS_FILE: Final = "made-by.json"

_LOCK_FILE: Final = ".lock"


@dataclass(frozen=True)
class Segment:
    """A stretch of time at a place, recorded on some devices at once.

    ``stem`` is a file name up to the device, or up to the second where a recording is cut into several ``pieces``.
    """

    stem: str
    scene: str
    city: str
    location: str
    split: str
    pieces: int = 1

    def filename(self, device: str) -> str:
        """Return the path of a device's whole recording inside the data set."""
        return f"audio/{self.stem}-{device}.wav"

    def filenames(self, device: str) -> list[str]:
        """Return the paths of a device's clips inside the data set, in the order of time."""
        if self.pieces == 1:
            return [self.filename(device)]
        return [f"audio/{self.stem}-{number}-{device}.wav" for number in range(self.pieces)]


@dataclass(frozen=True)
class Written:
    """What a folder holds now.

    Attributes
    ----------
    root
        The folder.
    written
        Number of audio files that this call wrote; the others were there already.
    clips
        Split (train, test) -> device -> number of clips.
    """

    root: Path
    written: int
    clips: dict[str, dict[str, int]]


@dataclass(frozen=True)
class DeviceSet:
    """The recipe of a data set's devices; small enough to travel to worker processes."""

    seed: int
    sample_rate: int
    impulse_responses: Path | None = None
    #: Devices of a data set of one's own, the reference first: they are the nine by their place.
    names: tuple[str, ...] = DEVICES

    @cached_property
    def devices(self) -> dict[str, Device]:
        """The devices by name."""
        return _make_devices(self)

    def record(self, signal: NDArray[np.floating], segment: Segment, device: str) -> NDArray[np.float32]:
        """Record a segment; its noise depends on the seed, the segment and the device only."""
        place = self.names.index(device)
        rng = np.random.default_rng([self.seed, zlib.crc32(segment.stem.encode()), place])
        return record(signal, self.sample_rate, self.devices[DEVICES[place]], rng)


@lru_cache(maxsize=4)
def _make_devices(recipe: DeviceSet) -> dict[str, Device]:
    folder = recipe.impulse_responses
    responses = load_impulse_responses(folder, recipe.sample_rate) if folder else ()
    return make_devices(recipe.seed, recipe.sample_rate, responses)


def choose_devices(segments: Sequence[Segment], seed: int, taxonomy: Taxonomy = TAU) -> dict[Segment, tuple[str, ...]]:
    """Decide which devices of a data set record which segment.

    The reference device, a, records all. In train, each other seen device records `SPARSE_SHARE` of a scene's segments
    (at least one), drawn for each device on its own as in TAU; in test, all devices record every segment.
    """
    chosen = {
        segment: [taxonomy.reference_device] if segment.split == "train" else list(taxonomy.devices)
        for segment in segments
    }
    seen = [device for device in taxonomy.seen_devices if device != taxonomy.reference_device]
    for scene in sorted({segment.scene for segment in segments}):
        train = sorted(
            (segment for segment in segments if segment.scene == scene and segment.split == "train"),
            key=lambda segment: segment.stem,
        )
        rng = np.random.default_rng([seed, zlib.crc32(scene.encode())])
        count = max(1, round(SPARSE_SHARE * len(train)))
        for device in seen if train else ():
            for index in rng.choice(len(train), count, replace=False):
                chosen[train[index]].append(device)
    return {segment: tuple(devices) for segment, devices in chosen.items()}


def check_seed_and_jobs(seed: int, jobs: int) -> None:
    """Raise `InputError` unless both can be used, before anything is written."""
    if seed < 0:
        raise InputError(f"--seed must be 0 or more, got {seed}: give another")
    require_jobs(jobs)


@contextmanager
def open_folder(root: Path, settings: Mapping[str, Any], readme: str) -> Iterator[None]:
    """Claim a folder for these settings, alone, and tidy what an interrupted call left behind.

    Raises
    ------
    InputError
        If ``root`` is not a folder, or holds anything that was not made with the same settings and the same version.
    """
    settings = {"version": __version__, **settings}
    if root.exists() and not root.is_dir():
        raise InputError(f"the output must be a folder, got the file {root}: name another")
    names = {path.name for path in root.iterdir()} if root.exists() else set()
    found = {name for name in names if name != _LOCK_FILE and not is_temporary(name)}
    if found and SETTINGS_FILE not in found:
        raise InputError(f"the output folder must be empty or new, got {root} with {len(found)} entries: name another")
    try:
        for folder in ("audio", "evaluation_setup"):
            (root / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the output must be a folder that can be written, got {root}: {error.strerror}: name another"
        ) from None
    with FileLock(root / _LOCK_FILE):
        path = root / SETTINGS_FILE
        if path.exists() and (differing := _differing(path, settings)):
            raise InputError(
                f"the output folder must be empty or made by the same command, got {root} made with other settings"
                f" ({differing}): name another folder or delete this one"
            )
        write_file(path, json.dumps(settings, indent=2) + "\n")
        write_file(root / "README.md", readme)
        for place in (root, root / "audio", root / "evaluation_setup"):
            remove_left_over(place, older_than_seconds=0)
        yield


def _differing(path: Path, settings: Mapping[str, Any]) -> str:
    """Name the settings of a folder that differ from the wanted ones."""
    try:
        found = json.loads(read_input(path, "settings"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return f"{SETTINGS_FILE} cannot be read"
    names = [name for name in {**found, **settings} if found.get(name) != settings.get(name)]
    return ", ".join(f"{name} {found.get(name)}, not {settings.get(name)}" for name in names)


def write_data_set(
    root: Path,
    data_format: DataFormat,
    recordings: Mapping[Segment, tuple[str, ...]],
    write_segment: Callable[..., int],
    common: tuple[Any, ...],
    *,
    jobs: int,
) -> Written:
    """Write the audio that is missing, in parallel, then the lists.

    ``write_segment(root, segment, devices, *common)`` writes a segment on these devices and returns how many files that
    were; it runs in a worker process.
    """
    calls = []
    for segment, devices in recordings.items():
        if missing := tuple(device for device in devices if not _is_written(root, segment, device)):
            calls.append((root, segment, missing, *common))
    written = 0
    total = sum(len(call[2]) * call[1].pieces for call in calls)
    with progress_bar(total, "writing audio", "clip", shown=total > 0) as bar:
        for files in run_parallel(write_segment, calls, jobs=jobs):
            written += files
            bar.update(files)
    rows = [
        {**asdict(segment), "filename": filename, "device": device}
        for segment, devices in recordings.items()
        for device in devices
        for filename in segment.filenames(device)
    ]
    for name, item in data_format.lists.subsets.items():
        _write_subset(root / item, data_format.lists, recordings, int(name.removeprefix("split")) / 100)
    write_lists(root, data_format, rows)
    counts = {
        split: Counter(
            device
            for segment, devices in recordings.items()
            if segment.split == split
            for device in devices
            for _ in range(segment.pieces)
        )
        for split in ("train", "test")
    }
    return Written(root, written, {split: {d: counts[split][d] for d in data_format.devices} for split in counts})


def _write_subset(path: Path, lists: Lists, recordings: Mapping[Segment, tuple[str, ...]], share: float) -> None:
    """Write the list of a part of train: whole recordings, at least one a scene, a smaller part inside a larger one."""
    rows = []
    train = [segment for segment in recordings if segment.split == "train"]
    for scene in sorted({segment.scene for segment in train}):
        of_scene = sorted(
            (segment for segment in train if segment.scene == scene),
            key=lambda segment: zlib.crc32(segment.stem.encode()),
        )
        for segment in of_scene[: max(1, round(share * len(of_scene)))]:
            rows += [(name, scene) for device in recordings[segment] for name in segment.filenames(device)]
    _write_list(path, lists.separator, (lists.file_column, lists.label_column), sorted(rows))


def _is_written(root: Path, segment: Segment, device: str) -> bool:
    return all((root / name).exists() for name in segment.filenames(device))


def write_lists(root: Path, data_format: DataFormat, rows: Iterable[Mapping[str, str]]) -> None:
    """Write the lists of the official fold and, last, the list of all clips.

    Parameters
    ----------
    root
        The folder of the data set.
    data_format
        Says which lists there are and what their columns hold.
    rows
        For each clip its ``filename`` (path inside the data set), ``scene``, ``split`` (train or test) and what else
        columns of the lists repeat.
    """
    lists = data_format.lists
    clips = sorted(rows, key=lambda row: row["filename"])
    if lists.parts:
        _write_table(root, lists, clips)
        return
    named = [(row["split"], row["filename"], data_format.label_of(row["scene"])) for row in clips]
    header = (lists.file_column, lists.label_column)
    for split, name in lists.of_split.items():
        _write_list(root / name, lists.separator, header, [clip for of, *clip in named if of == split])
    if lists.names is not None:
        _write_list(root / lists.names, lists.separator, header[:1], [[path] for of, path, _ in named if of == "test"])
    meta = [
        (path, label, *(fill_in(form, row) for form in lists.repeated.values()))
        for row, (_, path, label) in zip(clips, named, strict=True)
    ]
    _write_list(root / lists.meta, lists.separator, (*header, *lists.repeated), meta)


def _write_table(root: Path, lists: Lists, clips: Sequence[Mapping[str, str]]) -> None:
    """Write the metadata file of a data set whose clips are described by columns, after the lists of its splits."""
    columns = {lists.file_column: "filename", lists.label_column: "scene"}
    columns |= {column: part for part, column in lists.parts.items()}
    if lists.split:
        column, train, test = lists.split
        columns[column] = "split"
        called = {"train": train[0], "test": test[0]}
        clips = [{**clip, "split": called[clip["split"]]} for clip in clips]
    for split, name in lists.of_split.items():
        listed = [[clip["filename"]] for clip in clips if clip["split"] == split]
        _write_list(root / name, lists.separator, [lists.file_column], listed)
    rows = [[clip[part] for part in columns.values()] for clip in clips]
    _write_list(root / lists.meta, lists.separator, list(columns), rows)


def write_audio(path: Path, signal: NDArray[np.floating], sample_rate: int) -> None:
    """Write a 24-bit WAV file; the name appears when the file is whole."""
    with replacing(path) as part:
        soundfile.write(part, signal, sample_rate, format="WAV", subtype="PCM_24")


def copy_file(source: Path, path: Path) -> None:
    """Copy a file unchanged; the name appears when the copy is whole."""
    with open_input(source, "recording") as original, writing(path) as copy:
        shutil.copyfileobj(original, copy)


def _write_list(path: Path, separator: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    write_file(path, "".join(separator.join(row) + "\n" for row in (header, *rows)))
