"""Taking runs out of a store: by MLflow's own deletion, which can be taken back until `mlflow gc` runs."""

import shlex
from collections.abc import Sequence

import filelock

from asc_study.base.contract import Tag
from asc_study.store.addresses import cannot_write
from asc_study.store.claims import heard_of_lately, run_lock, shares_locks
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker


def all_runs(tracker: Tracker) -> list[RunRecord]:
    """Every run of every experiment that is not deleted: a run can be a member of one of another study."""
    names, token = [], None
    while True:
        page = tracker.client.search_experiments(page_token=token)
        names += [experiment.name for experiment in page]
        token = page.token
        if not token:
            return [record for name in names for record in tracker.runs(name)]


def delete_run(tracker: Tracker, record: RunRecord) -> bool:
    """Delete a run so that MLflow can restore it; false if a process works on it, or it is gone by now.

    Raises
    ------
    InputError
        If the store cannot be written.
    """
    from mlflow.exceptions import MlflowException

    if record.status == "RUNNING" and not shares_locks(record) and heard_of_lately(record):
        return False
    try:  # under its lock, so that no launch goes on with it meanwhile
        with run_lock(tracker, record.tags.get(Tag.STUDY, ""), record.identity):
            if tracker.run(record.run_id) is None:
                return False
            tracker.client.delete_run(record.run_id)
    except filelock.Timeout:
        return False
    except MlflowException as error:
        raise cannot_write(tracker.uri, error) from None
    return True


def restore_command(run_ids: Sequence[str]) -> str:
    """What to type to have deleted runs back."""
    if len(run_ids) == 1:
        return f"mlflow runs restore --run-id {shlex.quote(run_ids[0])}"
    ids = " ".join(map(shlex.quote, run_ids))
    return f'for id in {ids}; do mlflow runs restore --run-id "$id"; done'
