"""What a data set *is*: the digest of every clip's audio, and one digest of the whole, wherever the folder lies."""

import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asc_study.base.errors import InputError
from asc_study.base.files import open_input
from asc_study.base.progress import progress_bar
from asc_study.data.clips import Dataset

#: Files read between two writes to the cache: what an interrupted call loses at most.
_BATCH: Final = 256

#: Columns of the clip table that say what a clip is; ``path`` is left out, so that a folder can be moved.
_IDENTITY_COLUMNS: Final = ["clip_id", "split", "scene", "scene_group", "city", "location", "device"]

#: Seconds that one process waits for another that writes to the cache.
_WAIT_SECONDS: Final = 60.0

#: A digest is remembered only if the file had not changed for so long before it was read: file systems stamp changes in
#: steps of up to two seconds, and a second change in the same step would leave no trace.
_SETTLED_NS: Final = 2_000_000_000


def audio_digests(paths: Sequence[str | Path], *, cache: Path, progress: bool = False) -> list[str]:
    """SHA-256 of each file's bytes, read once and remembered as long as nothing says that the file may be another one.

    What counts is the content. Size and modification time can be equal for two recordings (archives normalise times),
    so a remembered digest also rests on the file's device, inode and time of change, which no program can set: files
    that were exchanged, replaced or rewritten are read again.

    Parameters
    ----------
    paths
        Audio files.
    cache
        Folder for ``audio-digests.sqlite``; it may be used by several processes at once.
    progress
        Show a progress bar on stderr if reading takes more than a second.

    Returns
    -------
    list of str
        Hexadecimal digests in the order of ``paths``.

    Raises
    ------
    InputError
        If a file cannot be read or the cache cannot be used.
    """
    names = [os.path.abspath(path) for path in paths]
    stamps = {name: _stamp(name) for name in names}
    with _open_cache(cache) as connection:
        digests = _remembered(connection, stamps)
        unknown = [name for name in stamps if name not in digests]
        bar = progress_bar(len(unknown), "reading audio", "file", shown=progress, delay_seconds=1)
        with bar, ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool:
            for start in range(0, len(unknown), _BATCH):
                batch = unknown[start : start + _BATCH]
                read_at = time.time_ns()
                found = dict(zip(batch, pool.map(_sha256, batch), strict=True))
                with connection:
                    connection.executemany(
                        "INSERT OR REPLACE INTO stamped_digests VALUES (?, ?, ?)",
                        [
                            (name, stamps[name].text, digest)
                            for name, digest in found.items()
                            if read_at - stamps[name].changed_ns > _SETTLED_NS
                        ],
                    )
                digests.update(found)
                bar.update(len(batch))
    return [digests[name] for name in names]


def dataset_digest(dataset: Dataset, digests: Sequence[str]) -> str:
    """SHA-256 of the task, of every clip's split, labels, place, device and audio, and of what there is besides.

    That is: classes that are not TAU's, and lists of parts of train.

    Parameters
    ----------
    dataset
        The data set; neither its folder nor the order of its rows has an influence.
    digests
        The audio digest of each row of ``dataset.clips``, in order.
    """
    clips = dataset.clips[_IDENTITY_COLUMNS].itertuples(index=False, name=None)
    rows = sorted([*clip, digest] for clip, digest in zip(clips, digests, strict=True))
    whole: dict[str, Any] = {"task": dataset.task, "clips": rows} | dataset.format.identity()
    if dataset.subsets:
        whole["subsets"] = {name: sorted(clips) for name, clips in dataset.subsets.items()}
    content = json.dumps(whole, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


@contextmanager
def _open_cache(folder: Path) -> Iterator[sqlite3.Connection]:
    path = Path(folder) / "audio-digests.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # SQLite would make it unwritable for the group, whatever the umask
            path.touch(exist_ok=False)
        with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as connection:
            with connection:
                # Its predecessor rested on size and modification time alone: those digests are computed again.
                connection.execute("DROP TABLE IF EXISTS digests")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS stamped_digests "
                    "(path TEXT PRIMARY KEY, stamp TEXT, sha256 TEXT) WITHOUT ROWID"
                )
            yield connection
    except (sqlite3.Error, FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(
            f"the cache of audio digests must be usable, got {path}: {error}: delete or move it, or make room if the "
            "disk is full"
        ) from error


@dataclass(frozen=True)
class _Stamp:
    """What the file system says of a file: if ``text`` is the same, so is the content; ``changed_ns`` is its ctime."""

    text: str
    changed_ns: int


def _remembered(connection: sqlite3.Connection, stamps: dict[str, _Stamp]) -> dict[str, str]:
    digests = {}
    for name, stamp in stamps.items():
        query = "SELECT sha256 FROM stamped_digests WHERE path = ? AND stamp = ?"
        if row := connection.execute(query, (name, stamp.text)).fetchone():
            digests[name] = row[0]
    return digests


def _stamp(path: str) -> _Stamp:
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        raise _unreadable(path, OSError("it is not a regular file"))
    parts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _Stamp(" ".join(map(str, parts)), status.st_ctime_ns)


def _sha256(path: str) -> str:
    try:
        with open_input(path, "recording") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError(
        f"an audio file must be readable, got {path}: {error.strerror or error}: `asc-study data check` lists all"
    )
