"""Writing to a tracking store: experiments, runs and what belongs to them.

Experiment = study name. Its rows are runs at the top level, so that MLflow's page shows and compares them; one run of
kind ``study`` (or ``search``, whose trials are its children) stands for the whole.
"""

import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.base.contract import Artifact, MlflowTag, Tag
from asc_study.base.locks import file_lock
from asc_study.base.temporary import momentary_folder
from asc_study.store.addresses import cannot_write
from asc_study.store.failures import patiently
from asc_study.store.queries import Reader
from asc_study.store.relocation import ARTIFACTS, moved
from asc_study.store.spool import Step, now_ms
from asc_study.store.tables import Unreadable

if TYPE_CHECKING:
    import keras


#: Digits of a data set's digest that MLflow's page has room for.
_DIGEST_DIGITS: Final = 10

#: As many as MLflow takes in one request.
_METRICS_AT_ONCE: Final = 1000
_PARAMS_AT_ONCE: Final = 100

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def source_tags(command: str, commit: str) -> dict[str, str]:
    """MLflow's own tags of where a run comes from: the command, and the commit if the code is one."""
    tags = {MlflowTag.SOURCE_NAME: command or "asc-study", MlflowTag.SOURCE_TYPE: "LOCAL"}
    if found := _COMMIT.match(commit):
        tags[MlflowTag.SOURCE_COMMIT] = found[0]
    return tags


def save_keras_model(model: "keras.Model", folder: Path) -> None:
    """Write a Keras model into an empty folder as MLflow keeps one; see `Tracker.log_model`."""
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
    mlflow.keras.save_model(model, str(folder), signature=signature, pip_requirements=requirements)


class Tracker(Reader):
    """A tracking store, opened for reading and writing.

    Raises
    ------
    InputError
        If the store cannot be opened, or its folder was moved: artifacts would be written to where it was.
    """

    def _heed_move(self, database: Path, old: Path) -> None:
        raise moved(database, old)

    def experiment_id(self, study: str) -> str:
        """The experiment of a study, which is created if there is none.

        Raises
        ------
        InputError
            If the experiment was deleted, or cannot be created.
        """
        experiment = self.find_experiment(study)
        if experiment is None:
            from mlflow.exceptions import MlflowException

            # Without a location MLflow would put artifacts in the working directory, not beside the database.
            location = (self.database.parent.resolve() / ARTIFACTS / study).as_uri() if self.database else None
            try:
                # With its identity from the first moment on: of two machines that create it, one does.
                return str(self.client.create_experiment(study, location, {Tag.STORE: uuid.uuid4().hex}))
            except MlflowException as error:
                experiment = self.find_experiment(study)
                if experiment is None:  # else another launch created it at the same moment
                    raise cannot_write(self.uri, error) from None
        return str(experiment.experiment_id)

    def identity(self, study: str) -> str:
        """What names the locks of a study, which is given it if it has none; see `Reader.identity`."""
        experiment_id = self.experiment_id(study)
        if not self._known_identity(study):
            with file_lock("identity of a store"):  # one for all stores: two processes may call this one differently
                if not self._known_identity(study):
                    self.client.set_experiment_tag(experiment_id, Tag.STORE, uuid.uuid4().hex)
        return super().identity(study)

    def create_run(self, study: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        """Create a run in the state RUNNING and return its id.

        Raises
        ------
        InputError
            If the store cannot be written.
        """
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        experiment_id = self.experiment_id(study)
        entries = [Param(key, str(value)) for key, value in params.items()]
        try:
            run = self.client.create_run(experiment_id, run_name=name, tags=dict(tags))
            for start in range(0, len(entries), _PARAMS_AT_ONCE):
                self.client.log_batch(run.info.run_id, params=entries[start : start + _PARAMS_AT_ONCE])
        except MlflowException as error:
            raise cannot_write(self.uri, error) from None
        return str(run.info.run_id)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run; those that it has are not written again."""
        if self.tables:
            with suppress(Unreadable):
                known = self.tables.run(run_id)
                if known and tags.items() <= known.tags.items():
                    return
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_datasets(self, run_id: str, name: str, digest: str, clips: Mapping[str, int], *, source: str = "") -> None:
        """Say which data a run used, as MLflow's dataset inputs.

        Parameters
        ----------
        run_id
            The run.
        name, digest
            Of the data set; MLflow keeps 36 characters of the digest.
        clips
            Split -> how many of its clips the run used; each becomes an input whose context is the split.
        source
            Where the data are.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=f"{name} ({split})",
                    digest=digest[:_DIGEST_DIGITS],
                    source_type="local",
                    source=json.dumps({"uri": source or name}),
                    profile=json.dumps({"num_clips": int(count)}),
                ),
                tags=[InputTag(MlflowTag.DATA_CONTEXT, split)],
            )
            for split, count in clips.items()
        ]
        self.client.log_inputs(run_id, datasets=inputs)

    def log_steps(self, run_id: str, steps: Iterable[Step]) -> None:
        """Log metrics that change from step to step together, each with its own time.

        A request has whole steps, so that a store which has one metric of a step has all of it. One that is sent twice
        is there once: to MLflow a metric is its name, step, time and value.
        """
        from mlflow.entities import Metric

        entries: list[Metric] = []
        for one in steps:
            if len(entries) + len(one.metrics) > _METRICS_AT_ONCE:
                self.client.log_batch(run_id, metrics=entries)
                entries = []
            entries += [Metric(name, value, one.time_ms, one.step) for name, value in one.metrics.items()]
        if entries:
            self.client.log_batch(run_id, metrics=entries)

    def log_metrics(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        step: int = 0,
        *,
        model_id: str | None = None,
        time_ms: int | None = None,
    ) -> None:
        """Log metrics of one step in one request, linked to a LoggedModel if its id is given; of now by default."""
        from mlflow.entities import Metric

        measured = now_ms() if time_ms is None else time_ms
        entries = [Metric(name, value, measured, step, model_id=model_id) for name, value in metrics.items()]
        self.client.log_batch(run_id, metrics=entries)

    @contextmanager
    def artifacts(self, run_id: str) -> Iterator[Path]:
        """A folder whose content becomes artifacts of the run when the block ends without an error.

        What the run has already, byte for byte, is not written again.
        """
        with momentary_folder() as folder:
            yield folder
            if not self.holds(run_id, folder):
                patiently(self.uri, self.client.log_artifacts, run_id, str(folder))

    def log_model(self, run_id: str, folder: Path) -> str:
        """Log a model that `save_keras_model` wrote as the LoggedModel ``model`` of a run; returns the model's id.

        A run has one: the one of an earlier call, which was cut off or not heard of, is written again.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        run = self.client.get_run(run_id)
        logged = [one.model_id for one in run.outputs.model_outputs] if run.outputs else []
        if logged:
            model_id = str(logged[0])
        else:
            created = self.client.create_logged_model(
                run.info.experiment_id, Artifact.MODEL, source_run_id=run_id, params=run.data.params
            )
            model_id = str(created.model_id)
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        model = self.client.get_logged_model(model_id)
        described = Model.load(str(folder))
        described.run_id, described.model_id, described.model_uuid = run_id, model_id, model_id
        described.artifact_path = model.artifact_location
        described.save(str(folder / "MLmodel"))
        self.client.log_model_artifacts(model_id, str(folder))
        self.client.finalize_logged_model(model_id, "READY")
        return model_id

    def finish(self, run_id: str, status: str = "FINISHED", *, failure: str = "", time_ms: int | None = None) -> None:
        """End a run, by default now; a failure's reason becomes the tag ``asc.failure``."""
        if failure:
            self.set_tags(run_id, {Tag.FAILURE: failure[:5000]})
        self.client.set_terminated(run_id, status, end_time=time_ms)

    def reopen(self, run_id: str) -> None:
        """Set an interrupted or failed run back to RUNNING."""
        self.client.update_run(run_id, status="RUNNING")
        if Tag.FAILURE in self.client.get_run(run_id).data.tags:
            self.client.delete_tag(run_id, Tag.FAILURE)
