"""A store that is away while a run trains: nothing is lost, nothing is there twice, and all of it is said.

What takes long, `make soak` tries (``ASC_STUDY_SOAK``).
"""

import json
import time

import pytest
from mlflow import MlflowClient
from test_store_fails import EPOCHS, Launches, launches, require_done, soak

from asc_study.store.tracking import Tracker

__all__ = ["launches"]  # a fixture

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
    assert "start the study again, or `asc-study sync`, when the store answers" in launches.said


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


@pytest.mark.parametrize("again", ["run", pytest.param("sync", marks=soak)])
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
