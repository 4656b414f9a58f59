"""What comes from outside of a training, and how long a store that does not answer is asked again."""

import errno
import sqlite3

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE
from sqlalchemy.exc import SQLAlchemyError

from asc_study.base.errors import InputError, TrainingFailure
from asc_study.base.files import cannot_write
from asc_study.store import failures
from asc_study.store.addresses import StoreError
from asc_study.store.failures import Patience, is_outer


def caused_by(error: Exception) -> InputError:
    try:
        raise cannot_write("c.npz", error) from error
    except InputError as raised:
        return raised


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "outer"),
    [
        (FULL, True),
        (caused_by(FULL), True),
        (MemoryError(), True),
        (requests.ConnectionError("refused"), True),
        (sqlite3.OperationalError("database is locked"), True),
        (SQLAlchemyError("gone"), True),
        (StoreError("the store cannot be opened"), True),
        (MlflowException("locked", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("who are you", PERMISSION_DENIED), True),
        (MlflowException("no such metric", INVALID_PARAMETER_VALUE), False),
        (TrainingFailure("the loss became nan"), False),
        (InputError("a misspelt key"), False),
        (ZeroDivisionError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_the_trainings_fault(error: Exception, outer: bool) -> None:
    assert is_outer(error) == outer


class Store:
    """Fails so many times."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error, self.asked = times, error, 0

    def __call__(self, value: int) -> int:
        self.asked += 1
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return value


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes by waiting alone."""
    now = [0.0]
    monkeypatch.setattr(failures.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(failures.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_a_store_is_asked_again_until_it_answers(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    store = Store(4, requests.ConnectionError("refused by me:secret@host"))
    assert Patience()("http://me:secret@host", store, 7) == 7
    assert clock == [0.5 + 1 + 2 + 4]
    said = capsys.readouterr().err
    assert said == (
        "note: http://***@host does not answer (ConnectionError: refused by ***@host): trying again for 120 s\n"
    )


def test_patience_that_was_in_vain_is_not_tried_again_until_something_succeeds(clock: list[float]) -> None:
    patience, gone = Patience(), sqlite3.OperationalError("database is locked")
    with pytest.raises(sqlite3.OperationalError):
        patience("sqlite:///x", Store(1000, gone), 7)
    assert clock == [failures.PATIENCE_SECONDS]
    with pytest.raises(sqlite3.OperationalError):
        patience("sqlite:///x", Store(1000, gone), 7)
    assert clock == [failures.PATIENCE_SECONDS]
    assert patience("sqlite:///x", Store(0, gone), 7) == 7
    assert patience("sqlite:///x", Store(1, gone), 7) == 7
    assert clock == [failures.PATIENCE_SECONDS + 0.5]


@pytest.mark.parametrize("error", [FULL, PermissionError(errno.EACCES, "denied"), caused_by(FULL), ZeroDivisionError()])
def test_what_waits_for_a_person_is_not_waited_for(error: Exception, clock: list[float]) -> None:
    store = Store(1, error)
    with pytest.raises(type(error)):
        Patience()("sqlite:///x", store, 7)
    assert (store.asked, clock) == (1, [0.0])
