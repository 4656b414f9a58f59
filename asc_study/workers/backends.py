"""Where trainings run: processes of this machine, or a cluster of Ray or Dask."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from asc_study.base.errors import InputError
from asc_study.base.plugins import Parts
from asc_study.workers.calls import Backend
from asc_study.workers.local import run_local


@dataclass(frozen=True)
class WorkerOptions:
    """What of a back end people choose.

    Attributes
    ----------
    jobs
        Calls at the same time.
    address
        Of a cluster that runs; empty: one is started on this machine.
    cpus_per_run, gpus_per_run
        What a call takes; a share of a GPU is allowed.
    """

    jobs: int = 1
    address: str = ""
    cpus_per_run: int = 1
    gpus_per_run: float = 0.0


@dataclass(frozen=True)
class WorkerBackend:
    """A way to reach other processes.

    Attributes
    ----------
    open
        Gives a `Backend` within a ``with`` block; raises `InputError` if there is no such cluster.
    is_elsewhere
        Whether the processes are no children of the one that asks, and may be on other machines.
    """

    open: Callable[[WorkerOptions], AbstractContextManager[Backend]]
    is_elsewhere: bool = True


@contextmanager
def _here(options: WorkerOptions) -> Iterator[Backend]:
    if options.address or options.gpus_per_run or options.cpus_per_run != 1:
        raise InputError(
            "--address, --cpus-per-run and --gpus-per-run are for --backend ray or dask, got one of them with local: "
            "name the back end, or leave them out"
        )
    yield run_local


@dataclass(frozen=True)
class Workers:
    """An open back end: what runs calls, and whether its processes are no children of this one."""

    backend: Backend = run_local
    are_elsewhere: bool = False


#: Processes of this machine.
HERE: Final = Workers()

LOCAL: Final = WorkerBackend(_here, is_elsewhere=False)

_BUILTIN: Final[Mapping[str, str]] = {
    "local": "asc_study.workers.backends:LOCAL",
    "ray": "asc_study.workers.ray_backend:RAY",
    "dask": "asc_study.workers.dask_backend:DASK",
}

#: Name -> `WorkerBackend`; installed packages announce theirs in the entry-point group ``asc_study.worker_backends``.
WORKER_BACKENDS: Final[Parts[WorkerBackend]] = Parts("worker_backend", WorkerBackend, _BUILTIN)


@contextmanager
def open_workers(name: str, options: WorkerOptions) -> Iterator[Workers]:
    """Open a back end by its name, for as long as the block runs.

    Raises
    ------
    InputError
        If there is none of this name, the options do not fit it, or its cluster does not answer.
    """
    chosen = WORKER_BACKENDS.find(name)
    with chosen.open(options) as backend:
        yield Workers(backend, chosen.is_elsewhere)
