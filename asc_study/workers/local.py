"""Calls in processes of this machine, each of which can die without the others."""

import atexit
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from functools import lru_cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Final

from asc_study.workers.calls import Died, pack, pack_args, run_there, run_tried

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


class Process:
    """One process that runs calls; a new one takes its place when it dies.

    An executor of several processes gives all of them up when one dies, and with them the calls of the others.
    """

    def __init__(self, threads: int) -> None:
        self.threads, self.places = threads, tuple(sys.path)
        self._executor: Any = None

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Begin a call of a function of a module."""
        from joblib.externals.loky import ProcessPoolExecutor

        if self._executor is None:
            # A process that has grown by 300 MB is replaced, which is as it should be and nothing to be warned of.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            limits = {name: os.environ.get(name, str(self.threads)) for name in _THREADS}
            self._executor = ProcessPoolExecutor(max_workers=1, timeout=_IDLE_SECONDS, env=limits)
        resource_tracker.ensure_running()  # which would let the signal through again when a worker starts it
        # A worker begins with it held back: while it imports libraries, their traceback would be its answer.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            future: Future[Any] = self._executor.submit(function, *args)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return future

    def end(self, *, kill: bool = True) -> None:
        """End the process and what it does; unless it is to be killed, it ends what it does first, and tidies up."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=kill)
            self._executor = None


#: Workers that wait for the next calls: to start one takes half a second, and TensorFlow in it several.
_idle: list[Process] = []


def run_local(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, jobs: int) -> Iterator[Any]:
    """Call ``function(*args)`` for each of ``calls`` in ``jobs`` processes; the contract is that of `Backend`.

    What the function holds (`functools.partial`) is written once, to a file that all of them read: a clip table of
    hundreds of thousands of rows would else pass through a pipe with each call.
    """
    waiting = list(calls)
    workers = _workers(min(jobs, len(waiting)))
    with tempfile.TemporaryDirectory(prefix="asc-study-call-") as folder:
        file = Path(folder) / "function"
        file.write_bytes(pack(function))
        try:
            yield from run_tried(_Processes(file, workers), waiting, len(workers))
        finally:
            _idle.extend(workers)


class _Processes:
    """Workers that run calls of one function; see `asc_study.workers.calls.Place`."""

    def __init__(self, function: Path, workers: Sequence[Process]) -> None:
        self._function, self._free = function, list(workers)
        self._running: dict[Future[Any], Process] = {}

    def has_room(self) -> bool:
        return True

    def begin(self, args: tuple[Any, ...]) -> "Future[Any]":
        worker = self._free.pop()
        future = worker.submit(_run_of_file, self._function, pack_args(args))
        self._running[future] = worker
        return future

    def wait(self, running: "Sequence[Future[Any]]") -> "Iterable[Future[Any]]":
        return wait(running, return_when=FIRST_COMPLETED).done

    def result(self, call: "Future[Any]") -> Any:
        worker = self._running.pop(call)
        self._free.append(worker)
        try:
            return call.result()
        except BrokenExecutor as error:
            worker.end()
            raise Died(exit_code(error)) from None

    def drop(self, running: "Sequence[Future[Any]]") -> None:
        for call in running:  # after an exception: nobody waits for what the others do
            self._running[call].end()


def _run_of_file(function: Path, args: bytes) -> Any:
    """Run a call, which a Ctrl-C interrupts; a worker that waits for the next one is ended by who asks."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return run_there(lambda: _read(function), args)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@lru_cache(maxsize=4)
def _read(function: Path) -> Callable[..., Any]:
    import pickle

    called: Callable[..., Any] = pickle.loads(function.read_bytes())
    return called


@atexit.register
def _end_idle() -> None:
    """End the workers before the modules that they end with are gone."""
    while _idle:
        _idle.pop().end()


def _workers(count: int) -> list[Process]:
    """Waiting workers that find the modules that this process finds, and new ones."""
    import joblib

    threads = max(1, joblib.cpu_count() // max(count, 1))
    fitting = [worker for worker in _idle if (worker.threads, worker.places) == (threads, tuple(sys.path))][:count]
    for worker in [worker for worker in _idle if worker not in fitting]:
        worker.end()
    _idle.clear()
    return fitting + [Process(threads) for _ in range(count - len(fitting))]


def exit_code(error: BaseException) -> str:
    """What is known of how a process ended."""
    found = re.search(r"exit codes? of the workers? (?:is|are) \{([^}]*)\}", str(error))
    return found[1] if found else ""
