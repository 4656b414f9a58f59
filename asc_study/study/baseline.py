"""The statistics baseline of a study: means and deviations of its features, logistic regression; no network, seconds.

It is the reference that tells whether a network learned anything: on a few hundred clips many do not beat it. A study
gets one for each of its tasks, a row of its own with a run of its own, unless it says ``baseline: false``. It hears the
train clips and the features of the task's first row, without augmentation, and is measured as every other system.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

import asc_study.features.store as feature_store
from asc_study.base.contract import Kind, MlflowTag, Tag
from asc_study.base.errors import failure_reason
from asc_study.base.progress import Say
from asc_study.base.source import source_digest
from asc_study.base.taxonomy import CLASSES, label_column
from asc_study.data.identified import IdentifiedDataset
from asc_study.ensemble.logistic import fit_logistic
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.evaluation.predictions import predictions_table
from asc_study.features.store import FeatureStore
from asc_study.settings.run_config import RunConfig
from asc_study.settings.study_file import Row, Study
from asc_study.store.addresses import scrubbed
from asc_study.store.queries import Reader
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Derived, Identity, find_derived, log_derived
from asc_study.systems.rows import outcome_dict
from asc_study.training.run_data import run_data

#: What it is called: statistics of spectrograms, or of embeddings.
SYSTEM: Final = "log-mel statistics"
SYSTEM_OF_EMBEDDINGS: Final = "embedding statistics"


@dataclass(frozen=True)
class PlannedBaseline:
    """A baseline of a study, and the run that it has in the store (empty: it is to be made)."""

    name: str
    signature: str
    run_id: str

    @property
    def status(self) -> Literal["new", "done"]:
        """Whether it is there."""
        return "done" if self.run_id else "new"


@dataclass(frozen=True)
class BaselineOutcome:
    """How a baseline that was made now ended."""

    name: str
    status: Literal["done", "failed"]
    seconds: float = 0.0
    metrics: Mapping[str, float] | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The outcome in the types of JSON; a baseline has no seed, because it draws nothing."""
        return outcome_dict(self.name, None, self.status, self.metrics, self.reason, self.seconds)


def statistics(store: FeatureStore, positions: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """Mean and standard deviation over time of every band and channel: (clips, 2 x bands x channels)."""
    bands, _, channels = store.shape
    values = np.empty((len(positions), 2, bands, channels))
    for row, position in enumerate(positions):
        clip = store[position].astype(np.float64)
        values[row] = clip.mean(axis=1), clip.std(axis=1)
    return values.reshape(len(positions), -1)


def classify(clips: pd.DataFrame, store: FeatureStore, task: str) -> dict[str, pd.DataFrame]:
    """Learn from the train clips and predict validation and test as far as there are any.

    Parameters
    ----------
    clips
        The clip table after the validation cut; its index is the clip's position in ``store``.
    store
        Static log-mel features, or embeddings.
    task
        ``ten_class`` or ``three_class``.

    Returns
    -------
    dict
        Split -> predictions table.

    Raises
    ------
    InputError
        If all train clips are of one class.
    """
    classes = CLASSES[task]
    train = clips[clips["split"] == "train"]
    label = pd.Index(classes).get_indexer(pd.Index(train[label_column(task)]))
    model = fit_logistic(statistics(store, train.index.to_numpy()), label, train, len(classes))
    return {
        split: predictions_table(part, model.predict(statistics(store, part.index.to_numpy())), task)
        for split in ("validation", "test")
        if len(part := clips[clips["split"] == split])
    }


def baseline_identity(config: RunConfig, dataset_digest: str) -> Identity:
    """What makes two baselines the same: features, train clips, data and the code that computes it."""
    training = config.training
    settings = {
        **{name: part for name in ("subset", "devices") if (part := getattr(training, name))},
        "task": config.task,
        "features": config.features.identity(),
        "clip_fraction": training.clip_fraction,
        "validation": _heard(config).identity()["validation"],
        "versions": {"features": feature_store.FEATURE_VERSION},
        "code": source_digest(classify),
        "dataset": dataset_digest,
    }
    return Identity(Kind.BASELINE, settings)


def _heard(config: RunConfig) -> RunConfig:
    """What of a row's settings says which clips a baseline hears: no copies, and one cut where the row has folds."""
    one_cut = config.validation.model_copy(update={"folds": 0})
    return config.model_copy(update={"waveform_augmentation": {}, "validation": one_cut})


def plan_baselines(study: Study, dataset_digest: str, tracker: Reader | None) -> tuple[PlannedBaseline, ...]:
    """The baselines of a study with what the store (None: there is none) knows of them. Changes nothing."""
    records = tracker.runs(study.name, kind=Kind.BASELINE) if tracker and study.baselines else []
    there = {record.signature: record.run_id for record in records if record.status == "FINISHED"}
    signatures = {row.name: baseline_identity(row.config, dataset_digest).signature() for row in study.baselines}
    return tuple(PlannedBaseline(name, signature, there.get(signature, "")) for name, signature in signatures.items())


def make_baselines(
    tracker: Tracker, study: Study, data: IdentifiedDataset, jobs: int, say: Say
) -> list[BaselineOutcome]:
    """Make the baselines of a study that are not there yet; one that fails is told and hinders nothing."""
    outcomes = []
    for row in study.baselines:
        identity = baseline_identity(row.config, data.digest)
        if done := find_derived(tracker, study.name, identity):
            if done.tags.get(Tag.ROW) != row.name:  # the tasks of the study changed their order
                tracker.set_tags(done.run_id, {Tag.ROW: row.name, MlflowTag.RUN_NAME: row.name})
            continue
        outcome = _make(tracker, study.name, row, identity, data, jobs)
        say(_line(outcome))
        outcomes.append(outcome)
    return outcomes


def _make(
    tracker: Tracker, study: str, row: Row, identity: Identity, data: IdentifiedDataset, jobs: int
) -> BaselineOutcome:
    start = time.perf_counter()
    try:
        made = run_data(_heard(row.config), data.dataset, data.audio_digests, jobs=jobs, progress=True, study=study)
        run = Derived(
            identity=identity,
            study=study,
            name=row.name,
            task=row.config.task,
            system=SYSTEM if row.config.features.embeddings is None else SYSTEM_OF_EMBEDDINGS,
            members=(),
            tables=classify(made.clips, made.store, row.config.task),
            tags={Tag.DATASET: data.dataset.root.name, Tag.DATASET_DIGEST: data.digest},
        )
        logged = log_derived(tracker, run)
    except Exception as error:  # scikit-learn's, MLflow's or the disk's: the rows are trained all the same
        reason = scrubbed(failure_reason(error), tracker.uri)
        return BaselineOutcome(row.name, "failed", time.perf_counter() - start, reason=reason)
    return BaselineOutcome(row.name, "done", time.perf_counter() - start, logged.metrics)


def _line(outcome: BaselineOutcome) -> str:
    if outcome.status == "failed":
        return f"{outcome.name}: FAILED: {outcome.reason}"
    return f"{outcome.name}: {accuracies(outcome.metrics or {})}  ({outcome.seconds:.0f} s)"
