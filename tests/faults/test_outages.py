"""A store that is away while a run trains: nothing is lost, nothing is there twice, and all of it is said.

What takes long, `make soak` tries (``ASC_STUDY_SOAK``).
"""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from postgresql import PostgreSQL, postgresql
from test_store_fails import EPOCHS, Launches, Server, launches, require_done, server, soak

from asc_study.store.spool import spools
from asc_study.store.tracking import Tracker

__all__ = ["launches", "postgresql", "server"]  # fixtures

pytestmark = pytest.mark.slow


class Outage:
    """Of all stores of this process, by its client."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on = False

        def found(client: MlflowClient, name: str) -> object:
            if self.is_on and not name.startswith("_"):
                raise ConnectionError("refused")
            return object.__getattribute__(client, name)

        monkeypatch.setattr(MlflowClient, "__getattribute__", found, raising=False)

    def begin(self) -> None:
        self.is_on = True

    def end(self) -> None:
        self.is_on = False


@pytest.fixture
def outage(launches: Launches, monkeypatch: pytest.MonkeyPatch) -> Outage:
    monkeypatch.setenv("ASC_STUDY_PATIENCE", "0.5")
    return Outage(monkeypatch)


def times_of(tracker: Tracker) -> list[int]:
    (record,) = tracker.runs("tiny", kind="train")
    return [one.timestamp for one in tracker.client.get_metric_history(record.run_id, "epoch/train_loss")]


def require_undelivered(launches: Launches) -> None:
    """The launch trained the run to its end, said what is to be done, and ended with a failure."""
    assert launches.run() == 1
    assert launches.trained == list(range(1, EPOCHS + 1))
    assert launches.said.count("does not answer (ConnectionError: refused): training goes on") == 1, launches.said
    assert (
        "one seed 0: UNDELIVERED: ConnectionError: refused: it is trained, its result waits on this " in launches.said
    )
    assert "give the command again, or `asc-study sync`, when the store answers" in launches.said


def test_epochs_of_an_outage_are_delivered_with_their_own_times(
    tracker: Tracker, launches: Launches, outage: Outage
) -> None:
    ended: list[float] = []

    def end() -> None:
        time.sleep(0.05)
        ended.append(1000 * time.time())
        outage.end()
        time.sleep(1)  # looks are every 0.2 s

    launches.break_at = {2: outage.begin, 3: end}
    assert launches.run() == 0
    assert launches.trained == [1, 2, 3]
    assert launches.said.count("does not answer (ConnectionError: refused): training goes on") == 1, launches.said
    assert launches.said.count("answers again: what waited is delivered") == 1, launches.said
    require_done(tracker)
    times = times_of(tracker)
    assert times == sorted(set(times))
    assert times[1] < ended[0] < times[2]


@pytest.mark.parametrize("again", [pytest.param("run", marks=soak), pytest.param("sync", marks=soak)])
def test_a_result_that_waits_is_delivered_without_an_epoch(
    tracker: Tracker, launches: Launches, outage: Outage, again: str
) -> None:
    launches.break_at = {2: outage.begin}
    require_undelivered(launches)
    over = 1000 * time.time()
    outage.end()
    if again == "run":
        assert launches.run() == 0
        assert launches.trained == []
        assert "tiny, one seed 0: what waited on this disk is delivered, the run is finished" in launches.said
    else:
        code, out = launches.command("sync", "--json")
        (told,) = json.loads(out)["runs"]
        assert (code, told["study"], told["label"], told["status"]) == (0, "tiny", "one seed 0", "delivered")
    require_done(tracker)
    (record,) = tracker.runs("tiny", kind="train")
    assert tracker.client.get_run(record.run_id).info.end_time < over
    assert max(times_of(tracker)) < over
    assert tracker.load_keras_model(record.run_id).count_params() == record.metrics["cost/parameters"]


#: Epochs of a launch in a process of its own, each of which lasts a second.
SLOW = """
import sys, time
from asc_study.cli import main
from asc_study.training import fit
train = fit._train_epoch
def slowly(parts, epoch):
    time.sleep(1)
    return train(parts, epoch)
fit._train_epoch = slowly
main()
"""


class Launched:
    """A launch of a study of so many epochs against a store, in a process of its own."""

    def __init__(self, launches: Launches, uri: str, epochs: int, *, patience: float) -> None:
        study = yaml.safe_load(Path("tiny.yaml").read_text())
        study["base"]["training"]["epochs"] = epochs
        Path("tiny.yaml").write_text(yaml.safe_dump(study))
        command = [sys.executable, "-c", SLOW, "run", "tiny.yaml", "--data", str(launches.data)]
        own = {"MLFLOW_TRACKING_URI": uri, "ASC_STUDY_PATIENCE": f"{patience}", "PYTHONPATH": os.pathsep.join(sys.path)}
        self.said = Path("said")
        with self.said.open("w") as file:
            self.process = subprocess.Popen(command, env=os.environ | own, stdout=file, stderr=subprocess.STDOUT)

    def wait_for(self, words: str, seconds: float = 120) -> float:
        """Wait until something is said; returns how long that took."""
        began = time.monotonic()
        while not re.search(words, self.said.read_text()):
            assert time.monotonic() - began < seconds, self.said.read_text()
            time.sleep(0.1)
        return time.monotonic() - began

    def end(self) -> int:
        """How it ended."""
        return self.process.wait(300)


def steps_of(tracker: Tracker) -> list[int]:
    found = tracker.runs("tiny", kind="train")
    history = tracker.client.get_metric_history(found[0].run_id, "epoch/train_loss") if found else []
    return [one.step for one in history]


def wait_for_epoch(tracker: Tracker, epoch: int) -> None:
    deadline = time.monotonic() + 120
    while epoch not in steps_of(tracker):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def require_each_epoch_once(tracker: Tracker, epochs: int) -> None:
    (record,) = tracker.runs("tiny", kind="train")
    assert record.status == "FINISHED"
    assert steps_of(tracker) == list(range(1, epochs + 1))
    times = times_of(tracker)
    assert all(later - earlier > 900 for earlier, later in itertools.pairwise(times)), times
    assert set(tracker.predictions(record.run_id)) == {"test", "validation"}


@soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["ended", "paused"])
def test_a_server_that_is_away_for_20_seconds(server: Server, launches: Launches, how: str) -> None:
    """Ended, it refuses; paused, it takes what is asked and says nothing."""
    tracker = Tracker(server.uri)
    launched = Launched(launches, server.uri, 40, patience=120)
    wait_for_epoch(tracker, 2)
    if how == "ended":
        server.end()
    else:
        server.signal(signal.SIGSTOP)
    assert launched.wait_for("does not answer .*: training goes on") < 30
    time.sleep(20)
    if how == "ended":
        server.begin()
    else:
        server.signal(signal.SIGCONT)
    launched.wait_for("answers again: what waited is delivered")
    assert launched.end() == 0, launched.said.read_text()
    require_each_epoch_once(tracker, 40)
    assert not spools()


@soak
@pytest.mark.timeout(600)
def test_a_launch_that_is_killed_while_its_server_is_gone(server: Server, launches: Launches) -> None:
    """Its result waits, whatever happens to its process, and is delivered by `sync`."""
    tracker = Tracker(server.uri)
    launched = Launched(launches, server.uri, 8, patience=300)
    wait_for_epoch(tracker, 2)
    server.end()
    launched.wait_for("trying again for 300 s")
    launched.process.kill()
    launched.end()
    server.begin()
    os.environ["MLFLOW_TRACKING_URI"] = server.uri
    code, out = launches.command("sync")
    assert (code, out) == (0, "tiny, one seed 0: what waited on this disk is delivered, the run is finished\n")
    require_each_epoch_once(tracker, 8)


@soak
@pytest.mark.timeout(600)
def test_a_postgresql_that_is_away_for_20_seconds(postgresql: PostgreSQL, launches: Launches) -> None:
    """The store is the database itself; its connections die with it and are renewed."""
    uri = postgresql.create("outage")
    tracker = Tracker(uri)
    launched = Launched(launches, uri, 40, patience=120)
    wait_for_epoch(tracker, 2)
    postgresql.stop()
    assert launched.wait_for("does not answer .*: training goes on") < 30
    time.sleep(20)
    postgresql.start()
    launched.wait_for("answers again: what waited is delivered")
    assert launched.end() == 0, launched.said.read_text()
    require_each_epoch_once(tracker, 40)
