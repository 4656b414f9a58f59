"""Reading MLflow's tables in a SQLite file without MLflow, whose import takes longer than all else of a quick command.

What is read is what `MlflowClient` would give, of the file as it is at that moment; nothing is kept and nothing is
written. It is done only where the file has the very form that the installed MLflow gives it and this module was
tested with; else, and for whatever goes wrong, `Tables` says so and MLflow is asked, which has its own words for it.
"""

import importlib.metadata
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from asc_study.store.addresses import SQLITE, require_plain_path
from asc_study.store.records import Experiment, RunRecord, make_record

#: Version of MLflow -> the form of its tables (`alembic_version`). A new line comes with a run of the tests.
FORMS: Final = {"3.15": "6f8d9c3b2a1e", "3.16": "b7e2c1a4d9f3", "3.17": "dc11669786a5"}

#: Variables of MLflow by which an experiment belongs to a workspace, and its name is not enough to find it.
_WORKSPACES: Final = ("MLFLOW_ENABLE_WORKSPACES", "MLFLOW_WORKSPACE", "MLFLOW_WORKSPACE_STORE_URI")

#: How long a locked file is waited for before MLflow is asked, which waits and then says so.
_LOCKED_SECONDS: Final = 5

_ACTIVE_EXPERIMENT: Final = "lifecycle_stage = 'active' AND workspace = 'default'"
_RUN: Final = "run_uuid, experiment_id, status, start_time, artifact_uri, lifecycle_stage"


class Unreadable(Exception):
    """The file cannot be read without MLflow, which says why."""


def open_tables(uri: str) -> "Tables | None":
    """The tables of a store; None if only MLflow can read it, or has to make or change it first."""
    if not uri.startswith(SQLITE) or any(os.environ.get(name) for name in _WORKSPACES):
        return None
    require_plain_path(uri)
    database = Path(uri.removeprefix(SQLITE))
    installed = ".".join(importlib.metadata.version("mlflow").split(".")[:2])
    if installed not in FORMS or not database.is_file():
        return None
    tables = Tables(database)
    try:
        return tables if tables.form() == FORMS[installed] else None
    except Unreadable:
        return None


class Tables:
    """Experiments and runs in a SQLite file of MLflow; each call reads what is there at that moment.

    Raises
    ------
    Unreadable
        From every method, if SQLite does not give what was asked for.
    """

    def __init__(self, database: Path) -> None:
        self._database = database

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file."""
        try:
            with closing(sqlite3.connect(self._database, timeout=_LOCKED_SECONDS, isolation_level=None)) as connection:
                connection.execute("BEGIN")
                yield connection
        except sqlite3.Error as error:
            raise Unreadable(str(error)) from error

    def form(self) -> str:
        """What MLflow calls the form of the tables."""
        with self._reading() as connection:
            return ",".join(form for (form,) in connection.execute("SELECT version_num FROM alembic_version"))

    def experiment(self, name: str) -> Experiment | None:
        """The experiment of a name, deleted or not."""
        return self._experiment("name = ? AND workspace = 'default'", name)

    def experiment_of(self, experiment_id: str) -> Experiment | None:
        """The experiment of an id, deleted or not."""
        return self._experiment("experiment_id = ?", experiment_id)

    def _experiment(self, condition: str, asked: str) -> Experiment | None:
        with self._reading() as connection:
            query = f"SELECT experiment_id, name, lifecycle_stage FROM experiments WHERE {condition}"
            found = connection.execute(query, (asked,)).fetchone()
            if found is None:
                return None
            query = "SELECT key, value FROM experiment_tags WHERE experiment_id = ?"
            return Experiment(str(found[0]), found[1], found[2], dict(connection.execute(query, found[:1])))

    def runs(
        self,
        experiment_id: str | None,
        *,
        tags: Mapping[str, str],
        status: str | None,
        params: Mapping[str, str] = MappingProxyType({}),
        most: int = -1,
    ) -> list[RunRecord]:
        """The runs of an experiment (None: of all) that are not deleted and have these tags, this status, these params.

        The newest come first, at most ``most`` of them.
        """
        conditions, asked = ["lifecycle_stage = 'active'"], []
        if experiment_id is None:
            conditions.append(f"experiment_id IN (SELECT experiment_id FROM experiments WHERE {_ACTIVE_EXPERIMENT})")
        else:
            conditions.append("experiment_id = ?")
            asked.append(experiment_id)
        if status is not None:
            conditions.append("status = ?")
            asked.append(status)
        for table, wanted in (("tags", tags), ("params", params)):
            for name, value in wanted.items():
                conditions.append(f"run_uuid IN (SELECT run_uuid FROM {table} WHERE key = ? AND value = ?)")
                asked += [name, value]
        return [record for record, _ in self._runs(" AND ".join(conditions), asked, most)]

    def run(self, run_id: str) -> RunRecord | None:
        """One run by its id; None if there is none, or it was deleted."""
        return next((record for record, stage in self._runs("run_uuid = ?", [run_id]) if stage == "active"), None)

    def _runs(self, condition: str, asked: list[str], most: int = -1) -> list[tuple[RunRecord, str]]:
        """The runs that meet a condition, the newest first, each with its stage of life."""
        chosen = f"FROM runs WHERE {condition} ORDER BY start_time DESC, run_uuid LIMIT {most:d}"
        with self._reading() as connection:
            runs = connection.execute(f"SELECT {_RUN} {chosen}", asked).fetchall()
            among = f"run_uuid IN (SELECT run_uuid {chosen}) ORDER BY rowid"
            found: list[dict[str, dict[str, Any]]] = []
            for table, value in (
                ("tags", "value"),
                ("params", "value"),
                ("latest_metrics", "CASE WHEN is_nan THEN NULL ELSE value END"),
            ):
                of_run: dict[str, dict[str, Any]] = {run[0]: {} for run in runs}
                for run_id, key, read in connection.execute(
                    f"SELECT run_uuid, key, {value} FROM {table} WHERE {among}", asked
                ):
                    of_run[run_id][key] = read
                found.append(of_run)
        records = []
        for run_id, experiment_id, status, started, artifact_uri, stage in runs:
            tags, params, metrics = (of_run[run_id] for of_run in found)
            record = make_record(
                run_id=run_id,
                experiment_id=experiment_id,
                status=status,
                tags=tags,
                params=params,
                metrics={name: float("nan") if value is None else value for name, value in metrics.items()},
                start_ms=started,
                artifact_uri=artifact_uri,
            )
            records.append((record, stage))
        return records
