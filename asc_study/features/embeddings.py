"""Embeddings in place of spectrograms: what a file of them is, and its clips as features of the cache.

What another network made of the clips (OpenL3, PANNs, BEATs ...) is brought by the user (`embedding_file`). It is read
once: what it is, and the digest of each clip, are remembered in the cache as long as the file is the same. Its values
are turned into packs of the feature cache, as spectrograms are: (values, frames, one channel), so that processes share
them and whatever works on spectrograms works on them.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from asc_study.base.errors import InputError, shown
from asc_study.base.files import shown_path, write_file, writing
from asc_study.base.paths import cache_dir
from asc_study.base.progress import progress_bar
from asc_study.features.embedding_file import Values, opened_embeddings
from asc_study.features.listing import About, write_listing
from asc_study.features.packs import count_missing
from asc_study.features.store import FeatureStore, open_or_make, open_store

#: What is found out of a file is remembered only if it had not changed for so long before it was read (see
#: `asc_study.data.identity`).
_SETTLED_NS: Final = 2_000_000_000

#: Clips that share a pack, and packs that a file is turned into at most.
_CLIPS_PER_PACK: Final = 128
_MOST_PACKS: Final = 256


@dataclass(frozen=True)
class Embeddings:
    """What a file holds, without the values.

    Attributes
    ----------
    path
        The file.
    name, version
        Of what computed the embeddings.
    frames, values
        Of every clip.
    dtype
        ``float16`` or ``float32``.
    digests
        Clip -> digest of its values, in the order of the file.
    """

    path: Path
    name: str
    version: str
    frames: int
    values: int
    dtype: str
    digests: Mapping[str, str]

    @property
    def shape(self) -> tuple[int, int, int]:
        """As features have it: values (in place of frequency bands), frames and one channel."""
        return self.values, self.frames, 1

    @property
    def digest(self) -> str:
        """Of all that the file holds; neither its place nor the order of its clips has an influence."""
        content = [self.settings_json(), *sorted(map(list, self.digests.items()))]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def keys(self, clips: Sequence[str]) -> list[str]:
        """The keys of clips in the feature cache.

        Raises
        ------
        InputError
            If the file lacks one.
        """
        missing = [clip for clip in clips if clip not in self.digests]
        if missing:
            raise InputError(
                f"embeddings must be there for every clip, got none for {len(missing):,} of {len(clips):,}, such as "
                f"{shown(missing[0])}, in {shown_path(self.path)}: add them (clip_id: names without folder and ending)"
            )
        return [_key(self.digests[clip]) for clip in clips]

    def identity(self) -> dict[str, str]:
        """What of it decides the result of a run."""
        return {"name": self.name, "version": self.version, "digest": self.digest}

    def settings_json(self) -> str:
        """What the features of the cache are called by: the embedding and the form of its clips."""
        form = {"embedding": self.name, "version": self.version, "frames": self.frames, "values": self.values}
        return json.dumps({**form, "dtype": self.dtype}, sort_keys=True, separators=(",", ":"))


def read_embeddings(path: Path, *, progress: bool = False) -> Embeddings:
    """Find out what a file holds, and check all of it.

    Parameters
    ----------
    path
        The file.
    progress
        Show a progress bar, in clips, on standard error, if reading takes more than a second.

    Raises
    ------
    InputError
        One line: what is wrong with the file, and what to do.
    """
    place, stamp = os.path.abspath(path), _stamp(path)
    if stamp and (known := _remembered(place, stamp)):
        return replace(known, path=path)
    read_at, digests = time.time_ns(), {}
    with opened_embeddings(path) as file:
        bar = progress_bar(len(file.clips), "reading embeddings", "clip", shown=progress, delay_seconds=1)
        with bar:
            for clip, values in file.each():
                digests[clip] = clip_digest(values)
                bar.update()
        _, frames, size = file.shape
        found = Embeddings(path, file.name, file.version, frames, size, file.dtype, digests)
    if stamp and stamp == _stamp(path) and read_at - stamp[-1] > _SETTLED_NS:
        with suppress(InputError):  # the cache is full, or cannot be written: it is read again then
            _remember(place, stamp, found)
    return found


def embedding_store(
    path: Path, clips: Sequence[str], cache: Path, *, progress: bool = False, data: str = "", study: str = ""
) -> FeatureStore:
    """The embeddings of clips as features, in the order of the clips; what the cache lacks of them is put into it.

    Parameters
    ----------
    path
        The file.
    clips
        Ids of the clips.
    cache, progress, data, study
        See `asc_study.features.store.extract`.

    Raises
    ------
    InputError
        If the file cannot be used, or lacks a clip.
    """
    found = read_embeddings(path, progress=progress)
    keys = found.keys(clips)
    about = About(found.settings_json(), data, "embeddings")

    def make(missing: Sequence[str]) -> dict[str, str]:
        wanted, most = set(missing), max(_CLIPS_PER_PACK, math.ceil(len(missing) / _MOST_PACKS))
        made: dict[str, Values] = {}
        bar = progress_bar(len(wanted), "embeddings", "clip", shown=progress)
        with opened_embeddings(path) as file, bar:
            for clip, values in file.each():
                digest = clip_digest(values)
                if digest != found.digests.get(clip):
                    raise InputError(f"{shown_path(path)} changed while it was read: run again")
                if (key := _key(digest)) in wanted:
                    wanted.remove(key)
                    made[key] = values
                    bar.update()
                if len(made) == most or (made and not wanted):
                    _write_pack(made, cache, about)
                    made = {}
        return {}

    packs = open_or_make(keys, cache, about.settings, make, study=study)
    return open_store(keys, dict.fromkeys(keys, path), packs, cache, deltas=False)


def missing_bytes(found: Embeddings, clips: Sequence[str], cache: Path) -> int:
    """Bytes of the values of clips that the cache lacks; raises `InputError` if the file lacks a clip."""
    return count_missing(cache, found.keys(clips)) * math.prod(found.shape) * np.dtype(found.dtype).itemsize


def clip_digest(values: Values) -> str:
    """Digest of the values of a clip, (frames, values), and of their form."""
    head = f"{values.dtype.name} {values.shape}".encode()
    return hashlib.sha256(head + values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def _key(digest: str) -> str:
    return hashlib.sha256(f"embedding {digest}".encode()).hexdigest()


def _write_pack(made: Mapping[str, Values], cache: Path, about: About) -> None:
    keys = list(made)
    pack = cache / f"{hashlib.sha256(' '.join(keys).encode()).hexdigest()}.npy"
    with writing(pack) as file:
        np.save(file, np.ascontiguousarray(np.stack([values.T[:, :, np.newaxis] for values in made.values()])))
    write_listing(pack, keys, {}, about)


#: What the file system says of a file; its last part is the time of change, which no program can set.
_Stamp = tuple[int, ...]


def _stamp(path: Path) -> _Stamp | None:
    """None if there is no such file, which is told where it is opened."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _place(name: str) -> Path:
    """Where it is remembered what a file holds."""
    return cache_dir() / "embeddings" / f"{hashlib.sha256(os.fsencode(name)).hexdigest()}.json"


def _remember(name: str, stamp: _Stamp, found: Embeddings) -> None:
    place = _place(name)
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps([list(stamp), asdict(found) | {"path": str(found.path)}])
    write_file(place, json.dumps({"content": content, "sha256": hashlib.sha256(content.encode()).hexdigest()}))


@lru_cache(maxsize=16)
def _kept(place: Path, stamp: _Stamp, version: _Stamp) -> Embeddings | None:
    try:
        read = json.loads(place.read_text(encoding="utf-8"))
        if hashlib.sha256(read["content"].encode()).hexdigest() != read["sha256"]:
            return None
        known, found = json.loads(read["content"])
        return Embeddings(**found | {"path": Path(found["path"])}) if tuple(known) == stamp else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # damaged: it is read again
        return None


def _remembered(name: str, stamp: _Stamp) -> Embeddings | None:
    place = _place(name)
    version = _stamp(place)
    return _kept(place, stamp, version) if version else None
