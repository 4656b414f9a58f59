import json
import math

import pytest

from asc_study.base.errors import InputError
from asc_study.settings.published import parse_published
from asc_study.store.tracking import Tracker
from asc_study.study.leaderboard import leaderboard, sorted_board, study_leaderboard
from asc_study.study.leaderboard_forms import render


def log(tracker: Tracker, row: str, seed: int, accuracy: float, *, combination: str, status: str = "FINISHED", **tags):
    shared = {
        "asc.kind": "train",
        "asc.study": "s",
        "asc.task": "ten_class",
        "asc.dataset": "sim",
        "asc.dataset_digest": "d" * 64,
    }
    run_tags = shared | {"asc.row": row, "asc.seed": str(seed), "asc.combination": combination} | tags
    params = {"architecture": "fcnn", "batch_augmentation.mixup.alpha": 0.4, "batch_augmentation.random_crop.frames": 9}
    run_id = tracker.create_run("s", f"{row} {seed}", run_tags, params)
    metrics = {"test/acc_A": accuracy, "test/acc_avg": accuracy - 0.1, "test/acc_s4-s6": 0.5, "test/log_loss": 1.25}
    tracker.log_metrics(run_id, metrics)
    tracker.finish(run_id, status)


@pytest.fixture
def tracker(tracker: Tracker) -> Tracker:
    log(tracker, "two", 0, 0.70, combination="c2")
    log(tracker, "one", 0, 0.80, combination="c1")
    log(tracker, "one", 1, 0.84, combination="c1")
    log(tracker, "one", 2, 0.10, combination="c1", status="FAILED")
    return tracker


def test_repeats_are_averaged_with_their_sample_deviation(tracker):
    board = leaderboard(tracker, "s", order=["one", "two", "three"]).set_index("row")
    assert list(board.index) == ["one", "two", "three"]
    assert board.loc["one", "seeds"] == 2
    assert board.loc["one", "acc_A"] == pytest.approx(82.0)
    assert board.loc["one", "acc_A_sd"] == pytest.approx(math.sqrt(8))  # 80 and 84: variance (4 + 4) / 1
    assert math.isnan(board.loc["two", "acc_A_sd"])
    assert board.loc["one", "augmentation"] == "mixup + random_crop"
    assert board.loc["three", "seeds"] == 0


def test_text_has_the_columns_of_table_1(tracker):
    text = render(leaderboard(tracker, "s", order=["one", "two", "three"]), "s")
    header, line, *_ = text.splitlines()[1:]
    assert header.split()[:3] == ["Row", "System", "Seeds"]
    assert header.split()[3:] == ["A", "s4-s6", "log", "loss", "Avg", "acc."]  # what no run has is left out
    assert set(line) == {"-", " "}
    one = text.splitlines()[3]
    assert "82.0" in one
    assert text.splitlines()[5].split() == ["three", "-", "0", "-", "-", "-", "-"]


def test_another_data_set_is_told_apart(tracker):
    log(tracker, "one", 0, 0.60, combination="c9", **{"asc.dataset": "real", "asc.dataset_digest": "e" * 64})
    assert list(leaderboard(tracker, "s")["dataset"]) == ["sim", "real"]  # of "one" the newest counts
    text = render(leaderboard(tracker, "s", orphans=True), "s")
    assert "one [c9]" in text
    assert "real eeeeee" in text
    orphan = next(line for line in text.splitlines() if line.startswith("one [c1]"))
    assert orphan.split()[2:8] == ["fcnn:", "mixup", "+", "random_crop", "orphaned", "sim"]
    assert "sim dddddd" in text


def test_a_repeat_of_one_seed_counts_once(tracker):
    log(tracker, "two", 0, 0.90, combination="c2")
    board = leaderboard(tracker, "s").set_index("row")
    assert board.loc["two", "seeds"] == 1
    assert board.loc["two", "acc_A"] == pytest.approx(90.0)


def test_json_has_null_for_what_is_unknown(tracker):
    rows = json.loads(render(leaderboard(tracker, "s", order=["three"]), "s", "json"))["rows"]
    known = {"row": "three", "state": "current", "seeds": 0, "folded": False}
    assert rows[0] == known | {key: None for key in rows[0] if key not in known}
    assert {row["row"]: row["acc_BC"] for row in rows}["one"] is None


def test_unknown_study_is_empty(tracker):
    assert leaderboard(tracker, "nothing").empty


def test_published_figures_stand_beside_ours_and_alone(tracker):
    text = "row,source,acc_A,acc_avg\nzero,Paper 1,50,40\none,Paper 1,81.5,\n"
    published = parse_published(text, "p")
    board = leaderboard(tracker, "s", order=["one", "two"], published=published)
    assert list(board["row"]) == ["zero", "one", "two"]
    lines = render(board, "s").splitlines()
    assert lines[3].split() == ["zero", "published", "50.0", "-", "-", "40.0"]
    assert lines[4].split() == ["one", "fcnn:", "mixup", "+", "random_crop", "2", "82.0", "50.0", "1.25", "72.0"]
    assert lines[5].split() == ["published", "81.5", "-", "-", "-"]
    assert lines[-1] == "published: Paper 1"


def test_a_study_without_runs_is_refused_without_the_secret_of_the_server(tracker, monkeypatch):
    monkeypatch.setattr("asc_study.study.leaderboard.tracking_uri", lambda: "http://u:hunter2@127.0.0.1:5000")
    with pytest.raises(InputError, match=r"'x' has no finished runs in http://\*\*\*@127\.0\.0\.1:5000: run it"):
        study_leaderboard("x")


def test_sorting_puts_the_best_first_whatever_better_means(tracker):
    board = leaderboard(tracker, "s", order=["two", "three", "one"])
    assert list(board["row"]) == ["two", "three", "one"]
    assert list(sorted_board(board, "acc_A")["row"]) == ["one", "two", "three"]
    log(tracker, "low", 0, 0.2, combination="c3")
    tracker.log_metrics(tracker.runs("s")[0].run_id, {"test/log_loss": 0.5})
    assert sorted_board(leaderboard(tracker, "s"), "test/log_loss")["row"][0] == "low"
    with pytest.raises(InputError, match="--sort takes a metric of the table, got 'acc_X': did you mean 'acc_"):
        sorted_board(board, "acc_X")


def test_published_figures_of_deployed_systems_are_shown(tracker):
    text = "row,source,acc_avg,hdf5_mb,acc_quantised,quantised_kb\none,Paper 2,95.2,3.2,94.8,411\n"
    board = leaderboard(tracker, "s", order=["one"], published=parse_published(text, "p"))
    lines = render(board, "s").splitlines()
    assert "Quantised acc.  Quantised kB  HDF5 MB" in lines[1]
    assert lines[4].split() == ["published", "-", "-", "-", "95.2", "94.8", "411", "3.2"]


def test_seeds_that_hear_the_same_copies_are_told(tracker):
    assert "the same augmented copies" not in render(leaderboard(tracker, "s"), "s")
    for seed in (0, 1):
        tags = {"asc.kind": "train", "asc.study": "s", "asc.task": "ten_class", "asc.dataset_digest": "d" * 64}
        tags |= {"asc.row": "pitch", "asc.seed": str(seed), "asc.combination": "c9"}
        params = {"architecture": "fcnn", "waveform_augmentation.pitch_shift.copies": 1}
        run_id = tracker.create_run("s", f"pitch {seed}", tags, params)
        tracker.log_metrics(run_id, {"test/acc_avg": 0.5})
        tracker.finish(run_id)
    text = render(leaderboard(tracker, "s"), "s")
    assert "all seeds of pitch hear the same augmented copies: their spread leaves out that draw" in text
