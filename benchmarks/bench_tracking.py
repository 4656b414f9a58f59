"""Seconds that MLflow adds to one run, in its parts, and the start-up time of the command line.

Run with ``python benchmarks/bench_tracking.py``. The store is a fresh SQLite file in a temporary folder. Figures are
medians; the model is an FCNN at an eighth of its width.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from asc_study.evaluation.figures import summary_page
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import CONTEXT_COLUMNS, write_predictions
from asc_study.models import build_model
from asc_study.taxonomy import DEVICES, SCENES
from asc_study.tracking import Tracker

ROUNDS = 7


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


def main() -> None:
    startup = [
        seconds(
            lambda: subprocess.run([sys.executable, "-m", "asc_study", "--help"], stdout=subprocess.DEVNULL, check=True)
        )
        for _ in range(ROUNDS)
    ]
    print(f"command line start-up (--help)      {statistics.median(startup):6.2f} s")

    predictions = test_predictions()
    evaluation = [seconds(lambda: evaluate(predictions)) for _ in range(ROUNDS)]
    print(f"metrics with intervals, 2,970 clips {statistics.median(evaluation):6.2f} s")
    metrics = evaluate(predictions)
    history = [{"train_loss": 1.0, "learning_rate": 0.1}] * 20
    model = build_model("fcnn", input_shape=(128, None, 3), num_classes=10, width=0.125)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        opening = seconds(Tracker)
        print(f"a fresh store, once                 {opening:6.2f} s")
        tracker = Tracker()
        parts: dict[str, list[float]] = {
            "run, tags, params": [],
            "20 epochs of metrics": [],
            "artifacts": [],
            "model": [],
        }
        for _ in range(ROUNDS):
            run_id = ""

            def create() -> None:
                nonlocal run_id
                run_id = tracker.create_run("bench", "run", {"asc.kind": "train"}, {f"p{i}": i for i in range(30)})

            def epochs() -> None:
                for epoch in range(20):
                    tracker.log_metrics(run_id, {f"epoch/m{i}": 0.5 for i in range(5)}, epoch)

            def artifacts() -> None:
                with tracker.artifacts(run_id) as target:
                    write_predictions(predictions, Path(target) / "predictions" / "test.parquet")
                    page = summary_page("bench", predictions, metrics, history)
                    (Path(target) / "summary.html").write_text(page, encoding="utf-8")

            def log_model() -> None:
                model_id = tracker.log_keras_model(run_id, model)
                tracker.log_metrics(run_id, metrics, 20, model_id=model_id)
                tracker.finish(run_id)

            for name, action in zip(parts, (create, epochs, artifacts, log_model), strict=True):
                parts[name].append(seconds(action))
        for name, taken in parts.items():
            print(f"  {name:<33} {statistics.median(taken):6.2f} s")
        total = sum(statistics.median(taken) for taken in parts.values())
        print(f"MLflow overhead of one run          {total:6.2f} s")
        os.chdir("/")


if __name__ == "__main__":
    main()
