"""What lies in the cache and the state folder, whose it is, and which of it can go."""

import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.base.files import is_temporary
from asc_study.base.locks import is_held, lock_files, remove_free_locks
from asc_study.base.paths import cache_dir, checkpoints_dir, locks_dir
from asc_study.features.listing import locks_of
from asc_study.features.tidying import FeatureGroup, feature_groups, left_over, remove_features
from asc_study.store.owners import RunState, run_state

if TYPE_CHECKING:
    from asc_study.store.queries import Reader

#: A checkpoint's temporary of this age was left by a process that died.
_LEFT_OVER_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class Checkpoint:
    """The files of an unfinished training, those of its folds and its kept weights among them.

    ``changed`` is when the last of them was written, in seconds since 1970; ``run`` is empty if there is none.
    """

    run_id: str
    run: str
    state: RunState
    files: tuple[Path, ...]
    size: int
    changed: float


@dataclass(frozen=True)
class Contents:
    """All that was found: features, checkpoints, lock files with how many of them are held, and what nobody reads."""

    features: tuple[FeatureGroup, ...]
    checkpoints: tuple[Checkpoint, ...]
    locks: tuple[Path, ...]
    locks_held: int
    left_over: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything in the types of JSON."""
        return {
            "cache": str(cache_dir()),
            "features": [feature_dict(group) for group in self.features],
            "checkpoints": [checkpoint_dict(one) for one in self.checkpoints],
            "locks": {"files": len(self.locks), "held": self.locks_held, "bytes": total_size(self.locks)},
            "left_over": {"files": len(self.left_over), "bytes": total_size(self.left_over)},
        }


@dataclass(frozen=True)
class Removal:
    """What can go, and why the rest of the features and checkpoints stays."""

    features: tuple[FeatureGroup, ...]
    checkpoints: tuple[Checkpoint, ...]
    left_over: tuple[Path, ...]
    free_locks: int
    kept: tuple[tuple[FeatureGroup | Checkpoint, str], ...]

    @property
    def size(self) -> int:
        """The bytes that it frees."""
        sized = sum(group.size for group in self.features) + sum(one.size for one in self.checkpoints)
        return sized + total_size(self.left_over)

    def __bool__(self) -> bool:
        return bool(self.features or self.checkpoints or self.left_over or self.free_locks)


def features_folder() -> Path:
    """The folder of the features in the cache."""
    return cache_dir() / "features"


def look_around(reader: "Reader | None") -> Contents:
    """Find out what lies there; ``reader`` is the store whose runs may own checkpoints, if there is one."""
    cache = features_folder()
    locks = [file for folder in _lock_folders() for file in lock_files(folder)]
    return Contents(
        tuple(feature_groups(cache)),
        tuple(_checkpoints(reader)),
        tuple(locks),
        sum(is_held(file) for file in locks),
        (*left_over(cache), *_left_checkpoints()),
    )


def plan_removal(contents: Contents, *, older_than_seconds: float | None, keep_studies: Collection[str]) -> Removal:
    """Choose what can go: what no process and no unfinished run needs, and nobody asked to keep.

    Parameters
    ----------
    contents
        As `look_around` gives it.
    older_than_seconds
        Features and checkpoints that were used since then stay. Without it, checkpoints of runs that this store does
        not know stay: they may be another store's.
    keep_studies
        Features that these studies used stay, and those of which it is not known who used them.
    """
    limit = None if older_than_seconds is None else time.time() - older_than_seconds
    going, ending = [], []
    kept: list[tuple[FeatureGroup | Checkpoint, str]] = []
    for group in contents.features:
        if why := _why_features_stay(group, limit, keep_studies):
            kept.append((group, why))
        else:
            going.append(group)
    for one in contents.checkpoints:
        if why := _why_checkpoint_stays(one, limit):
            kept.append((one, why))
        else:
            ending.append(one)
    free = len(contents.locks) - contents.locks_held
    return Removal(tuple(going), tuple(ending), contents.left_over, free, tuple(kept))


def remove(removal: Removal) -> int:
    """Remove what can go, but for features that a process began to use meanwhile; returns how many bytes are free."""
    gone = remove_features(features_folder(), removal.features)
    freed = sum(group.size for group in gone) + sum(one.size for one in removal.checkpoints)
    freed += total_size(removal.left_over)
    for file in (*removal.left_over, *(file for one in removal.checkpoints for file in one.files)):
        file.unlink(missing_ok=True)
    for folder in _lock_folders():
        remove_free_locks(folder)
    return freed


def total_size(files: Sequence[Path]) -> int:
    """The bytes of files, as far as they are still there."""
    return sum(file.stat().st_size for file in files if file.is_file())


def feature_dict(group: FeatureGroup) -> dict[str, Any]:
    """A group of features in the types of JSON."""
    found = asdict(group)
    about: dict[str, Any] = found.pop("about")
    packs, size = len(found.pop("listings")), found.pop("size")
    return about | found | {"packs": packs, "bytes": size}


def checkpoint_dict(one: Checkpoint) -> dict[str, Any]:
    """A checkpoint in the types of JSON."""
    shown = {"run_id": one.run_id, "run": one.run, "state": one.state}
    return shown | {"files": len(one.files), "bytes": one.size, "changed": one.changed}


def _lock_folders() -> tuple[Path, ...]:
    return locks_of(features_folder()), locks_dir()


def _why_features_stay(group: FeatureGroup, limit: float | None, keep_studies: Collection[str]) -> str:
    if group.in_use:
        return "a process uses them"
    if limit is not None and group.used >= limit:
        return "used since"
    if users := sorted(set(keep_studies).intersection(group.studies)):
        return f"used by {', '.join(users)}"
    if keep_studies and not group.studies:
        return "it is not known who used them"
    return ""


def _why_checkpoint_stays(one: Checkpoint, limit: float | None) -> str:
    if one.state == "unfinished":
        return "its run goes on from it"
    if one.state == "unknown" and limit is None:
        return "its run is not in this store: --older-than removes it"
    if limit is not None and one.changed >= limit:
        return "written since"
    return ""


def _checkpoints(reader: "Reader | None") -> list[Checkpoint]:
    files: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(checkpoints_dir().glob("*.npz")):
        if not is_temporary(file.name):
            files[file.name.partition(".")[0]].append(file)
    found = []
    for run_id, own in files.items():
        state, label = run_state(reader, run_id)
        size = total_size(own)
        changed = max((file.stat().st_mtime for file in own if file.exists()), default=0.0)
        found.append(Checkpoint(run_id, label, state, tuple(own), size, changed))
    return found


def _left_checkpoints() -> list[Path]:
    limit = time.time() - _LEFT_OVER_SECONDS
    files = [file for file in checkpoints_dir().glob("*") if is_temporary(file.name)]
    return [file for file in files if file.exists() and file.stat().st_mtime < limit]
