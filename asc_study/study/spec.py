"""What is to be trained, and how that ended: the words between the launcher and whatever process trains."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from asc_study.settings.run_config import RunConfig
from asc_study.systems.rows import outcome_dict


@dataclass(frozen=True)
class RunSpec:
    """One run of a study: a row, a seed and what identifies them."""

    study: str
    row: str
    seed: int
    config: RunConfig
    signature: str
    combination: str
    identity: Mapping[str, Any] = field(default_factory=dict)
    #: If set, a finished run of another fingerprint does not count as this one.
    fingerprint: str = ""
    #: Id of the run that it learns from, if any.
    teacher: str = ""
    #: Id of the run whose weights it goes on from, if any.
    origin: str = ""

    @property
    def label(self) -> str:
        """Row and seed, as shown to people and as the run's name."""
        return f"{self.row} seed {self.seed}"

    @property
    def needs(self) -> list[str]:
        """The rows that are trained or made before it, as shown to people."""
        called = {"distillation.teacher": "its teacher", "continues.row": "its origin"}
        return [f"{called[setting]} {row}" for setting, row in self.config.needs.items()]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    ``interrupted``: what failed was not the training (the store, the disk); it goes on from its last epoch.
    ``undelivered``: it is trained, but the store did not take its result, which waits on the disk of this machine.
    ``elsewhere``: another process works on it. ``waits``: a row that it needs is not there.
    ``taken over``: this process was silent for so long that another one goes on with it.
    """

    spec: RunSpec
    status: Literal["done", "failed", "interrupted", "undelivered", "elsewhere", "taken over", "waits"]
    seconds: float = 0.0
    metrics: Mapping[str, float] | None = None
    reason: str = ""
    run_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The outcome in the types of JSON."""
        return outcome_dict(self.spec.row, self.spec.seed, self.status, self.metrics, self.reason, self.seconds)
