"""Where a study stands: states, epochs and the time left, of a real store with runs in every state."""

import json
import sys
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from mlflow.entities import Metric

from asc_study.base.progress import about_seconds, time_left
from asc_study.store.claims import is_launched, launch_claim, run_lock, whereabouts
from asc_study.store.tracking import Tracker
from asc_study.study.status import RunState, StudyState, study_state


def begin(tracker: Tracker, row: str, seed: int = 0, *, epochs: int = 10, study: str = "s") -> str:
    tags = {"asc.study": study, "asc.row": row, "asc.kind": "train", "asc.seed": str(seed)}
    tags |= {"asc.signature": f"{row} {seed}", **whereabouts()}
    return tracker.create_run(study, row, tags, {"training.epochs": epochs})


def log_epochs(tracker: Tracker, run_id: str, count: int, seconds: float) -> None:
    """Epochs of so many seconds each, the last of which ended just now."""
    now = time.time()
    for step in range(1, count + 1):
        stamp = int(1000 * (now - seconds * (count - step)))
        entries = {"epoch/train_loss": 1.0, "epoch/validation_acc": 0.1 * step, "epoch/seconds": seconds}
        metrics = [Metric(name, value, stamp, step) for name, value in entries.items()]
        tracker.client.log_batch(run_id, metrics=metrics)


def log_launch(tracker: Tracker, *runs: tuple[str, int]) -> None:
    parent = tracker.create_run("s", "launch", {"asc.study": "s", "asc.kind": "study"}, {})
    with tracker.artifacts(parent) as folder:
        table = {"rows": [row for row, _ in runs], "published": False}
        table["runs"] = [[row, seed, f"{row} {seed}"] for row, seed in runs]
        (folder / "rows.json").write_text(json.dumps(table))
    tracker.finish(parent)


@pytest.fixture
def study(tracker):
    """A study whose newest launch wants five runs: done, running, failed, cut off and not begun; yields the running."""
    log_launch(tracker, ("a", 0), ("b", 0), ("c", 0), ("d", 0), ("b", 1))
    done = begin(tracker, "a")
    log_epochs(tracker, done, 10, 3.0)
    tracker.finish(done)
    running = begin(tracker, "b")
    log_epochs(tracker, running, 4, 5.0)
    tracker.finish(begin(tracker, "c"), "FAILED", failure="loss is nan")
    log_epochs(tracker, begin(tracker, "d"), 5, 2.0)
    with run_lock(tracker, "s", "b 0"):
        yield running


def test_each_run_is_in_its_state(study, tracker):
    state = study_state("s", tracker)
    assert [(run.row, run.seed, run.state) for run in state.runs] == [
        ("a", "0", "done"),
        ("b", "0", "running"),
        ("c", "0", "failed"),
        ("d", "0", "interrupted"),
        ("b", "1", "to do"),
    ]
    assert state.active
    running = state.runs[1]
    assert (running.run_id, running.epoch, running.epochs) == (study, 4, 10)
    assert running.epoch_seconds == pytest.approx(5, abs=0.01)
    assert running.validation_acc == pytest.approx(0.4)
    assert 0 <= running.silent_seconds < 60
    # b goes on for 6 epochs of 5 s, its other seed takes 10 of them, d goes on for 5 of 2 s; one runs at a time
    assert state.seconds_left == pytest.approx(30 + 50 + 10, abs=1)


def test_without_the_plan_of_a_launch_the_runs_that_began_are_known(tracker):
    tracker.finish(begin(tracker, "a"))
    tracker.finish(begin(tracker, "a", 1), "KILLED")
    state = study_state("s", tracker)
    assert [(run.row, run.seed, run.state) for run in state.runs] == [("a", "0", "done"), ("a", "1", "interrupted")]
    assert not state.active
    assert state.seconds_left is None


def test_as_many_runs_at_once_as_now_share_the_time_left():
    running = RunState("a", "0", "running", epoch=5, epochs=10, epoch_seconds=2.0)
    state = StudyState("s", (running, running, RunState("new", "0", "to do")), True)
    assert state.seconds_left == pytest.approx((10 + 10 + 20) / 2)


def test_the_command_prints_a_table_or_json_and_reads_only(asc, study, tracker):
    before = tracker.runs("s")
    code, out, _ = asc("status", "s")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("study s: 1 done, 1 running, 1 failed, 1 interrupted, 1 to do; about 2 min left")
    assert lines[4].split()[:5] == ["b", "0", "running", "4/10", "40.0"]
    assert lines[5].endswith("loss is nan")
    shown = json.loads(asc("status", "s", "--json")[1])
    assert shown["counts"] == {"done": 1, "running": 1, "failed": 1, "interrupted": 1, "to do": 1}
    assert tracker.runs("s") == before


def test_the_study_of_a_file_is_shown(asc, study, isolated):
    (isolated / "other.yaml").write_text("study: s\nrows: [{name: a}]")
    assert asc("status", "other.yaml")[1].startswith("study s: 1 done")


def test_watching_ends_when_nothing_runs(asc, study, tracker, monkeypatch):
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        tracker.finish(study)

    monkeypatch.setattr(sys.modules["asc_study.cli.status"], "time", SimpleNamespace(sleep=sleep))
    code, out, _ = asc("status", "s", "--watch", "--json")
    assert (code, len(looks)) == (0, 3)  # two more looks: another run may be about to begin
    assert [json.loads(line)["counts"]["running"] for line in out.splitlines()] == [1, 0, 0, 0]


def test_watching_goes_on_while_a_launch_computes_features(asc, tracker, monkeypatch):
    log_launch(tracker, ("a", 0))
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 5:
            launches.close()

    monkeypatch.setattr(sys.modules["asc_study.cli.status"], "time", SimpleNamespace(sleep=sleep))
    with ExitStack() as launches:
        launches.enter_context(launch_claim(tracker, "s"))
        code, out, _ = asc("status", "s", "--watch", "--json")
    assert (code, len(looks)) == (0, 7)
    assert [json.loads(line)["active"] for line in out.splitlines()] == [True] * 5 + [False] * 3


def test_of_two_launches_the_one_that_goes_on_counts(tracker):
    with launch_claim(tracker, "s"):
        first = ExitStack()
        first.enter_context(launch_claim(tracker, "s"))
        assert is_launched(tracker, "s")
        assert not is_launched(tracker, "other")
        first.close()
        assert is_launched(tracker, "s")
    assert not is_launched(tracker, "s")


def test_ctrl_c_ends_watching_quietly(asc, study, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["asc_study.cli.status"], "time", SimpleNamespace(sleep=interrupt))
    code, out, err = asc("status", "s", "--watch")
    assert (code, err) == (0, "")
    assert out.count("study s:") == 1


@pytest.mark.parametrize(("store", "message"), [(True, "no run of study 'x' was begun"), (False, "no tracking store")])
def test_bad_input_is_one_line(asc, tracker, isolated, store, message):
    if not store:
        (isolated / "mlflow.db").unlink()
    code, out, err = asc("status", "x")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_search_is_told_to_be_one(asc, tracker):
    tracker.create_run("masks", "masks", {"asc.kind": "search"}, {})
    code, out, err = asc("status", "masks")
    assert (code, out) == (2, "")
    assert err.startswith("asc-study: status is of studies, got the search 'masks': `asc-study search` with its file")


@pytest.mark.parametrize(
    ("seconds", "text"), [(40.4, "40 s"), (89, "89 s"), (110, "2 min"), (3600, "60 min"), (11160, "3.1 h")]
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert about_seconds(seconds) == text


def test_the_time_left_follows_from_what_is_done():
    assert time_left(60, 3, 4) == "  ~80 s left"
    assert time_left(60, 0, 3) == time_left(60, 3, 0) == ""
