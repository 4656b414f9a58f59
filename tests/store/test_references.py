import json
import re

import pytest

from asc_study.base.errors import InputError
from asc_study.store.references import current_rows, find_each, find_runs
from asc_study.systems.fusion_log import log_fusion
from asc_study.systems.fusions import fuse_runs


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


def test_a_study_is_read_once_for_all_references_to_it(tracker, runs, monkeypatch):
    read, asked = type(tracker).runs, []
    monkeypatch.setattr(type(tracker), "runs", lambda self, study, **of: asked.append(study) or read(self, study, **of))
    found = find_each(tracker, ["s/plain", "s/mixup@1", runs["plain", 1]])
    assert [[record.run_id for record in records] for records in found] == [
        [runs["plain", 0], runs["plain", 1]],
        [runs["mixup", 1]],
        [runs["plain", 1]],
    ]
    assert asked == ["s"]


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


@pytest.fixture
def redefined(tracker, log_run, make_table):
    """A study whose newest launch has another ``plain`` than the runs before, and no ``mixup``."""
    for row, combination, signature in (("plain", "a", "1"), ("plain", "b", "2"), ("mixup", "c", "3")):
        log_run(row, {"test": make_table(0, clips=20)}, combination=combination * 64, signature=signature * 64)
    launch = tracker.create_run("s", "launch", {"asc.kind": "study"}, {})
    with tracker.artifacts(launch) as folder:
        rows = {"rows": ["simple", "new"], "combinations": {"simple": "a" * 64, "new": "d" * 64}, "published": False}
        (folder / "rows.json").write_text(json.dumps(rows))
    tracker.finish(launch)


def test_a_bare_name_means_what_the_newest_launch_defines(tracker, redefined):
    runs = current_rows(tracker, "s")
    assert [(r.tags["asc.row"], r.tags["asc.combination"][0]) for r in runs.current] == [("simple", "a")]
    assert {(r.tags["asc.row"], r.tags["asc.combination"][0]) for r in runs.orphans} == {("plain", "b"), ("mixup", "c")}
    assert find_runs(tracker, "s/simple")[0].tags["asc.combination"] == "a" * 64
    assert [r.tags["asc.row"] for r in find_runs(tracker, "s/*")] == ["simple"]


def test_what_only_an_orphan_is_called_is_refused_and_named(tracker, redefined):
    orphan = f"s/plain [{'b' * 10}]"
    with pytest.raises(InputError, match=re.escape(f"run the study, or name the orphan '{orphan}'")):
        find_runs(tracker, "s/plain")
    assert find_runs(tracker, orphan)[0].tags["asc.combination"] == "b" * 64
    assert find_runs(tracker, orphan + "@0")[0].tags["asc.combination"] == "b" * 64


def test_that_others_of_the_name_exist_is_said_in_one_line_on_stderr(tracker, runs, log_run, make_table, capsys):
    find_runs(tracker, "s/plain")
    assert capsys.readouterr().err == ""
    log_run("plain", {"test": make_table(0, clips=20)}, combination="e" * 64, signature="f" * 64)
    older = find_runs(tracker, "s/mixup")[0]
    capsys.readouterr()
    find_runs(tracker, "s/plain@0")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("note: s/plain is eeeeeeeeee, its newest definition; orphaned: 's/plain [")
    assert said.err.count("\n") == 1
    assert older.tags["asc.row"] == "mixup"


def test_what_is_made_of_orphans_or_deleted_runs_is_no_longer_current(tracker, log_run, make_table):
    ids = [log_run(f"row{i}", {"test": make_table(i, clips=40)}) for i in range(3)]
    paper = {"fusion": "average", "join": "product", "exponent": "1"}
    log_fusion(tracker, "s", "mean", fuse_runs(tracker, ["s/row0", "s/row1"], [], **paper))
    log_fusion(tracker, "s", "of-mean", fuse_runs(tracker, ["s/mean", "s/row2"], [], **paper))
    assert current_rows(tracker, "s").orphans == ()
    log_run("row1", {"test": make_table(7, clips=40)}, combination="e" * 64, signature="f" * 64)
    stale = {record.tags["asc.row"] for record in current_rows(tracker, "s").orphans}
    assert stale == {"row1", "mean", "of-mean"}
    tracker.client.delete_run(ids[2])
    assert find_runs(tracker, "s/row0")[0].run_id == ids[0]
    with pytest.raises(InputError, match="row 'of-mean' of study 's' has no finished run as the study defines it now"):
        find_runs(tracker, "s/of-mean")


def test_a_member_that_was_deleted_makes_the_ensemble_new(tracker, log_run, make_table):
    ids = [log_run(f"row{i}", {"test": make_table(i, clips=40)}) for i in range(2)]
    paper = {"fusion": "average", "join": "product", "exponent": "1"}
    first = log_fusion(tracker, "s", "mean", fuse_runs(tracker, ["s/row0", "s/row1"], [], **paper))
    tracker.client.delete_run(ids[1])
    log_run("row1", {"test": make_table(1, clips=40)})  # trained again: the same signature
    again = log_fusion(tracker, "s", "mean", fuse_runs(tracker, ["s/row0", "s/row1"], [], **paper))
    assert not again.existed
    assert again.run_id != first.run_id
    assert find_runs(tracker, "s/mean")[0].run_id == again.run_id
