"""The statistics baseline: its figures by hand, its run, and what does not train for it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.data.identified import identify
from asc_study.evaluation.predictions import check_predictions
from asc_study.features.store import FeatureStore
from asc_study.settings.study_file import load_study
from asc_study.store.references import find_runs
from asc_study.store.tracking import Tracker
from asc_study.study.baseline import baseline_identity, make_baselines, plan_baselines, statistics
from asc_study.study.leaderboard import leaderboard
from asc_study.study.leaderboard_forms import render
from asc_study.study.plan import make_plan, render_plan
from asc_study.study.run_study import run_study
from asc_study.systems.ensembles import gather_candidates
from asc_study.systems.marking import Marker

BASE = {"architecture": "tiny_network:TINY", "features": {"n_mels": 32}, "training": {"epochs": 1, "threads": 2}}


def write_study(**more) -> Path:
    path = Path("b.yaml")
    path.write_text(yaml.safe_dump({"study": "b", "base": BASE, "rows": [{"name": "net"}]} | more))
    return path


def test_the_statistics_are_mean_and_deviation_over_time():
    """One clip of two bands, four frames and one channel, stored in half precision."""
    clip = np.array([[[0.0], [1.0], [0.0], [1.0]], [[0.25], [0.25], [0.25], [0.25]]], np.float16)
    store = FeatureStore([clip[None]], [(0, 0)])
    np.testing.assert_allclose(statistics(store, np.array([0])), [[0.5, 0.25, 0.5, 0.0]])


def test_every_study_has_one_for_each_task_unless_it_says_no():
    rows = [{"name": "dev", "training.data": "development"}, {"name": "net"}, {"name": "t", "task": "three_class"}]
    study = load_study(write_study(rows=rows))
    assert study.names == ["baseline", "baseline-three-class", "dev", "net", "t"]
    assert [row.config.training.data for row in study.baselines] == ["train", "train"]
    assert study.only(["net"]).baselines == ()
    assert load_study(write_study(baseline=False)).baselines == ()
    with pytest.raises(
        InputError, match=r"b.yaml: 'baseline' is the name of the statistics baseline.*: rename the row"
    ):
        load_study(write_study(rows=[{"name": "baseline"}]))


def test_it_has_the_features_and_the_cut_of_the_first_row_and_no_augmentation():
    rows = [{"name": "net", "waveform_augmentation": {"noise": {}}, "features.n_mels": 16}]
    plain, noisy = (load_study(write_study(rows=[row])).baselines[0].config for row in ({"name": "net"}, *rows))
    same = load_study(write_study(rows=[{"name": "other", "training.epochs": 9}])).baselines[0].config
    signatures = [baseline_identity(config, "d").signature() for config in (plain, same, noisy)]
    assert signatures[0] == signatures[1] != signatures[2]
    assert baseline_identity(plain, "e").signature() != signatures[0]


def test_it_is_made_once_and_treated_as_any_row_but_is_no_candidate(simulated: Path, tracker: Tracker):
    study, data = load_study(write_study()), identify(simulated)
    assert "baseline" in render_plan(study, make_plan(study, data.digest, tracker))
    assert [one.status for one in plan_baselines(study, data.digest, tracker)] == ["new"]
    said: list[str] = []
    (made,) = make_baselines(tracker, study, data, 1, said.append)
    assert said[0].startswith("baseline: A ")
    assert made.to_dict()["seed"] is None
    assert make_baselines(tracker, study, data, 1, said.append) == []
    assert [one.status for one in plan_baselines(study, data.digest, tracker)] == ["done"]

    (record,) = find_runs(tracker, "b/baseline")
    assert record.tags["asc.kind"] == "baseline"
    assert record.tags["asc.dataset_digest"] == data.digest
    assert record.params["features.n_mels"] == "32"
    tables = tracker.predictions(record.run_id)
    assert set(tables) == {"validation", "test"}
    for table in tables.values():
        check_predictions(table)
    assert "<figure>" in tracker.artifact(record.run_id, "figures/summary.html").read_text()
    board = leaderboard(tracker, "b", order=study.names)
    assert board.loc[0, ["row", "architecture", "seeds"]].tolist() == ["baseline", "log-mel statistics", 1]
    with pytest.raises(InputError, match="study 'b' has 0"):
        gather_candidates(tracker, "b")


def test_it_does_not_start_a_back_end(simulated: Path):
    code = (
        "import sys; from pathlib import Path\n"
        "from asc_study.settings.study_file import load_study\nfrom asc_study.study.run_study import run_study\n"
        "from asc_study.data.identified import identify\n"
        f"run_study(load_study(Path('b.yaml')), identify(Path({str(simulated)!r})), only=['baseline'])\n"
        "print([name for name in ('tensorflow', 'jax', 'keras') if name in sys.modules])"
    )
    write_study(base={"features": {"n_mels": 32}})
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=280)
    assert ran.stdout.strip() == "[]"


def test_what_fails_is_told_and_hinders_nothing(simulated: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ValueError("no solution")

    monkeypatch.setattr("asc_study.study.baseline.fit_logistic", broken)
    said: list[str] = []
    (outcome,) = make_baselines(tracker, load_study(write_study()), identify(simulated), 1, said.append)
    assert (outcome.status, said) == ("failed", ["baseline: FAILED: ValueError: no solution"])


def run_of(tracker: Tracker, row: str) -> str:
    return next(record.run_id for record in tracker.runs("s") if record.tags["asc.row"] == row)


def test_systems_are_marked_against_it(tracker: Tracker, log_run, make_table):
    """Logged runs stand for trained ones; the baseline's kind is set by hand."""
    good, weak = make_table(1, skill=3.0), make_table(2, skill=1.5)
    chance = good.assign(**{name: float(name == "park") for name in good.columns[6:]})
    for row, table in (("good", good), ("weak", weak), ("chance", chance), ("baseline", weak)):
        run_id = log_run(row, {"test": table})
        if row == "baseline":
            tracker.set_tags(run_id, {"asc.kind": "baseline"})
    log_run("untested", {"validation": make_table(3, split="validation")})
    tracker.set_tags(
        run_of(tracker, "weak"), {"asc.mark": "of an earlier version", "asc.baseline": run_of(tracker, "baseline")}
    )
    Marker(tracker, "s").mark_all()
    marked = {record.tags["asc.row"]: record.tags.get("asc.mark") for record in tracker.runs("s")}
    assert marked == {
        "good": "none",
        "weak": "not surely above baseline",
        "chance": "collapsed",
        "baseline": "none",
        "untested": None,
    }
    board = leaderboard(tracker, "s").set_index("row")
    assert board.loc["chance", ["collapsed", "not_surely_above_baseline", "mark"]].tolist() == [
        True,
        False,
        "collapsed",
    ]
    assert board.loc["weak", "mark"] == "not surely above baseline"
    text = render(board.reset_index(), "s")
    assert "not surely above baseline: worse than the statistics of the row baseline, or ahead" in text
    assert "not surely above chance" not in text
    assert "Mark" not in render(board.loc[["good"]].reset_index(), "s")


@pytest.mark.slow
def test_a_launch_marks_what_learned_nothing(simulated: Path, tracker: Tracker):
    study, data = load_study(write_study(rows=[{"name": "net", "training.lr_max": 1.1e-5}])), identify(simulated)
    said: list[str] = []
    outcomes = run_study(study, data, say=said.append)
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert said[1].startswith("note (net): 1 epochs end inside a cycle")
    assert said[-2].startswith("baseline: A ")
    assert "COLLAPSED: answers with " in said[-1]
    (record,) = tracker.runs("b", kind="train")
    assert record.tags["asc.mark"] == "collapsed"
    assert record.tags["asc.baseline"] == tracker.runs("b", kind="baseline")[0].run_id
    (parent,) = tracker.runs("b", kind="study")
    assert json.loads(tracker.artifact(parent.run_id, "rows.json").read_text())["rows"] == ["baseline", "net"]
    assert pd.read_csv(tracker.artifact(parent.run_id, "leaderboard.csv"))["mark"].tolist()[1] == "collapsed"
    assert run_study(study, data) == []
