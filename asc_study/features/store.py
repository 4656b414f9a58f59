"""A content-addressed, memory-mapped store of log-mel features.

Each feature has a key: the digest of the sound, of what was done to it and of the feature settings, so a changed
setting can never read a stale feature. Features whose keys begin with the same bits share a *pack*, one ``.npy`` file
named after the digest of its keys, so that a big data set needs a few hundred open files at most and an interrupted
extraction goes on where it stopped. A pack is written under a temporary name and renamed: what has its final name is
complete.
"""

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soundfile

from asc_study.errors import InputError
from asc_study.features.logmel import LogMelSettings, log_mel, widen
from asc_study.parallel import run_parallel
from asc_study.progress import progress_bar

#: Part of every key: raise it when the code of `log_mel` changes its values.
FEATURE_VERSION: Final = 1

#: About how many clips share a file, as long as that takes at most 2 ** _MAX_PACK_BITS files.
_CLIPS_PER_PACK: Final = 128
_MAX_PACK_BITS: Final = 8


@dataclass(frozen=True)
class Pack:
    """One file of the store: entry ``keys[i]``, made from ``paths[i]``, is row i of the array in ``file``."""

    file: Path
    keys: tuple[str, ...]
    paths: tuple[Path, ...]


class FeatureStore:
    """Read access to the features of a list of clips, in the caller's order, without loading them.

    Made by `extract`. ``store[i]`` is a read-only (frequency, time, channel) view of the file.
    """

    def __init__(self, arrays: Sequence[npt.NDArray[Any]], places: Sequence[tuple[int, int]]) -> None:
        """Take one (clips, frequency, time, channel) array a pack, and for each clip its (pack, row)."""
        self._arrays = arrays
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        pack, row = self._places[index]
        clip: npt.NDArray[Any] = self._arrays[pack][row]
        return clip

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frequency bands, frames and channels of every clip."""
        bands, frames, channels = self._arrays[0].shape[1:]
        return bands, frames, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values: float16 or float32."""
        return self._arrays[0].dtype

    def read(self, index: int, out: npt.NDArray[np.float32]) -> None:
        """Copy the static features of one clip to ``out``, widening them to its type."""
        out[...] = widen(self[index])


def entry_key(
    audio_digest: str, settings: LogMelSettings, *, augmentation: str | None = None, seed: int | None = None
) -> str:
    """Return the identity of one feature as 64 hex digits.

    Parameters
    ----------
    audio_digest
        Digest of the content of the audio file.
    settings
        Feature settings; every one of them counts.
    augmentation, seed
        Canonical description of the waveform augmentation that the sound went through, and its seed.
    """
    identity = [FEATURE_VERSION, audio_digest, augmentation, seed, settings.canonical_json()]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def extract(
    paths: Sequence[Path],
    digests: Sequence[str],
    settings: LogMelSettings,
    cache: Path,
    *,
    jobs: int = 1,
    progress: bool = True,
) -> FeatureStore:
    """Compute the features that the cache does not hold yet and open all of them.

    Safe to be stopped at any moment, and to be run by several processes on one cache at the same time.

    Parameters
    ----------
    paths, digests
        The clips' audio files and a digest of the content of each. Equal digests share one entry.
    settings
        Feature settings.
    cache
        Folder of the packs; made where it is missing.
    jobs
        Processes to use.
    progress
        Show a progress bar, in clips, on standard error.

    Raises
    ------
    InputError
        If there are no clips, or a file cannot be read, has another sample rate than the settings, or another length
        or channel count than the rest.
    """
    if not paths:
        raise InputError("features need at least one clip, got none: check the data set's split files")
    keys = [entry_key(digest, settings) for digest in digests]
    packs = _plan(dict(zip(keys, paths, strict=True)), cache)
    arrays = {pack.file: _open(pack) for pack in packs}
    missing = [pack for pack in packs if arrays[pack.file] is None]
    if missing:
        cache.mkdir(parents=True, exist_ok=True)
        shape = _feature_shape(missing[0].paths[0], settings)
        calls = [(pack, settings, shape) for pack in missing]
        with progress_bar(sum(len(pack.keys) for pack in missing), "features", "clip", shown=progress) as bar:
            for clips in run_parallel(_build, calls, jobs=jobs):
                bar.update(clips)
        arrays |= {pack.file: _open(pack) for pack in missing}
    opened = [_require_like_first(packs, pack, arrays) for pack in packs]
    place = {key: (index, row) for index, pack in enumerate(packs) for row, key in enumerate(pack.keys)}
    return FeatureStore(opened, [place[key] for key in keys])


def _plan(path_of_key: dict[str, Path], cache: Path) -> list[Pack]:
    """Group entries into packs by the leading bits of their keys, which spreads them evenly."""
    bits = min(_MAX_PACK_BITS, max(0, round(math.log2(len(path_of_key) / _CLIPS_PER_PACK))))
    groups: dict[int, list[str]] = defaultdict(list)
    for key in sorted(path_of_key):
        groups[int(key[:8], 16) >> (32 - bits)].append(key)
    return [
        Pack(
            cache / f"{hashlib.sha256(' '.join(keys).encode()).hexdigest()}.npy",
            tuple(keys),
            tuple(path_of_key[key] for key in keys),
        )
        for keys in groups.values()
    ]


def _open(pack: Pack) -> npt.NDArray[Any] | None:
    """Map a pack into memory; None if it is missing or was cut short, which its header and size tell."""
    try:
        array = np.load(pack.file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    # A plain view: slicing np.memmap itself costs several times more, and batches slice it for every clip.
    return np.asarray(array) if array.ndim == 4 and len(array) == len(pack.keys) else None


def _require_like_first(packs: list[Pack], pack: Pack, arrays: dict[Path, npt.NDArray[Any] | None]) -> npt.NDArray[Any]:
    first, array = arrays[packs[0].file], arrays[pack.file]
    if first is None or array is None:
        raise InputError(f"the feature cache changed while it was read: keep {pack.file.parent} and run again")
    if array.shape[1:] != first.shape[1:]:
        raise _uneven(pack.paths[0], array.shape[1:], first.shape[1:])
    return array


def _build(pack: Pack, settings: LogMelSettings, shape: tuple[int, int, int]) -> int:
    """Compute one pack and move it to its place; returns its number of clips."""
    features = np.empty((len(pack.keys), *shape), settings.dtype)
    for row, path in enumerate(pack.paths):
        clip = log_mel(_read_audio(path, settings.sample_rate), settings)
        if clip.shape != shape:
            raise _uneven(path, clip.shape, shape)
        features[row] = clip
    handle, name = tempfile.mkstemp(prefix=f".{pack.file.stem}.", suffix=".tmp", dir=pack.file.parent)
    with os.fdopen(handle, "wb") as file:
        np.save(file, features)
    try:
        Path(name).replace(pack.file)
    except FileNotFoundError:  # another process finished the same pack and tidied up: its file is as good as ours
        if not pack.file.exists():
            raise
    for leftover in pack.file.parent.glob(f".{pack.file.stem}.*.tmp"):  # of a process that was killed here
        with contextlib.suppress(OSError):
            leftover.unlink()
    return len(pack.keys)


def _read_audio(path: Path, sample_rate: int) -> npt.NDArray[np.float32]:
    try:
        waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    if rate != sample_rate:
        raise InputError(f"clips must have {sample_rate} Hz, got {rate} Hz in {path}: run asc-study data check")
    return waveform  # type: ignore[no-any-return]


def _feature_shape(path: Path, settings: LogMelSettings) -> tuple[int, int, int]:
    try:
        info = soundfile.info(path)
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    return settings.n_mels, settings.frames(info.frames), info.channels


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"an audio file must be readable, got {path} ({reason}): run asc-study data check")


def _uneven(path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> InputError:
    return InputError(
        f"all clips must be equally long with equally many channels, got {path} with {shape[1]} frames x {shape[2]} "
        f"channels where the rest has {expected[1]} x {expected[2]}: run asc-study data check"
    )
