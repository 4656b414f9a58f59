"""Sound from files and streams, window by window, so that a recording of any length takes the memory of one window."""

import glob
import io
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError
from asc_study.base.files import RECORDING_SUFFIXES, is_recording, open_input, shown_path, size_text

Floats = npt.NDArray[np.floating[Any]]

#: The clip that stands for standard input.
STANDARD_INPUT: Final = "-"

#: Most bytes of a recording on standard input.
_LONGEST_INPUT: Final = 256 * 1024**2

#: Sample rates that make sense, in Hz.
_RATES: Final = (1000, 768_000)

#: A window of every channel is held in memory before they are mixed.
_MOST_CHANNELS: Final = 64

#: A rest of a recording below this share of a window is no window.
_SMALLEST_REST: Final = 0.01


@dataclass
class Notes:
    """What was done to recordings besides computing features, each said once."""

    _first: dict[str, str] = field(default_factory=dict)
    _count: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, clip: str, detail: str) -> None:
        """Note that something was done to a clip."""
        self._count[what] += 1
        self._first.setdefault(what, f"{detail} in {clip}" if clip else detail)

    def lines(self) -> list[str]:
        """One line for each thing that was done."""
        return [
            f"{what}: {first}" + (f" and {self._count[what] - 1} more" if self._count[what] > 1 else "")
            for what, first in self._first.items()
        ]


def shown_clip(clip: str | Path | bytes) -> str:
    """What people are told of a clip: its path, or how many bytes it is."""
    return f"{len(clip):,} bytes" if isinstance(clip, bytes) else shown_path(clip)


@contextmanager
def open_recording(clip: str | bytes) -> Iterator[Any]:
    """Open a recording as a `soundfile.SoundFile`: by its path, by ``-`` from standard input, or from its bytes.

    Raises
    ------
    InputError
        If it is no recording that libsndfile reads, or too large, or of more channels than any recorder has; also for
        errors inside the block.
    """
    import soundfile

    file: BinaryIO
    if isinstance(clip, bytes):
        file = io.BytesIO(clip)
    else:
        file = _standard_input() if clip == STANDARD_INPUT else open_input(clip, "clip")
    try:
        with file, soundfile.SoundFile(file) as recording:
            if recording.channels > _MOST_CHANNELS:
                raise InputError(
                    f"a clip must have at most {_MOST_CHANNELS} channels, got {recording.channels} in "
                    f"{shown_clip(clip)}: mix it down"
                )
            yield recording
    except (OSError, RuntimeError) as error:
        # libsndfile's own message names the open file, not its path.
        reason = " ".join(str(getattr(error, "error_string", error)).split())
        raise InputError(
            f"a clip must be a recording that libsndfile reads (WAV, FLAC, OGG, MP3), got {shown_clip(clip)} "
            f"({reason}): convert it to WAV"
        ) from None


def file_windows(recording: Any, seconds: float) -> Iterator[Floats]:
    """The windows of an open recording; see `cut_windows`."""
    size = window_size(recording.samplerate, seconds)
    blocks = (recording.read(size, dtype="float32", always_2d=True) for _ in itertools.count())
    return cut_windows(blocks, size)


def cut_windows(blocks: Iterator[Floats], size: int) -> Iterator[Floats]:
    """Cut blocks of ``size`` samples (samples, channels), of which the last may be shorter, into windows.

    What is left at the end is a window that reaches back into the one before; a recording that is shorter than a window
    is given as it is.
    """
    before: Floats | None = None
    for block in blocks:
        if len(block) < size:
            if len(block) and before is None:
                yield block
            elif before is not None and len(block) >= _SMALLEST_REST * size:
                yield np.concatenate([before, block])[-size:]
            return
        yield block
        before = block


def window_size(sample_rate: int, seconds: float) -> int:
    """Samples of a window at a sample rate in Hz; raises `InputError` if the rate makes no sense."""
    if not _RATES[0] <= sample_rate <= _RATES[1]:
        raise InputError(f"a sample rate must be in [{_RATES[0]}, {_RATES[1]}] Hz, got {sample_rate}: resample it")
    return round(sample_rate * seconds)


def find_clips(names: list[str]) -> list[str]:
    """Recordings that paths, folders, patterns with ``*`` and ``-`` stand for, in their order, those of one by name.

    Raises
    ------
    InputError
        If one stands for none.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        if name == STANDARD_INPUT or path.is_file() or not (path.is_dir() or "*" in name):
            found.append(name)
            continue
        inside = [str(file) for file in path.rglob("*")] if path.is_dir() else glob.glob(name, recursive=True)
        clips = sorted(file for file in inside if is_recording(file) and not Path(file).is_dir())
        if not clips:
            raise InputError(
                f"{shown_path(name)} holds no recordings ({', '.join(RECORDING_SUFFIXES)}): name another one"
            )
        found += clips
    return found


def _standard_input() -> BinaryIO:
    content = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    if len(content) > _LONGEST_INPUT:
        raise InputError(
            f"a recording on standard input may have at most {size_text(_LONGEST_INPUT)}, got more: name its file"
        )
    return io.BytesIO(content)
