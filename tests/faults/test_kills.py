"""Launches that are killed at random moments: the same command then works, and nothing that is finished is made again.

``ASC_STUDY_KILLS`` says how many launches are killed (`make soak`: 40), ``ASC_STUDY_SEED`` draws the moments.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import asc_study
from asc_study.store.tracking import Tracker

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ASC_STUDY_KILLS", "1"))
SEED = int(os.environ.get("ASC_STUDY_SEED", "0"))

EPOCHS, TRIALS = 2, 3

BASE = {
    "architecture": "tiny_network:TINY",
    "features": {"n_mels": 32},
    "training": {"epochs": EPOCHS, "batch_size": 10, "threads": 1},
    "validation": {"share": 0.3},
}

STUDY = {
    "study": "killed",
    "figures": "cdn",
    "base": BASE,
    "rows": [{"name": "one"}, {"name": "two", "batch_augmentation": {"mixup": {}}}],
    "ensembles": [{"name": "both", "fine": ["one", "two"]}],
}

SEARCH = {
    "search": "killed-search",
    "base": BASE,
    "space": {"training.lr_max": {"type": "float", "low": 0.01, "high": 0.1}},
    "objectives": ["validation/acc_avg"],
    "budget": {"trials": TRIALS},
}

#: What is launched -> its arguments; ``DATA`` stands for the data set.
COMMANDS = {
    "run": ("run", "study.yaml", "--data", "DATA"),
    "run --jobs 2": ("run", "study.yaml", "--data", "DATA", "--jobs", "2"),
    "search": ("search", "search.yaml", "--data", "DATA"),
    "bundle build": ("bundle", "build", "--fusion", "killed/both", "--out", "bundle"),
}

#: About how long each takes on a machine with nothing else to do; where many are killed it is measured first.
SECONDS = {"run --jobs 2": 14.0, "run": 10.0, "search": 12.0, "bundle build": 6.0}

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Kill:
    """What is killed, how, and after which share of the time that it takes."""

    command: str
    signal: signal.Signals
    share: float


def drawn(count: int, seed: int) -> list[Kill]:
    """The kills: commands and signals in turns, the moments drawn."""
    rng = random.Random(seed)
    names = list(COMMANDS)
    return [Kill(names[i % len(names)], rng.choice(SIGNALS), rng.random()) for i in range(count)]


def begin(name: str, data: Path) -> subprocess.Popen:
    """Start a command as the head of processes of its own, which a kill takes with it."""
    parts = [str(Path(asc_study.__file__).parents[1]), str(Path(__file__).parents[1])]
    kept = {key: text for key, text in os.environ.items() if not key.startswith("MLFLOW_TRACKING")}
    return subprocess.Popen(
        [sys.executable, "-m", "asc_study", *(str(data) if word == "DATA" else word for word in COMMANDS[name])],
        env=kept | {"PYTHONPATH": os.pathsep.join(parts)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def whole(name: str, data: Path) -> None:
    """Let a command go to its end, which must be a good one."""
    process = begin(name, data)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "Traceback" not in said, said


def finished() -> dict[str, tuple[int, ...]]:
    """Run id -> the steps of its epochs, of what is trained, a trial too."""
    if not Path("mlflow.db").exists():
        return {}
    tracker = Tracker()
    runs = [run for study in ("killed", "killed-search") for run in tracker.runs(study)]
    return {
        run.run_id: tuple(one.step for one in tracker.client.get_metric_history(run.run_id, "epoch/train_loss"))
        for run in runs
        if run.status == "FINISHED" and run.tags["asc.kind"] in ("train", "trial")
    }


def require_whole(before: dict[str, tuple[int, ...]], name: str) -> None:
    """Everything is there once, and what was finished is as it was."""
    tracker, now = Tracker(), finished()
    assert {run_id: now.get(run_id) for run_id in before} == before
    assert set(now.values()) <= {tuple(range(1, EPOCHS + 1))}
    runs = [run for study in ("killed", "killed-search") for run in tracker.runs(study)]
    assert [run.label for run in runs if run.status == "RUNNING"] == []
    signatures = Counter(run.signature for run in runs if run.status == "FINISHED" and run.signature)
    assert [text for text, count in signatures.items() if count > 1] == []
    if name.startswith("run"):
        kinds = Counter(run.tags["asc.kind"] for run in runs if run.status == "FINISHED")
        assert kinds == {"train": 2, "baseline": 1, "fusion": 1, "study": 1}
    if name == "search":
        states = Counter(run.tags.get("asc.state") for run in runs if run.tags["asc.kind"] == "trial")
        assert states["complete"] == TRIALS
    if name == "bundle build":
        whole_bundle = subprocess.run([sys.executable, "bundle/classify.py", "--help"], capture_output=True)
        assert whole_bundle.returncode == 0, whole_bundle.stderr
    here = Path()
    assert [path for path in here.rglob("*") if ".asc-tmp-" in path.name] == []
    assert list(here.glob("cache/checkpoints/*")) == []


@pytest.fixture(scope="module")
def done(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study is done."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        write_files()
        whole("run", simulated)
    return folder


@pytest.fixture(scope="module")
def seconds(
    simulated: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, float]:
    """How long each command takes here, so that moments are drawn over all of it on a slow machine too."""
    if len(COMMANDS) > KILLS:
        return SECONDS
    taken = {}
    for name in COMMANDS:
        folder = request.getfixturevalue("done") if name == "bundle build" else tmp_path_factory.mktemp("timed")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            write_files()
            start = time.monotonic()
            whole(name, simulated)
            taken[name] = time.monotonic() - start
    return taken


def write_files() -> None:
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    Path("search.yaml").write_text(yaml.safe_dump(SEARCH))


@pytest.fixture(autouse=True)
def heard_interrupts():
    """A shell's background job ignores SIGINT, and so would the processes that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "kill", drawn(KILLS, SEED), ids=lambda kill: f"{kill.command} {kill.signal.name} {kill.share:.2f}"
)
def test_the_same_command_goes_on(
    kill: Kill,
    simulated: Path,
    seconds: dict[str, float],
    isolated: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("ASC_STUDY_CACHE", str(isolated / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_files()
    if kill.command == "bundle build":
        # In the folder itself: a copy of a store has its artifacts in the old place.
        done: Path = request.getfixturevalue("done")
        monkeypatch.chdir(done)
        monkeypatch.setenv("ASC_STUDY_CACHE", str(done / "cache"))
        shutil.rmtree("bundle", ignore_errors=True)
    process = begin(kill.command, simulated)
    time.sleep(kill.share * seconds[kill.command])
    os.killpg(process.pid, kill.signal)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    before = finished()
    if kill.command != "bundle build" or not Path("bundle").exists():  # there whole, or not at all
        whole(kill.command, simulated)
    require_whole(before, kill.command)
