"""What a cache of features holds, by what it is of, and taking out of it what nobody uses now."""

import time
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asc_study.base.files import is_temporary
from asc_study.base.locks import is_used
from asc_study.features.listing import About, locks_of
from asc_study.features.pack_index import PackIndex, PackRow, with_index

#: A pack without a listing, or a temporary, of this age was left by a process that died: one follows the other at once.
_LEFT_OVER_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class FeatureGroup:
    """The features of one data set by one setting: of its recordings, or of one augmentation's copies.

    Attributes
    ----------
    about
        What they are of.
    listings
        The names of the listings of their packs.
    clips, size
        How many there are, and the bytes of their files.
    made, used
        When the first was made and one was last used, in seconds since 1970; of the use the day is known.
    studies
        Who used them, as far as that is known.
    in_use
        Whether a process has them open now.
    """

    about: About
    listings: tuple[str, ...]
    clips: int
    size: int
    made: float
    used: float
    studies: tuple[str, ...]
    in_use: bool


def feature_groups(cache: Path) -> list[FeatureGroup]:
    """All features of a cache, those that were used last first."""
    if not cache.is_dir():
        return []

    def read(index: PackIndex) -> tuple[list[PackRow], dict[str, set[str]]]:
        index.take_up()
        return index.packs(), index.studies()

    packs, studies = with_index(cache, read)
    members: dict[About, list[PackRow]] = defaultdict(list)
    for pack in packs:
        members[pack.about].append(pack)
    groups = [_group(cache, about, rows, studies) for about, rows in members.items()]
    return sorted(groups, key=lambda group: -group.used)


def _group(cache: Path, about: About, packs: list[PackRow], studies: dict[str, set[str]]) -> FeatureGroup:
    size, made, used = 0, time.time(), 0.0
    for pack in packs:
        with suppress(FileNotFoundError):  # damaged, or removed since: it has no size
            listing = (cache / pack.name).stat()
            features = (cache / pack.name).with_suffix(".npy").stat()
            size += listing.st_size + features.st_size
            made, used = min(made, features.st_mtime), max(used, listing.st_mtime)
    names = tuple(pack.name for pack in packs)
    users = sorted({study for name in names for study in studies.get(name, ())})
    # What earlier versions made does not say by which settings: it may be what any process has open.
    in_use = is_used(locks_of(cache), about.settings or None)
    return FeatureGroup(about, names, sum(pack.clips for pack in packs), size, made, used, tuple(users), in_use)


def left_over(cache: Path) -> list[Path]:
    """Files that processes which died left in a cache, and that nothing will ever read."""
    limit, found = time.time() - _LEFT_OVER_SECONDS, []
    for file in cache.glob("*"):
        alone = file.suffix == ".npy" and not file.with_suffix(".json").exists()
        with suppress(OSError):
            if (alone or is_temporary(file.name)) and file.lstat().st_mtime < limit:
                found.append(file)
    return found


def remove_features(cache: Path, groups: Collection[FeatureGroup]) -> list[FeatureGroup]:
    """Remove features that no process uses by now; returns those that are gone."""
    gone = [group for group in groups if not is_used(locks_of(cache), group.about.settings or None)]
    names = [name for group in gone for name in group.listings]
    for name in names:
        for file in (cache / name, (cache / name).with_suffix(".npy")):  # what has no listing does not count
            file.unlink(missing_ok=True)

    def let_go(index: PackIndex) -> None:
        index.forget(names)
        index.tidy()

    if names:
        with_index(cache, let_go)
    return gone
