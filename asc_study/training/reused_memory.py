"""Memory of batches that is used again when nobody holds the batch any more.

A fresh array of twenty megabytes is given by the system a page at a time, each cleared first, which takes as long as
filling it, and makes the threads of a process wait for each other.
"""

import math
from collections import deque

import numpy as np
import numpy.typing as npt


class _Lent:
    """What an array stands on: when the array and all views of it are gone, so is this, and its memory is free."""

    def __init__(self, memory: npt.NDArray[np.float32], free: "deque[npt.NDArray[np.float32]]") -> None:
        self._memory, self._free = memory, free

    @property
    def __array_interface__(self) -> dict[str, object]:
        return self._memory.__array_interface__

    def __del__(self) -> None:
        self._free.append(self._memory)


class ReusedMemory:
    """Float32 arrays whose memory returns here when the last reference to it, a tensor's too, is gone.

    It keeps as much memory as was in use at once. Threads may share it.
    """

    def __init__(self) -> None:
        self._free: deque[npt.NDArray[np.float32]] = deque()

    def take(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """An array of that shape, of any values."""
        size = math.prod(shape)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(size, np.float32)
        if memory.size != size:
            memory = np.empty(size, np.float32)
        return np.asarray(_Lent(memory, self._free)).reshape(shape)
