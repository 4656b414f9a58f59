"""Where derived files live.

The cache holds what can be computed again (features, audio digests, checkpoints of unfinished runs), and what runs have
still to deliver to a store that does not answer. It is the user's cache folder, or ``ASC_STUDY_CACHE``; the checkpoints
may lie in a folder of their own, ``ASC_STUDY_CHECKPOINTS``, which several machines share. The state folder holds the
locks that tell which processes live, and which may not go when somebody tidies the cache up. It is the user's state
folder, or ``ASC_STUDY_STATE``.

Each function of a folder creates it if needed, and raises `InputError` if it cannot be created or written.
"""

import os
from pathlib import Path

import platformdirs

from asc_study.base.errors import InputError


def cache_dir() -> Path:
    """The cache folder."""
    return _folder("cache", "ASC_STUDY_CACHE", platformdirs.user_cache_dir("asc-study"))


def checkpoints_dir() -> Path:
    """The folder of the checkpoints of unfinished runs."""
    return _folder("checkpoint", "ASC_STUDY_CHECKPOINTS", str(cache_dir() / "checkpoints"))


def remove_checkpoints(run_id: str) -> None:
    """Remove the checkpoint of a run, and those of the models that a run by folds trains, which are named after it."""
    for file in checkpoints_dir().glob(f"{run_id}*.npz"):
        file.unlink(missing_ok=True)


def spool_dir() -> Path:
    """The folder of what runs have still to deliver to their stores."""
    return _folder("cache", "ASC_STUDY_CACHE", platformdirs.user_cache_dir("asc-study"), "spool")


def locks_dir() -> Path:
    """The folder of the locks, in the state folder."""
    return _folder("state", "ASC_STUDY_STATE", platformdirs.user_state_dir("asc-study"), "locks")


def _folder(what: str, variable: str, default: str, inside: str = "") -> Path:
    folder = Path(os.environ.get(variable) or default)
    try:
        folder = folder.expanduser().resolve()
        (folder / inside).mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~user without a home
        raise InputError(
            f"the {what} folder {folder} cannot be created ({error}): set {variable} to a writable folder"
        ) from None
    if not os.access(folder / inside, os.W_OK):
        raise InputError(f"the {what} folder {folder} cannot be written: set {variable} to a writable folder")
    return folder / inside
