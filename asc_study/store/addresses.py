"""Addresses of the tracking store and of other databases: which is in use, whether it answers, how it is shown."""

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from asc_study.base.errors import InputError

SQLITE: Final = "sqlite:///"

_MLFLOW_TABLES: Final = frozenset({"alembic_version"})


def tracking_uri() -> str:
    """The store in use: ``MLFLOW_TRACKING_URI``, or a SQLite file in the working directory."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    # One store has one name, wherever it is opened from: runs are claimed by it.
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


def masked(url: str) -> str:
    """The URL without its password, whether or not it can be parsed."""
    shown = re.sub(r"(://[^:/@?]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&][^=&]*(?:passw|token|secret)[^=&]*=)[^&]*", r"\1***", shown)


def require_sqlite(database: Path, own_tables: frozenset[str] = _MLFLOW_TABLES, *, writes: bool = False) -> None:
    """Create or look into the file, so that a path that cannot work is found at once; MLflow retries for long.

    Raises
    ------
    OSError
        If it cannot be opened (with ``writes``, written), or holds tables but none of its owner's.
    """
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:  # several processes read and write: set once, kept in the file
                connection.execute("PRAGMA journal_mode=WAL")
            elif writes:
                connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise OSError(str(error)) from None
    if tables and tables.isdisjoint(own_tables):  # not all need be there: another process may be creating them
        raise OSError("it is a database of something else")


def require_server(uri: str) -> None:
    """Ask a tracking server for an answer; MLflow itself would try again for minutes."""
    import requests

    try:
        requests.get(uri, timeout=20)
    except (requests.RequestException, ValueError) as error:
        raise cannot_open(uri, error) from None


def require_database(uri: str) -> None:
    """Connect once; MLflow itself would try again for minutes."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(uri, connect_args={"connect_timeout": 10} if uri.startswith("postgresql") else {})
        engine.connect().close()
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:  # ImportError: the driver is not installed
        raise cannot_open(uri, error) from None


def cannot_open(uri: str, error: Exception) -> InputError:
    """One line for whatever made a store unusable."""
    return InputError(
        f"the tracking store {_shown(uri)} cannot be opened: {reason_of(uri, error)}: check MLFLOW_TRACKING_URI"
    )


def cannot_write(uri: str, error: Exception) -> InputError:
    """One line for whatever a store that can be read says when it is written."""
    return InputError(
        f"the tracking store {_shown(uri)} cannot be written: {reason_of(uri, error)}: mend that and try again"
    )


def _shown(uri: str) -> str:
    return uri if uri.startswith(SQLITE) else masked(uri)


def reason_of(uri: str, error: BaseException) -> str:
    """What a database or server says, in one line and without the password of its address."""
    said = " ".join(str(error).replace(uri, _shown(uri)).split()).partition(" (Background on")[0]
    return said[:300] or type(error).__name__
