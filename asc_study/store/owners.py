"""Whose something in the cache is: a run's that still needs it, that does not, that is gone, or another store's."""

from typing import Final, Literal

from asc_study.base.contract import Tag
from asc_study.store.queries import Reader

#: What a run that something is named after is; of a store that cannot be asked every run is unknown.
RunState = Literal["unfinished", "finished", "deleted", "unknown"]

_DELETED: Final = "deleted"


def run_state(reader: Reader | None, run_id: str) -> tuple[RunState, str]:
    """What a run is, and its name: ``study/row seed``; a deleted one is still known until `mlflow gc`."""
    from mlflow.exceptions import MlflowException

    if reader is None:
        return "unknown", ""
    try:
        run = reader.client.get_run(run_id)
    except MlflowException:  # it knows no such run, or does not answer
        return "unknown", ""
    name = f"{run.data.tags.get(Tag.STUDY, '')}/{run.info.run_name or ''}"
    if run.info.lifecycle_stage == _DELETED:
        return "deleted", name
    return ("finished" if run.info.status == "FINISHED" else "unfinished"), name
