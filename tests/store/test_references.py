import pytest

from asc_study.base.errors import InputError
from asc_study.store.references import find_runs
from asc_study.systems.fusions import fuse_runs, log_fusion


@pytest.fixture
def runs(log_run, make_table):
    return {
        (row, seed): log_run(row, {"test": make_table(seed, clips=20)}, seed=seed)
        for row in ("plain", "mixup")
        for seed in (0, 1)
    }


def ids(tracker, reference: str) -> list[str]:
    return [record.run_id for record in find_runs(tracker, reference)]


def test_runs_are_found_by_row_seed_pattern_and_id(tracker, runs):
    assert ids(tracker, "s/plain") == [runs["plain", 0], runs["plain", 1]]
    assert ids(tracker, "s/plain@1") == [runs["plain", 1]]
    assert ids(tracker, runs["mixup", 0]) == [runs["mixup", 0]]
    assert ids(tracker, "s/m*") == [runs["mixup", 0], runs["mixup", 1]]
    assert len(ids(tracker, "s/*")) == 4


def test_the_newest_combination_of_a_name_counts(tracker, runs, log_run, make_table):
    record = find_runs(tracker, "s/plain@0")[0]
    tags = dict(record.tags) | {"asc.combination": "e" * 64, "asc.signature": "f" * 64}
    newer = tracker.create_run("s", "plain seed 0", tags, {})
    tracker.finish(newer)
    assert ids(tracker, "s/plain") == [newer]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("plain", "'plain' names no run: write STUDY/ROW"),
        ("t/plain", "study 't' of 't/plain' has no finished runs"),
        ("s/plian", "study 's' has no finished row 'plian': did you mean 'plain'"),
        ("s/plain@7", "row 'plain' of study 's' has no finished seed 7: known: 0, 1"),
        ("0" * 32, "there is no run 0000"),
        ("s/x*", r"no finished row 'x\*'"),
    ],
)
def test_what_names_no_run(tracker, runs, reference, message):
    with pytest.raises(InputError, match=message):
        find_runs(tracker, reference)


def test_a_run_of_another_kind_is_no_system(tracker, runs):
    parent = tracker.create_run("s", "launch", {"asc.kind": "study"}, {})
    with pytest.raises(InputError, match="must be a finished system, got .* of kind study with status RUNNING"):
        find_runs(tracker, parent)


def test_several_combined_systems_of_one_name_are_told_apart_as_the_leaderboard_does(tracker, log_run, make_table):
    for i in range(3):
        log_run(f"row{i}", {"test": make_table(i, clips=40)})
    paper = {"fusion": "average", "join": "product", "exponent": "1"}
    first = log_fusion(tracker, "s", "mean", fuse_runs(tracker, ["s/row0", "s/row1"], [], **paper))
    log_fusion(tracker, "s", "mean", fuse_runs(tracker, ["s/row0", "s/row2"], [], **paper))
    with pytest.raises(InputError, match="'s/mean' stands for 2 systems of that name: write one of 's/mean \\["):
        find_runs(tracker, "s/mean")
    digits = tracker.run(first.run_id).tags["asc.combination"][:10]
    assert ids(tracker, f"s/mean [{digits}]") == [first.run_id]
