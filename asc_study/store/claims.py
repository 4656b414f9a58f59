"""Claims: which process may work on a run, and when a run that is marked RUNNING counts as dead.

A run is claimed by a file lock, which the system frees when its process dies, so a killed run is recognised at once. Of
runs that do not share our locks (on another machine, or with another state folder) only the heartbeat tag tells.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import filelock

from asc_study.base.contract import Tag
from asc_study.base.locks import file_lock, lock_domain
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker

#: A run that does not share our locks counts as alive for this long after its last sign of life.
HEARTBEAT_LIMIT_SECONDS: Final = 600
_HEARTBEAT_SECONDS: Final = 60

#: Launches of one study at the same time that `is_launched` knows of.
_MOST_LAUNCHES: Final = 8


def run_lock(store: Reader, study: str, identity: str) -> filelock.BaseFileLock:
    """The lock that the process working on a run holds; ``identity`` is that of its `RunRecord`."""
    return file_lock(f"run {store.identity(study)} {identity}", timeout_seconds=1)


@contextmanager
def launch_claim(store: Reader, study: str) -> Iterator[None]:
    """Hold one of the locks of a study's launches: `is_launched` sees it, also while no run of it is trained."""
    with ExitStack() as held:
        for lock in _launch_locks(store, study):
            with suppress(filelock.Timeout):
                held.enter_context(lock)
                break
        yield


def is_launched(store: Reader, study: str) -> bool:
    """Whether a launch of a study that shares our locks is alive: it trains, computes features or compares the rows."""
    for lock in _launch_locks(store, study):
        try:
            with lock:
                continue
        except filelock.Timeout:
            return True
    return False


def _launch_locks(store: Reader, study: str) -> Iterator[filelock.BaseFileLock]:
    for place in range(_MOST_LAUNCHES):
        yield file_lock(f"launch {store.identity(study)} {place}", timeout_seconds=0)


def is_alive(tracker: Reader, record: RunRecord) -> bool:
    """Whether a process still works on a run that is marked RUNNING."""
    if shares_locks(record):
        try:
            with run_lock(tracker, record.tags.get(Tag.STUDY, ""), record.identity):
                return False
        except filelock.Timeout:
            return True
    return heard_of_lately(record)


def settle_abandoned(tracker: Tracker, study: str) -> None:
    """Mark runs whose process is gone (kill -9, power cut) as KILLED, so that none stays RUNNING for ever."""
    for record in tracker.runs(study, status="RUNNING"):
        if not shares_locks(record):
            # Read again: another machine may have taken it over since the list was made.
            if not heard_of_lately(record) and (now := tracker.run(record.run_id)) and not heard_of_lately(now):
                tracker.finish(record.run_id, "KILLED")
            continue
        # Read again under the lock: its holder may have ended the run properly since.
        with suppress(filelock.Timeout), run_lock(tracker, study, record.identity):
            if tracker.status(record.run_id) == "RUNNING":
                tracker.finish(record.run_id, "KILLED")


def whereabouts() -> dict[str, str]:
    """Tags that say where a run is worked on."""
    return {Tag.HOST: socket.gethostname(), Tag.LOCKS: lock_domain()}


def shares_locks(record: RunRecord) -> bool:
    """Whether the lock of a run tells if it is alive."""
    return record.tags.get(Tag.LOCKS) == lock_domain()


def heard_of_lately(record: RunRecord) -> bool:
    """Whether the run gave a sign of life within the limit; one from the future counts as none, clocks may differ."""
    last_sign = record.start_seconds if record.heartbeat is None else record.heartbeat
    return abs(time.time() - last_sign) < HEARTBEAT_LIMIT_SECONDS


@contextmanager
def signs_of_life(
    tracker: Tracker, run_id: str, launch_process_id: int, is_ours: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Tell the store now and then that the run is alive, and end this worker if the launch that started it dies.

    The processes of a cluster are no children of the launch, whose id is given as 0 then: they end what they began.
    ``is_ours`` tells whether the run is still this process's: one that another has taken over is left to that one.
    """
    over = threading.Event()
    is_worker = launch_process_id not in (0, os.getpid())

    def watch() -> None:
        told = float("-inf")
        while not over.wait(1):
            if is_worker and os.getppid() != launch_process_id:  # killed: nobody would read the result or stop us
                os._exit(1)
            if time.monotonic() - told > _HEARTBEAT_SECONDS:
                told = time.monotonic()
                try:
                    if not is_ours():
                        return
                    tracker.set_tags(run_id, {Tag.HEARTBEAT: f"{time.time():.0f}"})
                except Exception:  # MLflow's, the database's or the network's: the next sign may get through
                    continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
