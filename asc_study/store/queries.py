"""Reading a tracking store: its studies, its runs and what they logged. Changes nothing.

The default store is ``sqlite:///mlflow.db`` in the working directory with its artifacts beside it;
``MLFLOW_TRACKING_URI`` wins. Imports MLflow when a store needs it: a SQLite file of a known form is read without.
"""

import gc
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.store.addresses import SQLITE, address_line, tracking_uri
from asc_study.store.artifacts import ArtifactReader
from asc_study.store.records import Experiment, RunRecord, record_of
from asc_study.store.relocation import moved_from, tell_moved
from asc_study.store.tables import Unreadable

#: Runs asked for in one request.
_PAGE: Final = 1000

#: What a store says of an id that no run has, or none can have.
_NO_SUCH_RUN: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

_UUID: Final = re.compile(r"[0-9a-f]{32}")

#: Of metrics that a training logs after each epoch.
_EPOCH: Final = "epoch/"


class Reader(ArtifactReader):
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
        super().__init__(uri or tracking_uri())
        self.database = Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None
        if self.database and (old := moved_from(self.database)):
            self._heed_move(self.database, old)
        self._identities: dict[str, str] = {}

    def _heed_move(self, database: Path, old: Path) -> None:
        tell_moved(database, old)

    def find_experiment(self, study: str) -> Experiment | None:
        """The experiment of a study; None if there is none.

        Raises
        ------
        InputError
            If the experiment was deleted.
        """
        experiment = self._experiment_of_name(study)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise InputError(
                address_line(
                    self.uri,
                    f"the experiment {study!r} was deleted in {{address}}: restore it with "
                    f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or rename the study",
                )
            )
        return experiment

    def _experiment_of_name(self, name: str) -> Experiment | None:
        if self.tables:
            with suppress(Unreadable):
                return self.tables.experiment(name)
        return _experiment_of(self.client.get_experiment_by_name(name))

    def experiment_tags(self, experiment_id: str) -> Mapping[str, str]:
        """The tags of an experiment."""
        if self.tables:
            with suppress(Unreadable):
                if found := self.tables.experiment_of(experiment_id):
                    return found.tags
        return dict(self.client.get_experiment(experiment_id).tags)

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

    def runs(
        self, study: str, *, kind: str | None = None, signature: str | None = None, status: str | None = None
    ) -> list[RunRecord]:
        """The runs of a study, the newest first: all, or those of a kind, of a signature, of an MLflow status.

        The store is asked for these alone: to read 1,000 runs takes seconds, which a launch cannot spend on each run.
        """
        experiment = self.find_experiment(study)
        if experiment is None:
            return []
        given = {Tag.KIND: kind, Tag.SIGNATURE: signature}
        tags = {name: value for name, value in given.items() if value is not None}
        if self.tables:
            with suppress(Unreadable), _uncollected():
                return self.tables.runs(experiment.experiment_id, tags=tags, status=status)
        wanted = {f"tags.`{name}`": value for name, value in tags.items()}
        wanted |= {} if status is None else {"attributes.status": status}
        asked = " AND ".join(f"{name} = '{value}'" for name, value in wanted.items())
        found, token = [], None
        with _uncollected():
            while True:
                page = self.client.search_runs(
                    [experiment.experiment_id],
                    filter_string=asked,
                    max_results=_PAGE,
                    page_token=token,
                )
                found += [record_of(run) for run in page]
                token = page.token
                if not token:
                    return found

    def trained_before(self, architecture: str, *, most: int = 200) -> list[RunRecord]:
        """The newest finished trainings of an architecture, in all studies of the store."""
        if self.tables:
            tags, params = {Tag.KIND: Kind.TRAIN}, {"architecture": architecture}
            with suppress(Unreadable), _uncollected():
                return self.tables.runs(None, tags=tags, status="FINISHED", params=params, most=most)
        found = self.client.search_runs(
            [experiment.experiment_id for experiment in self.client.search_experiments()],
            filter_string=f"tags.`{Tag.KIND}` = '{Kind.TRAIN}' and params.architecture = '{architecture}' "
            "and attributes.status = 'FINISHED'",
            max_results=most,
        )
        return [record_of(run) for run in found]

    def run(self, run_id: str) -> RunRecord | None:
        """One run by its id; None if there is none, or it was deleted.

        What else a store says is raised: a run that it cannot read at the moment is not gone.
        """
        if self.tables:
            with suppress(Unreadable):
                return self.tables.run(run_id)
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code in _NO_SUCH_RUN:
                return None
            raise
        return record_of(run) if run.info.lifecycle_stage == "active" else None

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
        if self.tables:
            with suppress(Unreadable):
                if record := self.tables.run(run_id):
                    return record.status
        return str(self.client.get_run(run_id).info.status)


def _experiment_of(found: Any) -> Experiment | None:
    """What MLflow tells of an experiment."""
    if found is None:
        return None
    return Experiment(str(found.experiment_id), found.name, found.lifecycle_stage, dict(found.tags))


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


def store_exists() -> bool:
    """Whether the store in use is there; of anything but a SQLite file only opening it tells."""
    uri = tracking_uri()
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


def open_existing() -> "Reader | None":
    """Open the store in use for reading; None if it is a SQLite file that does not exist yet."""
    return Reader() if store_exists() else None
