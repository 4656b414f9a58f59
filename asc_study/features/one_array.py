"""The features of many clips, wherever they lie in memory, as one array for loops in machine code."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class _Spanned:
    """What the one array stands on: it keeps the arrays whose memory it reads."""

    def __init__(self, arrays: Sequence[npt.NDArray[Any]], start: int, count: int) -> None:
        self._arrays = arrays
        self.__array_interface__ = {
            "version": 3,
            "data": (start, True),
            "shape": (count,),
            "typestr": arrays[0].dtype.str,
        }


class OneArray:
    """Arrays of one type as one.

    A loop that is handed an array a clip is called once a clip, under the interpreter's lock; one that is handed where
    each clip begins makes a whole batch.

    Attributes
    ----------
    values
        From the first value of the array that lies lowest in memory to the last one of that which lies highest,
        read-only. Between the arrays there is memory of others: only what belongs to the arrays may be read.
    starts
        Where each array begins in ``values``.
    """

    def __init__(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        whole = [np.ascontiguousarray(array) for array in arrays]
        addresses = np.array([array.ctypes.data for array in whole], np.int64)
        lowest, size = int(addresses.min()), whole[0].dtype.itemsize
        if np.any((addresses - lowest) % size):  # by who made the memory; no file and no allocation is like that
            whole = [array.copy() for array in whole]
            addresses = np.array([array.ctypes.data for array in whole], np.int64)
            lowest = int(addresses.min())
        end = max(int(address) + array.nbytes for address, array in zip(addresses, whole, strict=True))
        self.values: npt.NDArray[Any] = np.asarray(_Spanned(whole, lowest, (end - lowest) // size))
        self.starts: npt.NDArray[np.int64] = (addresses - lowest) // size
