"""MLflow: the only module that talks to a tracking server.

Experiment = study name; a parent run per launch (kind ``study``), one child run per combination and seed (kind
``train``). The default store is ``sqlite:///mlflow.db`` in the working directory with its artifacts beside it;
``MLFLOW_TRACKING_URI`` wins. Heavy: imports MLflow when a store is opened, not before.
"""

import importlib.metadata
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.base.errors import InputError
from asc_study.base.locks import file_lock
from asc_study.base.metric_table import today
from asc_study.store.addresses import (
    SQLITE,
    address_line,
    cannot_open,
    cannot_write,
    require_database,
    require_server,
    require_sqlite,
    tracking_uri,
)

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from mlflow.entities import Run

#: Runs asked for in one request.
_PAGE: Final = 1000


@dataclass(frozen=True)
class RunRecord:
    """What the platform reads back of a run; ``status`` is MLflow's (RUNNING, FINISHED, FAILED, KILLED)."""

    run_id: str
    experiment_id: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    start_seconds: float

    @property
    def signature(self) -> str:
        """The run's signature (64 hex digits), or an empty text for a parent run."""
        return self.tags.get("asc.signature", "")

    @property
    def identity(self) -> str:
        """What the process that works on the run locks: its signature, or the launch that a parent run stands for."""
        return self.signature or self.tags.get("asc.launch", self.run_id)

    @property
    def seed(self) -> str:
        """The run's seed as text; empty for what has none."""
        return self.tags.get("asc.seed", "")

    @property
    def label(self) -> str:
        """Row and seed, as shown to people."""
        row = self.tags.get("asc.row", self.run_id)
        return f"{row} seed {self.seed}" if self.seed else row

    @property
    def failure(self) -> str:
        """Why the run failed, or an empty text."""
        return self.tags.get("asc.failure", "")


def open_existing() -> "Tracker | None":
    """Open the store for reading; None if it is a SQLite file that does not exist yet."""
    uri = tracking_uri()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        return None
    return Tracker(uri)


class Tracker:
    """A tracking store, opened.

    Parameters
    ----------
    uri
        An MLflow tracking URI; by default `tracking_uri()`.

    Raises
    ------
    InputError
        If the store cannot be opened.
    """

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()
        # `mlflow run` hands its own run to the child; the runs of a study are children of the study's parent run.
        os.environ.pop("MLFLOW_RUN_ID", None)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for results
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self._database = Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None
        if self._database:
            try:
                require_sqlite(self._database)
            except OSError as error:
                raise cannot_open(self.uri, error) from None
        elif self.uri.startswith(("http://", "https://")):
            require_server(self.uri)
        elif self.uri.startswith(("postgresql", "mysql", "mssql")):
            require_database(self.uri)
        import mlflow

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        try:
            with file_lock(f"tracking-store {self.uri}"):  # a fresh SQLite file can be filled by one process only
                self.client = mlflow.MlflowClient(self.uri)
                self.client.search_experiments(max_results=1)  # creates the tables
            mlflow.set_tracking_uri(self.uri)
        except InputError:
            raise
        except Exception as error:  # a missing driver, a bad address, a damaged file: every store has errors of its own
            raise cannot_open(self.uri, error) from None

    def experiment_id(self, study: str, *, create: bool = False) -> str | None:
        """The experiment of a study; None if there is none and ``create`` is false.

        Raises
        ------
        InputError
            If the experiment was deleted, or cannot be created.
        """
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(study)
        if experiment is None and create:
            # Without a location MLflow would put artifacts in the working directory, not beside the database.
            location = (self._database.parent.resolve() / "mlruns" / study).as_uri() if self._database else None
            try:
                return str(self.client.create_experiment(study, artifact_location=location))
            except MlflowException as error:
                experiment = self.client.get_experiment_by_name(study)
                if experiment is None:  # else another launch created it at the same moment
                    raise cannot_write(self.uri, error) from None
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise InputError(
                address_line(
                    self.uri,
                    f"the experiment {study!r} was deleted in {{address}}: restore it with "
                    f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or rename the study",
                )
            )
        return str(experiment.experiment_id) if experiment else None

    def runs(self, study: str, *, kind: str | None = None) -> list[RunRecord]:
        """All runs of a study, the newest first."""
        experiment_id = self.experiment_id(study)
        if experiment_id is None:
            return []
        found, token = [], None
        while True:
            page = self.client.search_runs(
                [experiment_id],
                filter_string=f"tags.`asc.kind` = '{kind}'" if kind else "",
                max_results=_PAGE,
                page_token=token,
            )
            found += [_record(run) for run in page]
            token = page.token
            if not token:
                return found

    def run(self, run_id: str) -> RunRecord | None:
        """One run by its id; None if there is none, or it was deleted."""
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException:
            return None
        return _record(run) if run.info.lifecycle_stage == "active" else None

    def has_predictions(self, run_id: str) -> bool:
        """Whether a run has any predictions table."""
        return bool(self.client.list_artifacts(run_id, "predictions"))

    def predictions(self, run_id: str) -> "dict[str, pd.DataFrame]":
        """The predictions tables of a run by split; empty if it has none.

        Raises
        ------
        InputError
            If a table cannot be read.
        """
        from asc_study.evaluation.predictions import read_predictions

        if not self.has_predictions(run_id):
            return {}
        tables = {}
        for path in sorted(self.artifact(run_id, "predictions").glob("*.parquet")):
            try:
                tables[path.stem] = read_predictions(path)
            except InputError as error:
                raise InputError(f"predictions/{path.name} of run {run_id} cannot be used: {error}") from None
        return tables

    def create_run(self, study: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        """Create a run in the state RUNNING and return its id.

        Raises
        ------
        InputError
            If the store cannot be written.
        """
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        experiment_id = self.experiment_id(study, create=True)
        entries = [Param(key, str(value)) for key, value in params.items()]
        try:
            run = self.client.create_run(experiment_id, run_name=name, tags=dict(tags))
            if entries:
                self.client.log_batch(run.info.run_id, params=entries)
        except MlflowException as error:
            raise cannot_write(self.uri, error) from None
        return str(run.info.run_id)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_path(self, run_id: str, steps: Sequence[Mapping[str, float]], *, first: int = 1) -> None:
        """Log metrics that change from step to step (counted from ``first``) in one request."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(name, value, now, n) for n, step in enumerate(steps, first) for name, value in step.items()]
        self.client.log_batch(run_id, metrics=entries)

    def log_metrics(
        self, run_id: str, metrics: Mapping[str, float], step: int = 0, *, model_id: str | None = None
    ) -> None:
        """Log metrics of one step in one request, linked to a LoggedModel if its id is given."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(name, value, now, step, model_id=model_id) for name, value in metrics.items()]
        self.client.log_batch(run_id, metrics=entries)

    @contextmanager
    def artifacts(self, run_id: str) -> Iterator[Path]:
        """A folder whose content becomes artifacts of the run when the block ends without an error."""
        with tempfile.TemporaryDirectory(prefix="asc-study-") as folder:
            yield Path(folder)
            self.client.log_artifacts(run_id, folder)

    def log_keras_model(self, run_id: str, model: "keras.Model") -> str:
        """Log a Keras model as the LoggedModel ``model`` of a running run and return the model's id."""
        import keras
        import mlflow
        import numpy as np
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        def schema(shape: tuple[int | None, ...]) -> Schema:
            return Schema([TensorSpec(np.dtype(np.float32), [-1 if size is None else size for size in shape])])

        signature = ModelSignature(schema(model.input_shape), schema(model.output_shape))
        backend = keras.backend.backend()
        requirements = [f"{name}=={importlib.metadata.version(name)}" for name in ("keras", backend)]
        mlflow.start_run(run_id=run_id)
        try:
            info = mlflow.keras.log_model(model, name="model", signature=signature, pip_requirements=requirements)
        finally:
            mlflow.end_run("RUNNING")  # the run is not over: `finish` ends it
        return str(info.model_id)

    def load_keras_model(self, run_id: str) -> "keras.Model":
        """The Keras model that a run logged.

        Raises
        ------
        InputError
            If the run has none.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            return mlflow.keras.load_model(f"runs:/{run_id}/model")
        except (MlflowException, OSError) as error:
            raise InputError(f"run {run_id} has no model ({' '.join(str(error).split())}): was it deleted?") from None

    def finish(self, run_id: str, status: str = "FINISHED", *, failure: str = "") -> None:
        """End a run; a failure's reason becomes the tag ``asc.failure``."""
        if failure:
            self.set_tags(run_id, {"asc.failure": failure[:5000]})
        self.client.set_terminated(run_id, status)

    def status(self, run_id: str) -> str:
        """The MLflow status of a run as it is now."""
        return str(self.client.get_run(run_id).info.status)

    def reopen(self, run_id: str) -> None:
        """Set an interrupted run back to RUNNING."""
        self.client.update_run(run_id, status="RUNNING")

    def artifact(self, run_id: str, path: str) -> Path:
        """A local copy of one artifact of a run.

        Raises
        ------
        InputError
            If the run has no such artifact.
        """
        from mlflow.exceptions import MlflowException

        try:
            return Path(self.client.download_artifacts(run_id, path))
        except (MlflowException, OSError) as error:
            raise InputError(f"run {run_id} has no artifact {path} ({error}): was it deleted?") from None

    def json_artifact(self, run_id: str, path: str) -> dict[str, Any]:
        """A small JSON artifact; empty if the run has none, or one that is no JSON object."""
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException, OSError, ValueError), tempfile.TemporaryDirectory(prefix="asc-study-") as folder:
            file = Path(self.client.download_artifacts(run_id, path, folder))
            read = json.loads(file.read_text(encoding="utf-8"))
            return read if isinstance(read, dict) else {}
        return {}


def _record(run: "Run") -> RunRecord:
    return RunRecord(
        run_id=run.info.run_id,
        experiment_id=str(run.info.experiment_id),
        status=run.info.status,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics={today(name): value for name, value in run.data.metrics.items()},
        start_seconds=run.info.start_time / 1000,
    )
