"""Leases: which process may write into a run, decided in the store, which all machines share.

A file lock keeps processes of one machine apart (`asc_study.store.claims`), and nothing keeps those of two machines
apart if one is paused, or cut off from the store, for so long that the other takes its run over. So whoever works on a
run is named in it, in one call with his sign of life; he reads that name again before he writes what matters, and stops
where another one stands. Two writers can so meet for one request at most, and one of them is left.

When a lease is over is told by the clocks of two machines: signs come every minute, ten without one are the end, and
so clocks may differ by minutes. Watching for a change by the reader's clock alone would be free of that, but each
launch would wait a minute for each run of another machine that died. A lease that is taken too early costs its old
holder the time since his last checkpoint, and nothing else.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, ParamSpec, TypeVar

from asc_study.base.contract import Kind, Tag
from asc_study.store.claims import whereabouts
from asc_study.store.failures import is_outer, patiently
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker

Given = ParamSpec("Given")
Result = TypeVar("Result")

#: How long a process that created a run waits for another one, which did so at the same time, to withdraw.
_WITHDRAWAL_SECONDS: Final = 15.0


class TakenOver(Exception):
    """Another process has taken over the run that this one worked on, because it gave no sign of life for too long."""


class Lease:
    """What one process may work on: the run that it created or took over, as long as its name stands there.

    Parameters
    ----------
    tracker
        The store.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._run_id = ""
        #: Names this process and this attempt: a call that is tried again while its first process still lives differs.
        self.owner: Final = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"

    def create(
        self, study: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any], *, known: Collection[str]
    ) -> str:
        """Create a run; its id, empty if another process creates one of its signature at the same time and keeps it.

        Each process first creates a run and then looks for others, so of two of them at least one sees the other: who
        is alone has won. Of those who see each other all but the oldest withdraw; the oldest waits for it, for one that
        saw nobody stays. What withdraws is deleted.

        Parameters
        ----------
        study, name, tags, params
            See `Tracker.create_run`.
        known
            Ids of runs of this signature that were there before, and are no rivals.
        """
        run_id = self._tracker.create_run(study, name, dict(tags) | self._tags(), params)
        deadline = time.monotonic() + _WITHDRAWAL_SECONDS
        while True:
            same = self._tracker.runs(study, kind=Kind.TRAIN, signature=tags[Tag.SIGNATURE])
            found = [record for record in same if record.run_id not in known]
            rivals = [record for record in found if record.status in ("RUNNING", "FINISHED")]
            if all(record.run_id == run_id for record in rivals):
                self._run_id = run_id
                return run_id
            is_decided = any(record.status == "FINISHED" for record in rivals) or time.monotonic() > deadline
            if is_decided or min(rivals, key=_age).run_id != run_id:
                self._tracker.client.delete_run(run_id)
                return ""
            time.sleep(0.5)

    def take(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Take a run over that nobody works on, and set further tags of it.

        Name and sign of life come before the run is RUNNING again: no moment shows it running with an old sign.
        """
        self._tracker.set_tags(run_id, dict(tags) | self._tags())
        self._tracker.reopen(run_id)
        self._run_id = run_id

    def renew(self) -> bool:
        """Whether no other process has taken the run; it is RUNNING again if one that did not hear of us has ended it.

        A run without a name, which a person removed, is still ours.
        """
        run = self._tracker.client.get_run(self._run_id)
        if run.data.tags.get(Tag.OWNER, self.owner) != self.owner:
            return False
        if run.info.status != "RUNNING" and run.info.lifecycle_stage == "active":
            self._tracker.client.update_run(self._run_id, status="RUNNING")
        return True

    def require(self) -> None:
        """Raise `TakenOver` if another process has taken the run over; called before what matters is written.

        A store that does not answer is no reason to stop: nor can others take the run from it.
        """
        try:
            ours = not self._run_id or self.renew()
        except Exception as error:
            if is_outer(error):
                return
            raise
        if not ours:
            raise TakenOver(f"run {self._run_id} is worked on by another process")

    def is_lost(self) -> bool:
        """Whether another process has taken the run over, as far as the store tells."""
        try:
            self.require()
        except TakenOver:
            return True
        except Exception:  # the run was deleted
            return False
        return False

    def write(self, call: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        """Call what writes to the store, patiently; each time it is tried, the run must still be ours."""

        def guarded() -> Result:
            self.require()
            return call(*given, **named)

        return patiently(self._tracker.uri, guarded)

    def _tags(self) -> dict[str, str]:
        return {Tag.OWNER: self.owner, Tag.HEARTBEAT: f"{time.time():.0f}", **whereabouts()}


def _age(record: RunRecord) -> tuple[float, str]:
    return record.start_seconds, record.run_id
