"""Seconds until the dashboards answer on a store of 1,000 runs of 60 combinations: cold, warm, and for a choice.

Run with ``python benchmarks/bench_dashboards.py [--runs 1000] [--combinations 60] [--clips 2968] [--uri URI]``. The
store is made first, in a temporary folder or on the server of ``--uri`` (its predictions are noise of some skill, its
metrics are measured once a combination): that takes minutes and is not measured. *Cold* is a process that has read
nothing; *warm* is the same page again after `dashboards.source.FRESH_SECONDS`, when the runs are asked for anew; a
choice is another address of the page of devices, and one on the leaderboard. Each figure is the time of one request to
the app, without a browser's, of a choice the median of several; beside it for how long a processor worked on it, which
is what a machine takes that does nothing else. Peak memory is that of the process that answers.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from asc_study.base.contract import Kind, Tag, predictions_path
from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.evaluation.measure import measure
from asc_study.evaluation.predictions import write_predictions
from asc_study.store.tracking import Tracker

STUDY, SCRIPT = "bench", str(Path(__file__).resolve())


def table(context: pd.DataFrame, skill: float, seed: int) -> pd.DataFrame:
    """Predictions of some skill."""
    rng = np.random.default_rng([seed, round(1000 * skill)])
    logits = rng.normal(size=(len(context), len(SCENES)))
    logits[np.arange(len(context)), context["scene"].map(SCENES.index)] += skill
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return pd.concat([context, pd.DataFrame(shares.astype(np.float32), columns=list(SCENES))], axis=1)


def fill(uri: str, runs: int, combinations: int, clips: int) -> None:
    """Log the runs."""
    number = np.arange(clips)
    context = pd.DataFrame(
        {
            "clip_id": [f"clip-{i}" for i in number],
            "scene": [SCENES[i % 10] for i in number],
            "device": [DEVICES[i // 10 % 9] for i in number],
            "city": [("lisbon", "milan")[i // 90 % 2] for i in number],
            "location": [str(i // 90 % 130) for i in number],
            "split": "test",
        }
    )
    tracker, metrics = Tracker(uri), {}
    for run in range(runs):
        combination, seed = run % combinations, run // combinations
        skill = 1.0 + 2.0 * combination / combinations
        found = table(context, skill, seed)
        if combination not in metrics:
            metrics[combination] = measure({"test": found})
        tags = {
            Tag.STUDY: STUDY,
            Tag.ROW: f"row {combination}",
            Tag.KIND: Kind.TRAIN,
            Tag.SEED: str(seed),
            Tag.TASK: "ten_class",
            Tag.DATASET: "made",
            Tag.DATASET_DIGEST: "d" * 64,
            Tag.SIGNATURE: f"{run:064x}",
            Tag.COMBINATION: f"{combination:064x}",
        }
        run_id = tracker.create_run(STUDY, f"row {combination} seed {seed}", tags, {"architecture": "fcnn"})
        with tracker.artifacts(run_id) as folder:
            write_predictions(found, folder / predictions_path("test"))
        tracker.log_metrics(run_id, metrics[combination])
        tracker.finish(run_id)


def answer(uri: str) -> None:
    """Ask the app and print what it took."""
    started = time.perf_counter()
    from dashboards import source as module
    from dashboards.app import create_app, source_of

    source = source_of(uri, (STUDY,), None)
    client = create_app(source).server.test_client()
    outputs = ("content.children", "head.children", "nav.children", "tick.disabled", "tick.interval")

    def ask(path: str, query: str = "") -> tuple[float, float]:
        before, worked = time.perf_counter(), time.thread_time()
        told = {"url.pathname": path, "url.search": query, "theme.data": "light", "tick.n_intervals": None}
        body = {
            "output": "..".join(["", "...".join(outputs), ""]),
            "outputs": [dict(zip(("id", "property"), one.split("."), strict=True)) for one in outputs],
            "inputs": [
                dict(zip(("id", "property"), name.split("."), strict=True)) | {"value": value}
                for name, value in told.items()
            ],
            "changedPropIds": ["url.search"],
        }
        found = client.post("/_dash-update-component", json=body)
        assert found.status_code == 200, found.text[:500]
        assert "cannot be read" not in found.text, found.text[:500]
        return time.perf_counter() - before, time.thread_time() - worked

    def show(what: str, path: str, *queries: str) -> None:
        taken, worked = zip(*(ask(path, query) for query in queries or ("",)), strict=True)
        print(f"  {what:29} {statistics.median(taken):6.2f} s, worked {statistics.median(worked):5.2f} s", flush=True)

    print(f"  start, imports included       {time.perf_counter() - started:6.2f} s")
    show("leaderboard, cold", "/")
    before = time.perf_counter()
    while source.board(()).pending:
        time.sleep(0.1)
    print(f"  until intervals are there     {time.perf_counter() - before:6.2f} s")
    show("leaderboard with intervals", "/")
    show("leaderboard, at once again", "/")
    time.sleep(module.FRESH_SECONDS + 0.5)
    show("leaderboard, runs asked anew", "/")
    show("leaderboard, another reference", "/", *(f"?reference=row+{number}" for number in (3, 4, 5, 6, 7)))
    show("leaderboard, by device", "/", "?columns=devices")
    show("devices, first", "/devices")
    chosen = [f"?rows=row+1&rows=row+2&rows=row+{number}" for number in (40, 41, 42, 43, 44)]
    show("devices, other rows", "/devices", *chosen)
    show("devices, scenes of another", "/devices", *(f"{query}&scenes=row+2" for query in chosen))
    print(f"  peak memory                   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:6.2f} GiB")


def main() -> None:
    """Fill a store and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--combinations", type=int, default=60)
    parser.add_argument("--clips", type=int, default=2968)
    parser.add_argument("--uri")
    parser.add_argument("--ask", action="store_true", help="The store is filled already.")
    options = parser.parse_args()
    if options.ask:
        answer(options.uri)
        return
    with tempfile.TemporaryDirectory(prefix="asc-study-") as folder:
        os.chdir(folder)
        uri = options.uri or f"sqlite:///{folder}/mlflow.db"
        fill(uri, options.runs, options.combinations, options.clips)
        print(f"{options.runs} runs of {options.combinations} combinations, {options.clips} clips", flush=True)
        subprocess.run([sys.executable, SCRIPT, "--ask", "--uri", uri], check=True)


if __name__ == "__main__":
    main()
