"""MLflow's model registry: versions of deployable systems, of which one is the champion."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asc_study.base.contract import Artifact
from asc_study.base.errors import InputError
from asc_study.base.temporary import momentary_folder
from asc_study.store.addresses import tracking_uri
from asc_study.store.tracking import Tracker

#: The alias of the version that is served.
CHAMPION: Final = "champion"


@dataclass(frozen=True)
class Version:
    """A version of a registered model, and the run that logged it."""

    name: str
    number: str
    run_id: str


def champion(tracker: Tracker, name: str) -> Version | None:
    """The version that has the alias; None if there is no such model, or none has it."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        found = tracker.client.get_model_version_by_alias(name, CHAMPION)
        return Version(name, str(found.version), str(found.run_id))
    return None


def version_of(tracker: Tracker, name: str, run_id: str) -> Version | None:
    """The version that a run was registered as under a name, if it was."""
    found = tracker.client.search_model_versions(f"run_id = '{run_id}'")
    return next((Version(name, str(one.version), run_id) for one in found if one.name == name), None)


def make_champion(tracker: Tracker, version: Version) -> None:
    """Give a version the alias."""
    tracker.client.set_registered_model_alias(version.name, CHAMPION, version.number)


def is_model(reference: str) -> bool:
    """Whether a text is the address of a model in MLflow: ``models:/...`` or ``runs:/...``."""
    return reference.startswith(("models:/", "runs:/"))


def model_folder(reference: str, artifact: str) -> Path:
    """A local copy of a model's artifact.

    Raises
    ------
    InputError
        If there is no such model, or it has no such artifact.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(tracking_uri())
    try:
        with redirect_stderr(io.StringIO()):
            model = Path(mlflow.artifacts.download_artifacts(reference))
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"there is no model {reference!r} ({reason:.200}): register one, or name a folder") from None
    folder = next((path for path in sorted(model.glob("artifacts/*")) if (path / artifact).is_file()), None)
    if folder is None:
        raise InputError(f"the model {reference!r} must be a bundle, got one without {artifact}: name another")
    return folder


def register_system(
    tracker: Tracker,
    run_id: str,
    name: str,
    code: Path,
    bundle: Path,
    requirements: Sequence[str],
    classes: Sequence[str],
    example: bytes,
) -> tuple[Version, str]:
    """Log a bundle as the model of a run, from code, and register it.

    Parameters
    ----------
    tracker, run_id, name
        The store, the run that it becomes a model of, and the registered model's name.
    code, bundle
        The file that serves it, and the folder.
    requirements
        What it needs to run.
    classes
        Columns of the answer beside ``scene``.
    example
        A recording, for the example of a request.

    Returns
    -------
    (version, model_id)

    Raises
    ------
    InputError
        If the name is none that MLflow takes.
    """
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, DataType

    inputs = Schema(
        [
            ColSpec(DataType.binary, "wav", required=False),
            ColSpec(Array(DataType.double), "samples", required=False),
            ColSpec(DataType.long, "sample_rate", required=False),
            ColSpec(DataType.string, "device", required=False),
        ]
    )
    parameters = ParamSchema([ParamSpec("device", DataType.string, "")])
    outputs = Schema([ColSpec(DataType.string, "scene"), *(ColSpec(DataType.double, scene) for scene in classes)])
    status = tracker.status(run_id)
    mlflow.start_run(run_id=run_id)
    try:
        # MLflow tells of each step, and copies the bundle into a folder of its own.
        with redirect_stderr(io.StringIO()), momentary_folder(of_libraries=True):
            info = mlflow.pyfunc.log_model(
                name=Artifact.SYSTEM,
                python_model=str(code),
                artifacts={"bundle": str(bundle)},
                signature=ModelSignature(inputs, outputs, parameters),
                input_example=pd.DataFrame({"wav": [example]}),
                pip_requirements=list(requirements),
                registered_model_name=name,
            )
    except MlflowException as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the model cannot be registered as {name!r} ({reason:.200}): choose another name") from None
    finally:
        mlflow.end_run(status)
    return Version(name, str(info.registered_model_version), run_id), str(info.model_id)
