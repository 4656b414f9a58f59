"""Is this folder a sound data set? Counts, and every problem at once."""

import os
import struct
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

import pandas as pd

from asc_study.acoustics.recordings import UnreadableRecording, is_lossy, read_sound, sound_info
from asc_study.base.errors import InputError
from asc_study.base.files import open_input
from asc_study.base.progress import progress_bar
from asc_study.base.text_table import text_table
from asc_study.data.clips import SPLITS, describe, missing_files
from asc_study.data.cut import cut_validation
from asc_study.data.formats import DataFormat
from asc_study.data.layout import read_fold_list, read_lists
from asc_study.data.problems import Problem, shown

__all__ = ["CheckReport", "Problem", "check"]

#: How many problems of one kind `CheckReport.render` shows.
_EXAMPLES: Final = 5

#: Sizes of the data chunk of a WAV file that was written to a pipe: ffmpeg's, SoX's, arecord's and the largest that
#: 31 and 32 bits hold. They say nothing, and readers go by the file.
_UNKNOWN_SIZES: Final = (0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0x7FFFFFFF)


@dataclass(frozen=True)
class CheckReport:
    """What `check` found.

    Attributes
    ----------
    root
        The folder.
    format
        Name of the data format that the folder was read as.
    task
        The task of its labels, such as ``ten_class`` or ``three_class``.
    counts
        Clips by split and scene (rows) and device (columns), as `describe` gives them.
    problems
        Everything that breaks a rule.
    notes
        What is worth knowing and breaks no rule.
    """

    root: Path
    format: str
    task: str
    counts: pd.DataFrame
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Give everything in the types of JSON; ``counts`` is split -> scene -> device -> clips."""
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for split, table in self._tables().items():
            devices = table.drop(columns="total")
            counts[split] = {str(scene): {str(k): int(n) for k, n in row.items()} for scene, row in devices.iterrows()}
        return {
            "root": str(self.root),
            "format": self.format,
            "task": self.task,
            "ok": self.ok,
            "counts": counts,
            "problems": [asdict(problem) for problem in self.problems],
            "notes": list(self.notes),
        }

    def render(self) -> str:
        """Lay the report out as text; of many problems of one kind it shows the first five."""
        tables = self._tables()
        sizes = "".join(f", {table['total'].sum():,} {split}" for split, table in tables.items())
        lines = [f"{self.root}: {self.task} ({self.format}), {int(self.counts['total'].sum()):,} clips{sizes}", ""]
        for split, table in tables.items():
            table.loc["total"] = table.sum()
            cells = [[str(scene), *(f"{count:,}" for count in counts)] for scene, counts in table.iterrows()]
            lines += [text_table([[split, *map(str, table.columns)], *cells]), ""]
        if self.notes:
            lines += [*(f"note: {note}" for note in self.notes), ""]
        lines.append(f"{len(self.problems):,} problem{'' if len(self.problems) == 1 else 's'} found")
        by_rule: dict[str, list[Problem]] = {}
        for problem in self.problems:
            by_rule.setdefault(problem.rule, []).append(problem)
        for rule, problems in by_rule.items():
            lines.append(f"  {rule} ({len(problems):,})")
            lines += [f"    {problem.item}: {problem.detail}" for problem in problems[:_EXAMPLES]]
            if len(problems) > _EXAMPLES:
                lines.append(f"    ... and {len(problems) - _EXAMPLES:,} more")
        return "\n".join(lines)

    def _tables(self) -> dict[str, pd.DataFrame]:
        """Give the counts of each split: scenes by devices."""
        split_of_row = self.counts.index.get_level_values("split")
        return {
            split: self.counts[split_of_row == split].droplevel("split") for split in SPLITS if split in split_of_row
        }


def check(
    root: Path,
    task: str | None = None,
    jobs: int = 1,
    *,
    data_format: DataFormat | None = None,
    deep: bool = False,
) -> CheckReport:
    """Check the lists, the fold, the validation cut and the header of every audio file of the fold.

    Parameters
    ----------
    root
        The folder to check.
    task
        Such as ``ten_class`` or ``three_class``; told by the labels by default.
    jobs
        Threads that open audio files.
    data_format
        What the data set is; recognised from its lists by default.
    deep
        Decode every audio file to its end, too: damage inside, and samples that are no numbers, show nowhere else.

    Raises
    ------
    InputError
        If ``root`` is not a folder or ``task`` is unknown; everything else is a problem of the report.
    """
    reading = read_lists(root, task, data_format)
    data_format, lists = reading.format, reading.format.lists
    problems, notes = list(reading.problems), []
    if reading.unused:
        notes.append(f"{reading.unused:,} clips of {lists.meta} are in neither list of the fold and are left out")
    if not reading.recognised:
        notes.append(f"no known data set: `asc-study data init {reading.root}` describes recordings of your own")
    for name, part in reading.subsets.items():
        notes.append(f"{name} is a part of train with {len(part):,} clips: training.subset: {name}")
    _check_test_list(reading.root, data_format, problems, notes)
    problems += _shared_locations(reading.clips, "train", "test")
    cut = cut_validation(reading.clips, seed=0, reference_device=data_format.reference_device)
    problems += _shared_locations(cut, "train", "validation")
    uncut = set(cut.loc[cut["split"] == "train", "scene"]) - set(cut.loc[cut["split"] == "validation", "scene"])
    if uncut:
        scenes = ", ".join(
            [scene for scene in data_format.scenes if scene in uncut] + sorted(uncut.difference(data_format.scenes))
        )
        notes.append(f"a validation cut lacks the scenes with one training location only: {scenes}")
    _check_audio(reading.root, data_format, reading.clips, (jobs, deep), problems, notes)
    counts = describe(reading.clips, scenes=data_format.scenes, devices=data_format.devices)
    return CheckReport(reading.root, data_format.name, data_format.task, counts, tuple(problems), tuple(notes))


def _check_test_list(root: Path, data_format: DataFormat, problems: list[Problem], notes: list[str]) -> None:
    """Hold the list of test names (alone, for systems that must not see labels) against the test list with labels."""
    lists = data_format.lists
    if lists.names is None or lists.parts:
        return
    found: list[Problem] = []
    named = set(read_fold_list(root, lists.names, data_format, False, found)["filename"])
    labelled = set(read_fold_list(root, lists.test, data_format, False, [])["filename"])
    if any(problem.rule == "missing list" for problem in found):
        notes.append(f"{lists.names} is missing; nothing here reads it")
        return
    of_names, of_test = PurePosixPath(lists.names).name, PurePosixPath(lists.test).name
    problems += found
    for filename in sorted(named ^ labelled) if named and labelled else ():
        where, other = (of_names, of_test) if filename in named else (of_test, of_names)
        detail = f"it is in {where} and not in {other}"
        problems.append(Problem("test lists disagree", shown(filename), detail))


def _shared_locations(clips: pd.DataFrame, one: str, other: str) -> Iterator[Problem]:
    counts = Counter(zip(clips["city"] + "-" + clips["location"], clips["split"], strict=True))
    for place in sorted({place for place, split in counts if split == one and counts[place, other]}):
        detail = f"{counts[place, one]:,} clips in {one} and {counts[place, other]:,} in {other}"
        yield Problem(f"location in both {one} and {other}", place, detail)


@dataclass(frozen=True)
class _Header:
    """What the header of an audio file says, or why it cannot be used."""

    frames: int = 0
    rate: int = 0
    channels: int = 0
    lossy: str = ""
    rule: str = ""
    detail: str = ""


def _check_audio(
    root: Path,
    data_format: DataFormat,
    clips: pd.DataFrame,
    reading: tuple[int, bool],
    problems: list[Problem],
    notes: list[str],
) -> None:
    """Hold the recordings against the format; ``reading`` is in how many threads, and whether they are decoded."""
    jobs, deep = reading
    audio = PurePosixPath() if data_format.lists.parts else PurePosixPath(data_format.file_name).parent
    folder = root / audio
    if not folder.is_dir():
        problems.append(Problem("missing folder", f"{audio}/", "there is no such folder"))
    missing = missing_files(clips["path"])
    problems += [Problem("missing file", os.path.relpath(path, root), "there is no such file") for path in missing]
    paths = sorted(set(clips["path"]).difference(missing))
    bar = progress_bar(len(paths), "decoding" if deep else "reading headers", "file", delay_seconds=1)
    headers: dict[str, _Header] = {}
    with bar, ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        for path, header in zip(paths, pool.map(partial(_read_header, deep=deep), paths), strict=True):
            headers[os.path.relpath(path, root)] = header
            bar.update()

    rate, channels = data_format.sample_rate, data_format.channels
    lengths = Counter((header.frames, header.rate) for header in headers.values() if not header.rule)
    frames, at_rate = lengths.most_common(1)[0][0] if lengths else (0, rate)
    usual = frames / at_rate
    for item, header in headers.items():
        if header.rule:
            problems.append(Problem(header.rule, item, header.detail))
            continue
        if header.rate != rate:
            problems.append(Problem("sample rate", item, f"it must be {rate:,} Hz, got {header.rate:,}"))
        if header.channels != channels:
            problems.append(Problem("channels", item, f"it must have {channels}, got {header.channels}"))
        if header.frames != round(usual * header.rate):
            detail = f"it must have {usual:g} s as most clips, got {header.frames / header.rate:.6g} s"
            problems.append(Problem("length", item, detail))
    if lengths and usual != data_format.clip_seconds:
        notes.append(f"clips have {usual:g} s, those of {data_format.title} have {data_format.clip_seconds:g} s")

    if lossy := Counter(header.lossy for header in headers.values() if header.lossy):
        names = ", ".join(f"{count:,} {name}" for name, count in sorted(lossy.items()))
        notes.append(f"recordings of formats that lose sound are read as they are, and say less about devices: {names}")
    outside = _count_links_outside(root, folder)
    if outside:
        notes.append(f"{outside:,} files in {audio}/ are links to files outside the folder")


def _count_links_outside(root: Path, folder: Path) -> int:
    """Count links that lead out of the folder; ``audio/`` itself may lie elsewhere, for example on a larger disk."""
    if not folder.is_dir():
        return 0
    inside = [os.path.realpath(place) for place in (root, folder)]
    with os.scandir(folder) as entries:
        links = [os.path.realpath(entry.path) for entry in entries if entry.is_symlink()]
    return sum(not any(Path(link).is_relative_to(place) for place in inside) for link in links)


def _read_header(path: str, deep: bool) -> _Header:
    """Read the header of an audio file; libsndfile says nothing about a file that is shorter than its header says."""
    try:
        with open_input(path, "recording") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return _Header(rule="unreadable file", detail="it is empty (0 bytes)")
            promised = _promised_size(file)
        if promised > size:
            detail = f"its header promises {promised:,} bytes, the file has {size:,}"
            return _Header(rule="truncated file", detail=detail)
        info = sound_info(path)
        if deep:
            read_sound(path)
    except UnreadableRecording as error:
        return _Header(rule="unreadable file", detail=error.reason)
    except InputError as error:
        return _Header(rule="unreadable file", detail=str(error).rpartition(": ")[0])  # the remedy is to run this check
    except OSError as error:
        return _Header(rule="unreadable file", detail=error.strerror or str(error))
    return _Header(info.frames, info.samplerate, info.channels, info.format_info if is_lossy(info) else "")


def _promised_size(file: BinaryIO) -> int:
    """Bytes that a WAV file must have to hold the samples that its header announces; 0 if it does not say."""
    start = file.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return 0
    while len(chunk := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            return 0 if size in _UNKNOWN_SIZES else file.tell() + int(size)
        file.seek(size + size % 2, os.SEEK_CUR)
    # The file ends before its samples begin.
    return file.tell() + 1
