"""What an ensemble or a fusion says of new clips: what its trained runs say of them, fused as it logged."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES
from asc_study.ensemble.fusion_file import FusionFile
from asc_study.evaluation.predictions import predictions_table
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.stale import further_down

if TYPE_CHECKING:
    import pandas as pd

#: Kinds of runs that hold a fusion.
FUSED: Final = (Kind.ENSEMBLE, Kind.FUSION)


def networks_of(tracker: Reader, record: RunRecord, above: tuple[str, ...] = ()) -> list[RunRecord]:
    """The trained runs that a run consists of: itself, or all below an ensemble or a fusion.

    Parameters
    ----------
    tracker, record
        The store and the run.
    above
        Ids of the runs that it is a part of.

    Raises
    ------
    InputError
        If there is something else below it, a part was deleted, or what it logged is damaged.
    """
    kind = record.tags.get(Tag.KIND)
    if kind == Kind.TRAIN:
        return [record]
    if kind not in FUSED:
        raise InputError(
            f"trained runs have a model to score with, and what is made of them, {record.label!r} is of kind {kind}: "
            "name the run that it was made of, or use `asc-study classify` with a bundle"
        )
    above = further_down(record, above)
    parts = [_part(tracker, record, system.run_id) for system in _fusion(tracker, record).systems]
    return [network for part in parts for network in networks_of(tracker, part, above)]


def fused_table(
    tracker: Reader, record: RunRecord, clips: "pd.DataFrame", tables: Mapping[str, "pd.DataFrame"]
) -> "pd.DataFrame":
    """The predictions table of a run, from those of its networks.

    Parameters
    ----------
    tracker, record
        The store, and a trained run, an ensemble or a fusion.
    clips
        The clip table.
    tables
        Id of a trained run -> its predictions of these clips.
    """
    if record.run_id in tables:
        return tables[record.run_id]
    file = _fusion(tracker, record)
    outputs = {}
    for system in file.systems:
        table = fused_table(tracker, _part(tracker, record, system.run_id), clips, tables).set_index("clip_id")
        values = table.loc[clips["clip_id"], list(CLASSES[system.task])].to_numpy(float)
        outputs[system.name] = values / values.sum(axis=1, keepdims=True)  # tables hold float32
    return predictions_table(clips, file.apply(outputs, clips["device"].tolist()), file.systems[0].task)


def _fusion(tracker: Reader, record: RunRecord) -> FusionFile:
    raw = tracker.json_artifact(record.run_id, Artifact.FUSION)
    if not raw:
        raise InputError(
            f"{record.label!r} has no {Artifact.FUSION}, an earlier version made it: delete the run and make it again"
        )
    return FusionFile.from_dict(raw, f"{Artifact.FUSION} of {record.label!r}")


def _part(tracker: Reader, record: RunRecord, run_id: str) -> RunRecord:
    found = tracker.run(run_id)
    if found is None:
        raise InputError(f"a member of {record.label!r}, run {run_id}, was deleted: make it again")
    return found
