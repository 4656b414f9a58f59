"""Opening a tracking store: found out at once whether it can work, made whole before it has its name."""

import logging
import os
import shutil
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asc_study.base.errors import InputError
from asc_study.base.locks import file_lock
from asc_study.store.addresses import (
    SQLITE,
    address_line,
    cannot_open,
    require_database,
    require_plain_path,
    require_server,
    require_sqlite,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


def prepare_mlflow() -> None:
    """Set what MLflow reads of the environment when it is imported, wherever that happens first."""
    os.environ.pop("MLFLOW_RUN_ID", None)  # `mlflow run` hands its own run to the child, which has runs of its own
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for results
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # MLflow would ask a server that is gone for minutes without a word: who waits here says so.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


def open_client(uri: str) -> "MlflowClient":
    """An MLflow client of a store that answers; a SQLite file that is not there yet is created.

    Raises
    ------
    InputError
        If the store cannot be opened.
    """
    prepare_mlflow()
    require_plain_path(uri)
    database = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None
    if uri.startswith(("http://", "https://")):
        require_server(uri)
    elif uri.startswith(("postgresql", "mysql", "mssql")):
        require_database(uri)
    import mlflow

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    for told_here in ("mlflow.store.db.utils", "mlflow.utils.databricks_utils"):  # in one line; they print more
        logging.getLogger(told_here).disabled = True
    try:
        with file_lock(f"tracking-store {uri}"):  # one process creates a store or changes its form
            client = _open_file(database) if database else _answering(uri)
        mlflow.set_tracking_uri(uri)
    except InputError:
        raise
    except Exception as error:  # a missing driver, a bad address, a damaged file: every store has errors of its own
        raise cannot_open(uri, error) from None
    return client


def _answering(uri: str) -> "MlflowClient":
    import mlflow

    client = mlflow.MlflowClient(uri)
    client.search_experiments(max_results=1)  # creates the tables of a database that has none
    return client


def _open_file(database: Path) -> "MlflowClient":
    """Open a SQLite file; what an interrupted first opening left of one is put aside and made anew."""
    if not (database.exists() and require_sqlite(database)):
        _create(database)
    elif not _holds_runs(database):
        try:
            # MLflow keeps what it opened by its address, also what failed: the file itself must be opened first below.
            _answering(f"{SQLITE}{database.parent}/./{database.name}")
        except Exception as error:  # MLflow's and SQLAlchemy's: of tables that are there twice, or not at all
            aside = _set_aside(database)
            said = f"{{address}} was left half made ({{reason}}) and held no runs: it is now {aside.name}"
            print(address_line(str(database), said, str(error).partition("\n")[0]), file=sys.stderr)
            _create(database)
    return _answering(f"{SQLITE}{database}")


def _create(database: Path) -> None:
    """Make the tables under another name: a process that is killed meanwhile leaves nothing that looks like a store.

    The store is a copy: MLflow keeps the file that it made open, and SQLite would give connections to one file the
    shared memory of the name under which this process opened it first, which no other process knows.
    """
    made, copied = (database.with_name(f".{database.name}.{name}") for name in ("new", "copy"))
    left = [path for name in (made.name, copied.name) for path in database.parent.glob(f"{name}*")]
    for path in left:  # of a start that was killed: we hold the lock, so nobody works on it
        path.unlink()
    require_sqlite(made)
    _answering(f"{SQLITE}{made}")
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(made, copied)
    with copied.open("rb") as file:
        os.fsync(file.fileno())
    copied.replace(database)
    for path in database.parent.glob(f"{made.name}*"):
        path.unlink()


def _holds_runs(database: Path) -> bool:
    """Whether a file has runs; it counts as having some if that cannot be told."""
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "runs" not in tables:
                return False
            return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM runs)").fetchone()[0])
    except sqlite3.Error:
        return True


def _set_aside(database: Path) -> Path:
    number = 1
    while (aside := database.with_name(f"{database.name}.half-made-{number}")).exists():
        number += 1
    database.rename(aside)
    for ending in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            database.with_name(database.name + ending).rename(aside.with_name(aside.name + ending))
    return aside
