"""How recordings are read: what their headers say, and their samples, whole, finite and of a sensible length."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soundfile

from asc_study.base.errors import InputError
from asc_study.base.files import open_input

#: Samples of all channels that a recording may have: an hour and a half of mono at 48 kHz, 1 GB in memory. A file of a
#: few megabytes can promise, and a compressed one hold, far more.
LONGEST: Final = 2**28

#: Share of the announced samples that must be there; headers of some compressed formats estimate.
_WHOLE: Final = 0.99

#: Headers that tell what recordings of a data set usually are.
_LOOKED_AT: Final = 15

#: What libsndfile calls formats that do not keep the samples as they were recorded.
_LOSSY: Final = ("MPEG", "VORBIS", "OPUS", "GSM", "ADPCM", "ULAW", "ALAW")


class UnreadableRecording(InputError):
    """A recording that cannot be used; ``reason`` is why, without its path."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"an audio file must be readable, got {path} ({reason}): run asc-study data check DIR --deep")
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (str(self), self.reason)  # it travels between processes


def sound_info(path: str | Path) -> Any:
    """What the header of an audio file says, as `soundfile.info` gives it: ``samplerate``, ``channels``, ``frames``.

    Raises
    ------
    InputError
        If it cannot be read, holds no samples, or announces more than `LONGEST`.
    """
    with open_input(path, "recording") as file:
        try:
            info = soundfile.info(file)
        except (OSError, RuntimeError) as error:
            raise UnreadableRecording(path, _reason(error)) from None
    _require_samples(path, info)
    return info


def usual_info(paths: Sequence[str | Path]) -> Any:
    """The header that most recordings have, by a look at a few of them from the first to the last; see `sound_info`.

    Raises
    ------
    InputError
        As `sound_info`, and for one of these that is longer or shorter than most.
    """
    step = -(-len(paths) // _LOOKED_AT)
    infos = {path: sound_info(path) for path in paths[::step]}
    forms = {path: (info.samplerate, info.channels, info.frames) for path, info in infos.items()}
    usual = Counter(forms.values()).most_common(1)[0][0]
    for path, form in forms.items():
        if form[0] == usual[0] and form[2] != usual[2]:
            raise InputError(
                f"all clips must be equally long, got {path} of {form[2] / form[0]:.6g} s where most have "
                f"{usual[2] / usual[0]:.6g} s: run asc-study data check"
            )
    return next(info for path, info in infos.items() if forms[path] == usual)


def read_sound(path: str | Path) -> tuple[npt.NDArray[np.float32], int]:
    """The samples of a recording, (samples, channels) float32 with full scale 1, and its sample rate in Hz.

    Raises
    ------
    InputError
        As `sound_info`, and if samples are missing or not finite.
    """
    with open_input(path, "recording") as file:
        try:
            with soundfile.SoundFile(file) as sound:
                _require_samples(path, sound)
                announced = sound.frames
                waveform = sound.read(announced, dtype="float32", always_2d=True)  # not all formats can be sought in
                rate = sound.samplerate
        except (OSError, RuntimeError) as error:
            raise UnreadableRecording(path, _reason(error)) from None
    if len(waveform) < _WHOLE * announced:
        raise UnreadableRecording(
            path, f"it ends after {len(waveform):,} of the {announced:,} samples that it announces"
        )
    if not (np.isfinite(waveform.min()) and np.isfinite(waveform.max())):
        bad = np.flatnonzero(~np.isfinite(waveform).all(axis=1))
        raise UnreadableRecording(
            path, f"{len(bad):,} samples are NaN or infinite, the first after {bad[0] / rate:.3f} s"
        )
    return waveform, rate


def is_lossy(info: Any) -> bool:
    """Whether a recording with this header does not hold the samples as they were recorded."""
    return any(word in f"{info.format} {info.subtype}" for word in _LOSSY)


def _require_samples(path: str | Path, sound: Any) -> None:
    if sound.frames < 1:
        raise UnreadableRecording(path, "it holds no samples")
    if sound.frames * sound.channels > LONGEST:
        raise UnreadableRecording(path, f"a recording may have {LONGEST:,} samples, it announces {sound.frames:,}")


def _reason(error: Exception) -> str:
    # libsndfile's own message names the open file, not its path.
    return " ".join(str(getattr(error, "error_string", error)).split())


def _remade(message: str, reason: str) -> UnreadableRecording:
    error = UnreadableRecording("", reason)
    error.args = (message,)
    return error
