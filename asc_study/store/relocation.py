"""A working folder that was moved: MLflow keeps where artifacts are by absolute paths, which then lead nowhere.

Only a SQLite file has its artifacts beside it; those of a server are the server's.
"""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from asc_study.base.errors import InputError
from asc_study.base.files import shown_path
from asc_study.store.addresses import StoreError

#: The folder beside a SQLite file in which its artifacts are.
ARTIFACTS: Final = "mlruns"

#: Where MLflow's tables hold places of artifacts.
_PLACES: Final = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def moved_from(database: Path) -> Path | None:
    """The folder that a SQLite store was moved from; None if its artifacts are where it says.

    It was moved if the artifacts of an experiment are beside the file, and not where the store says that they are.
    """
    here = database.parent.resolve()
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            places = [place for (place,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments")]
    except sqlite3.Error:  # no store yet: whoever opens it says what is wrong
        return None
    for path in filter(None, map(_path, places)):
        parents = [parent for parent in path.parents if parent.name == ARTIFACTS]
        if parents and not path.exists() and (here / path.relative_to(parents[-1].parent)).is_dir():
            return parents[-1].parent
    return None


def moved(database: Path, old: Path) -> StoreError:
    """What to say of a store that was moved, with the remedy."""
    here = database.parent.resolve()
    return StoreError(
        f"the folder of the tracking store was moved from {shown_path(old)} to {shown_path(here)}, and its artifacts "
        f"are not found: run `asc-study runs relocate '{shown_path(old)}' '{shown_path(here)}'`"
    )


@cache
def tell_moved(database: Path, old: Path) -> None:
    """Say once that a store was moved, where that hinders nothing yet."""
    print(f"note: {moved(database, old)}", file=sys.stderr)


def relocate(database: Path, old: Path, new: Path) -> int:
    """Change every place of artifacts below ``old`` to the same below ``new``; returns how many there were.

    Raises
    ------
    InputError
        If ``new`` is no folder, the store has nothing below ``old``, or it cannot be written.
    """
    if not new.is_dir():
        raise InputError(f"the new folder must be there, got {shown_path(new)}: name the folder as it is now")
    old, new = old.absolute(), new.resolve()
    changed = 0
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
            for table, column in _present(connection):
                for (place,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
                    path = _path(place)
                    if path is None or not path.is_relative_to(old):
                        continue
                    there = new / path.relative_to(old)
                    written = there.as_uri() if place.startswith("file:") else str(there)
                    query = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"
                    changed += connection.execute(query, (written, place)).rowcount
    except sqlite3.Error as error:
        raise StoreError(f"the tracking store {shown_path(database)} cannot be changed: {error}: try again") from None
    if not changed:
        raise InputError(f"the store must hold artifacts below the old folder, got {shown_path(old)}: name another")
    return changed


def _present(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """The columns of places that this version of MLflow has."""
    for table, column in _PLACES:
        if column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
            yield table, column


def _path(place: str | None) -> Path | None:
    """The folder that a place is; None if it is none of this machine."""
    if not place:
        return None
    if place.startswith("/"):
        return Path(place)
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None
