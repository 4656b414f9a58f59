"""Errors that are nobody's fault who trains: of the store, the network, the disk, the memory.

What fails by one of them is never marked as failed: it is tried for a while, and is then as if it had been cut off.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from asc_study.base.errors import InputError, failure_reason
from asc_study.store.addresses import StoreError, address_line

Given = ParamSpec("Given")
Result = TypeVar("Result")

#: How long a store that does not take something is asked again, in seconds, unless the environment says so.
PATIENCE_SECONDS: Final = 120.0
_PATIENCE: Final = "ASC_STUDY_PATIENCE"
_LONGEST_PAUSE_SECONDS: Final = 8.0

#: What a server says to whom it does not know (any more), or who asks too often: nothing is wrong with what was sent.
_REFUSED: Final = (401, 403, 429)
_TOO_OFTEN: Final = 429
_OF_THE_SERVER: Final = 500


def is_outer(error: BaseException | None) -> bool:
    """Whether an error comes from outside of what was computed: the store, the network, the disk, the memory."""
    if isinstance(error, OSError | MemoryError | sqlite3.Error | StoreError) or _is_sql(error):
        return True
    status = _status(error)
    if status is not None:
        return status >= _OF_THE_SERVER or status in _REFUSED
    return error is not None and is_outer(error.__cause__)


def patience_seconds() -> float:
    """How long a store that does not take something is asked again: ``ASC_STUDY_PATIENCE``, or two minutes.

    Raises
    ------
    InputError
        If the variable is no number of seconds.
    """
    told = os.environ.get(_PATIENCE) or str(PATIENCE_SECONDS)
    try:
        seconds = float(told)
    except ValueError:
        seconds = float("nan")
    if not 0 <= seconds < float("inf"):
        raise InputError(f"{_PATIENCE} must be a number of seconds from 0, got {told!r:.50}: change or unset it")
    return seconds


class Patience:
    """Tries again what a store does not take, for a while; told once, to standard error.

    Where it was in vain it does not wait again until something succeeds: the runs that follow would each lose as much.
    """

    def __init__(self) -> None:
        self._in_vain = False

    def __call__(self, uri: str, call: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        """The result of ``call``, which asks the store ``uri``; raises what it raised last."""
        began, pause, told, patience = time.monotonic(), 0.5, False, patience_seconds()
        while True:
            try:
                result = call(*given, **named)
            except Exception as error:
                left = 0.0 if self._in_vain else patience - (time.monotonic() - began)
                if not _may_pass(error) or left <= 0:
                    self._in_vain = self._in_vain or _may_pass(error)
                    raise
                if not told:
                    said = f"note: {{address}} does not answer ({{reason}}): trying again for {patience:.0f} s"
                    print(address_line(uri, said, failure_reason(error)), file=sys.stderr, flush=True)
                    told = True
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                self._in_vain = False
                return result


#: The one of this process.
patiently: Final = Patience()


def _may_pass(error: BaseException | None) -> bool:
    """Whether it can help to wait: a folder that cannot be written or a full disk waits for a person."""
    if isinstance(error, OSError):
        return error.errno is None or isinstance(error, ConnectionError | TimeoutError)
    if isinstance(error, sqlite3.Error | StoreError) or _is_sql(error):
        return True
    status = _status(error)
    if status is not None:
        return status >= _OF_THE_SERVER or status == _TOO_OFTEN
    return error is not None and _may_pass(error.__cause__)


def said_by_mlflow(error: BaseException | None) -> bool:
    """Whether an error is one of MLflow's own; asks without importing it."""
    mlflow = sys.modules.get("mlflow.exceptions")
    return bool(mlflow and isinstance(error, mlflow.MlflowException))


def _status(error: Any) -> int | None:
    """The HTTP status of an error of MLflow, which has one without a server too; None of another error."""
    return int(error.get_http_status_code()) if said_by_mlflow(error) else None


def _is_sql(error: Any) -> bool:
    sqlalchemy = sys.modules.get("sqlalchemy.exc")
    return bool(sqlalchemy and isinstance(error, sqlalchemy.SQLAlchemyError))
