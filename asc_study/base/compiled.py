"""Loops over arrays as machine code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., Any])


_ARE_LEFT_OUT: Final = ContextVar("_ARE_LEFT_OUT", default=False)


@contextmanager
def loops_left_out() -> Iterator[None]:
    """Within it compiled loops do nothing: for who wants to know the shapes of arrays that they would fill.

    A loop writes into arrays that it is given, so their shapes are the same; to import numba takes a second.
    """
    before = _ARE_LEFT_OUT.set(True)
    try:
        yield
    finally:
        _ARE_LEFT_OUT.reset(before)


def compiled(loop: Loop) -> Loop:
    """Compile a loop over arrays to machine code, at its first call; it runs without the interpreter's lock.

    The code is kept beside the source file, else in the user's cache folder; where neither can be written, every
    process compiles its own.
    """
    return cast(Loop, _nothing) if _ARE_LEFT_OUT.get() else _compiled(loop)


def _nothing(*_: Any) -> None:
    """What stands for a loop that is left out."""


@lru_cache
def _compiled(loop: Loop) -> Loop:
    import numba  # takes a second

    try:
        return cast(Loop, numba.njit(nogil=True, cache=True)(loop))
    except RuntimeError:  # numba found no folder that it may write
        return cast(Loop, numba.njit(nogil=True)(loop))
