"""Sounds that features are computed of: recordings on disk, and whatever else says what it is and gives its samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from asc_study.acoustics.recordings import read_sound
from asc_study.base.errors import InputError


class Sound(Protocol):
    """Something that has samples: a recording, or an augmented copy of one."""

    @property
    def path(self) -> Path:
        """The file that errors name."""

    @property
    def digest(self) -> str:
        """Digest of the content of that file."""

    @property
    def treatment(self) -> str | None:
        """Canonical description of all that was done to the recording; None if nothing was."""

    def load(self, sample_rate: int, channels: int) -> npt.NDArray[np.float32]:
        """Return (samples, channels), full scale is 1; raises `InputError` if that is not possible."""


@dataclass(frozen=True)
class Recording:
    """A clip as it was recorded."""

    path: Path
    digest: str
    treatment: None = None

    def load(self, sample_rate: int, channels: int) -> npt.NDArray[np.float32]:
        """Read the file."""
        return read_audio(self.path, sample_rate, channels)


def read_audio(path: Path, sample_rate: int, channels: int | None = None) -> npt.NDArray[np.float32]:
    """Read an audio file as (samples, channels) float32.

    Raises
    ------
    InputError
        If it cannot be read, or has another sample rate (Hz) or, where given, another number of channels.
    """
    waveform, rate = read_sound(path)
    require_sound(path, (rate, waveform.shape[1]), (sample_rate, channels))
    return waveform


def require_sound(path: str | Path, got: tuple[int, int], expected: tuple[int, int | None]) -> None:
    """Refuse a recording of another sample rate (Hz) or number of channels than expected; None accepts any number.

    Raises
    ------
    InputError
        One line that names the file, what was expected, what it has and what to do.
    """
    if got[0] == expected[0] and expected[1] in (None, got[1]):
        return
    wanted, found = (f"{rate} Hz" + (f" and {count} channel(s)" if count else "") for rate, count in (expected, got))
    raise InputError(
        f"recordings must have {wanted}, got {found} in {path}: convert it or name other data (asc-study data check "
        "lists all)"
    )
