"""Calls as tasks of a Dask cluster, one at a time in each of its worker processes."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from typing import Any, Final

from asc_study.base.errors import InputError
from asc_study.workers.backends import WorkerBackend, WorkerOptions
from asc_study.workers.calls import Backend, Died, pack, pack_args, run_packed, run_tried
from asc_study.workers.local import Process, exit_code

#: How long a scheduler has to answer.
_PATIENCE: Final = "10s"

#: How long until a worker that died is missed.
_LOOK_SECONDS: Final = 0.5


@contextmanager
def _open(options: WorkerOptions) -> Iterator[Backend]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError("--backend dask needs Dask, which is not installed: pip install 'asc-study[dask]'") from None
    with ExitStack() as opened:
        address: Any = options.address
        if not address:
            # Of processes that are ended with the cluster: their semaphores go with them.
            os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
            cluster = LocalCluster(
                n_workers=options.jobs,
                threads_per_worker=1,
                dashboard_address=None,
                resources=_resources(options),
                silence_logs=logging.CRITICAL,
            )
            address = opened.enter_context(cluster)
        try:
            client = opened.enter_context(Client(address, timeout=_PATIENCE, set_as_default=False))
        except (OSError, ValueError, TimeoutError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"there is no Dask scheduler at {options.address!r} ({reason:.200}): start one with `dask scheduler`, "
                "or leave --address out"
            ) from None
        _require_workers(client)

        def run(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, jobs: int) -> Iterator[Any]:
            return run_tried(_Tasks(client, function, options), calls, jobs)

        try:
            yield run
        finally:
            with suppress(Exception):  # Dask's own of many kinds: the cluster may be gone
                client.run(_end_children)


def _resources(options: WorkerOptions) -> dict[str, float] | None:
    """What a call takes of what workers say that they have (``dask worker --resources "GPU=1"``)."""
    wanted = {"CPU": float(options.cpus_per_run) if options.cpus_per_run != 1 else 0.0, "GPU": options.gpus_per_run}
    return {name: amount for name, amount in wanted.items() if amount} or None


def _require_workers(client: Any) -> None:
    """Raise `InputError` if a worker would run several calls in one process: a training has its threads for itself."""
    threads = {int(worker["nthreads"]) for worker in _workers(client).values()}
    if threads - {1}:
        raise InputError(
            f"workers of Dask must run one call at a time, got some with {max(threads)} threads: start them with "
            "`dask worker --nthreads 1`"
        )


class _Tasks:
    """Dask tasks that call one function; see `asc_study.workers.calls.Place`.

    Each is sent to a worker that has none: Dask's own scheduler hands out tasks in advance, and counts a death against
    all that wait at a worker.
    """

    def __init__(self, client: Any, function: Callable[..., Any], options: WorkerOptions) -> None:
        self._client, self._function, self._resources = client, pack(function), _resources(options)
        self._at: dict[Any, str] = {}

    def has_room(self) -> bool:
        return bool(self._free())

    def begin(self, args: tuple[Any, ...]) -> Any:
        worker = self._free()[0]
        call = self._client.submit(
            _run_in_child,
            self._function,
            pack_args(args),
            pure=False,  # equal calls are different ones
            resources=self._resources,
            workers=[worker],
            retries=0,
        )
        self._at[call] = worker
        return call

    def wait(self, running: Sequence[Any]) -> Iterable[Any]:
        from distributed import wait

        if not running:
            time.sleep(_LOOK_SECONDS)
            return []
        with self._client.as_current(), suppress(TimeoutError):
            return list(wait(list(running), timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED").done)
        alive = _workers(self._client)
        return [call for call in running if self._at[call] not in alive]

    def result(self, call: Any) -> Any:
        from distributed.scheduler import KilledWorker

        worker = self._at.pop(call)
        if not call.done():
            call.cancel()
            raise Died(f"worker {worker}")
        try:
            return call.result()
        except KilledWorker:
            raise Died(f"worker {worker}") from None

    def drop(self, running: Sequence[Any]) -> None:
        """Calls that wait are given up; Dask cannot interrupt one that runs, which goes on to its end."""
        for call in running:
            call.cancel()

    def _free(self) -> list[str]:
        busy, wanted = set(self._at.values()), self._resources or {}
        return [
            address
            for address, worker in sorted(_workers(self._client).items())
            if address not in busy and all(worker["resources"].get(name, 0) >= n for name, n in wanted.items())
        ]


def _workers(client: Any) -> dict[str, Any]:
    """Address -> what the scheduler tells of each worker now.

    Not `Client.scheduler_info`: what the client asks for its own ends, which is of no workers, may take the place of
    the answer before it is returned, and all would seem to be dead.
    """
    return dict(client.sync(client.scheduler.identity, n_workers=-1)["workers"])


#: The process that a Dask worker runs its calls in.
_children: list[Process] = []


def _run_in_child(function: bytes, args: bytes) -> Any:
    """Run a call in a process of its own, in a worker.

    A worker runs tasks in a thread beside its own, which draw from the same global random numbers as layers do their
    seeds, and a call that takes too much memory would take the worker with it.
    """
    if not _children:
        multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # else it may have none
        _children.append(Process(threads=1))
    child = _children[0]
    try:
        return child.submit(_run_as_child, function, args).result()
    except BrokenExecutor as error:
        child.end()
        raise Died(exit_code(error)) from None


def _end_children() -> None:
    while _children:
        _children.pop().end()


def _run_as_child(function: bytes, args: bytes) -> Any:
    _end_with_parent()
    return run_packed(function, args)


@lru_cache
def _end_with_parent() -> None:
    """End this process when the worker that it belongs to is gone: nobody would take its result."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


DASK: Final = WorkerBackend(_open)
