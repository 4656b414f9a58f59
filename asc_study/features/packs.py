"""Packs: the files of the feature store.

Features that are computed together share a ``.npy`` file of about a hundred clips and a ``.json`` file that lists their
keys, so that a big data set needs a few hundred open files at most and an interrupted extraction goes on where it
stopped. An index says in which packs to look (`asc_study.features.pack_index`). Files are written under a temporary
name and renamed: what has its final name is complete. A checksum over both files is looked at when a pack is opened:
what a disk changed is computed again, never trained on.
"""

import hashlib
import math
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError
from asc_study.base.files import writing
from asc_study.features.audio import Sound
from asc_study.features.listing import About, Listing, listing_of, mark_used, write_listing
from asc_study.features.logmel import log_mel
from asc_study.features.pack_index import PackIndex, with_index
from asc_study.features.settings import LogMelSettings

#: About how many clips share a file, as long as that takes at most 2 ** _MAX_PACK_BITS files.
_CLIPS_PER_PACK: Final = 128

_MAX_PACK_BITS: Final = 8


@dataclass(frozen=True)
class Pack:
    """Features to be computed together: entry ``keys[i]``, made from ``sounds[i]``, becomes row i of ``file``."""

    file: Path
    keys: tuple[str, ...]
    sounds: tuple[Sound, ...]


@dataclass(frozen=True)
class Found:
    """What the cache holds of the wanted features, and the listings of packs that hold other than was written.

    ``broken`` are those that never can be made, ``failed`` those that could not be this time, with why. ``in_use``
    says, as long as it exists, that they are used.
    """

    arrays: dict[Path, npt.NDArray[Any]] = field(default_factory=dict)
    places: dict[str, tuple[Path, int]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    damaged: list[Path] = field(default_factory=list)
    in_use: object = None


def find(cache: Path, wanted: Iterable[str], study: str = "") -> Found:
    """Find wanted entries, by their keys, in the packs of a cache; ``study`` is who uses them, where that is known."""
    wanted = dict.fromkeys(wanted)
    if not cache.is_dir():
        return Found()

    def look_up(index: PackIndex) -> Found:
        found = Found()
        tried: set[str] = set()
        _look_up(index, cache, wanted, found, tried)
        if len(found.places) < len(wanted):
            found.damaged.extend(index.take_up() or ())
            _look_up(index, cache, wanted, found, tried)  # also if another process took up what there is meanwhile
        if study and len(found.places) == len(wanted):
            index.note_use((listing_of(pack).name for pack in found.arrays), study)
        return found

    return with_index(cache, look_up)


def count_missing(cache: Path, wanted: Iterable[str]) -> int:
    """How many of the wanted entries, by their keys, no listing of a cache names; no pack is opened."""
    wanted = set(wanted)
    if not cache.is_dir():
        return len(wanted)

    def count(index: PackIndex) -> int:
        index.take_up()
        return sum(not index.listings_of(key) for key in wanted)

    return with_index(cache, count)


def _look_up(index: PackIndex, cache: Path, wanted: Mapping[str, None], found: Found, tried: set[str]) -> None:
    """Open the packs that hold wanted entries; one pack answers for all of its entries."""
    for key in wanted:
        if key in found.places:
            continue
        for name in index.listings_of(key):
            if name not in tried:
                tried.add(name)
                _open_pack(cache / name, wanted, found)
            if key in found.places:
                break


def _open_pack(file: Path, wanted: Mapping[str, None], found: Found) -> None:
    if not file.exists():
        return
    try:
        listing, pack = Listing.read(file), file.with_suffix(".npy")
        if not listing.is_true_of(pack):
            raise ValueError("the checksum is another one")
        array = np.load(pack, mmap_mode="r", allow_pickle=False)
    except Exception:  # of the disk, or of whichever parser a changed byte meets: computed again
        found.damaged.append(file)
        return
    # A plain view: slicing np.memmap itself costs several times more, and batches slice it for every clip.
    found.arrays[pack] = np.asarray(array)
    rows = {key: row for row, key in enumerate(listing.keys) if key in wanted}
    found.places.update({key: (pack, row) for key, row in rows.items()})
    found.broken.update({key: reason for key, reason in listing.broken.items() if key in rows})
    mark_used(file)


def remove_damaged(found: Found, cache: Path) -> None:
    """Make room for packs that are made anew, whatever stands in their places; the caller holds the cache's lock."""
    if found.damaged:
        with_index(cache, lambda index: index.forget(listing.name for listing in found.damaged))
        packs = "1 file" if len(found.damaged) == 1 else f"{len(found.damaged)} files"
        said = (
            f"note: {packs} of features, such as {found.damaged[0].with_suffix('.npy')}, are damaged or of an earlier"
        )
        print(f"{said} version: computed again", file=sys.stderr)
    for listing in found.damaged:
        for path in (listing.with_suffix(".npy"), listing):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def plan_packs(sound_of_key: Mapping[str, Sound], cache: Path) -> list[Pack]:
    """Group entries into packs by the leading bits of their keys, which spreads them evenly."""
    if not sound_of_key:
        return []
    bits = min(_MAX_PACK_BITS, max(0, round(math.log2(len(sound_of_key) / _CLIPS_PER_PACK))))
    groups: dict[int, list[str]] = defaultdict(list)
    for key in sorted(sound_of_key):
        groups[int(key[:8], 16) >> (32 - bits)].append(key)
    return [
        Pack(
            cache / f"{hashlib.sha256(' '.join(keys).encode()).hexdigest()}.npy",
            tuple(keys),
            tuple(sound_of_key[key] for key in keys),
        )
        for keys in groups.values()
    ]


def build_pack(
    pack: Pack, settings: LogMelSettings, shape: tuple[int, int, int], leave_out_broken: bool, about: About
) -> tuple[int, dict[str, str]]:
    """Compute one pack and move it to its place; returns how many clips it was to hold, and why some are not in it."""
    features = np.zeros((len(pack.keys), *shape), settings.dtype)
    keys: list[str] = []
    broken, failed = {}, {}
    for key, sound in zip(pack.keys, pack.sounds, strict=True):
        try:
            clip = log_mel(sound.load(settings.sample_rate, shape[2]), settings)
            if clip.shape != shape:
                raise uneven(sound.path, clip.shape, shape)
            features[len(keys)] = clip
        except Exception as error:  # InputError, librosa's, or that of a user's augmentation: one clip is left out
            if not leave_out_broken:
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, InputError):  # it may not happen again
                failed[key] = reason
                continue
            broken[key] = reason
        keys.append(key)
    if keys:
        with writing(pack.file) as file:
            np.save(file, features[: len(keys)])
        write_listing(pack.file, keys, broken, about)
    return len(pack.keys), failed


def uneven(path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> InputError:
    """Say that a clip has another (bands, frames, channels) than most."""
    return InputError(
        f"all clips must be equally long with equally many channels, got {path} with {shape[1]} frames x {shape[2]} "
        f"channels where most have {expected[1]} x {expected[2]}: run asc-study data check"
    )
