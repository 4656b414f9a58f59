"""Loops over arrays as machine code."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., Any])


@lru_cache
def compiled(loop: Loop) -> Loop:
    """Compile a loop over arrays to machine code, at its first call; it runs without the interpreter's lock.

    The code is kept beside the source file, else in the user's cache folder; where neither can be written, every
    process compiles its own.
    """
    import numba  # takes a second

    try:
        return cast(Loop, numba.njit(nogil=True, cache=True)(loop))
    except RuntimeError:  # numba found no folder that it may write
        return cast(Loop, numba.njit(nogil=True)(loop))
