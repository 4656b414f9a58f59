"""Addresses of the tracking store and of other databases: which is in use, whether it answers, how it is shown."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from asc_study.errors import InputError

SQLITE: Final = "sqlite:///"


def tracking_uri() -> str:
    """The store in use: ``MLFLOW_TRACKING_URI``, or a SQLite file in the working directory."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    # One store has one name, wherever it is opened from: runs are claimed by it.
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


def masked(url: str) -> str:
    """The URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return url


def require_sqlite(database: Path) -> None:
    """Create or look into the file, so that a path that cannot work is found at once; MLflow retries for long."""
    uri = f"{SQLITE}{database}"
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:  # several processes read and write: set once, kept in the file
                connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise cannot_open(uri, error) from None
    if tables and "alembic_version" not in tables:
        raise cannot_open(uri, ValueError("it is a database of something else"))


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
        f"the tracking store {_shown(uri)} cannot be opened: {_reason(uri, error)}: check MLFLOW_TRACKING_URI"
    )


def cannot_write(uri: str, error: Exception) -> InputError:
    """One line for whatever a store that can be read says when it is written."""
    return InputError(
        f"the tracking store {_shown(uri)} cannot be written: {_reason(uri, error)}: mend that and try again"
    )


def _shown(uri: str) -> str:
    return uri if uri.startswith(SQLITE) else masked(uri)


def _reason(uri: str, error: Exception) -> str:
    said = " ".join(str(error).replace(uri, _shown(uri)).split()).partition(" (Background on")[0]
    return said[:300] or type(error).__name__
