"""Seconds that MLflow and Optuna add to one trial of a search, with two workers on SQLite.

Run with ``python benchmarks/bench_search.py``. The trials train nothing: each reports two folds of ten epochs, logs the
metrics and predictions of 330 clips a fold, and ends. The stores are fresh files in a temporary folder; the seconds are
those of a worker from the start of one trial to the start of its next, medians over the trials.
"""

import functools
import os
import statistics
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from asc_study.base.taxonomy import SCENES
from asc_study.data.clips import CLIP_COLUMNS, Dataset
from asc_study.data.formats import TAU2020_MOBILE
from asc_study.data.identified import IdentifiedDataset
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import predictions_table
from asc_study.search.file import load_search
from asc_study.search.fold import Fold
from asc_study.search.job import Job
from asc_study.search.storage import open_study, storage_url
from asc_study.search.worker import run_workers
from asc_study.store.tracking import Tracker
from asc_study.study.launch import Launch
from asc_study.study.spec import RunSpec

TRIALS, WORKERS, EPOCHS = 24, 2, 10

SEARCH = """
search: bench
base: {batch_augmentation: {mixup: {}, spec_augment: {}}, training: {epochs: 10}}
space:
  batch_augmentation.mixup.alpha: {type: float, low: 0.1, high: 2.0, log: true}
  batch_augmentation.spec_augment.time_mask_ratio: {type: float, low: 0.0, high: 0.4}
pruner: {name: median, n_startup_trials: 1000}
"""


class NoTraining:
    """Reports epochs that took no time."""

    def __init__(self, spec: RunSpec, launch: Launch, watch: Sequence[str]) -> None:
        self._watch, self._rng = watch, np.random.default_rng()

    def train_epoch(self) -> dict[str, float]:
        """Made up."""
        values = {name: float(self._rng.random()) for name in self._watch}
        return {"train_loss": 1.0, "validation_acc": 0.5, "learning_rate": 0.1, "clips": 1, **values}

    def result(self) -> Fold:
        """The same for all."""
        predictions, metrics = outputs()
        return Fold(metrics, predictions)


@functools.cache
def outputs() -> tuple[pd.DataFrame, dict[str, float]]:
    """Predictions of a fold and their metrics, made once in a worker: they are not MLflow's or Optuna's work."""
    table = clips().assign(split="validation")
    predictions = predictions_table(table, np.random.default_rng(0).dirichlet([1] * 10, len(table)), "ten_class")
    costs = {f"cost/{name}": 1.0 for name in ("parameters", "model_kb", "nonzero_kb", "macs", "latency_ms")}
    return predictions, evaluate(predictions) | costs


def clips() -> pd.DataFrame:
    devices = ("a",) * 21 + ("b", "c", "s1", "s2", "s3") * 2 + ("b", "s3")
    rows = [(f"{s}-{i}", "", s, "indoor", "city", str(i), d, "train") for s in SCENES for i, d in enumerate(devices)]
    return pd.DataFrame(rows, columns=list(CLIP_COLUMNS))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ASC_STUDY_CACHE"] = f"{folder}/cache"
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        path = Path(folder, "bench.yaml")
        path.write_text(SEARCH)
        search, tracker, url = load_search(path), Tracker(), storage_url()
        study = open_study(url, search.name, {"holdout/acc": "maximize"}, search.identity(""))
        parent = tracker.create_run(search.name, "bench", {"asc.kind": "search"}, {})
        dataset = Dataset(Path(folder), TAU2020_MOBILE, clips())
        data = IdentifiedDataset(dataset, (), "")
        launch = Launch(tracker.uri, parent, data, "inline", "", WORKERS, os.getpid())
        job = Job(search, launch, url, TRIALS, float("inf"), NoTraining)
        run_workers(job, study, tracker, WORKERS, lambda outcome: None, print)
        begins: dict[str, list[float]] = {}
        for trial in study.get_trials():
            assert trial.datetime_start is not None
            begins.setdefault(trial.user_attrs["asc.worker"][0], []).append(trial.datetime_start.timestamp())
        taken = [after - before for times in begins.values() for before, after in pairwise(sorted(times))]
        print(
            f"MLflow and Optuna, one trial of 2 x {EPOCHS} epochs, {WORKERS} workers {statistics.median(taken):6.2f} s"
        )


if __name__ == "__main__":
    main()
