"""Delivering what a spool holds: each metric once, with its own time, by who may write into the run.

A store that was asked and did not answer may have what it was sent. So it is asked what it has before the rest is sent
again, and what is sent twice all the same has the same name, step, time and value, which MLflow keeps once.
"""

from collections.abc import Callable, Mapping
from typing import Any

from asc_study.base.contract import Tag
from asc_study.store.spool import Result, Spool
from asc_study.store.tracking import Tracker

#: Calls what writes into a run with what it is given, if the run may be written into.
Write = Callable[..., Any]


class EpochDelivery:
    """Delivers the epochs of a spool, in their order; an epoch that the store has is not delivered again.

    Of one that was trained twice, because its checkpoint was lost or is on another machine, a chart would else go back
    and forth.

    Parameters
    ----------
    tracker, spool
        The store, and the spool of a run of it.
    """

    def __init__(self, tracker: Tracker, spool: Spool) -> None:
        self._tracker, self._spool = tracker, spool
        self._last: int | None = None

    def __call__(self) -> None:
        """Deliver what waits; raises whatever the store says."""
        run_id, steps = self._spool.run_id, list(self._spool.steps)
        if self._last is not None and all(one.step <= self._last for one in steps):
            return
        last = self._tracker.last_epoch(run_id) if self._last is None else self._last
        self._last = None  # as long as it is not known how much of it arrives
        new = sorted((one for one in steps if one.step > last), key=lambda one: one.step)
        if new:
            self._tracker.log_steps(run_id, new)
        self._last = max((one.step for one in new), default=last)


def deliver_result(tracker: Tracker, spool: Spool, write: Write) -> Result:
    """Deliver all of a trained run by ``write``, a lease's for example; the run goes on, and the spool is left.

    It can be called again after it was cut off anywhere: what is there already stays as it is.
    """
    run_id, folder = spool.run_id, spool.result
    result = folder.read()
    if result is None:
        raise ValueError(f"run {run_id} has no result to deliver")
    write(EpochDelivery(tracker, spool))
    write(tracker.client.log_artifacts, run_id, str(folder.artifacts))
    if result.datasets:
        write(tracker.log_datasets, run_id, **result.datasets)
    write(tracker.set_tags, run_id, dict(result.tags))
    model_id = write(tracker.log_model, run_id, folder.model) if folder.model.exists() else None
    write(tracker.log_metrics, run_id, result.metrics, model_id=model_id, time_ms=result.time_ms)
    return result


def is_anothers(spool: Spool, tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags is in the hands of a process that did not fill this spool.

    A run without a name, which a person removed or an earlier version began, is still ours.
    """
    head = spool.head()
    return head is not None and Tag.OWNER in tags and tags[Tag.OWNER] not in head.owners
