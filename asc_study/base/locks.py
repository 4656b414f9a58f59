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
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock((folder or locks_dir()) / f"{digest}.lock", timeout=timeout_seconds)


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
