"""A launch that gets SIGTERM, as from a batch system: other machines find no run that seems to be trained."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from test_store_fails import soak

import asc_study
from asc_study.base.paths import checkpoints_dir
from asc_study.store.tracking import Tracker

pytestmark = pytest.mark.slow

STUDY = {
    "study": "terminated",
    "base": {
        "architecture": "tiny_network:TINY",
        "features": {"n_mels": 32},
        "training": {"epochs": 510, "batch_size": 10, "threads": 1},
    },
    "rows": [{"name": "one"}, {"name": "two", "batch_augmentation": {"mixup": {}}}],
}


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=soak)])
def test_a_launch_that_is_terminated_leaves_its_runs_to_others(isolated: Path, simulated: Path, jobs: int) -> None:
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    parts = [str(Path(asc_study.__file__).parents[1]), str(Path(__file__).parents[1])]
    kept = {key: text for key, text in os.environ.items() if not key.startswith("MLFLOW_TRACKING")}
    words = ["run", "study.yaml", "--data", str(simulated), "--jobs", str(jobs)]
    launch = subprocess.Popen(
        [sys.executable, "-m", "asc_study", *words],
        env=kept | {"PYTHONPATH": os.pathsep.join(parts)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_epochs(launch, jobs)
    launch.send_signal(signal.SIGTERM)  # to the launch alone, not to its workers
    _, said = launch.communicate(timeout=120)
    assert launch.returncode == 143, said
    assert "\nasc-study: terminated: the same command takes it up again\n" in said
    assert "Traceback" not in said
    runs = Tracker().runs("terminated", kind="train")
    assert {run.status for run in runs} == {"KILLED"}
    assert checkpoints() == jobs


def checkpoints() -> int:
    """How many there are; the weights of kept epochs lie beside them, in files whose names go on."""
    return len([file for file in checkpoints_dir().glob("*.npz") if "." not in file.stem])


def wait_for_epochs(launch: subprocess.Popen, count: int) -> None:
    """Wait until so many runs have a checkpoint."""
    deadline = time.monotonic() + 200
    while checkpoints() < count:
        assert launch.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
