"""What runs kept as files: predictions tables, models and whatever else, wherever they lie. Changes nothing."""

import filecmp
import json
import os
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from asc_study.base.contract import Artifact, Tag, evaluation_path, predictions_path
from asc_study.base.errors import InputError
from asc_study.base.files import read_input_text, require_writable, shown_path
from asc_study.base.temporary import momentary_folder
from asc_study.store.addresses import scrubbed
from asc_study.store.failures import said_by_mlflow
from asc_study.store.opening import open_client, prepare_mlflow
from asc_study.store.records import RunRecord
from asc_study.store.tables import Unreadable, open_tables

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from mlflow import MlflowClient

#: The file that MLflow keeps a Keras model in, among those of a logged model.
MODEL_FILE: Final = "data/model.keras"


class ArtifactReader:
    """The artifacts of a tracking store.

    Parameters
    ----------
    uri
        An MLflow tracking URI.

    Raises
    ------
    InputError
        If the store cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        prepare_mlflow()
        #: The tables of a SQLite file that MLflow is not needed for; None: it is.
        self.tables = open_tables(uri)
        if self.tables is None:
            self.client  # noqa: B018 (opens the store: what is wrong with it is said now)

    @cached_property
    def client(self) -> "MlflowClient":
        """What MLflow asks and tells the store with; opened when it is first needed."""
        return open_client(self.uri)

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
        digest = self.client.get_run(run_id).data.tags.get(Tag.EVALUATION_DIGEST, "")
        last = Path(evaluation_path(digest)).stem
        chosen = {split: path for split, path in files.items() if not split.startswith("evaluation")}
        if evaluated := files.get(last) or files.get("evaluation"):  # earlier versions kept one table
            chosen["evaluation"] = evaluated
        tables = {}
        for split, path in chosen.items():
            try:
                tables[split] = read_predictions(path, split)
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
        from asc_study.evaluation.predictions import read_predictions

        folder, path = record.artifact_uri, predictions_path(split)
        if (files := _local(folder)) and (files / path).is_file():
            return read_predictions(files / path, split)
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException
        from mlflow.utils.uri import append_to_uri_path

        address = append_to_uri_path(folder, path)  # known: a server need not be asked for it once a run
        with momentary_folder() as copies:
            try:
                copy = download_artifacts(artifact_uri=address, dst_path=str(copies), tracking_uri=self.uri)
            except (MlflowException, OSError) as error:
                raise _no_artifact(self.uri, record.run_id, path, error) from None
            return read_predictions(Path(copy), split)

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
        with momentary_folder() as folder:
            try:
                logged = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{Artifact.MODEL}", dst_path=str(folder))
            except (MlflowException, OSError) as error:
                reason = scrubbed(" ".join(str(error).split()), self.uri)
                raise InputError(f"run {run_id} has no model ({reason}): was it deleted?") from None
            try:
                return load_model(Path(logged) / MODEL_FILE)
            except InputError as error:
                reason = str(error).replace(f"{logged}/", "").rpartition(": ")[0]
                raise InputError(f"the model of run {run_id} cannot be used: {reason}: train it again") from None

    def artifact(self, run_id: str, path: str) -> Path:
        """A local copy of one artifact of a run, which is gone with this reader; the artifact itself if it lies here.

        Raises
        ------
        InputError
            If the run has no such artifact.
        """
        try:
            if files := self._files_of(run_id):
                os.stat(files / path)
                return files / path
            folder = Path(self._copies.name) / run_id
            folder.mkdir(exist_ok=True)
            return Path(self.client.download_artifacts(run_id, path, str(folder)))
        except Exception as error:
            if isinstance(error, OSError) or said_by_mlflow(error):
                raise _no_artifact(self.uri, run_id, path, error) from None
            raise

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
        if self.tables:
            with suppress(Unreadable):
                if record := self.tables.run(run_id):
                    return _local(record.artifact_uri)
        return _local(str(self.client.get_run(run_id).info.artifact_uri))

    def ends_with(self, run_id: str, path: str, ending: str) -> bool:
        """Whether an artifact of a run is there and ends with a text; false if a server has it."""
        wanted = ending.encode()
        if self.tables is None or not (files := self._files_of(run_id)):
            return False
        try:
            with (files / path).open("rb") as file:
                file.seek(-len(wanted), os.SEEK_END)
                return file.read() == wanted
        except OSError:  # it is not there, or shorter
            return False

    def holds(self, run_id: str, folder: Path) -> bool:
        """Whether all files of a folder are artifacts of a run already, byte for byte; false if a server has them."""
        if self.tables is None or not (files := self._files_of(run_id)):
            return False
        made = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        try:
            return all(filecmp.cmp(folder / path, files / path, shallow=False) for path in made)
        except OSError:  # one is not there, or cannot be read
            return False

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


def _no_artifact(uri: str, run_id: str, path: str, error: Exception) -> InputError:
    reason = scrubbed(" ".join(str(error).split()), uri)
    return InputError(f"run {run_id} has no artifact {path} ({reason}): was it deleted?")


def _local(uri: str) -> Path | None:
    """The folder of an artifact location, as MLflow reads it; None if it is not on this machine."""
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    return Path(unquote(uri)) if uri.startswith("/") else None
