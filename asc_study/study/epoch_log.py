"""The epochs of a run in the store: each once, also those that the store could not take when they were over."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from asc_study.base.errors import failure_reason
from asc_study.store.addresses import address_line
from asc_study.store.failures import is_outer
from asc_study.store.tracking import Tracker

#: Until a store that did not take an epoch is asked again, in seconds: training does not wait for it.
_PAUSE_SECONDS: Final = 10.0


class EpochLog:
    """Logs the metrics of epochs, in their order; a store that fails meanwhile gets them later.

    An epoch that the store has is not logged again: of one that was trained twice, because its checkpoint was lost or
    is on another machine, a chart would go back and forth.

    Parameters
    ----------
    tracker, run_id
        The store and the run.
    every_seconds
        How long epochs are gathered: a request may take longer than an epoch of a small training.
    """

    def __init__(self, tracker: Tracker, run_id: str, *, every_seconds: float = 0.0) -> None:
        self._tracker, self._run_id, self._every_seconds = tracker, run_id, every_seconds
        self._waiting: dict[int, Mapping[str, float]] = {}
        self._last: int | None = None
        self._not_before = time.monotonic() + every_seconds
        self._told = False

    def begin(self, history: Sequence[Mapping[str, float]]) -> None:
        """Begin with the epochs that are finished already."""
        self._waiting = dict(enumerate(history, 1))

    def add(self, epoch: int, measured: Mapping[str, float]) -> None:
        """Log an epoch (from 0), and those that wait; what does not succeed waits, whoever trains does not."""
        self._waiting[epoch + 1] = measured
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + self._every_seconds
        try:
            self.flush()
        except Exception as error:
            if not is_outer(error):
                raise
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            if not self._told:
                said = "note: {address} does not answer ({reason}): training goes on, its epochs are logged later"
                print(address_line(self._tracker.uri, said, failure_reason(error)), file=sys.stderr, flush=True)
            self._told = True

    def flush(self) -> None:
        """Log what waits; raises whatever the store says."""
        last = self._tracker.last_epoch(self._run_id) if self._last is None else self._last
        self._last = None  # as long as it is not known how much of it arrives
        new = {epoch: measured for epoch, measured in self._waiting.items() if epoch > last}
        if new:
            steps = [{f"epoch/{name}": value for name, value in measured.items()} for measured in new.values()]
            self._tracker.log_path(self._run_id, steps, first=min(new))
        self._last = max(new, default=last)
        self._waiting.clear()
