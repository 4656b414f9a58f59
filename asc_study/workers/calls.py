"""What every back end is given and gives: calls as bytes that any process can run, and what became of a lost one."""

import os
import sys
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

#: A call whose process dies is tried so often in all.
ATTEMPTS: Final = 2

#: Variables of the environment that computation depends on: a worker has those of the process that asks.
_VARIABLES: Final = ("KERAS_BACKEND", "ASC_STUDY_")

#: Those of them that name folders: a worker of another machine may have its own.
_OWN_FIRST: Final = ("ASC_STUDY_CACHE", "ASC_STUDY_STATE")

#: What a worker had before its first call.
_OWN_PLACES: Final = tuple(sys.path)
_OWN_VARIABLES: Final = {name: os.environ[name] for name in _OWN_FIRST if name in os.environ}


@dataclass(frozen=True)
class Lost:
    """A call that ended without a result, because its process died each time it was tried.

    Attributes
    ----------
    args
        Of the call.
    reason
        What is known of the death, without a full stop.
    """

    args: tuple[Any, ...]
    reason: str


class Backend(Protocol):
    """What runs calls in other processes; see `asc_study.testing.check_worker_backend`."""

    def __call__(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, jobs: int) -> Iterator[Any]:
        """Yield what each call gives as it comes, `Lost` where nothing came; an exception of a call is raised here."""


class Died(Exception):
    """The process of a call died; the text is what is known of how."""


class Place(Protocol):
    """Where calls run, for `run_tried`."""

    def has_room(self) -> bool:
        """Whether one more call can begin now."""

    def begin(self, args: tuple[Any, ...]) -> Hashable:
        """Begin a call; what is returned names it."""

    def wait(self, running: Sequence[Any]) -> Iterable[Any]:
        """Wait until one of the calls that run is over, or there may be room again; returns those that are over."""

    def result(self, call: Any) -> Any:
        """What a call gave; raises what it raised, `Died` if its process did not live to its end."""

    def drop(self, running: Sequence[Any]) -> None:
        """Nobody waits any more for what these calls give."""


def run_tried(place: Place, calls: Iterable[tuple[Any, ...]], jobs: int) -> Iterator[Any]:
    """Run calls, ``jobs`` at a time, and those again whose process dies; the contract is that of `Backend`.

    The next call is asked for when there is room for it.
    """
    coming, again = iter(calls), deque[tuple[tuple[Any, ...], int]]()
    running: dict[Any, tuple[tuple[Any, ...], int]] = {}
    are_all_begun = False
    try:
        while True:
            while len(running) < jobs and place.has_room():
                args, attempt = again.popleft() if again else (next(coming, None), 1)
                if args is None:
                    are_all_begun = True
                    break
                running[place.begin(args)] = args, attempt
            if are_all_begun and not running and not again:
                return
            for done in place.wait(list(running)):
                args, attempt = running.pop(done)
                try:
                    result = place.result(done)
                except Died as death:
                    if attempt < ATTEMPTS:
                        again.append((args, attempt + 1))
                        continue
                    how = f" ({death})" if str(death) else ""
                    reason = f"its process was ended by the system{how}, {ATTEMPTS} times: often memory was short"
                    result = Lost(args, reason)
                yield result
    finally:
        place.drop(list(running))


def pack(function: Callable[..., Any]) -> bytes:
    """A function as bytes for `run_packed`; raises what pickle raises if it cannot be sent."""
    import cloudpickle  # functions of the main script too, which plain pickle only names

    packed: bytes = cloudpickle.dumps(function)
    return packed


def pack_args(args: tuple[Any, ...]) -> bytes:
    """Arguments of a call as bytes for `run_packed`, with where its modules and files are."""
    import cloudpickle

    environment = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    inner: bytes = cloudpickle.dumps(args)
    packed: bytes = cloudpickle.dumps((tuple(sys.path), os.getcwd(), environment, inner))
    return packed


def run_packed(function: bytes, args: bytes) -> Any:
    """Run a call in a worker, which finds modules and files where the process that asks does."""
    return run_there(lambda: _unpacked(function), args)


def run_there(function: Callable[[], Callable[..., Any]], args: bytes) -> Any:
    """Run a call in a worker; ``function`` gives what is called, once modules are found."""
    import pickle

    places, folder, environment, inner = pickle.loads(args)
    # On another machine the packages may lie elsewhere: what is not there is left out, its own are searched last.
    found = [place for place in places if not place or os.path.exists(place)]
    sys.path[:] = [*found, *(place for place in _OWN_PLACES if place not in found)]
    os.environ.update({**environment, **_OWN_VARIABLES})
    if os.path.isdir(folder):
        os.chdir(folder)
    return function()(*pickle.loads(inner))


@lru_cache(maxsize=4)
def _unpacked(function: bytes) -> Callable[..., Any]:
    import pickle

    called: Callable[..., Any] = pickle.loads(function)
    return called
