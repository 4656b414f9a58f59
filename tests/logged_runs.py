"""Runs as the store has them after training, with made predictions."""

import hashlib
import tempfile
from pathlib import Path

import pandas as pd

from asc_study.evaluation.measure import measure
from asc_study.evaluation.predictions import write_predictions
from asc_study.store.tracking import Tracker, save_keras_model


def log(
    tracker: Tracker,
    row: str,
    tables: dict[str, pd.DataFrame],
    *,
    seed: int = 0,
    task: str = "ten_class",
    study: str = "s",
    **changed: str,
) -> str:
    """Log a finished run of kind ``train`` with the given predictions by split; returns its id.

    Tags are changed by their names without ``asc.``.
    """

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
    } | {f"asc.{name}": value for name, value in changed.items()}
    run_id = tracker.create_run(study, f"{row} seed {seed}", tags, {"architecture": "fcnn"})
    with tracker.artifacts(run_id) as folder:
        for split, table in tables.items():
            write_predictions(table, folder / "predictions" / f"{split}.parquet")
    tracker.log_metrics(run_id, measure(tables))
    tracker.finish(run_id)
    return run_id


def log_keras_model(tracker: Tracker, run_id: str, model: object) -> str:
    """Log a model as a training does; returns its id."""
    with tempfile.TemporaryDirectory() as folder:
        save_keras_model(model, Path(folder))
        return tracker.log_model(run_id, Path(folder))
