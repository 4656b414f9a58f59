"""The epochs of a run while it trains: kept on the disk at once, delivered by a thread, which training never waits for.

A store that does not answer is said within half a minute, and again when it answers: then what waited is delivered.
"""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from asc_study.base.errors import failure_reason
from asc_study.store.addresses import address_line
from asc_study.store.delivery import EpochDelivery
from asc_study.store.failures import is_outer
from asc_study.store.leases import TakenOver
from asc_study.store.spool import Spool, Step, now_ms
from asc_study.store.tracking import Tracker

#: Between two looks whether the store answers and the run is still ours, in seconds, where no epoch ends meanwhile.
_LOOK_SECONDS: Final = 10.0

#: A store that has not answered for so long does not answer, in seconds; MLflow itself may wait for minutes.
_SILENCE_SECONDS: Final = 15.0

#: How long training waits for the store to take an epoch, in seconds, as long as it answers: a checkpoint follows.
_WAIT_SECONDS: Final = 10.0


class EpochLog:
    """Keeps the metrics of epochs in a spool and delivers them; a context, in which the thread lives.

    Parameters
    ----------
    tracker, spool
        The store, and the opened spool of a run of it.
    is_ours
        Tells whether the run is still this process's, and raises if the store does not say so; by default it is.
    waits
        Whether an epoch that is added waits until the store has it, as long as that answers.
    """

    def __init__(
        self, tracker: Tracker, spool: Spool, *, is_ours: Callable[[], bool] | None = None, waits: bool = True
    ) -> None:
        self._tracker, self._spool, self._waits = tracker, spool, waits
        self._is_ours = is_ours or (lambda: bool(tracker.status(spool.run_id)))
        self._deliver = EpochDelivery(tracker, spool)
        self._changed = threading.Condition()
        self._added = self._looked_at = 0
        self._is_silent = self._is_over = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._thread.join(_WAIT_SECONDS)  # a request that hangs ends by itself, and changes nothing by being late

    def begin(self, history: Sequence[Mapping[str, float]]) -> None:
        """Begin with the epochs that are finished already."""
        for epoch, measured in enumerate(history):
            self._keep(epoch, measured)

    def add(self, epoch: int, measured: Mapping[str, float]) -> None:
        """Keep an epoch (from 0), and deliver it.

        Raises
        ------
        TakenOver
            If another process has taken the run over.
        Exception
            Whatever else is wrong with the run in the store, and is no outage: it was deleted.
        """
        self._keep(epoch, measured)
        with self._changed:
            self._added += 1
            added = self._added
            self._changed.notify_all()
            if self._waits:
                self._changed.wait_for(
                    lambda: self._looked_at >= added or self._is_silent or self._error, _WAIT_SECONDS
                )
        if self._error:
            raise self._error

    def _keep(self, epoch: int, measured: Mapping[str, float]) -> None:
        self._spool.add(Step(epoch + 1, now_ms(), {f"epoch/{name}": value for name, value in measured.items()}))

    def _work(self) -> None:
        while not self._error:
            with self._changed:
                # Where training waits for it an epoch is delivered at once; others are gathered, for a request may take
                # longer than an epoch of a small training.
                self._changed.wait_for(
                    lambda: self._is_over or (self._waits and self._added > self._looked_at and not self._is_silent),
                    _LOOK_SECONDS,
                )
                if self._is_over:
                    return
                added = self._added
            self._look()
            with self._changed:
                self._looked_at = added
                self._changed.notify_all()

    def _look(self) -> None:
        alarm = threading.Timer(_SILENCE_SECONDS, self._tell_silent, [f"no answer for {_SILENCE_SECONDS:.0f} s"])
        alarm.daemon = True
        alarm.start()
        try:
            if not self._is_ours():
                raise TakenOver(f"run {self._spool.run_id} is worked on by another process")
            self._deliver()
        except Exception as error:
            if is_outer(error):
                self._tell_silent(failure_reason(error))
            else:
                self._error = error
        else:
            alarm.cancel()
            if self._is_silent:
                self._is_silent = False
                self._tell("note: {address} answers again: what waited is delivered")
        finally:
            alarm.cancel()

    def _tell_silent(self, reason: str) -> None:
        with self._changed:
            told, self._is_silent = self._is_silent, True
            self._changed.notify_all()
        if not told:
            self._tell(
                "note: {address} does not answer ({reason}): training goes on, its metrics wait on this disk", reason
            )

    def _tell(self, said: str, reason: str = "") -> None:
        print(address_line(self._tracker.uri, said, reason), file=sys.stderr, flush=True)
