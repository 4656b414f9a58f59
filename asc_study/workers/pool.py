"""Parallel work: one function over ``joblib.Parallel``; no scheduler of our own."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from asc_study.base.errors import InputError


def require_jobs(jobs: int, what: str = "processes to use") -> None:
    """Raise `InputError` unless so many can work at once; ``what`` is what they are."""
    if jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {jobs}: give the number of {what}")


def run_parallel(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, jobs: int) -> Iterator[Any]:
    """Call ``function(*args)`` for each of ``calls`` in ``jobs`` processes and yield the results as they come.

    One job runs in this process, in order; more run in worker processes (loky), in the order of completion, so a
    result has to say which call it belongs to. ``function`` and its arguments must be picklable; workers find modules
    where this process does. An exception of a call is raised here.

    Raises
    ------
    InputError
        If ``jobs`` is below 1.
    """
    require_jobs(jobs)
    from joblib import Parallel, delayed

    waiting = list(calls)
    parallel = Parallel(
        n_jobs=max(1, min(jobs, len(waiting))),
        backend="loky",
        return_as="generator_unordered",
        pre_dispatch="all",
        batch_size=1,
        # Workers are kept for the next calls, but not if those look for modules in other places.
        initializer=_find_modules_in,
        initargs=(tuple(sys.path),),
    )
    yield from parallel(delayed(function)(*args) for args in waiting)


def _find_modules_in(places: tuple[str, ...]) -> None:
    sys.path[:] = places
