"""What lies in the cache, and what of it can go, as text and as JSON."""

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from asc_study.base.files import size_text
from asc_study.base.text_table import text_table
from asc_study.features.tidying import FeatureGroup
from asc_study.study.tidying import (
    Checkpoint,
    Contents,
    Removal,
    checkpoint_dict,
    feature_dict,
    features_folder,
    total_size,
)

#: What people call the settings that every feature has; the others are shown by their names.
_USUAL: Final = ("sample_rate", "n_fft", "hop_length", "n_mels", "scale", "dtype")

_FEATURE_HEADINGS: Final = ["Data", "Sounds", "Settings", "Clips", "Size", "Made", "Last used", "Used by"]
_CHECKPOINT_HEADINGS: Final = ["Checkpoint of run", "Name", "Size", "Written", "Run is"]


def render_contents(contents: Contents) -> str:
    """Tables of features and checkpoints, and a line on the rest."""
    parts = [_totals(contents)]
    if contents.features:
        parts.append(text_table([_FEATURE_HEADINGS, *map(_feature_line, contents.features)], left=(0, 1, 2, 7)))
    if contents.checkpoints:
        parts.append(text_table([_CHECKPOINT_HEADINGS, *map(_checkpoint_line, contents.checkpoints)], left=(0, 1, 4)))
    locks = f"lock files: {len(contents.locks)}, of which {contents.locks_held} are held"
    parts.append(f"{locks}; {_left(contents.left_over)}")
    return "\n\n".join(parts)


def render_removal(removal: Removal) -> str:
    """What would go, in lines, and what stays and why."""
    lines = [f"would go: {_name(group)}, {size_text(group.size)}" for group in removal.features]
    lines += [f"would go: {_checkpoint_name(one)}, {size_text(one.size)}" for one in removal.checkpoints]
    if removal.left_over:
        lines.append(f"would go: {_left(removal.left_over)}")
    if removal.free_locks:
        lines.append(f"would go: {removal.free_locks} free lock files")
    for one, why in removal.kept:
        name = _name(one) if isinstance(one, FeatureGroup) else _checkpoint_name(one)
        lines.append(f"stays: {name}, {size_text(one.size)} ({why})")
    return "\n".join(lines) or "the cache holds nothing that could go"


def removal_dict(removal: Removal) -> dict[str, Any]:
    """The same in the types of JSON."""
    return {
        "features": [feature_dict(group) for group in removal.features],
        "checkpoints": [checkpoint_dict(one) for one in removal.checkpoints],
        "left_over": {"files": len(removal.left_over), "bytes": total_size(removal.left_over)},
        "free_locks": removal.free_locks,
        "kept": [_dict(one) | {"because": why} for one, why in removal.kept],
        "bytes": removal.size,
    }


def describe_settings(settings: str) -> str:
    """Feature settings in a few words: ``44100 Hz, 2048/1024, 128 mel, min_max, float16``, and what else is set.

    Of embeddings: what computed them, and what there is of a clip.
    """
    if not settings:
        return "of an earlier version"
    known = json.loads(settings)
    if "embedding" in known:
        form = f"{known['frames']} x {known['values']} values"
        return f"{known['embedding']} {known['version']}, {form}, {known['dtype']}"
    rate, n_fft, hop, mels, scale, dtype = (known.pop(name, "?") for name in _USUAL)
    rest = [f"{name} {value}" for name, value in sorted(known.items())]
    return ", ".join([f"{rate} Hz", f"{n_fft}/{hop}", f"{mels} mel", str(scale), str(dtype), *rest])


def _dict(one: FeatureGroup | Checkpoint) -> dict[str, Any]:
    return feature_dict(one) if isinstance(one, FeatureGroup) else checkpoint_dict(one)


def _totals(contents: Contents) -> str:
    clips, size = sum(one.clips for one in contents.features), sum(one.size for one in contents.features)
    ends = sum(one.size for one in contents.checkpoints)
    features = f"{features_folder()}: {clips:,} clips, {size_text(size)}"
    return f"{features}; {len(contents.checkpoints)} checkpoints, {size_text(ends)}"


def _feature_line(group: FeatureGroup) -> list[str]:
    about, users = group.about, ", ".join(group.studies) or "-"
    return [
        about.data or "-",
        about.label or "-",
        describe_settings(about.settings),
        f"{group.clips:,}",
        size_text(group.size),
        _day(group.made),
        _day(group.used),
        users + (" (in use)" if group.in_use else ""),
    ]


def _checkpoint_line(one: Checkpoint) -> list[str]:
    state = "not in this store" if one.state == "unknown" else one.state
    return [one.run_id, one.run or "-", size_text(one.size), _day(one.changed), state]


def _name(group: FeatureGroup) -> str:
    of = f" of {group.about.data}" if group.about.data else ""
    label = group.about.label or "features"
    return f"{label}{of}, {describe_settings(group.about.settings)}: {group.clips:,} clips"


def _checkpoint_name(one: Checkpoint) -> str:
    return f"checkpoint of {one.run or 'run'} {one.run_id}"


def _left(files: Sequence[Any]) -> str:
    return f"{len(files)} files that killed processes left, {size_text(total_size(files))}"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds)) if seconds else "-"
