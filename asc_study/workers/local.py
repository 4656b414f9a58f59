"""Calls in processes of this machine, each of which can die without the others."""

import atexit
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, Final

from asc_study.workers.calls import ATTEMPTS, Lost, packed, run_packed

#: A worker that is not asked for so long ends.
_IDLE_SECONDS: Final = 300

#: Libraries that compute with as many threads as there are cores unless one of these says how many.
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class _Worker:
    """One process; a new one takes its place when it dies.

    An executor of several processes gives all of them up when one dies, and with them the calls of the others.
    """

    def __init__(self, threads: int) -> None:
        self.threads, self.places = threads, tuple(sys.path)
        self._executor: Any = None

    def submit(self, call: bytes) -> "Future[Any]":
        """Begin a call."""
        from joblib.externals.loky import ProcessPoolExecutor

        if self._executor is None:
            limits = {name: os.environ.get(name, str(self.threads)) for name in _THREADS}
            self._executor = ProcessPoolExecutor(max_workers=1, timeout=_IDLE_SECONDS, env=limits)
        future: Future[Any] = self._executor.submit(run_packed, call)
        return future

    def end(self) -> None:
        """End the process and what it does."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None


#: Workers that wait for the next calls: to start one takes half a second, and TensorFlow in it several.
_idle: list[_Worker] = []


def run_local(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, jobs: int) -> Iterator[Any]:
    """Call ``function(*args)`` for each of ``calls`` in ``jobs`` processes; the contract is that of `Backend`."""
    waiting = [(args, 1) for args in calls][::-1]  # the next one last, with how often it will have been tried
    workers = _workers(min(jobs, len(waiting)))
    free = list(workers)
    running: dict[Future[Any], tuple[_Worker, tuple[Any, ...], int]] = {}
    try:
        while waiting or running:
            while waiting and free:
                (args, attempt), worker = waiting.pop(), free.pop()
                running[worker.submit(packed(function, args))] = worker, args, attempt
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, args, attempt = running.pop(future)
                free.append(worker)
                try:
                    result = future.result()
                except BrokenExecutor as error:
                    worker.end()
                    if attempt < ATTEMPTS:
                        waiting.append((args, attempt + 1))
                        continue
                    result = Lost(args, _death(error))
                yield result
    finally:
        for worker, _, _ in running.values():  # after an exception: nobody waits for what the others do
            worker.end()
        _idle.extend(workers)


@atexit.register
def _end_idle() -> None:
    """End the workers before the modules that they end with are gone."""
    while _idle:
        _idle.pop().end()


def _workers(count: int) -> list[_Worker]:
    """Waiting workers that find the modules that this process finds, and new ones."""
    import joblib

    threads = max(1, joblib.cpu_count() // max(count, 1))
    fitting = [worker for worker in _idle if (worker.threads, worker.places) == (threads, tuple(sys.path))][:count]
    for worker in [worker for worker in _idle if worker not in fitting]:
        worker.end()
    _idle.clear()
    return fitting + [_Worker(threads) for _ in range(count - len(fitting))]


def _death(error: BaseException) -> str:
    """What is known of how a process ended."""
    found = re.search(r"exit codes? of the workers? (?:is|are) \{([^}]*)\}", str(error))
    how = f" ({found[1]})" if found else ""
    return f"its process was ended by the system{how}, {ATTEMPTS} times: often memory was short"
