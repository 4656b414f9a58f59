"""Calls as tasks of a Ray cluster, whose worker and node deaths cost their own calls alone."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from asc_study.base.errors import InputError
from asc_study.workers.backends import WorkerBackend, WorkerOptions
from asc_study.workers.calls import Backend, Died, pack, pack_args, run_packed, run_tried

#: How long a cluster has to answer.
_PATIENCE_SECONDS: Final = 10.0

#: How long calls that were given up have to end by themselves.
_GRACE_SECONDS: Final = 10.0


@contextmanager
def _open(options: WorkerOptions) -> Iterator[Backend]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # calls without a GPU keep what they see
    try:
        import ray
    except ImportError:
        raise InputError("--backend ray needs Ray, which is not installed: pip install 'asc-study[ray]'") from None
    cpus = None if options.address else max(options.jobs * options.cpus_per_run, 1)
    gpus = None if options.address else _whole(options.jobs * options.gpus_per_run)
    _require_answer(options.address)
    try:
        ray.init(
            address=options.address or "local",
            num_cpus=cpus,
            num_gpus=gpus,
            include_dashboard=None if options.address else False,
            log_to_driver=False,  # every library's notices of every worker
            logging_level="ERROR",
        )
    except Exception as error:  # Ray's own of many kinds
        reason = " ".join(str(error).split())
        raise InputError(
            f"there is no Ray cluster at {options.address or 'this machine'!r} ({reason:.200}): start one with `ray "
            "start --head`, or leave --address out"
        ) from None
    try:
        _require_room(options)

        def run(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, jobs: int) -> Iterator[Any]:
            return run_tried(_Tasks(function, options), calls, jobs)

        yield run
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raise `InputError` if nobody listens at ``HOST:PORT``: Ray would try for more than a minute."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isascii() and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"there is no Ray cluster at {address!r} ({error}): start one with `ray start --head` or leave it out"
        ) from None


def _whole(share: float) -> int | None:
    return int(-(-share // 1)) if share else None


def _require_room(options: WorkerOptions) -> None:
    """Raise `InputError` if no machine can ever run a call: Ray would wait for one without a word."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(
        node.get("CPU", 0) >= options.cpus_per_run and node.get("GPU", 0) >= options.gpus_per_run for node in nodes
    ):
        most = (
            max((node.get("CPU", 0) for node in nodes), default=0),
            max((node.get("GPU", 0) for node in nodes), default=0),
        )
        raise InputError(
            f"a machine of the Ray cluster must have {options.cpus_per_run} CPUs and {options.gpus_per_run:g} GPUs for "
            f"a run, got at most {most[0]:g} and {most[1]:g}: lower --cpus-per-run or --gpus-per-run"
        )


class _Tasks:
    """Ray tasks that call one function; see `asc_study.workers.calls.Place`."""

    def __init__(self, function: Callable[..., Any], options: WorkerOptions) -> None:
        import ray

        self._function = ray.put(pack(function))
        # Ray would try lost tasks again by itself: how often is one rule for all back ends.
        self._task = ray.remote(num_cpus=options.cpus_per_run, num_gpus=options.gpus_per_run, max_retries=0)(run_packed)

    def has_room(self) -> bool:
        return True

    def begin(self, args: tuple[Any, ...]) -> Any:
        return self._task.remote(self._function, pack_args(args))

    def wait(self, running: Sequence[Any]) -> Iterable[Any]:
        import ray

        return list(ray.wait(list(running), num_returns=1)[0])

    def result(self, call: Any) -> Any:
        import ray

        try:
            return ray.get(call)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, Exception) else error) from None
        except ray.exceptions.RayError as error:  # of the worker, the node or its memory
            raise Died(type(error).__name__) from None

    def drop(self, running: Sequence[Any]) -> None:
        """Interrupt the calls, as Ctrl-C does one here: a run is left as one that goes on later."""
        import ray

        for call in running:
            ray.cancel(call)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=_GRACE_SECONDS)


RAY: Final = WorkerBackend(_open)
