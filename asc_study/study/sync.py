"""Delivering what runs of earlier launches could not: their store was away until their process ended."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import filelock

from asc_study.base.errors import failure_reason
from asc_study.base.paths import remove_checkpoints
from asc_study.base.progress import Say
from asc_study.store.addresses import scrubbed
from asc_study.store.claims import heard_of_lately, run_lock, shares_locks
from asc_study.store.delivery import EpochDelivery, deliver_result, is_anothers
from asc_study.store.failures import is_outer
from asc_study.store.leases import Lease
from asc_study.store.records import RunRecord, record_of
from asc_study.store.spool import Head, Spool, spools
from asc_study.store.tracking import Tracker

Status = Literal["delivered", "epochs", "dropped", "busy", "waiting"]

#: What to do about results that wait on this disk.
LATER: Final = "give the command again, or `asc-study sync`, when the store answers"

#: Why what waits for a run is dropped.
TAKEN_OVER: Final = "another process has taken the run over"


@dataclass(frozen=True)
class Synced:
    """What became of the spool of a run.

    ``delivered``: the run is finished. ``epochs``: it was not trained to its end, the next launch goes on with it.
    ``dropped``: it is nobody's any more. ``busy``: a process works on the run. ``waiting``: it could not be delivered.
    """

    study: str
    label: str
    run_id: str
    status: Status
    reason: str = ""

    def line(self) -> str:
        """The outcome in one line for people."""
        said = {
            "delivered": "what waited on this disk is delivered, the run is finished",
            "epochs": "the epochs that waited on this disk are delivered",
            "dropped": f"what waited on this disk is dropped: {self.reason}",
            "busy": "a process works on it",
            "waiting": f"WAITS on this disk: {self.reason}",
        }
        return f"{self.study}, {self.label}: {said[self.status]}"

    def to_dict(self) -> dict[str, Any]:
        """The outcome in the types of JSON."""
        return asdict(self)


def sync(tracker: Tracker, study: str = "") -> Iterator[Synced]:
    """Deliver what waits on this disk for a store, or for one study of it; trains nothing.

    What waits for another store stays, and is not told. It goes on after a run that cannot be delivered.
    """
    for spool in spools():
        head = spool.head()
        if head is None or (study and head.study != study):
            continue
        try:
            if tracker.find_experiment(head.study) is None or tracker.identity(head.study) != head.store:
                continue
            yield _settle(tracker, spool, head)
        except Exception as error:  # the store's: the others may be delivered all the same
            reason = scrubbed(failure_reason(error), tracker.uri)
            yield Synced(head.study, head.label, spool.run_id, "waiting", reason)


def sync_study(tracker: Tracker, study: str, say: Say) -> int:
    """Deliver what waits for a study or search on this disk, tell what came of it, and count what waits on."""
    waiting = 0
    for settled in sync(tracker, study):
        if settled.status != "busy":
            say(settled.line())
        waiting += settled.status == "waiting"
    return waiting


def _settle(tracker: Tracker, spool: Spool, head: Head) -> Synced:
    def synced(status: Status, reason: str = "") -> Synced:
        return Synced(head.study, head.label, spool.run_id, status, reason)

    try:
        with run_lock(tracker, head.study, head.identity):
            record = _find(tracker, spool.run_id)
            if record is None or is_anothers(spool, record.tags):
                spool.remove()
                return synced("dropped", TAKEN_OVER if record else "the run was deleted")
            if record.status == "RUNNING" and not shares_locks(record) and heard_of_lately(record):
                return synced("busy")
            return synced(_deliver(tracker, spool, head, record))
    except filelock.Timeout:
        return synced("busy")


def _find(tracker: Tracker, run_id: str) -> RunRecord | None:
    """The run; None if it was deleted."""
    try:
        run = tracker.client.get_run(run_id)
    except Exception as error:
        if is_outer(error):
            raise
        return None  # for good
    return record_of(run) if run.info.lifecycle_stage == "active" else None


def _deliver(tracker: Tracker, spool: Spool, head: Head, record: RunRecord) -> Status:
    status: Status = "delivered"
    if record.status == "FINISHED":  # its process died before it could forget the rest
        pass
    elif spool.result.read():
        lease = Lease(tracker)
        spool.open(replace(head, owners=(lease.owner,)))
        lease.take(spool.run_id, {})
        result = deliver_result(tracker, spool, lease.write)
        lease.write(tracker.finish, spool.run_id, time_ms=result.time_ms)
    else:
        EpochDelivery(tracker, spool)()
        if record.status == "RUNNING":
            tracker.finish(spool.run_id, "KILLED")
        status = "epochs"
    spool.remove()
    if status == "delivered":
        remove_checkpoints(spool.run_id)
    return status
