"""The index of a cache: which packs hold a feature, and what is known of each pack, without reading all listings.

An SQLite file beside the packs. It can be made anew of the listings and is never believed: which row a feature is in,
and that it is whole, its pack's listing says. So an index that is lost, damaged, old, or written to by two machines
whose file system does not lock well costs time, never a value. Only which studies used a pack is nowhere else.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from asc_study.features.listing import About, Listing

WorkT = TypeVar("WorkT")

#: Name of the file in a cache.
INDEX_NAME: Final = "index.sqlite"

#: Raise it when the tables change: an index of another version is made anew.
_VERSION: Final = 1

_TABLES: Final = (
    # AUTOINCREMENT: entries of packs that are gone stay until the next tidying, and no new pack may inherit them.
    "CREATE TABLE packs (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, clips INTEGER NOT NULL, "
    "settings TEXT NOT NULL, data TEXT NOT NULL, label TEXT NOT NULL)",
    "CREATE TABLE entries (key INTEGER NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (key, pack)) WITHOUT ROWID",
    "CREATE TABLE uses (name TEXT NOT NULL, study TEXT NOT NULL, PRIMARY KEY (name, study)) WITHOUT ROWID",
    f"PRAGMA user_version = {_VERSION}",
)

#: How long another process that writes the index is waited for.
_BUSY_SECONDS: Final = 60.0

#: How many listings are taken up at once: others can read the index in between.
_TAKEN_UP_AT_ONCE: Final = 1024

#: What is true of the disk or of the moment: the index is passed over. Whatever else fails is its damage.
_UNUSABLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


@dataclass(frozen=True)
class PackRow:
    """What the index knows of a pack: the name of its listing, how many clips it holds, and of what."""

    name: str
    clips: int
    about: About


class PackIndex:
    """The index of a cache, open; made by `with_index`."""

    def __init__(self, cache: Path, connection: sqlite3.Connection) -> None:
        """Take an index that has its tables."""
        self._cache = cache
        self._database = connection

    def listings_of(self, key: str) -> list[str]:
        """The names of the listings that may name an entry."""
        query = "SELECT name FROM entries JOIN packs ON packs.id = entries.pack WHERE key = ? ORDER BY name"
        return [name for (name,) in self._database.execute(query, (_short(key),))]

    def packs(self) -> list[PackRow]:
        """All packs, by name."""
        query = "SELECT name, clips, settings, data, label FROM packs ORDER BY name"
        return [PackRow(name, clips, About(*about)) for name, clips, *about in self._database.execute(query)]

    def studies(self) -> dict[str, set[str]]:
        """The studies that used a pack, by the name of its listing, as far as that is known."""
        used: dict[str, set[str]] = {}
        for name, study in self._database.execute("SELECT name, study FROM uses"):
            used.setdefault(name, set()).add(study)
        return used

    def note_use(self, names: Iterable[str], study: str) -> None:
        """Remember that a study used packs; an index that cannot be written now does not."""
        known = {name for (name,) in self._database.execute("SELECT name FROM uses WHERE study = ?", (study,))}
        if new := set(names) - known:
            with suppress(sqlite3.OperationalError), _transaction(self._database) as database:
                rows = [(name, study) for name in sorted(new)]
                database.executemany("INSERT OR IGNORE INTO uses VALUES (?, ?)", rows)

    def take_up(self) -> list[Path] | None:
        """Take up listings that appeared, and let go of those that went.

        Returns those that cannot be read, and None if nothing changed.
        """
        with os.scandir(self._cache) as entries:
            present = {entry.name for entry in entries if entry.name.endswith(".json")}
        known = {name for (name,) in self._database.execute("SELECT name FROM packs")}
        if present == known:
            return None
        self.forget(known - present)
        new, damaged = sorted(present - known), []
        for start in range(0, len(new), _TAKEN_UP_AT_ONCE):
            read = []
            for name in new[start : start + _TAKEN_UP_AT_ONCE]:
                try:
                    listing = Listing.read(self._cache / name)
                    read.append((name, listing.about, [_short(key) for key in listing.keys]))
                except FileNotFoundError:
                    continue  # another process is tidying up
                except Exception:  # of the disk, or of whichever parser a changed byte meets
                    damaged.append(self._cache / name)
            self._add(read)
        return damaged

    def forget(self, names: Iterable[str]) -> None:
        """Let go of packs, by the names of their listings."""
        rows = [(name,) for name in names]
        if rows:
            with _transaction(self._database) as database:
                database.executemany("DELETE FROM packs WHERE name = ?", rows)

    def tidy(self) -> None:
        """Give back the room of what was let go of."""
        with _transaction(self._database) as database:
            database.execute("DELETE FROM entries WHERE pack NOT IN (SELECT id FROM packs)")
            database.execute("DELETE FROM uses WHERE name NOT IN (SELECT name FROM packs)")
        self._database.execute("VACUUM")

    def _add(self, packs: Sequence[tuple[str, About, list[int]]]) -> None:
        with _transaction(self._database) as database:
            for name, about, keys in packs:
                row = (name, len(keys), *astuple(about))
                added = database.execute(
                    "INSERT OR IGNORE INTO packs (name, clips, settings, data, label) VALUES (?, ?, ?, ?, ?)", row
                )
                if added.rowcount:  # else another process took it up meanwhile
                    entries = [(key, added.lastrowid) for key in keys]
                    database.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?)", entries)


def with_index(cache: Path, work: Callable[[PackIndex], WorkT]) -> WorkT:
    """Do some work with the index of a cache, and again with one made anew if it turns out to be damaged.

    Where no index can be read or written (no permission, no room, no locks) the work is done with one in memory.
    """
    path = cache / INDEX_NAME
    for _ in range(2):
        try:
            with closing(_open(path)) as connection:
                return work(PackIndex(cache, connection))
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNUSABLE:
                _tell(f"note: the index of the features in {cache} cannot be used ({error}): all listings are read")
                break
            _remove(path, f"is damaged ({error})")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _create(connection)
        return work(PackIndex(cache, connection))


def remake_index(cache: Path) -> None:
    """Make the index of a cache anew, at its next use, since it does not tell what is there."""
    _remove(cache / INDEX_NAME, "does not tell what is there")


def _open(path: Path) -> sqlite3.Connection:
    with suppress(OSError):  # SQLite would make it unwritable for the group, whatever the umask
        path.touch(exist_ok=False)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        if _version_of(connection) != _VERSION:
            _create(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    with _transaction(connection):
        version = _version_of(connection)  # another process may have been faster
        if version == 0:
            for statement in _TABLES:
                connection.execute(statement)
        elif version != _VERSION:
            raise sqlite3.DatabaseError("it is of another version")


def _version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing of a block; the lock is taken at once, since two that have begun to read cannot both write."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.rollback()
        raise
    connection.execute("COMMIT")


def _remove(path: Path, why: str) -> None:
    print(f"note: the index of the features in {path.parent} {why}: made anew of the listings", file=sys.stderr)
    for file in (path, path.with_name(f"{path.name}-journal")):
        with suppress(OSError):
            file.unlink(missing_ok=True)


@lru_cache(maxsize=64)
def _tell(line: str) -> None:
    """Say a line once in a process."""
    print(line, file=sys.stderr)


def _short(key: str) -> int:
    """The first 16 digits of a key, as a number that SQLite keeps in 8 bytes."""
    return int(key[:16], 16) - 2**63
