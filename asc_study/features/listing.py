"""What lies beside the features of a pack: which these are, what they were made of, and a checksum over all of it."""

import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Final

from asc_study.base.files import write_file

#: Bytes of a pack that are read at once to look at its checksum.
_CHUNK: Final = 2**22

#: How finely it is known when a pack was used last.
_DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True)
class About:
    """What the features of a pack were made of: settings (as JSON), name of the data, which sounds of it (a label).

    All are empty in packs of earlier versions.
    """

    settings: str = ""
    data: str = ""
    label: str = ""


@dataclass(frozen=True)
class Listing:
    """The keys of a pack, row by row, why some rows are no features, its checksum, and what it was made of."""

    keys: list[str]
    broken: dict[str, str]
    checksum: str
    about: About = field(default_factory=About)

    @classmethod
    def read(cls, file: Path) -> "Listing":
        """Read a listing; raises whatever a changed byte makes a parser raise, a `ValueError` among them."""
        content = json.loads(file.read_text(encoding="utf-8"))
        about = About(**{part.name: str(content.get(part.name, "")) for part in fields(About)})
        return cls(list(content["keys"]), dict(content["broken"]), str(content["checksum"]), about)

    def is_true_of(self, pack: Path) -> bool:
        """Whether the pack and this listing of it hold what was written."""
        return self.checksum == _checksum(self.keys, self.broken, _file_checksum(pack, *_version(pack)))


def write_listing(pack: Path, keys: list[str], broken: dict[str, str], about: About) -> None:
    """List the features of a pack that lies in its place: from now on it counts."""
    checksum = _checksum(keys, broken, _file_checksum(pack, *_version(pack)))
    content = {"keys": keys, "broken": broken, "checksum": checksum, **asdict(about)}
    write_file(listing_of(pack), json.dumps(content))


def listing_of(pack: Path) -> Path:
    """Where the listing of a pack is."""
    return pack.with_suffix(".json")


def locks_of(cache: Path) -> Path:
    """The folder of the locks that processes which share a cache share too."""
    return cache.parent / "locks"


def mark_used(listing: Path) -> None:
    """Let the time of a listing say that its pack was used today; whoever may only read a cache does not."""
    with suppress(OSError):
        if listing.stat().st_mtime < time.time() - _DAY_SECONDS:
            os.utime(listing)


def _checksum(keys: Sequence[str], broken: Mapping[str, str], of_file: int) -> str:
    """The checksum of a pack: over its listing and the bytes of its features."""
    return f"{zlib.crc32(json.dumps([list(keys), dict(broken)]).encode(), of_file):08x}"


def _version(file: Path) -> tuple[int, ...]:
    """Tells one content of a file from another, as long as nobody changes the bytes of the disk itself."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=4096)
def _file_checksum(file: Path, *version: int) -> int:
    """The checksum of a file's bytes, which a process reads once a version."""
    checksum = 0
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
