"""A run that was cut off and goes on under another back end: one run, whose figures are nobody's alone, and said so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asc_study.base.provenance import short_digest
from asc_study.data.identified import identify
from asc_study.settings.study_file import load_study
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.study.epoch_log import EpochLog
from asc_study.study.plan import make_plan, render_plan
from asc_study.study.run_log import log_environment
from asc_study.study.run_study import run_study

HERE = {"backend": "tensorflow", "device": "cpu", "machine": "x86_64", "keras": "3.10.0", "tensorflow": "2.19.0"}
THERE = {"backend": "jax", "device": "cpu", "machine": "x86_64", "keras": "3.10.0", "jax": "0.5.0"}

STUDY = """
study: cut
baseline: false
base:
  architecture: tiny_network:TINY
  features: {n_mels: 32}
  training: {epochs: 2, batch_size: 10, threads: 2}
rows: [{name: one}]
"""


def computed_by(monkeypatch: pytest.MonkeyPatch, facts: dict[str, str]) -> None:
    monkeypatch.setattr("asc_study.base.provenance.fingerprint", lambda: facts)
    monkeypatch.setattr("asc_study.study.plan.fingerprint", lambda: facts)


def record_of(tracker: Tracker, run_id: str) -> RunRecord:
    record = tracker.run(run_id)
    assert record is not None
    return record


def test_a_run_that_goes_on_here_keeps_its_fingerprint(tracker: Tracker, monkeypatch: pytest.MonkeyPatch):
    computed_by(monkeypatch, HERE)
    run_id = tracker.create_run("s", "one", {}, {})
    log_environment(tracker, run_id)
    log_environment(tracker, run_id, first_epoch=3)
    tags = record_of(tracker, run_id).tags
    assert tags["asc.fingerprint"] == short_digest(HERE)
    assert [stretch["epoch"] for stretch in json.loads(tags["asc.stretches"])] == [1, 3]


def test_a_run_that_goes_on_elsewhere_is_mixed_and_keeps_the_facts_of_its_beginning(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
):
    computed_by(monkeypatch, HERE)
    run_id = tracker.create_run("s", "one", {}, {})
    log_environment(tracker, run_id)
    for facts, epoch in ((THERE, 2), (HERE, 3)):  # back where it began, it stays what it became
        computed_by(monkeypatch, facts)
        log_environment(tracker, run_id, first_epoch=epoch)
        assert record_of(tracker, run_id).tags["asc.fingerprint"] == "mixed"
    tags = record_of(tracker, run_id).tags
    assert json.loads(tags["asc.fingerprint_facts"]) == HERE
    assert tags["asc.backend"] == "tensorflow 2.19.0"
    stretches = tracker.json_artifact(run_id, "environment.json")["stretches"]
    assert [(one["first_epoch"], one["fingerprint"]["backend"]) for one in stretches] == [
        (1, "tensorflow"),
        (2, "jax"),
        (3, "tensorflow"),
    ]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_study_says_which_of_its_runs_are_mixed(simulated: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("jax")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    )
    Path("cut.yaml").write_text(STUDY)
    study, data = load_study(Path("cut.yaml")), identify(simulated)
    added = EpochLog.add

    def cut(self: EpochLog, epoch: int, measured: dict[str, float]) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        added(self, epoch, measured)

    with monkeypatch.context() as patched:
        patched.setattr(EpochLog, "add", cut)
        with pytest.raises(KeyboardInterrupt):
            run_study(study, data)
    assert [run.status for run in make_plan(study, data.digest, tracker).runs] == ["interrupted"]

    command = [sys.executable, "-m", "asc_study", "run", "cut.yaml", "--data", str(simulated)]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (record,) = tracker.runs("cut", kind="train")
    assert record.status == "FINISHED"
    assert record.tags["asc.fingerprint"] == "mixed"
    backends = [
        one["fingerprint"]["backend"] for one in tracker.json_artifact(record.run_id, "environment.json")["stretches"]
    ]
    assert backends == ["tensorflow", "jax"]

    plan = make_plan(study, data.digest, tracker)
    assert (plan.runs[0].status, plan.done_elsewhere) == ("done", 1)
    assert "other fingerprint: mixed, it was interrupted and went on elsewhere" in render_plan(study, plan)
    assert make_plan(study, data.digest, tracker, same_fingerprint=True).counts["new"] == 1
    shown = subprocess.run([sys.executable, "-m", "asc_study", "leaderboard", "cut"], capture_output=True, text=True)
    assert "^ computed by different back ends" in shown.stdout
