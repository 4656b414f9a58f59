"""Make a small tracking store with an earlier version, as the fixture of `tests/store/test_old_stores.py`.

Run it once a version, with a checkout of that version on the path, in an environment that the version works in::

    git worktree add CHECKOUT 6b4c718
    PYTHONPATH=CHECKOUT python tests/old_stores/make_store.py tests/old_stores/6b4c718.tar.xz

It writes a packed folder with ``mlflow.db``, ``mlruns/``, ``optuna.db`` and ``expected.json``: what that version's own
commands said about the store. Everything is as small as the version allows: the store is to be opened, not believed.
"""

import argparse
import importlib.metadata
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

#: Where the store is made. MLflow keeps absolute addresses of artifacts: a test that unpacks it rewrites this path.
FOLDER = Path("/tmp/asc-old-store")
#: Kept of `FOLDER`; the rest (data, cache, files for the commands) is made again or not needed.
KEPT = ("mlflow.db", "optuna.db", "mlruns", "expected.json")

#: The command line on a machine without a name of its own.
_AS_ELSEWHERE = """
import platform, socket
socket.gethostname = lambda: "old-host"
platform.platform = lambda: "Linux"
from asc_study.cli import main
main()
"""

STUDY = """
study: old
figures: cdn                     # the figures' page is small
base:
  architecture: small_fcnn
  model: {width: 0.05}
  features: {n_mels: 32, hop_length: 1024}
  training: {epochs: 2, batch_size: 16, select_epoch: last, threads: 1}
  validation: {share: 0.3}
rows:
  - name: plain
  - name: mixup
    batch_augmentation:
      mixup: {alpha: 0.4}
      spec_augment: {frequency_mask_ratio: 0.2, time_mask_ratio: 0.1}
  - name: three-class
    task: three_class
ensembles:
  - name: both
    fine: [plain, mixup]
  - name: two-stage
    fine: [both]
    coarse: [three-class]
seeds: [0, 1]
"""

SEARCH = """
search: old-search
figures: cdn
base:
  architecture: small_fcnn
  model: {width: 0.05}
  features: {n_mels: 32, hop_length: 1024}
  batch_augmentation: {mixup: {}}
  training: {epochs: 1, batch_size: 16, select_epoch: last, threads: 1}
  validation: {share: 0.3}
space:
  batch_augmentation.mixup.alpha: {type: float, low: 0.1, high: 2.0, log: true}
holdout: {devices: [s3, b], mode: together}
sampler: {name: random, seed: 0}
budget: {trials: 3}
final: {seeds: [0]}
"""


def write_clips(folder: Path) -> None:
    """Write three clips of one second to predict: tones in noise, the same on every machine and in every version."""
    (folder / "audio").mkdir(parents=True)
    time = np.arange(44_100) / 44_100
    for number, frequency in enumerate((220.0, 880.0, 3520.0), 1):
        noise = np.random.default_rng(number).uniform(-0.2, 0.2, time.size)
        soundfile.write(folder / "audio" / f"{number}.wav", 0.3 * np.sin(2 * np.pi * frequency * time) + noise, 44_100)


def main() -> None:
    """Make the store and pack it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, metavar="FILE.tar.xz")
    archive = parser.parse_args().archive.resolve()
    if FOLDER.exists():
        parser.error(f"{FOLDER} must not exist: delete it, or save what it holds")
    FOLDER.mkdir(parents=True)
    (FOLDER / "study.yaml").write_text(STUDY, encoding="utf-8")
    (FOLDER / "search.yaml").write_text(SEARCH, encoding="utf-8")
    write_clips(FOLDER / "clips")
    expected = _fill()
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True), encoding="utf-8")
    for page in FOLDER.rglob("summary.html"):
        if page.stat().st_size > 1_000_000:  # with a copy of plotly.js: that version did so for derived runs always
            page.unlink()
    _tidy(FOLDER / "mlflow.db")
    _tidy(FOLDER / "optuna.db")
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(path for name in KEPT for path in [FOLDER / name, *(FOLDER / name).rglob("*")]):
            if path.is_file():
                tar.addfile(_anonymous(path), io.BytesIO(path.read_bytes()))
    shutil.rmtree(FOLDER)
    print(f"{archive}: {archive.stat().st_size / 1024:.0f} KB")


def _fill() -> dict[str, Any]:
    """Train, search, import, and note what this version says about it."""
    _command("data", "simulate", "data", "--clips-per-scene", "3", "--seconds", "1")
    _command("run", "study.yaml", "--data", "data")
    _command("search", "search.yaml", "--data", "data")
    _command("export", "old/mixup@0", "--format", "csv", "--split", "test", "--out", "mixup.csv")
    _imported_scores(FOLDER / "mixup.csv", FOLDER / "scores.csv")
    labels = ["--labels", "data/evaluation_setup/fold1_evaluate.csv"]
    _command("import", "scores.csv", *labels, "--name", "theirs", "--study", "old")
    expected: dict[str, Any] = {
        "mlflow": importlib.metadata.version("mlflow"),
        "leaderboard": json.loads(_command("leaderboard", "old", "--json"))["rows"],
        "compare": json.loads(_command("compare", "old/plain", "old/mixup", "--json")),
        "export": (FOLDER / "mixup.csv").read_text(encoding="utf-8"),
    }
    # In a copy: these commands log runs, and today's version has to make its own.
    shutil.copy(FOLDER / "mlflow.db", FOLDER / "before.db")
    candidates = ["--run", "old/plain", "--run", "old/mixup"]
    expected["ensemble"] = json.loads(_command("ensemble", "old", *candidates, "--name", "chosen", "--json"))
    stages = ["--fine", "old/plain", "--coarse", "old/three-class"]
    expected["fuse"] = json.loads(_command("fuse", *stages, "--name", "fused", "--json"))
    _command("predict", "old/plain@0", "--data", "clips")
    _command("export", "old/plain@0", "--format", "csv", "--split", "evaluation", "--out", "predicted.csv")
    expected["predict"] = (FOLDER / "predicted.csv").read_text(encoding="utf-8")
    _take_back()
    return expected


def _command(*arguments: str) -> str:
    """Run a command of the version on the path in `FOLDER` and return what it printed."""
    own = {"ASC_STUDY_CACHE": str(FOLDER / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "ASC_"))} | own
    command = [sys.executable, "-c", _AS_ELSEWHERE, *arguments]
    done = subprocess.run(command, cwd=FOLDER, env=environment, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"asc-study {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


def _imported_scores(table: Path, scores: Path) -> None:
    """Turn an exported predictions table into scores of another system: its columns, sharper."""
    lines = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    first = lines[0].index("split") + 1
    written = [",".join(["filename", *lines[0][first:]])]
    for line in lines[1:]:
        sharper = np.asarray(line[first:], dtype=float) ** 2
        written.append(",".join([f"audio/{line[0]}.wav", *(f"{value:.6f}" for value in sharper / sharper.sum())]))
    scores.write_text("\n".join(written) + "\n", encoding="utf-8")


def _take_back() -> None:
    """Put the store back to before the commands that log runs, and delete the artifacts of these."""
    with closing(sqlite3.connect(FOLDER / "mlflow.db")) as connection:
        now = {run for (run,) in connection.execute("SELECT run_uuid FROM runs")}
    with closing(sqlite3.connect(FOLDER / "before.db")) as connection:
        before = {run for (run,) in connection.execute("SELECT run_uuid FROM runs")}
    for run in now - before:
        for folder in (FOLDER / "mlruns").glob(f"*/{run}"):
            shutil.rmtree(folder)
    for predicted in (FOLDER / "mlruns").rglob("evaluation.parquet"):
        predicted.unlink()
    for name in ("mlflow.db-wal", "mlflow.db-shm"):
        (FOLDER / name).unlink(missing_ok=True)
    shutil.move(FOLDER / "before.db", FOLDER / "mlflow.db")


def _tidy(database: Path) -> None:
    """Leave out who and what made the store, and the room of deleted rows."""
    with closing(sqlite3.connect(database)) as connection:
        if database.name == "mlflow.db":
            connection.execute("DELETE FROM tags WHERE key IN ('mlflow.user', 'mlflow.source.name')")
            connection.execute("UPDATE runs SET user_id = '', source_name = ''")
            connection.commit()
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")


def _anonymous(path: Path) -> tarfile.TarInfo:
    """The entry of a file without its owner, mode and time."""
    entry = tarfile.TarInfo(str(path.relative_to(FOLDER)))
    entry.size = path.stat().st_size
    return entry


if __name__ == "__main__":
    main()
