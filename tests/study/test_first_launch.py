"""First launches that are killed: whenever it was, also while the store is made, the same command takes it up again.

``ASC_STUDY_KILLS`` says how many launches are killed (`make soak`: 40).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import asc_study
from asc_study.store.tracking import Tracker

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ASC_STUDY_KILLS", "1"))

#: What the moments of the kills are spread over at least, from the start of the process on.
FIRST_SECONDS = 5.0

STUDY = {
    "study": "first",
    "base": {
        "architecture": "tiny_network:TINY",
        "features": {"n_mels": 32},
        "training": {"epochs": 1, "batch_size": 10, "threads": 2},
    },
    "rows": [{"name": "tiny"}],
}


def launch(folder: Path, data: Path) -> subprocess.Popen:
    """Start the first launch of a study in a folder with a store and a cache of its own."""
    folder.mkdir()
    (folder / "first.yaml").write_text(yaml.safe_dump(STUDY))
    return begin(folder, data)


def begin(folder: Path, data: Path) -> subprocess.Popen:
    # The package as this test has it, which need not be the one that is installed, and the network of the tests.
    parts = [str(Path(asc_study.__file__).parents[1]), str(Path(__file__).parents[1])]
    own = {"ASC_STUDY_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(parts)}
    # MLflow leaves the store of an earlier test of this process in the environment.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
    return subprocess.Popen(
        [sys.executable, "-m", "asc_study", "run", "first.yaml", "--data", str(data)],
        cwd=folder,
        env=inherited | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def seconds_until(path: Path, process: subprocess.Popen, start: float) -> float:
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    return time.monotonic() - start


def interrupt(process: subprocess.Popen) -> str:
    """Press Ctrl-C until the process ends: Python loses one that meets the clean-up of an object. What was said."""
    for _ in range(30):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=2)[1]
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    raise AssertionError(process.communicate()[1])


@dataclass(frozen=True)
class Moments:
    """When a first launch on this machine makes its store, in seconds from its start."""

    begun: float
    made: float


@pytest.fixture(scope="module", autouse=True)
def heard_interrupts() -> Iterator[None]:
    """A shell's background job ignores SIGINT, and so would the processes that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def moments(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Moments:
    folder = tmp_path_factory.mktemp("measured") / "work"
    start = time.monotonic()
    process = launch(folder, simulated)
    times = [seconds_until(folder / name, process, start) for name in (".mlflow.db.new", "mlflow.db")]
    process.kill()
    process.communicate()
    return Moments(*times)


@pytest.mark.parametrize("attempt", range(KILLS))
def test_a_first_launch_that_is_killed_is_taken_up_by_the_next(
    isolated: Path, simulated: Path, moments: Moments, attempt: int
):
    """Ctrl-C and kill -9 in turns, a pair anywhere in the first seconds, a pair while the store is being made."""
    folder = isolated / "first"
    killed = launch(folder, simulated)
    share = attempt * 0.618 % 1  # spreads any number of attempts evenly
    if attempt % 4 < 2:
        time.sleep(share * max(FIRST_SECONDS, 1.25 * moments.made))
    else:
        seconds_until(folder / ".mlflow.db.new", killed, time.monotonic())
        time.sleep(share * (moments.made - moments.begun))
    if attempt % 2:
        killed.kill()
        killed.communicate()
    else:
        said = interrupt(killed)
        # Python itself ends with 1 where it has not come to any code but its own.
        is_early = (
            killed.returncode == 1 and "site-packages" not in said and f"{Path(asc_study.__file__).parent}" not in said
        )
        assert is_early or killed.returncode in (130, -signal.SIGINT), said

    again = begin(folder, simulated)
    _, said = again.communicate(timeout=200)
    assert again.returncode == 0, said
    assert "Traceback" not in said
    assert {path.name for path in folder.iterdir()} == {"cache", "first.yaml", "mlflow.db", "mlruns"}
    assert not [path for path in folder.rglob("*") if ".asc-tmp-" in path.name]
    assert not list((folder / "cache" / "checkpoints").glob("*"))
    runs = Tracker(f"sqlite:///{folder}/mlflow.db").runs("first")
    assert sorted((run.tags["asc.kind"], run.status) for run in runs) == [
        ("baseline", "FINISHED"),
        ("study", "FINISHED"),
        ("train", "FINISHED"),
    ]
