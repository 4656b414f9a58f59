"""Where derived files live, and locks that end with the process that holds them.

The cache holds what can be computed again: features, audio digests, checkpoints of unfinished runs. It is the user's
cache folder, or ``ASC_STUDY_CACHE``.
"""

import hashlib
import os
import socket
import uuid
from pathlib import Path

import filelock
import platformdirs

from asc_study.base.errors import InputError


def cache_dir() -> Path:
    """The cache folder, created if needed.

    Raises
    ------
    InputError
        If it cannot be created or written.
    """
    chosen = os.environ.get("ASC_STUDY_CACHE")
    folder = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("asc-study"))
    try:
        folder = folder.expanduser().resolve()
        (folder / "locks").mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~user without a home
        raise InputError(
            f"the cache folder {folder} cannot be created ({error}): set ASC_STUDY_CACHE to a writable folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"the cache folder {folder} cannot be written: set ASC_STUDY_CACHE to a writable folder")
    return folder


def file_lock(name: str, *, timeout_seconds: float = -1) -> filelock.BaseFileLock:
    """A lock between processes of this machine; the system frees it when its holder dies, even by kill -9.

    Entering it raises `filelock.Timeout` if another process holds it for longer than ``timeout_seconds`` (-1: waits).
    """
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return filelock.FileLock(cache_dir() / "locks" / f"{digest}.lock", timeout=timeout_seconds)


def lock_domain() -> str:
    """Who shares the locks of this process: the host, and the cache folder in which they are.

    Of a process with another domain only its signs of life can tell whether it lives.
    """
    identifier = cache_dir() / "locks" / "identifier"
    with file_lock("identifier"):
        if not identifier.exists():
            identifier.write_text(uuid.uuid4().hex[:12], encoding="ascii")
        return f"{socket.gethostname()} {identifier.read_text(encoding='ascii')}"
