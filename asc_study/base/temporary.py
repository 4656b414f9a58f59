"""Folders of the system's place for temporary files, which a process that is killed does not leave there for ever."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from asc_study.base.files import TEMPORARY, remove_left_over

#: A folder that is used for a moment and has this age was left by a process that died.
_LEFT_OVER_SECONDS: Final = 86_400.0


@contextmanager
def momentary_folder(*, of_libraries: bool = False) -> Iterator[Path]:
    """A folder that is gone with the block, or, if the process is killed in it, with a later one a day later.

    Parameters
    ----------
    of_libraries
        What libraries put into folders of their own within the block lies in this one too.
    """
    _tidy(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        before = tempfile.tempdir
        tempfile.tempdir = folder if of_libraries else before
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


@cache
def _tidy(folder: str) -> None:
    """Once a process: there may be any number of files of others."""
    remove_left_over(Path(folder), older_than_seconds=_LEFT_OVER_SECONDS)
