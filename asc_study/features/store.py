"""A content-addressed, memory-mapped store of log-mel features.

Each feature has a key: the digest of the sound, of what was done to it and of the feature settings, so a changed
setting can never read a stale feature. They lie in *packs* (`asc_study.features.packs`); whatever is asked for later,
alone or among other clips, is found by its key.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.acoustics.recordings import usual_info
from asc_study.base.errors import InputError
from asc_study.base.files import remove_left_over
from asc_study.base.locks import file_lock, hold_use
from asc_study.base.progress import progress_bar
from asc_study.features.audio import Sound, require_sound
from asc_study.features.deltas import network_input
from asc_study.features.listing import About, locks_of
from asc_study.features.one_array import OneArray
from asc_study.features.pack_index import remake_index
from asc_study.features.packs import Found, build_pack, find, plan_packs, remove_damaged, uneven
from asc_study.features.settings import LogMelSettings, stacked_shape
from asc_study.workers.pool import run_parallel

#: Part of every key: raise it when the code of `log_mel` changes its values.
FEATURE_VERSION: Final = 1


class FeatureStore:
    """Read access to the features of a list of clips, in the caller's order, without loading them.

    Made by `extract`. ``store[i]`` is a read-only (frequency, time, channel) view of the file.
    """

    def __init__(
        self,
        arrays: Sequence[npt.NDArray[Any]],
        places: Sequence[tuple[int, int]],
        broken: Mapping[int, str] | None = None,
        *,
        deltas: bool = True,
    ) -> None:
        """Take one (clips, frequency, time, channel) array a pack, and for each clip its (pack, row).

        ``broken`` gives the reason for each clip that has no features; its row holds zeros. ``deltas`` says whether
        networks are given the deltas of the features too.
        """
        self.deltas = deltas
        self._arrays = list(arrays)
        self._places = list(places)
        self.broken = dict(broken or {})
        self._held: tuple[object, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": ()}  # locks stay with their process, the arrays of a copy are its own

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        pack, row = self._places[index]
        clip: npt.NDArray[Any] = self._arrays[pack][row]
        return clip

    def __add__(self, other: "FeatureStore") -> "FeatureStore":
        """The clips of this store followed by those of another one with equally large features.

        Raises
        ------
        InputError
            If the features of the two differ in shape or type.
        """
        if (self.shape, self.dtype, self.deltas) != (other.shape, other.dtype, other.deltas):
            raise InputError(
                f"features can be joined if shape, type and deltas are the same, got {self.shape} {self.dtype} and "
                f"{other.shape} {other.dtype}: extract both with the same settings"
            )
        packs, clips = len(self._arrays), len(self)
        places = self._places + [(packs + pack, row) for pack, row in other._places]
        broken = self.broken | {clips + index: reason for index, reason in other.broken.items()}
        joined = FeatureStore(self._arrays + other._arrays, places, broken, deltas=self.deltas)
        return joined.holding(*self._held, *other._held)

    def holding(self, *uses: object) -> "FeatureStore":
        """Keep locks as long as the store exists, which say that its features are in use; returns the store."""
        self._held += uses
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frequency bands, frames and channels of every clip."""
        bands, frames, channels = self._arrays[0].shape[1:]
        return bands, frames, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values: float16 or float32."""
        return self._arrays[0].dtype

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Frequency bands, frames and channels that a network is given of every clip."""
        return stacked_shape(self.shape, deltas=self.deltas)

    def as_one_array(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """The stored values in one array, which may only be read where clips are, and where each clip begins in it."""
        packs = OneArray(self._arrays)
        pack, row = np.array(self._places, np.int64).T
        return packs.values, packs.starts[pack] + row * math.prod(self.shape)

    def network_input(self, index: int, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
        """What a network is given of one clip, in ``out`` if it is given: float32 of `input_shape`."""
        return network_input(self[index], deltas=self.deltas, out=out)


def entry_key(audio_digest: str, settings: LogMelSettings, treatment: str | None = None) -> str:
    """Return the identity of one feature as 64 hex digits.

    Parameters
    ----------
    audio_digest
        Digest of the content of the audio file.
    settings
        Feature settings; every one of them counts.
    treatment
        Canonical description of what was done to the sound, the seed included; None if nothing was.
    """
    identity = [FEATURE_VERSION, audio_digest, treatment, settings.canonical_json()]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def extract(
    sounds: Sequence[Sound],
    settings: LogMelSettings,
    cache: Path,
    *,
    channels: int | None = None,
    jobs: int = 1,
    progress: bool = True,
    leave_out_broken: bool = False,
    label: str = "features",
    data: str = "",
    study: str = "",
) -> FeatureStore:
    """Compute the features that the cache does not hold yet and open all of them.

    Safe to be stopped at any moment. Of several processes that use one cache, one computes and the others wait for it.

    Parameters
    ----------
    sounds
        What to compute features of. Sounds of equal digest and treatment share one entry.
    settings
        Feature settings.
    cache
        Folder of the packs; made where it is missing.
    channels
        That every sound must have; by default as many as the first one.
    jobs
        Processes to use.
    progress
        Show a progress bar, in clips, on standard error.
    leave_out_broken
        Note a sound that cannot be loaded in the store's ``broken`` instead of raising. An `InputError` is true of the
        sound and remembered; whatever else went wrong (no memory, no disk) is tried again by the next extraction.
    label
        What the progress bar, and `asc-study cache show`, call the work.
    data, study
        What the sounds are of, and who uses them, for `asc-study cache show` to name.

    Raises
    ------
    InputError
        If there are no clips, or a file cannot be read, has another sample rate than the settings, another number of
        channels than ``channels``, or another length or number of channels than most.
    """
    if not sounds:
        raise InputError("features need at least one clip, got none: check the data set's split files")
    keys = [entry_key(sound.digest, settings, sound.treatment) for sound in sounds]
    of_key = dict(zip(reversed(keys), reversed(sounds), strict=True))  # of equal sounds the first one
    about = About(settings.canonical_json(), data, label)
    work = _Extraction(of_key, sounds, settings, channels, leave_out_broken, about)
    make = partial(work.compute, cache=cache, jobs=jobs, progress=progress)
    found = open_or_make(keys, cache, about.settings, make, study=study)
    if found.failed:
        _leave_out(found, np.zeros((1, *work.shape()), settings.dtype))
    paths = {key: sound.path for key, sound in of_key.items()}
    store = open_store(keys, paths, found, cache, deltas=settings.deltas)
    # What the store held already was not read now, so its sound is checked by what was made of it.
    require_sound(sounds[0].path, (settings.sample_rate, store.shape[2]), (settings.sample_rate, channels))
    return store


@dataclass(frozen=True)
class _Extraction:
    """How features that the cache lacks are computed: see `extract`; ``of_key`` are the sounds by their keys."""

    of_key: Mapping[str, Sound]
    sounds: Sequence[Sound]
    settings: LogMelSettings
    channels: int | None
    leave_out_broken: bool
    about: About

    def shape(self) -> tuple[int, int, int]:
        """The shape of most features, of the first one where broken ones are left out, as the sounds' headers say."""
        looked_at = self.sounds[:1] if self.leave_out_broken else self.sounds
        return _feature_shape([sound.path for sound in looked_at], self.settings, self.channels)

    def compute(self, missing: Sequence[str], *, cache: Path, jobs: int, progress: bool) -> dict[str, str]:
        """Write packs of the missing features; returns why some could not be made this time, by their keys."""
        shape, failed = self.shape(), {}
        packs = plan_packs({key: self.of_key[key] for key in missing}, cache)
        calls = [(pack, self.settings, shape, self.leave_out_broken, self.about) for pack in packs]
        with progress_bar(len(missing), self.about.label, "clip", shown=progress) as bar:
            for clips, failures in run_parallel(build_pack, calls, jobs=jobs):
                bar.update(clips)
                failed.update(failures)
        return failed


def open_or_make(
    keys: Sequence[str],
    cache: Path,
    settings: str,
    make: Callable[[Sequence[str]], Mapping[str, str]],
    *,
    study: str = "",
) -> Found:
    """Find entries of a cache by their keys; those that it lacks are made first, by one process at a time.

    Parameters
    ----------
    keys
        What is wanted.
    cache
        Folder of the packs; made where it is missing.
    settings
        What they are made by (`About.settings`): it counts as used as long as what is returned, or its store, exists.
    make
        Called with the missing keys, each once, to write packs of them; returns why some could not be made, by key.
    study
        Who uses them.
    """
    wanted = dict.fromkeys(keys)
    in_use = hold_use(locks_of(cache), settings)  # from before they are found
    found = find(cache, wanted, study)
    failed: Mapping[str, str] = {}
    if len(found.places) < len(wanted):
        cache.mkdir(parents=True, exist_ok=True)
        with file_lock(f"features {cache.name}", folder=locks_of(cache)):
            remove_left_over(cache)
            found = find(cache, wanted, study)  # another process may have computed them while this one waited
            remove_damaged(found, cache)
            if missing := [key for key in wanted if key not in found.places]:
                failed = make(missing)
        found = find(cache, wanted, study)
        if len(found.places) + len(failed) < len(wanted):
            remake_index(cache)
            found = find(cache, wanted, study)
    return replace(found, failed=failed, in_use=in_use)


def _leave_out(found: Found, zeros: npt.NDArray[Any]) -> None:
    """Note sounds that could not be made this time; their features are zeros, as of those that never can."""
    nowhere = Path()
    found.arrays[nowhere] = zeros
    found.places.update(dict.fromkeys(found.failed, (nowhere, 0)))
    found.broken.update(found.failed)


def open_store(
    keys: Sequence[str], paths: Mapping[str, Path], found: Found, cache: Path, *, deltas: bool
) -> FeatureStore:
    """A store of entries that were found, in the order of their keys; ``paths`` are the files that errors name.

    Raises
    ------
    InputError
        If one is gone, or they differ in shape.
    """
    if missing := next((key for key in keys if key not in found.places), None):
        raise InputError(f"the feature cache changed while it was read, {missing} is gone: keep {cache} and run again")
    files = {file: number for number, file in enumerate(dict.fromkeys(found.places[key][0] for key in keys))}
    arrays = [found.arrays[file] for file in files]
    shapes = {key: found.arrays[found.places[key][0]].shape[1:] for key in keys}
    usual = Counter(shapes.values()).most_common(1)[0][0]
    for key, shape in shapes.items():
        if shape != usual:
            raise uneven(paths[key], shape, usual)
    places = [(files[file], row) for file, row in (found.places[key] for key in keys)]
    broken = {index: found.broken[key] for index, key in enumerate(keys) if key in found.broken}
    return FeatureStore(arrays, places, broken, deltas=deltas).holding(found.in_use)


def _feature_shape(paths: Sequence[Path], settings: LogMelSettings, channels: int | None) -> tuple[int, int, int]:
    info = usual_info(paths)
    require_sound(paths[0], (info.samplerate, info.channels), (settings.sample_rate, channels))
    return settings.n_mels, settings.frames(info.frames), info.channels
