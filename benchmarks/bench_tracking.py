"""Seconds that MLflow adds to one run, in its parts, and the start-up time of the command line.

Run with ``python benchmarks/bench_tracking.py``. The store is a fresh SQLite file in a temporary folder. Figures are
medians; the model is an FCNN at an eighth of its width.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measured import Figure, keep

from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import CONTEXT_COLUMNS, write_predictions
from asc_study.figures.run import summary_page
from asc_study.models import build_model
from asc_study.store.tracking import Tracker, save_keras_model

ROUNDS, EPOCHS = 7, 20


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def test_predictions() -> pd.DataFrame:
    """As many clips as the test fold of Task 1a."""
    rng = np.random.default_rng(0)
    rows = [(f"{s}{d}{i}", s, d, "x", str(i), "test") for s in SCENES for d in DEVICES for i in range(33)]
    probabilities = pd.DataFrame(rng.dirichlet([1] * 10, len(rows)), columns=list(SCENES))
    return pd.concat([pd.DataFrame(rows, columns=list(CONTEXT_COLUMNS)), probabilities], axis=1)


def log_one_run(tracker: Tracker, predictions: pd.DataFrame, metrics: dict[str, float], model: Any) -> dict[str, float]:
    """Log what a run of a study logs; returns the seconds of each part."""
    marks = [time.perf_counter()]
    run_id = tracker.create_run("bench", "run", {"asc.kind": "train"}, {f"p{i}": i for i in range(30)})
    marks.append(time.perf_counter())
    for epoch in range(EPOCHS):
        tracker.log_metrics(run_id, {f"epoch/m{i}": 0.5 for i in range(5)}, epoch)
    marks.append(time.perf_counter())
    with tracker.artifacts(run_id) as target:
        write_predictions(predictions, target / "predictions" / "test.parquet")
        page = summary_page("bench", predictions, metrics, [{"train_loss": 1.0, "learning_rate": 0.1}] * EPOCHS)
        (target / "summary.html").write_text(page, encoding="utf-8")
    marks.append(time.perf_counter())
    with tempfile.TemporaryDirectory() as folder:
        save_keras_model(model, Path(folder))
        model_id = tracker.log_model(run_id, Path(folder))
    tracker.log_metrics(run_id, metrics, EPOCHS, model_id=model_id)
    tracker.finish(run_id)
    marks.append(time.perf_counter())
    names = ("run, tags, params", f"{EPOCHS} epochs of metrics", "artifacts", "model, final metrics, end")
    return dict(zip(names, np.diff(marks).tolist(), strict=True))


def main() -> None:
    found: list[Figure] = []

    def tell(what: str, taken: float) -> None:
        found.append((what, taken, "s"))
        print(f"{what:<36}{taken:6.2f} s")

    command = [sys.executable, "-m", "asc_study", "--help"]
    startup = [seconds(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)) for _ in range(ROUNDS)]
    tell("command line start-up (--help)", statistics.median(startup))

    predictions = test_predictions()
    evaluation = [seconds(lambda: evaluate(predictions)) for _ in range(ROUNDS)]
    tell("metrics with intervals, 2,970 clips", statistics.median(evaluation))
    metrics = evaluate(predictions)
    model = build_model("fcnn", input_shape=(128, None, 3), num_classes=10, width=0.125)
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        tell("a fresh store, once", seconds(lambda: Tracker(uri)))
        tracker = Tracker(uri)
        runs = [log_one_run(tracker, predictions, metrics, model) for _ in range(ROUNDS)]
        parts = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for name, taken in parts.items():
            tell(f"  {name}", taken)
        tell("MLflow overhead of one run", sum(parts.values()))
    print(keep("tracking", [(what.strip(), taken, unit) for what, taken, unit in found]))


if __name__ == "__main__":
    main()
