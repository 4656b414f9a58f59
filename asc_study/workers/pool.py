"""Parallel work: calls in, results out, whatever runs them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from asc_study.base.errors import InputError
from asc_study.workers.calls import Backend, Lost
from asc_study.workers.local import run_local


def require_jobs(jobs: int, what: str = "processes to use") -> None:
    """Raise `InputError` unless so many can work at once; ``what`` is what they are."""
    if jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {jobs}: give the number of {what}")


def run_parallel(
    function: Callable[..., Any],
    calls: Iterable[tuple[Any, ...]],
    *,
    jobs: int,
    lost: Callable[[Lost], Any] | None = None,
    backend: Backend = run_local,
) -> Iterator[Any]:
    """Call ``function(*args)`` for each of ``calls``, ``jobs`` at a time, and yield the results as they come.

    One job runs in this process, in order; more run in worker processes, in the order of completion, so a result has to
    say which call it belongs to. ``function`` and its arguments must be picklable; workers find modules where this
    process does. An exception of a call is raised here. A call whose process dies is tried once more, and the death
    hinders no other call.

    Parameters
    ----------
    function, calls, jobs
        What to call, how often, and how many at a time.
    lost
        Gives the result of a call whose process died each time; by default that is an error.
    backend
        What runs the calls; processes of this machine by default, of which one is this process. Another one runs even
        a single job elsewhere.

    Raises
    ------
    InputError
        If ``jobs`` is below 1, or a call is lost and ``lost`` is not given.
    """
    require_jobs(jobs)
    waiting = list(calls)
    if backend is run_local and min(jobs, len(waiting)) <= 1:
        for args in waiting:
            yield function(*args)
        return
    for result in backend(function, waiting, jobs=jobs):
        if isinstance(result, Lost):
            result = (lost or _refuse)(result)
        yield result


def _refuse(call: Lost) -> Any:
    raise InputError(f"work in other processes must end, got a call that did not, {call.reason}: use fewer --jobs")
