"""Sounds that features are computed of: recordings on disk, and whatever else says what it is and gives its samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from asc_study.base.errors import InputError
from asc_study.base.files import open_input


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

    def load(self, sample_rate: int) -> npt.NDArray[np.float32]:
        """Return (samples, channels), full scale is 1; raises `InputError` if that is not possible."""


@dataclass(frozen=True)
class Recording:
    """A clip as it was recorded."""

    path: Path
    digest: str
    treatment: None = None

    def load(self, sample_rate: int) -> npt.NDArray[np.float32]:
        """Read the file."""
        return read_audio(self.path, sample_rate)


def read_audio(path: Path, sample_rate: int) -> npt.NDArray[np.float32]:
    """Read an audio file as (samples, channels) float32.

    Raises
    ------
    InputError
        If it cannot be read or has another sample rate (Hz).
    """
    with open_input(path, "recording") as file:
        try:
            waveform, rate = soundfile.read(file, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise unreadable(path, error) from None
    if rate != sample_rate:
        raise InputError(f"clips must have {sample_rate} Hz, got {rate} Hz in {path}: run asc-study data check")
    return waveform  # type: ignore[no-any-return]


def unreadable(path: Path, error: Exception) -> InputError:
    """The error that names an audio file which cannot be read."""
    # libsndfile's own message names the open file, not its path.
    reason = " ".join(str(getattr(error, "error_string", error)).split())
    return InputError(f"an audio file must be readable, got {path} ({reason}): run asc-study data check")
