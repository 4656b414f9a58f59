"""Workers of this machine, and a Ctrl-C at any moment of theirs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: A launch of two workers that wait until their files are removed; a Ctrl-C is its end.
LAUNCH = """
import sys, time
from pathlib import Path
from asc_study.workers.pool import run_parallel

def wait(name):
    Path(name).touch()
    while Path(name).exists():
        time.sleep(0.01)

print("begun", flush=True)
try:
    for _ in run_parallel(wait, [("a",), ("b",)], jobs=2):
        pass
    Path("idle").touch()
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("moment", ["starting", "started", "working", "idle"])
def test_a_ctrl_c_is_answered_by_who_asks_alone(isolated: Path, moment: str) -> None:
    """It reaches all processes of a terminal at once; workers that import libraries would print where they were."""
    slow = isolated / "sitecustomize.py"  # in which a worker spends its first moments
    slow.write_text(
        "import os, sys, time\nif '--process-name' in sys.orig_argv:\n    open(f'start-{os.getpid()}', 'w')\n"
    )
    slow.write_text(slow.read_text() + "    time.sleep(1)\n")
    path = os.pathsep.join([str(isolated), *filter(None, sys.path)])
    launch = subprocess.Popen(
        [sys.executable, "-c", LAUNCH],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    )
    awaited = {"starting": "start-*", "started": "start-*", "working": "[ab]", "idle": "[ab]"}[moment]
    wait_for(awaited, 2)
    if moment == "started":
        time.sleep(1.3)  # among the imports
    if moment == "idle":
        for name in "ab":
            Path(name).unlink()
        wait_for("idle", 1)
    os.killpg(launch.pid, signal.SIGINT)
    said, _ = launch.communicate(timeout=60)
    assert said == "begun\ninterrupted\n"


def wait_for(pattern: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(Path().glob(pattern))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
