"""Locks that end with the process that holds them, and who shares them."""

import hashlib
import re
import shutil
import socket
import uuid
from pathlib import Path
from typing import Final

import filelock

from asc_study.base.errors import InputError
from asc_study.base.files import read_input, write_file
from asc_study.base.paths import locks_dir

_IDENTIFIER: Final = re.compile(r"[0-9a-f]{12}")


def file_lock(name: str, *, timeout_seconds: float = -1, folder: Path | None = None) -> filelock.BaseFileLock:
    """A lock between processes of this machine; the system frees it when its holder dies, even by kill -9.

    Entering it raises `filelock.Timeout` if another process holds it for longer than ``timeout_seconds`` (-1: waits).
    It is in the state folder, unless it guards a ``folder`` that others may share and must be found with it.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock((folder or locks_dir()) / f"{_digest(name)}.lock", timeout=timeout_seconds)


def hold_use(folder: Path, of: str) -> filelock.BaseFileLock | None:
    """Say that this process uses something, as long as what is returned exists; see `is_used`.

    Several may hold the same: each has a file of its own. None if the folder cannot be written.
    """
    place = folder / "uses" / _digest(of)
    try:
        place.mkdir(parents=True, exist_ok=True)
        is_used(folder, of)  # takes the files of those that died away
        lock = filelock.FileLock(place / f"{uuid.uuid4().hex}.lock")
        lock.acquire()
    except OSError:
        return None
    return lock


def is_used(folder: Path, of: str | None) -> bool:
    """Whether a process that shares the folder says that it uses something, or anything at all if that is None."""
    holders = folder.glob(f"uses/{'*' if of is None else _digest(of)}/*.lock")
    held = [is_held(file, remove_free=True) for file in holders]  # all, to tidy up after those that died
    return any(held)


def remove_free_locks(folder: Path) -> list[Path]:
    """Remove the files of locks that nobody holds; one that begins to wait for such a file makes it anew."""
    return [file for file in lock_files(folder) if not is_held(file, remove_free=True)]


def lock_files(folder: Path) -> list[Path]:
    """The files of all locks of a folder."""
    return sorted(folder.rglob("*.lock"))


def is_held(file: Path, *, remove_free: bool = False) -> bool:
    """Whether a process holds the lock of a file, which can go if none does."""
    try:
        with filelock.FileLock(file, timeout=0):
            if remove_free:
                file.unlink(missing_ok=True)
    except filelock.Timeout:
        return True
    except OSError:  # that of another user, who alone can tell
        return True
    return False


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def lock_domain() -> str:
    """Who shares the locks of this process: the host, and the state folder in which they are.

    Of a process with another domain only its signs of life can tell whether it lives. An identifier that is damaged is
    made anew: runs that are under way then count as those of another state folder.
    """
    path = locks_dir() / "identifier"
    with file_lock("identifier"):
        identifier = _read(path)
        if identifier is None:
            identifier = uuid.uuid4().hex[:12]
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            write_file(path, identifier)
    return f"{socket.gethostname()} {identifier}"


def _read(path: Path) -> str | None:
    """The identifier; None if there is none that can be used."""
    try:
        text = read_input(path, "identifier").decode("ascii")
    except (InputError, UnicodeDecodeError):
        return None
    return text if _IDENTIFIER.fullmatch(text) else None
