"""What was made once is kept; who asks for what is being made waits for that, and for nothing else."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Kept(Generic[KeyT, ValueT]):
    """Values by key, made by the first thread that asks; the latest used are kept.

    Parameters
    ----------
    most
        What those that are kept may measure together; the one used last is kept whatever it measures.
    size
        What a value measures; by default 1.
    """

    def __init__(self, most: int, size: Callable[[ValueT], int] = lambda _: 1) -> None:
        self.most, self._size_of, self._size = most, size, 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[KeyT, Future[ValueT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: KeyT, make: Callable[[], ValueT]) -> ValueT:
        """The value of a key, which says all that it depends on; where there is none, what ``make`` gives.

        ``make`` must not ask for the same key. What it raises is raised to all that waited for it, and not kept.
        """
        with self._lock:
            entry = self._entries.get(key)
            known = entry is not None
            if entry is None:
                entry = self._entries[key] = Future()
            self._entries.move_to_end(key)
        if known:
            return entry.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._entries[key]
            entry.set_exception(error)
            raise
        with self._lock:
            self._size += self._size_of(value)
            entry.set_result(value)
            self._shrink(entry)
        return value

    def _shrink(self, newest: "Future[ValueT]") -> None:
        """Forget what was used longest ago; what is being made is not counted yet, and stays."""
        for key, entry in list(self._entries.items()):
            if self._size <= self.most:
                return
            if entry.done() and entry is not newest:
                self._size -= self._size_of(entry.result())
                del self._entries[key]
