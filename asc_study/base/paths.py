"""Where derived files live.

The cache holds what can be computed again: features, audio digests, checkpoints of unfinished runs. It is the user's
cache folder, or ``ASC_STUDY_CACHE``.
"""

import os
from pathlib import Path

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
