import numpy as np
import pytest

from asc_study.base.metric_table import BY_NAME
from asc_study.base.taxonomy import SCENES
from asc_study.settings.ensemble_rows import EnsembleRow, SelectOptions, read_ensembles
from asc_study.store.stale import members_of, stale_reasons
from asc_study.study.leaderboard import leaderboard
from asc_study.systems.rows import make_ensembles, stale_ensembles

ROWS = (
    EnsembleRow(name="chosen", fine=["a", "b"], select=SelectOptions(max_members=2)),
    EnsembleRow(name="two-stage", fine=["chosen"], coarse=["three"]),
)


@pytest.fixture
def finished(log_run, make_table):
    """Two seeds of two ten-class rows; the three-class row of seed 1 is missing."""
    runs = {}
    for seed in (0, 1):
        for i, row in enumerate(("a", "b")):
            tables = {split: make_table(10 * seed + i, split=split) for split in ("validation", "test")}
            runs[row, seed] = log_run(row, tables, seed=seed)
    coarse = {split: make_table(5, skill=3, split=split, task="three_class") for split in ("validation", "test")}
    runs["three", 0] = log_run("three", coarse, task="three_class")
    return runs


def test_ensembles_are_made_for_each_seed_once(tracker, finished):
    said = []
    outcomes = make_ensembles(tracker, "s", ROWS, ROWS, [0, 1], finished, said.append).outcomes
    assert [(o.name, o.seed, o.status) for o in outcomes] == [
        ("chosen", 0, "done"),
        ("two-stage", 0, "done"),
        ("chosen", 1, "done"),
        ("two-stage", 1, "waits"),
    ]
    assert said[0].startswith("ensemble chosen seed 0: A ")
    assert said[3] == "ensemble two-stage seed 1: waits: not finished: three"
    board = leaderboard(tracker, "s").set_index("row")
    assert board.loc["chosen", "seeds"] == 2
    assert board.loc["two-stage", "seeds"] == 1
    again = make_ensembles(tracker, "s", ROWS, ROWS, [0, 1], finished, said.append).outcomes
    assert [(o.name, o.seed, o.status) for o in again] == [("two-stage", 1, "waits")]


def test_an_ensemble_that_is_wanted_alone_brings_its_parts(tracker, finished):
    outcomes = make_ensembles(tracker, "s", ROWS, ROWS[1:], [0], finished, lambda line: None).outcomes
    assert [o.name for o in outcomes] == ["chosen", "two-stage"]


def test_parts_without_predictions_are_waited_for(tracker, log_run, make_table):
    runs = {("a", 0): log_run("a", {"test": make_table(0)}), ("b", 0): log_run("b", {})}
    row = EnsembleRow(name="mean", fine=["a", "b"])
    (outcome,) = make_ensembles(tracker, "s", [row], [row], [0], runs, lambda line: None).outcomes
    assert (outcome.status, outcome.reason) == (
        "waits",
        "no predictions: b; score a data set with them, `asc-study score`",
    )


def test_what_does_not_go_together_fails_with_its_reason(tracker, log_run, make_table):
    runs = {("a", 0): log_run("a", {"test": make_table(0)}), ("b", 0): log_run("b", {"test": make_table(1, clips=50)})}
    row = EnsembleRow(name="mean", fine=["a", "b"])
    (outcome,) = make_ensembles(tracker, "s", [row], [row], [0], runs, lambda line: None).outcomes
    assert outcome.status == "failed"
    assert "must have predicted the same clips" in outcome.reason


def test_a_part_that_is_gone_fails_that_ensemble_alone(tracker, finished):
    rows = (EnsembleRow(name="broken", fine=["gone", "a"]), *ROWS)
    said = []
    outcomes = make_ensembles(tracker, "s", rows, rows, [0], finished | {("gone", 0): "0" * 32}, said.append).outcomes
    assert [(o.name, o.status) for o in outcomes] == [("broken", "failed"), ("chosen", "done"), ("two-stage", "done")]
    assert "was deleted" in outcomes[0].reason


def made(tracker, finished, rows=ROWS):
    return make_ensembles(tracker, "s", rows, rows, [0], finished, lambda line: None).outcomes


def reasons(tracker, finished, rows=ROWS) -> dict[str, str]:
    ids: dict[str, set[str]] = {}
    for (row, _), run_id in finished.items():
        ids.setdefault(row, set()).add(run_id)
    return {record.label: why for record, why in stale_ensembles(tracker, "s", rows, [0], ids)}


def test_a_deleted_member_leaves_nothing_that_passes_for_current(tracker, finished, log_run, make_table):
    made(tracker, finished)
    assert reasons(tracker, finished) == {}
    old = finished["a", 0]
    tracker.client.delete_run(old)
    left = {key: run_id for key, run_id in finished.items() if key != ("a", 0)}
    assert reasons(tracker, left) == {
        "chosen seed 0": f"its member {old} was deleted",
        "two-stage seed 0": f"its member chosen seed 0 is stale: its member {old} was deleted",
    }
    # trained again it has the same signature, so that the ensemble's identity is the same too
    now = left | {("a", 0): log_run("a", {s: make_table(0, split=s) for s in ("validation", "test")}, seed=0)}
    assert [(o.name, o.status) for o in made(tracker, now)] == [("chosen", "done"), ("two-stage", "done")]
    assert reasons(tracker, now) == {}
    assert made(tracker, now) == []


def test_a_replaced_member_makes_its_ensembles_stale(tracker, finished, log_run, make_table):
    made(tracker, finished)
    run_id = log_run("a", {s: make_table(70, split=s) for s in ("validation", "test")}, seed=0)
    tracker.set_tags(run_id, {"asc.signature": "f" * 64, "asc.combination": "e" * 64})
    records = tracker.runs("s")
    labels = {record.run_id: record.label for record in records}
    named = {labels[key]: why for key, why in stale_reasons(tracker, records).items()}
    assert named["chosen seed 0"] == "its member a seed 0 was replaced by a newer run of that name"
    assert set(named) == {"chosen seed 0", "two-stage seed 0"}
    assert set(reasons(tracker, finished | {("a", 0): run_id})) == {"chosen seed 0", "two-stage seed 0"}
    assert reasons(tracker, finished) == {}  # the study went back to the older settings


def test_an_ensemble_of_other_settings_is_stale_until_it_is_made_anew(tracker, finished):
    greedy = (ROWS[0].model_copy(update={"select": SelectOptions(method="greedy", max_members=2)}),)
    made(tracker, finished, greedy)
    assert reasons(tracker, finished, greedy) == {}
    assert reasons(tracker, finished, ROWS[:1]) == {
        "chosen seed 0": "it was made by other settings, or of other runs, than the study has now"
    }
    assert [(o.name, o.status) for o in made(tracker, finished, ROWS[:1])] == [("chosen", "done")]
    assert reasons(tracker, finished, ROWS[:1]) == {}


def test_a_tag_of_members_that_was_changed_by_hand_is_no_list_of_members(tracker, finished):
    made(tracker, finished)
    (record,) = tracker.runs("s", kind="ensemble")
    for text in ("[", "7", '{"a": 1}', "[3]"):
        tracker.set_tags(record.run_id, {"asc.members": text})
        assert members_of(tracker.run(record.run_id)) == []
    assert stale_reasons(tracker, tracker.runs("s")) == {}


def test_an_ensemble_renamed_in_the_study_file_is_renamed_in_the_store(tracker, finished):
    make_ensembles(tracker, "s", ROWS[:1], ROWS[:1], [0], finished, lambda line: None)
    renamed = (ROWS[0].model_copy(update={"name": "better"}),)
    assert make_ensembles(tracker, "s", renamed, renamed, [0], finished, lambda line: None).outcomes == []
    assert [r.tags["asc.row"] for r in tracker.runs("s", kind="ensemble")] == ["better"]


def by_device(**devices: str) -> list[EnsembleRow]:
    raw = [
        {"name": "routed", "general": "a", "devices": devices},
        {"name": "with-b", "fine": ["routed", "b"]},
    ]
    return read_ensembles(raw, {"a": "ten_class", "b": "ten_class"}, where="s.yaml")


def test_a_system_by_device_is_made_once_a_seed_and_costs_what_its_largest_member_does(tracker, finished):
    for (row, _), run_id in finished.items():
        tracker.log_metrics(run_id, {"cost/parameters": {"a": 100.0, "b": 70.0, "three": 9.0}[row]})
    rows = by_device(s1="b", s2="b")
    made(tracker, finished, rows)
    assert made(tracker, finished, rows) == []
    record, above = (next(r for r in tracker.runs("s") if r.tags["asc.row"] == name) for name in ("routed", "with-b"))
    assert (record.tags["asc.kind"], record.tags["asc.system"]) == ("fusion", "by device of 2")
    assert record.metrics["cost/parameters"] == 100
    assert "cost/parameters" not in above.metrics
    assert record.tags["asc.change_against"] == "a seed 0, which hears devices without a model of their own"
    tables = [tracker.predictions(run)["test"] for run in (finished["a", 0], finished["b", 0], record.run_id)]
    general, own, routed = (table.set_index("clip_id") for table in tables)
    heard = general["device"].isin(["s1", "s2"])
    assert 0 < heard.sum() < len(heard)
    expected = np.where(heard.to_numpy()[:, None], own[list(SCENES)], general[list(SCENES)])
    np.testing.assert_allclose(routed.loc[general.index, list(SCENES)], expected, atol=1e-6)
    board = leaderboard(tracker, "s").set_index("row")
    metrics = tracker.run(finished["b", 0]).metrics
    assert board.loc["routed", "device_acc_s1"] == pytest.approx(100 * metrics[BY_NAME["device_acc_s1"].test_name])
    assert board.loc["routed", "seeds"] == 1


def test_a_system_by_device_is_stale_when_a_member_or_a_device_is_another(tracker, finished, log_run, make_table):
    made(tracker, finished, by_device(s1="b"))
    assert reasons(tracker, finished, by_device(s1="b")) == {}
    other = reasons(tracker, finished, by_device(s1="b", s2="b"))
    assert other["routed seed 0"] == "it was made by other settings, or of other runs, than the study has now"
    run_id = log_run("b", {s: make_table(70, split=s) for s in ("validation", "test")}, seed=0)
    tracker.set_tags(run_id, {"asc.signature": "f" * 64, "asc.combination": "e" * 64})
    assert set(reasons(tracker, finished | {("b", 0): run_id}, by_device(s1="b"))) == {"routed seed 0", "with-b seed 0"}
