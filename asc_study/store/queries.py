"""Reading a tracking store: its studies, its runs and what they logged. Changes nothing.

The default store is ``sqlite:///mlflow.db`` in the working directory with its artifacts beside it;
``MLFLOW_TRACKING_URI`` wins. Heavy: imports MLflow when a store is opened, not before.
"""

import gc
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.base.contract import Artifact, Kind, Tag, evaluation_path, predictions_path
from asc_study.base.errors import InputError
from asc_study.base.files import read_input_text, require_writable, shown_path
from asc_study.base.metric_table import today
from asc_study.base.taxonomy import CLASSES
from asc_study.store.addresses import SQLITE, address_line, scrubbed, tracking_uri
from asc_study.store.opening import open_client
from asc_study.store.relocation import moved_from, tell_moved

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from mlflow.entities import Experiment, Run

#: Runs asked for in one request.
_PAGE: Final = 1000

_UUID: Final = re.compile(r"[0-9a-f]{32}")

#: The file that MLflow keeps a Keras model in, among those of a logged model.
MODEL_FILE: Final = "data/model.keras"

#: Of metrics that a training logs after each epoch.
_EPOCH: Final = "epoch/"


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
    artifact_uri: str = ""

    @property
    def signature(self) -> str:
        """The run's signature (64 hex digits), or an empty text for a parent run."""
        return self.tags.get(Tag.SIGNATURE, "")

    @property
    def identity(self) -> str:
        """What the process that works on the run locks: its signature, or the launch that a parent run stands for."""
        return self.signature or self.tags.get(Tag.LAUNCH, self.run_id)

    @property
    def seed(self) -> str:
        """The run's seed as text; empty for what has none, or one that a person changed to no number."""
        seed = self.tags.get(Tag.SEED, "")
        return seed if seed.isascii() and seed.isdecimal() else ""

    @property
    def label(self) -> str:
        """Row and seed, as shown to people."""
        row = self.tags.get(Tag.ROW, self.run_id)
        return f"{row} seed {self.seed}" if self.seed else row

    @property
    def heartbeat(self) -> float | None:
        """When the run last gave a sign of life, in seconds since the epoch; None if it never did or says no time."""
        try:
            told = float(self.tags.get(Tag.HEARTBEAT, ""))
        except ValueError:
            return None
        return told if isfinite(told) else None

    @property
    def spoiled_tag(self) -> str:
        """The first tag of a system that is not what the platform writes there: MLflow's page lets people edit them."""
        right = {
            Tag.STUDY: bool(self.tags.get(Tag.STUDY)),
            Tag.ROW: bool(self.tags.get(Tag.ROW)),
            Tag.TASK: self.tags.get(Tag.TASK) in CLASSES,
            Tag.SEED: self.seed == self.tags.get(Tag.SEED, ""),
        }
        return next((tag for tag, is_right in right.items() if not is_right), "")

    @property
    def failure(self) -> str:
        """Why the run failed, or an empty text."""
        return self.tags.get(Tag.FAILURE, "")


class Reader:
    """A tracking store, opened for reading.

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
        self.database = Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None
        self.client = open_client(self.uri)
        if self.database and (old := moved_from(self.database)):
            self._heed_move(self.database, old)
        self._identities: dict[str, str] = {}

    def _heed_move(self, database: Path, old: Path) -> None:
        tell_moved(database, old)

    def find_experiment(self, study: str) -> "Experiment | None":
        """The experiment of a study; None if there is none.

        Raises
        ------
        InputError
            If the experiment was deleted.
        """
        experiment = self.client.get_experiment_by_name(study)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise InputError(
                address_line(
                    self.uri,
                    f"the experiment {study!r} was deleted in {{address}}: restore it with "
                    f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or rename the study",
                )
            )
        return experiment

    def identity(self, study: str) -> str:
        """What names the locks of a study: a UUID in its experiment, so that no spelling of the address matters.

        The address itself where there is none yet: then nobody of this version works on the study.
        """
        return self._known_identity(study) or f"{self.uri} {study}"

    def _known_identity(self, study: str) -> str:
        if study not in self._identities:
            experiment = self.find_experiment(study)
            known = experiment.tags.get(Tag.STORE, "") if experiment else ""
            if not _UUID.fullmatch(known):
                return ""
            self._identities[study] = known
        return self._identities[study]

    def studies(self) -> list[str]:
        """The names of the studies that have runs of systems, the newest experiment first; searches are none."""
        found = self.client.search_experiments(order_by=["last_update_time DESC"])
        system = " AND ".join(f"tags.`{Tag.KIND}` != '{kind}'" for kind in (Kind.SEARCH, Kind.TRIAL, Kind.BASE))
        return [one.name for one in found if self.client.search_runs([one.experiment_id], system, max_results=1)]

    def searches(self) -> list[str]:
        """The names of the searches, the newest experiment first."""
        found = self.client.search_experiments(order_by=["last_update_time DESC"])
        search = f"tags.`{Tag.KIND}` = '{Kind.SEARCH}'"
        return [one.name for one in found if self.client.search_runs([one.experiment_id], search, max_results=1)]

    def runs(self, study: str, *, kind: str | None = None) -> list[RunRecord]:
        """All runs of a study, the newest first."""
        experiment = self.find_experiment(study)
        if experiment is None:
            return []
        found, token = [], None
        with _uncollected():
            while True:
                page = self.client.search_runs(
                    [experiment.experiment_id],
                    filter_string=f"tags.`{Tag.KIND}` = '{kind}'" if kind else "",
                    max_results=_PAGE,
                    page_token=token,
                )
                found += [_record(run) for run in page]
                token = page.token
                if not token:
                    return found

    def trained_before(self, architecture: str, *, most: int = 200) -> list[RunRecord]:
        """The newest finished trainings of an architecture, in all studies of the store."""
        found = self.client.search_runs(
            [experiment.experiment_id for experiment in self.client.search_experiments()],
            filter_string=f"tags.`{Tag.KIND}` = '{Kind.TRAIN}' and params.architecture = '{architecture}' "
            "and attributes.status = 'FINISHED'",
            max_results=most,
        )
        return [_record(run) for run in found]

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
        return bool(self.client.list_artifacts(run_id, Artifact.PREDICTIONS))

    def predictions(self, run_id: str) -> "dict[str, pd.DataFrame]":
        """The predictions tables of a run by split; empty if it has none.

        Of unlabelled clips (``evaluation``) those that were scored last count.

        Raises
        ------
        InputError
            If a table cannot be read.
        """
        from asc_study.evaluation.predictions import read_predictions

        if not self.has_predictions(run_id):
            return {}
        files = {path.stem: path for path in sorted(self.artifact(run_id, Artifact.PREDICTIONS).glob("*.parquet"))}
        record = self.run(run_id)
        last = Path(evaluation_path(record.tags.get(Tag.EVALUATION_DIGEST, "") if record else "")).stem
        chosen = {split: path for split, path in files.items() if not split.startswith("evaluation")}
        if evaluated := files.get(last) or files.get("evaluation"):  # earlier versions kept one table
            chosen["evaluation"] = evaluated
        tables = {}
        for split, path in chosen.items():
            try:
                tables[split] = read_predictions(path)
            except InputError as error:
                name = f"{Artifact.PREDICTIONS}/{path.name}"
                raise InputError(f"{name} of run {run_id} cannot be used: {error}") from None
        return tables

    def predictions_of(self, record: RunRecord, split: str) -> "pd.DataFrame":
        """The predictions table of a run and split; where its artifacts are files of this machine no server is asked.

        Raises
        ------
        InputError
            If the run has none, or it cannot be read.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException
        from mlflow.utils.uri import append_to_uri_path

        from asc_study.evaluation.predictions import read_predictions

        folder, path = record.artifact_uri, predictions_path(split)
        if (files := _local(folder)) and (files / path).is_file():
            return read_predictions(files / path)
        address = append_to_uri_path(folder, path)  # known: a server need not be asked for it once a run
        with tempfile.TemporaryDirectory(prefix="asc-study-") as copies:
            try:
                copy = download_artifacts(artifact_uri=address, dst_path=copies, tracking_uri=self.uri)
            except (MlflowException, OSError) as error:
                raise _no_artifact(self.uri, record.run_id, path, error) from None
            return read_predictions(Path(copy))

    def load_keras_model(self, run_id: str) -> "keras.Model":
        """The Keras model that a run logged.

        Raises
        ------
        InputError
            If the run has none, or one that is damaged or not to be trusted.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        from asc_study.models.stored import load_model

        mlflow.set_tracking_uri(self.uri)  # it knows one store a process: the one that was opened last
        with tempfile.TemporaryDirectory(prefix="asc-study-") as folder:
            try:
                logged = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{Artifact.MODEL}", dst_path=folder)
            except (MlflowException, OSError) as error:
                reason = scrubbed(" ".join(str(error).split()), self.uri)
                raise InputError(f"run {run_id} has no model ({reason}): was it deleted?") from None
            try:
                return load_model(Path(logged) / MODEL_FILE)
            except InputError as error:
                reason = str(error).replace(f"{logged}/", "").rpartition(": ")[0]
                raise InputError(f"the model of run {run_id} cannot be used: {reason}: train it again") from None

    def history(self, record: RunRecord) -> list[dict[str, float]]:
        """What a training measured after each epoch, the first one first; empty for what was not trained here.

        Of an epoch that was trained again, because the run was cut off in it, the last measurement counts.
        """
        epochs: dict[int, dict[str, float]] = {}
        for name in sorted(name for name in record.metrics if name.startswith(_EPOCH)):
            measured = self.client.get_metric_history(record.run_id, name)
            for one in sorted(measured, key=lambda one: one.timestamp):
                if one.step > 0:  # what is true of the whole training has step 0
                    epochs.setdefault(one.step, {})[name.removeprefix(_EPOCH)] = one.value
        return [epochs[step] for step in sorted(epochs)]

    def last_epoch(self, run_id: str) -> int:
        """The last epoch of a training, counted from 1, whose metrics are in the store; 0 if there is none."""
        history = self.client.get_metric_history(run_id, f"{_EPOCH}train_loss")
        return max((int(one.step) for one in history), default=0)

    def status(self, run_id: str) -> str:
        """The MLflow status of a run as it is now."""
        return str(self.client.get_run(run_id).info.status)

    def artifact(self, run_id: str, path: str) -> Path:
        """A local copy of one artifact of a run, which is gone with this reader; the artifact itself if it lies here.

        Raises
        ------
        InputError
            If the run has no such artifact.
        """
        from mlflow.exceptions import MlflowException

        try:
            if files := self._files_of(run_id):
                os.stat(files / path)
                return files / path
            folder = Path(self._copies.name) / run_id
            folder.mkdir(exist_ok=True)
            return Path(self.client.download_artifacts(run_id, path, str(folder)))
        except (MlflowException, OSError) as error:
            raise _no_artifact(self.uri, run_id, path, error) from None

    def require_artifacts(self, run_id: str) -> None:
        """Find out before the work whether files of a run can be written, where they lie on this machine.

        Raises
        ------
        InputError
            If they cannot.
        """
        if folder := self._files_of(run_id):
            there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
            try:
                require_writable(there / "artifact")
            except InputError as error:
                raise InputError(f"the store's artifacts must be writable in {shown_path(folder)}: {error}") from None

    def _files_of(self, run_id: str) -> Path | None:
        """Where the artifacts of a run lie, if that is on this machine."""
        return _local(str(self.client.get_run(run_id).info.artifact_uri))

    def text_artifact(self, run_id: str, path: str) -> str:
        """The text of an artifact, at most 64 MB of UTF-8.

        Raises
        ------
        InputError
            If the run has no such artifact, or it is no such text.
        """
        file = self.artifact(run_id, path)
        try:
            return read_input_text(file, "artifact")
        except InputError as error:
            raise InputError(str(error).replace(str(file), f"{path} of run {run_id}")) from None

    def json_artifact(self, run_id: str, path: str) -> dict[str, Any]:
        """A small JSON artifact; empty if the run has none, or one that is no JSON object."""
        with suppress(InputError, ValueError, RecursionError):
            read = json.loads(self.text_artifact(run_id, path))
            return read if isinstance(read, dict) else {}
        return {}

    @cached_property
    def _copies(self) -> "tempfile.TemporaryDirectory[str]":
        """Where copies of artifacts of a server lie."""
        return tempfile.TemporaryDirectory(prefix="asc-study-", ignore_cleanup_errors=True)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Within it Python looks for no cycles of garbage: that is two thirds of the time that MLflow reads 1,000 runs."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _no_artifact(uri: str, run_id: str, path: str, error: Exception) -> InputError:
    reason = scrubbed(" ".join(str(error).split()), uri)
    return InputError(f"run {run_id} has no artifact {path} ({reason}): was it deleted?")


def _local(uri: str) -> Path | None:
    """The folder of an artifact location; None if it is not on this machine."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(uri)) if uri.startswith(("/", "file:")) else None


def _record(run: "Run") -> RunRecord:
    return RunRecord(
        run_id=run.info.run_id,
        experiment_id=str(run.info.experiment_id),
        status=run.info.status,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics={today(name): value for name, value in run.data.metrics.items()},
        start_seconds=run.info.start_time / 1000,
        artifact_uri=run.info.artifact_uri or "",
    )


def store_exists() -> bool:
    """Whether the store in use is there; of anything but a SQLite file only opening it tells."""
    uri = tracking_uri()
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


def open_existing() -> "Reader | None":
    """Open the store in use for reading; None if it is a SQLite file that does not exist yet."""
    return Reader() if store_exists() else None
