import math

import pytest

from asc_study.base.errors import InputError
from asc_study.study.leaderboard import leaderboard
from asc_study.study.leaderboard_forms import WIDTH, render


@pytest.fixture
def tested(log_run, make_table):
    """A plain row of two seeds, one far better, one that is about as good as that, of one seed each."""
    for seed in (0, 1):
        log_run("plain", {"test": make_table(seed, skill=0.5)}, seed=seed)
    log_run("good", {"test": make_table(7, skill=2.5)})
    log_run("alike", {"test": make_table(8, skill=2.4)})


def test_a_single_seed_has_the_interval_that_it_logged_and_several_one_over_locations_and_seeds(tracker, tested):
    board = leaderboard(tracker, "s").set_index("row")
    logged = tracker.runs("s")[0].metrics
    assert board.loc["alike", "acc_avg_lo"] == pytest.approx(100 * logged["test/acc_avg_lo"])
    assert board.loc["alike", "acc_avg_hi"] == pytest.approx(100 * logged["test/acc_avg_hi"])
    plain = board.loc["plain"]
    assert plain["acc_avg_lo"] < plain["acc_avg"] < plain["acc_avg_hi"]
    half = (board.loc["alike", "acc_avg_hi"] - board.loc["alike", "acc_avg_lo"]) / 2
    assert f"{board.loc['alike', 'acc_avg']:.1f} ±{half:.1f}~" in render(board.reset_index(), "s", "markdown")


def test_the_best_and_what_is_not_different_from_it_are_marked(tracker, tested):
    board = leaderboard(tracker, "s").set_index("row")
    ranks = board["acc_avg_rank"].to_dict()
    best = board["acc_avg"].idxmax()
    assert ranks == {"plain": "", "good": "even", "alike": "even"} | {best: "best"}
    shown = board.reset_index()
    figure = f"{board.loc[best, 'acc_avg']:.1f}"
    assert f"**{figure}** ±" in render(shown, "s", "markdown")
    assert rf"\textbf{{{figure}}} $\pm$" in render(shown, "s", "latex")
    text = render(shown, "s")
    assert "*: best of its column; ~: not significantly different from the best" in text
    assert text.count("~") >= 2


def test_rows_are_compared_with_the_reference_on_the_same_clips(tracker, tested):
    first = leaderboard(tracker, "s").set_index("row")
    assert first.loc[["good", "alike"], "reference"].tolist() == ["plain", "plain"]
    change = first.loc["good", "acc_avg"] - first.loc["plain", "acc_avg"]
    assert first.loc["good", "acc_avg_change"] == pytest.approx(change)
    assert first.loc["good", "acc_avg_change_lo"] > 0
    assert first.loc["good", "acc_avg_change_significant"]
    assert first.loc["good", "log_loss_change"] < 0
    other = leaderboard(tracker, "s", reference="good").set_index("row")
    assert other.loc["plain", "acc_avg_change"] == pytest.approx(-change)
    assert not other.loc["alike", "acc_avg_change_significant"]
    text = render(other.reset_index(), "s")
    assert "difference: in Avg acc. to good, paired; !: more than noise" in text
    with pytest.raises(InputError, match="the reference must be a row of the table, got 'god': did you mean 'good'"):
        leaderboard(tracker, "s", reference="god")


def test_of_several_names_the_first_that_was_tested_on_the_same_clips_is_the_reference(tracker, tested):
    board = leaderboard(tracker, "s", reference=["missing", "good", "plain"]).set_index("row")
    assert board["reference"].dropna().unique().tolist() == ["good"]
    assert leaderboard(tracker, "s", reference=["missing"]).get("reference") is None


def test_the_first_trained_row_is_the_reference_not_the_statistics_baseline(tracker, tested, log_run, make_table):
    log_run("baseline", {"test": make_table(9, skill=0.3)}, kind="baseline")
    board = leaderboard(tracker, "s", order=["baseline", "plain", "good"]).set_index("row")
    assert board.index[0] == "baseline"
    assert set(board["reference"].dropna()) == {"plain"}
    assert board.loc["baseline", "reference"] == "plain"


def test_without_a_trained_row_the_first_is_the_reference(tracker, log_run, make_table):
    for place, name in enumerate(("first", "second")):
        log_run(name, {"test": make_table(place)}, kind="imported")
    assert set(leaderboard(tracker, "s", order=["second"])["reference"].dropna()) == {"second"}


def test_rows_of_other_clips_are_not_compared(tracker, tested, log_run, make_table):
    log_run("other", {"test": make_table(3, clips=90)}, dataset_digest="e" * 64)
    board = leaderboard(tracker, "s").set_index("row")
    assert math.isnan(board.loc["other", "acc_avg_change"])
    assert not isinstance(board.loc["other", "acc_avg_rank"], str)


def test_csv_holds_every_metric_interval_setting_that_differs_seeds_and_hash(tracker, tested, log_run, make_table):
    log_run("masks", {split: make_table(3, split=split) for split in ("validation", "test")})
    tracker.client.log_param(tracker.runs("s")[0].run_id, "training.epochs", 9)
    lines = render(leaderboard(tracker, "s"), "s", "csv").splitlines()
    board = leaderboard(tracker, "s").set_index("row")
    assert set(lines[0].split(",")) == {"row", *board.columns}
    wanted = {"hash", "seed_list", "acc_avg_lo", "acc_macro", "validation/acc_avg", "settings.training.epochs"}
    assert wanted <= set(board.columns)
    assert "settings.architecture" not in board
    assert board.loc["masks", "settings.training.epochs"] == "9"
    assert board.loc["plain", "seed_list"] == "0 1"
    runs = {record.seed: record.run_id for record in tracker.runs("s") if record.tags["asc.row"] == "plain"}
    assert board.loc["plain", "run_ids"] == f"{runs['0']} {runs['1']}"
    assert board.loc["plain", "hash"] == board.loc["plain", "combination"][:10]


def test_a_mark_that_a_run_carries_is_shown(tracker, log_run, make_table):
    log_run("dull", {"test": make_table(0)}, mark="collapsed")
    text = render(leaderboard(tracker, "s"), "s")
    assert "Mark" in text.splitlines()[1]
    assert "collapsed" in text


def test_names_are_broken_where_the_table_would_be_too_wide(tracker, log_run, make_table):
    for number in range(3):
        log_run(f"{number}-" + "-".join(["a_rather-long"] * 7), {"test": make_table(number)})
    board = leaderboard(tracker, "s")
    lines = render(board, "s").splitlines()
    assert max(map(len, lines)) <= WIDTH
    end = next(number for number, line in enumerate(lines) if line.startswith("1-"))
    written = "".join(line.split(" ")[0] for line in lines[3:end])
    assert written == board["row"][0]
    column = lines[1].index("Avg acc.")  # halves of intervals stand below their figures
    assert lines[4][column : column + 8].strip(" ~*").startswith("±")


def test_latex_is_booktabs_and_escaped(tracker, log_run, make_table):
    log_run("a_b & 5%", {"test": make_table(0)})
    text = render(leaderboard(tracker, "s"), "s", "latex")
    assert r"a\_b \& 5\% & fcnn" in text
    for line in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{llrrrrrrr"):
        assert line in text
    body = [line for line in text.splitlines() if " & " in line]
    assert len({line.count(" & ") - line.count(r"\&") for line in body}) == 1


def test_a_table_with_everything_fits(tracker, tested, log_run, make_table):
    log_run(
        "baseline-three",
        {"test": make_table(9, task="three_class")},
        task="three_class",
        mark="not surely above baseline",
    )
    log_run("plain", {"test": make_table(3)}, combination="e" * 64, signature="f" * 64)
    lines = render(leaderboard(tracker, "s", orphans=True), "s").splitlines()
    assert lines[1].split()[:4] == ["Row", "System", "Mark", "Classes"]
    assert max(map(len, lines)) <= WIDTH
