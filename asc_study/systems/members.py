"""The predictions of runs, read back and put side by side."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.progress import progress_bar
from asc_study.base.taxonomy import CLASSES
from asc_study.ensemble.crossfit import Basis
from asc_study.ensemble.fusion_file import FusionFile, System
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.stack import Stack, stack
from asc_study.ensemble.two_stage import FittedTwoStage
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker

#: Splits in which systems can be combined.
SPLITS: Final = ("validation", "test", "evaluation")


@dataclass(frozen=True)
class Member:
    """A run as a part of an ensemble: its record, a name that is unique among the parts, its predictions by split."""

    record: RunRecord
    name: str
    tables: Mapping[str, pd.DataFrame]

    @property
    def task(self) -> str:
        """``ten_class`` or ``three_class``."""
        return self.record.tags[Tag.TASK]


def load_members(
    tracker: Tracker, records: Sequence[RunRecord], *, leave_out_broken: bool = False
) -> tuple[list[Member], list[str]]:
    """Read the predictions of runs, in their order.

    Returns
    -------
    (members, broken)
        ``broken`` has a line for each run that was left out because its predictions are not there or damaged; without
        ``leave_out_broken`` there is none.

    Raises
    ------
    InputError
        If a run is named twice, or its predictions are not there or damaged.
    """
    ids = [record.run_id for record in records]
    if len(set(ids)) < len(ids):
        twice = next(record for record in records if ids.count(record.run_id) > 1)
        raise InputError(f"each run can be named once, got {twice.label!r} twice: name it once")
    labels = [record.label for record in records]
    members, broken = [], []
    with progress_bar(len(records), "predictions", "run", keep=False, delay_seconds=2) as bar:
        for record, label in zip(records, labels, strict=True):
            name = label if labels.count(label) == 1 else f"{label} [{record.run_id[:6]}]"
            try:
                members.append(Member(record, name, _tables(tracker, record)))
            except InputError as error:
                if not leave_out_broken:
                    raise
                broken.append(str(error))
            bar.update()
    return members, broken


def _tables(tracker: Tracker, record: RunRecord) -> dict[str, pd.DataFrame]:
    tables = tracker.predictions(record.run_id)
    if not tables:
        raise InputError(
            f"run {record.label!r} has no predictions (trained on all development data, or deleted): score a data "
            "set with it, `asc-study score`"
        )
    return tables


def stacks(members: Sequence[Member]) -> tuple[dict[str, Stack], list[str]]:
    """The splits that all members have, aligned, and what people should know about them.

    Validation clips must not have trained any member: where the cuts differ, the clips common to all cuts count. The
    test split must hold the same clips; the evaluation split is left out where it does not.

    Raises
    ------
    InputError
        If the members do not go together.
    """
    shared = [split for split in SPLITS if all(split in member.tables for member in members)]
    notes = []
    tables = {split: {member.name: member.tables[split] for member in members} for split in shared}
    if "validation" in tables:
        sizes = [len(table) for table in tables["validation"].values()]
        common = set.intersection(*(set(table["clip_id"]) for table in tables["validation"].values()))
        if len(common) < max(sizes):
            used = f"the {len(common)} clips common to all are used" if common else "no clip is in all: it is not used"
            notes.append(f"the validation cuts differ ({min(sizes)} to {max(sizes)} clips): {used}")
            tables["validation"] = {
                name: table[table["clip_id"].isin(common)] for name, table in tables["validation"].items()
            }
        if not common:
            del tables["validation"]
    predicted = {frozenset(table["clip_id"]) for table in tables.get("evaluation", {}).values()}
    if len(predicted) > 1:
        notes.append("the runs have predicted different evaluation sets: they are not used")
        del tables["evaluation"]
    if not tables:
        having = {member.name: sorted(member.tables) for member in members}
        raise InputError(f"runs that are combined must share a split, got {having}: name others")
    return {split: stack(found) for split, found in tables.items()}, notes


def basis_of(record: RunRecord) -> str:
    """What a run's predictions depend on besides training: ``fixed``, ``validation`` or ``cross-fitted``."""
    return record.tags.get(Tag.BASIS, "fixed")


def fusion_json(fusion: FusionRule | FittedTwoStage, basis: Basis, members: Sequence[Member]) -> str:
    """The artifact ``fusion.json`` of a run that is made of these members, those of the first stage first."""
    systems = [System(m.name, m.task, m.record.tags[Tag.KIND], m.record.run_id, m.record.signature) for m in members]
    classes = {system.task: CLASSES[system.task] for system in systems}
    content = FusionFile(basis, classes, tuple(systems), fusion).to_dict()
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def require_untouched(members: Sequence[Member]) -> None:
    """Raise `InputError` if labels that a rule is about to be cross-fitted on had a part in its inputs already.

    A location's labels have influenced the outputs of a cross-fitted run for all others; a rule fitted on those outputs
    would bring them back to the location.
    """
    touched = [member.name for member in members if basis_of(member.record) == "cross-fitted"]
    if touched:
        raise InputError(
            f"a rule that learns cannot be cross-fitted on top of runs that were, got {', '.join(touched)}: name the "
            "systems that they are made of, use the product with a fixed exponent, or give validation predictions"
        )


def with_same_test_clips(members: Sequence[Member]) -> tuple[list[Member], int]:
    """The largest group of members that were tested on the same clips, and how many others there are.

    Trained runs are told apart by their data set too, whose sound may differ under the same names; of several the one
    of the newest run counts.
    """
    groups: dict[frozenset[str], list[Member]] = {}
    for member in members:
        if "test" in member.tables:
            groups.setdefault(frozenset(member.tables["test"]["clip_id"]), []).append(member)
    if not groups:
        return [], len(members)
    largest = max(groups.values(), key=len)
    trained = [member.record for member in largest if member.record.tags.get(Tag.KIND) == Kind.TRAIN]
    if trained:
        newest = max(trained, key=lambda record: record.start_seconds).tags.get(Tag.DATASET_DIGEST)
        largest = [
            member
            for member in largest
            if member.record not in trained or member.record.tags.get(Tag.DATASET_DIGEST) == newest
        ]
    return largest, len(members) - len(largest)
