"""What is read back of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from asc_study.base.contract import Tag
from asc_study.base.metric_table import today
from asc_study.base.taxonomy import CLASSES, know_told

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Experiment:
    """What the platform reads back of an experiment; ``lifecycle_stage`` is MLflow's (active, deleted)."""

    experiment_id: str
    name: str
    lifecycle_stage: str
    tags: Mapping[str, str]


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


def record_of(run: "Run") -> RunRecord:
    """What MLflow tells of a run; from then on the words of its data set are known."""
    return make_record(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        status=run.info.status,
        tags=run.data.tags,
        params=run.data.params,
        metrics=run.data.metrics,
        start_ms=run.info.start_time,
        artifact_uri=run.info.artifact_uri,
    )


def make_record(
    *,
    run_id: str,
    experiment_id: str | int,
    status: str,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    start_ms: int,
    artifact_uri: str | None,
) -> RunRecord:
    """A run as MLflow keeps it, with the present names of its metrics; the words of its data set are known then."""
    if told := tags.get(Tag.TAXONOMY):
        know_told(told)
    return RunRecord(
        run_id=run_id,
        experiment_id=str(experiment_id),
        status=status,
        tags=dict(tags),
        params=dict(params),
        metrics={today(name): value for name, value in metrics.items()},
        start_seconds=start_ms / 1000,
        artifact_uri=artifact_uri or "",
    )
