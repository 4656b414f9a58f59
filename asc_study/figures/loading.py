"""How pages get plotly.js: within them, or from its network. Light: imports no plotly."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_LOADING: Final[ContextVar[str]] = ContextVar("plotlyjs", default="inline")


@contextmanager
def pages_load_plotlyjs(how: str) -> Iterator[None]:
    """Make pages ``inline`` (self-contained, about 2 MB) or ``cdn`` (small) while the block runs.

    A study says how (``figures``); its ensembles and systems are made by code that does not know of studies.
    """
    token = _LOADING.set(how)
    try:
        yield
    finally:
        _LOADING.reset(token)


def plotlyjs() -> str:
    """``inline`` or ``cdn``."""
    return _LOADING.get()
