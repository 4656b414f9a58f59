"""One training of a trial, while it goes on: its data without the test split, its teacher, an epoch at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from asc_study.store.tracking import Tracker
from asc_study.study.launch import Launch
from asc_study.study.run_log import metrics_of
from asc_study.study.spec import RunSpec
from asc_study.study.teachers import teacher_table
from asc_study.training.run_data import run_data
from asc_study.training.runtime import start_keras

if TYPE_CHECKING:
    import pandas as pd

#: Metric of an epoch: the clips that it trained on.
CLIPS: Final = "clips"


@dataclass(frozen=True)
class Fold:
    """One training of a trial: its metrics and its predictions of validation."""

    metrics: Mapping[str, float]
    predictions: "pd.DataFrame"


class FoldTraining(Protocol):
    """One training of a trial while it goes on."""

    def train_epoch(self) -> Mapping[str, float]:
        """Train one more epoch; returns its metrics, the watched ones among them."""

    def result(self) -> Fold:
        """The metrics and predictions of the model at its chosen epoch."""


#: Begins a training: its settings and teacher, the launch, and the metrics to watch.
Trainer = Callable[[RunSpec, Launch, Sequence[str]], FoldTraining]


class _KerasTraining:
    """The training of one fold in this process, without the test split."""

    def __init__(self, spec: RunSpec, launch: Launch, watch: Sequence[str]) -> None:
        data = run_data(spec.config, launch.data.dataset, launch.data.audio_digests, study=spec.study)
        data = replace(data, clips=data.clips[data.clips["split"] != "test"])
        self._clips = int((data.clips["split"] == "train").sum())
        start_keras(spec.config.training.threads)
        from asc_study.training.fit import Training

        teacher = None
        if spec.teacher:
            teacher = teacher_table(Tracker(launch.tracking_uri), spec.teacher, spec.config, launch.data, data, 0)
        self._training = Training(spec.config, data.clips, data.store, spec.seed, watch=watch, teacher=teacher)

    def train_epoch(self) -> Mapping[str, float]:
        return {**self._training.train_epoch(), CLIPS: self._clips}

    def result(self) -> Fold:
        result = self._training.result()
        return Fold(metrics_of(result), result.predictions["validation"])


def begin_training(spec: RunSpec, launch: Launch, watch: Sequence[str]) -> FoldTraining:
    """Begin to train one fold in this process."""
    return _KerasTraining(spec, launch, watch)
