"""Trained runs as the store has them, with made predictions."""

import hashlib
import shutil
from collections.abc import Callable

import pandas as pd
import pytest

from asc_study.evaluation.measure import measure
from asc_study.evaluation.predictions import write_predictions
from asc_study.tracking import Tracker


@pytest.fixture
def log_run(tracker) -> Callable[..., str]:
    """A function that logs a finished run of kind ``train`` with the given predictions by split; returns its id."""
    return lambda *arguments, **options: log(tracker, *arguments, **options)


@pytest.fixture(scope="session")
def shared(tmp_path_factory, empty_store, make_table) -> Tracker:
    """A store of its own with the study ``s``: four ten-class runs and a three-class one, on validation and test.

    The tests that share it may add runs, but no trained ones.
    """
    folder = tmp_path_factory.mktemp("shared")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
        for i, row in enumerate(["a", "b", "c", "d"]):
            log(tracker, row, {split: make_table(i, split=split) for split in ("validation", "test")})
        coarse = {split: make_table(9, skill=2.5, split=split, task="three_class") for split in ("validation", "test")}
        log(tracker, "coarse", coarse, task="three_class")
    return tracker


def log(
    tracker: Tracker,
    row: str,
    tables: dict[str, pd.DataFrame],
    *,
    seed: int = 0,
    task: str = "ten_class",
    study: str = "s",
) -> str:
    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    tags = {
        "asc.study": study,
        "asc.row": row,
        "asc.kind": "train",
        "asc.seed": str(seed),
        "asc.task": task,
        "asc.dataset": "sim",
        "asc.dataset_digest": "d" * 64,
        "asc.signature": digest(f"{study} {row} {seed}"),
        "asc.combination": digest(f"{study} {row}"),
    }
    run_id = tracker.create_run(study, f"{row} seed {seed}", tags, {"architecture": "fcnn"})
    with tracker.artifacts(run_id) as folder:
        for split, table in tables.items():
            write_predictions(table, folder / "predictions" / f"{split}.parquet")
    tracker.log_metrics(run_id, measure(tables))
    tracker.finish(run_id)
    return run_id
