"""Paired comparison of two systems by name."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from asc_study.base.errors import InputError
from asc_study.evaluation.significance import Comparison, compare
from asc_study.store.references import find_each
from asc_study.store.tracking import Tracker
from asc_study.systems.members import Member, load_members


def compare_runs(tracker: Tracker, first: str, second: str, *, split: str = "test") -> Comparison:
    """Compare two systems on the same clips; the seeds of each are averaged.

    Parameters
    ----------
    tracker
        The store.
    first, second
        A run, or a row with all its seeds; see `find_runs`.
    split
        ``test`` or ``validation``.

    Raises
    ------
    InputError
        If a name stands for nothing, both are the same, or they were not tested on the same clips.
    """
    if split not in ("test", "validation"):
        raise InputError(f"systems are compared on test or validation, got {split!r}: name one of them")
    sides = [load_members(tracker, records)[0] for records in find_each(tracker, (first, second))]
    ids = [{member.record.run_id for member in side} for side in sides]
    if ids[0] == ids[1]:
        raise InputError(f"two different systems are compared, got {first!r} and {second!r}: they are the same runs")
    tables = [[_table(member, split) for member in side] for side in sides]
    same_copies = _hear_the_same_copies(sides[0]), _hear_the_same_copies(sides[1])
    return replace(compare(tables[0], tables[1]), same_copies=same_copies)


def _hear_the_same_copies(side: Sequence[Member]) -> bool:
    """Whether several seeds are trained with waveform augmentation, whose draws are of a seed of its own."""
    return len(side) > 1 and all(
        any(name.startswith("waveform_augmentation.") for name in member.record.params) for member in side
    )


def _table(member: Member, split: str) -> pd.DataFrame:
    if split not in member.tables:
        raise InputError(f"{member.name!r} has no predictions of the split {split!r}, only {sorted(member.tables)}")
    return member.tables[split]
