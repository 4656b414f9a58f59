"""What every back end is given and gives: calls as bytes that any process can run, and what became of a lost one."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

#: A call whose process dies is tried so often in all.
ATTEMPTS: Final = 2

#: Variables of the environment that computation depends on: a worker has those of the process that asks.
_VARIABLES: Final = ("KERAS_BACKEND", "ASC_STUDY_")


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


def packed(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """A call as bytes for `run_packed`; raises what pickle raises if it cannot be sent."""
    import cloudpickle  # functions of the main script too, which plain pickle only names

    environment = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    call: bytes = cloudpickle.dumps((function, args))
    whole: bytes = cloudpickle.dumps((tuple(sys.path), environment, call))
    return whole


def run_packed(whole: bytes) -> Any:
    """Run a call in a worker, which finds modules where the process that asks does."""
    import pickle

    places, environment, call = pickle.loads(whole)
    sys.path[:] = places
    os.environ.update(environment)
    function, args = pickle.loads(call)
    return function(*args)
