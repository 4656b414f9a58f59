import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENES
from asc_study.cli.systems import ensemble as cli_ensemble
from asc_study.ensemble.select import METHODS
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import read_predictions, write_predictions
from asc_study.settings.ensemble_rows import SelectOptions
from asc_study.store.references import find_runs
from asc_study.study.leaderboard import leaderboard
from asc_study.systems.ensemble_report import log_ensemble, render, to_dict
from asc_study.systems.ensembles import EnsembleOptions, choose, ensemble_identity, gather_candidates
from asc_study.systems.members import load_members


def test_an_ensemble_run_holds_members_path_overlap_predictions_and_figures(shared):
    members, notes = gather_candidates(shared, "s")
    assert [member.name for member in members] == ["a seed 0", "b seed 0", "c seed 0", "d seed 0"]
    chosen = choose(members, EnsembleOptions(), notes, show_test=True)
    assert chosen.basis == "validation"
    assert len(chosen.members) >= 2
    logged = log_ensemble(shared, "s", "mine", chosen)
    record = shared.run(logged.run_id)
    assert record.status == "FINISHED"
    assert record.tags["asc.kind"] == "ensemble"
    assert json.loads(record.tags["asc.members"]) == [member.record.run_id for member in chosen.members]
    assert all(member.record.run_id in record.tags["mlflow.note.content"] for member in chosen.members)
    # the test metrics are those of the plain mean of the members, computed here
    tables = [member.tables["test"].sort_values("clip_id") for member in chosen.members]
    mean = np.mean([table[list(SCENES)].to_numpy() for table in tables], axis=0)
    expected = evaluate(tables[0].assign(**dict(zip(SCENES, mean.T, strict=True))))
    for name, value in expected.items():
        assert record.metrics[name] == pytest.approx(value, abs=1e-6), name
    assert chosen.prefixes[-1]["test/acc_avg"] == pytest.approx(expected["test/acc_avg"])
    assert {"validation/temperature", "test/ece", "validation/acc_avg"} <= record.metrics.keys()
    assert record.tags["asc.test_shown"] == "true"
    steps = shared.client.get_metric_history(logged.run_id, "path/test_acc_avg")
    assert [step.value for step in steps] == [prefix["test/acc_avg"] for prefix in chosen.prefixes]
    assert len(read_predictions(shared.artifact(logged.run_id, "predictions/test.parquet"))) == 200
    path = pd.read_csv(shared.artifact(logged.run_id, "path.csv"))
    assert list(path["added"]) == [step.added for step in chosen.selection.path]
    assert list(path["low"].isna()) == [True] + [False] * (len(path) - 1)
    candidates = pd.read_csv(shared.artifact(logged.run_id, "candidates.csv"))
    assert set(candidates.loc[candidates["taken"], "name"]) == {member.name for member in chosen.members}
    overlap = pd.read_csv(shared.artifact(logged.run_id, "overlap.csv"))
    assert len(overlap) == 6
    page = shared.artifact(logged.run_id, "figures/summary.html").read_text()
    assert "Equal decisions" in page
    assert "Why these members?" in page
    (stretch,) = shared.json_artifact(logged.run_id, "environment.json")["stretches"]
    assert stretch["versions"]["scikit-learn"]
    again = log_ensemble(shared, "s", "mine", chosen)
    assert (again.run_id, again.existed) == (logged.run_id, True)
    board = leaderboard(shared, "s").set_index("row")
    assert board.loc["mine", "architecture"] == f"average of {len(chosen.members)}"


def test_the_path_is_printed_with_the_test_accuracy_of_every_prefix(shared):
    members, notes = gather_candidates(shared, "s")
    chosen = choose(members, EnsembleOptions(metric="acc_avg"), notes, show_test=True)
    text = render(chosen, "s")
    assert "overlap, 4 candidates, acc_avg on validation (200 clips of 20 locations)" in text
    lines = text.splitlines()[4 : 4 + len(chosen.prefixes)]
    for number, (line, prefix) in enumerate(zip(lines, chosen.prefixes, strict=True), 1):
        assert line.split()[0] == str(number)
        assert line.split()[-1] == f"{100 * prefix['test/acc_avg']:.1f}"
    assert to_dict(chosen)["path"][0]["overlap"] is None


def test_no_test_figure_is_seen_while_choosing_unless_it_is_asked_for(tracker, log_run, make_table):
    for i in range(3):
        log_run(f"row{i}", {split: make_table(i, split=split) for split in ("validation", "test")})
    members, notes = gather_candidates(tracker, "s")
    chosen = choose(members, EnsembleOptions(), notes)
    logged = log_ensemble(tracker, "s", "e", chosen)
    assert "test:" not in render(chosen, "s")
    assert not any(name.startswith("test") for step in to_dict(chosen)["path"] for name in step)
    assert not any(name.startswith("path/test") for name in tracker.run(logged.run_id).metrics)
    assert "asc.test_shown" not in tracker.run(logged.run_id).tags
    assert "test/acc_avg" in logged.metrics  # the result is measured all the same
    again = log_ensemble(tracker, "s", "e", choose(members, EnsembleOptions(), notes, show_test=True))
    assert (again.run_id, again.existed) == (logged.run_id, True)
    assert tracker.run(logged.run_id).tags["asc.test_shown"] == "true"  # whoever looked at it, looked at this run


def test_what_decides_and_what_is_noise_is_said(shared):
    members, notes = gather_candidates(shared, "s")
    chosen = choose(members, EnsembleOptions(metric="acc_avg"), notes)
    lines = render(chosen, "s").splitlines()
    noise = f"{100 * chosen.selection.noise:.1f} points"
    assert lines[1] == f"differences of acc_avg below about {noise} between two systems are noise (95 %)"
    step = chosen.selection.path[1]
    change = step.score - chosen.selection.path[0].score
    assert f"{100 * change:+.1f} [{100 * step.low:+.1f}, {100 * step.high:+.1f}]" in lines[5]
    assert lines[5].split()[-2:] == [f"{100 * step.overlap:.1f}", f"{100 * step.both_wrong:.1f}"]


def test_selection_by_overlap_is_the_default_everywhere():
    options = {option.name: option for option in cli_ensemble.params}
    assert options["method"].default == SelectOptions().method == EnsembleOptions().method == "overlap"
    assert SelectOptions().max_overlap is EnsembleOptions().max_overlap is None
    assert tuple(options["method"].type.choices) == tuple(METHODS)


def test_named_methods_keep_the_identity_of_earlier_versions(shared):
    members, _ = gather_candidates(shared, "s")
    records = [member.record for member in members]
    earlier = {"metric": "acc_device_macro", "max_members": 5, "max_overlap": 0.8, "fusion": "average"}
    for method in ("greedy", "exhaustive", "caruana"):
        assert ensemble_identity(EnsembleOptions(method), records).settings == {"method": method, **earlier}
    bounded = EnsembleOptions("overlap", max_overlap=0.8)
    assert ensemble_identity(bounded, records).settings == {"method": "overlap", **earlier}
    assert ensemble_identity(EnsembleOptions(), records).settings["max_overlap"] is None


def test_permuted_test_labels_choose_the_same(tracker, log_run, make_table):
    chosen = []
    for study, shift in (("s", 0), ("t", 3)):
        for i in range(4):
            test = make_table(i)
            test = test.assign(scene=np.roll(test["scene"], shift))
            log_run(f"row{i}", {"validation": make_table(i, split="validation"), "test": test}, study=study)
        members, _ = gather_candidates(tracker, study)
        chosen.append(choose(members, EnsembleOptions(fusion="weighted")))
    assert chosen[0].selection.path[1:] == chosen[1].selection.path[1:]
    assert chosen[0].fusion == chosen[1].fusion
    np.testing.assert_array_equal(
        chosen[0].tables["test"][list(SCENES)].to_numpy(), chosen[1].tables["test"][list(SCENES)].to_numpy()
    )


def test_a_system_without_validation_is_left_out_beside_others_that_have_it(tracker, log_run, make_table):
    for i in range(4):
        splits = ("test",) if i == 2 else ("validation", "test")
        log_run(f"row{i}", {split: make_table(i, split=split) for split in splits})
    members, notes = gather_candidates(tracker, "s")
    assert [member.name for member in members] == ["row0 seed 0", "row1 seed 0", "row3 seed 0"]
    assert notes == ["left out: no validation predictions: row2 seed 0 (name the candidates with --run)"]
    named, _ = gather_candidates(tracker, "s", references=["s/*"])
    assert len(named) == 4
    assert choose(named, EnsembleOptions()).basis == "cross-fitted"


def test_without_validation_the_choice_is_cross_fitted(tracker, log_run, make_table):
    for i in range(4):
        log_run(f"row{i}", {"test": make_table(i)})
    chosen = choose(gather_candidates(tracker, "s")[0], EnsembleOptions(), show_test=True)
    assert chosen.basis == "cross-fitted"
    assert "cross-fitted over test" in render(chosen, "s")
    logged = log_ensemble(tracker, "s", "e", chosen)
    assert tracker.run(logged.run_id).tags["asc.basis"] == "cross-fitted"
    assert "validation/acc_avg" not in logged.metrics
    shown = render(chosen, "s").splitlines()
    logged_accuracy = f"{100 * logged.metrics['test/acc_avg']:.1f}"
    lines = [line for line in shown if line.split() and line.split()[-1] == logged_accuracy]
    assert lines  # the last prefix, or a line of its own where the folds' paths are longer


def test_different_validation_cuts_share_their_common_clips(tracker, log_run, make_table):
    for i in range(3):
        validation = make_table(i, split="validation").iloc[20 * i :]
        log_run(f"row{i}", {"validation": validation, "test": make_table(i)})
    chosen = choose(gather_candidates(tracker, "s")[0], EnsembleOptions())
    assert chosen.clips == 160
    assert chosen.notes == ("the validation cuts differ (160 to 200 clips): the 160 clips common to all are used",)


def test_other_test_clips_are_left_out_and_too_few_are_refused(tracker, log_run, make_table):
    with pytest.raises(InputError, match="at least 2 finished ten_class systems .* study 's' has 0"):
        gather_candidates(tracker, "s")
    log_run("x", {"test": make_table(0)})
    with pytest.raises(InputError, match="has 1"):
        gather_candidates(tracker, "s")
    log_run("y", {"test": make_table(1)})
    log_run("z", {"test": make_table(2, clips=50)})
    members, notes = gather_candidates(tracker, "s")
    assert [member.name for member in members] == ["x seed 0", "y seed 0"]
    assert notes == ["1 runs were tested on other clips: left out"]
    named, _ = gather_candidates(tracker, "s", references=["s/x", "s/y"])
    assert len(named) == 2


def test_members_without_test_are_chosen_on_validation_and_without_both_refused(tracker, log_run, make_table):
    runs = []
    for i in range(3):
        tables = {"validation": make_table(i, split="validation"), "evaluation": unlabelled(make_table, i)}
        runs.append(log_run(f"row{i}", tables))
        log_run(f"only{i}", {"evaluation": unlabelled(make_table, i)})
    members, _ = load_members(tracker, [tracker.run(run_id) for run_id in runs])
    chosen = choose(members, EnsembleOptions())
    assert set(chosen.tables) == {"validation", "evaluation"}
    assert "row" in render(chosen, "s")
    assert log_ensemble(tracker, "s", "e", chosen).metrics["validation/acc_avg"] > 0
    records = [record for i in range(3) for record in find_runs(tracker, f"s/only{i}")]
    with pytest.raises(InputError, match="got systems with \\['evaluation'\\] alone"):
        choose(load_members(tracker, records)[0], EnsembleOptions())


def unlabelled(make_table, seed: int) -> pd.DataFrame:
    return make_table(seed, clips=20, split="evaluation").assign(scene="")


def test_candidates_that_predict_more_make_another_ensemble(tracker, log_run, make_table):
    runs = [log_run(f"row{i}", {s: make_table(i, split=s) for s in ("validation", "test")}) for i in range(3)]

    def make() -> tuple[str, bool]:
        members, _ = gather_candidates(tracker, "s")
        logged = log_ensemble(tracker, "s", "e", choose(members, EnsembleOptions(max_members=2)))
        return logged.run_id, "evaluation" in tracker.predictions(logged.run_id)

    first = make()
    for i, run_id in enumerate(runs):
        with tracker.artifacts(run_id) as folder:
            write_predictions(unlabelled(make_table, i), folder / "predictions" / "evaluation.parquet")
        tracker.set_tags(run_id, {"asc.evaluation_digest": "e" * 64})
        now = make()
        assert (now == first) == (i < 2)  # when all have predicted, and only then
    assert now[1]
    assert tracker.run(now[0]).tags["asc.evaluation_digest"] == "e" * 64


def test_an_ensemble_that_exists_keeps_its_name(tracker, log_run, make_table):
    for i in range(2):
        log_run(f"row{i}", {s: make_table(i, split=s) for s in ("validation", "test")})
    members, _ = gather_candidates(tracker, "s")
    chosen = choose(members, EnsembleOptions())
    log_ensemble(tracker, "s", "mine", chosen)
    again = log_ensemble(tracker, "s", "other", chosen)
    assert (again.existed, again.name) == (True, "mine")
    assert tracker.run(again.run_id).tags["asc.row"] == "mine"


def test_an_ensemble_of_several_seeds_has_none(tracker, log_run, make_table):
    for seed in range(2):
        log_run("row", {s: make_table(seed, split=s) for s in ("validation", "test")}, seed=seed)
    members, _ = gather_candidates(tracker, "s")
    logged = log_ensemble(tracker, "s", "e", choose(members, EnsembleOptions(max_members=1)))
    assert tracker.run(logged.run_id).seed == ""


def test_another_data_set_of_the_same_names_is_left_out(tracker, log_run, make_table):
    for i in range(3):
        run_id = log_run(f"row{i}", {"test": make_table(i)})
    tracker.set_tags(run_id, {"asc.dataset_digest": "e" * 64})
    log_run("row3", {"test": make_table(3)})
    members, notes = gather_candidates(tracker, "s")
    assert [member.name for member in members] == ["row0 seed 0", "row1 seed 0", "row3 seed 0"]
    assert notes == ["1 runs were tested on other clips: left out"]


def test_a_damaged_run_hinders_nobody_unless_it_is_named(tracker, log_run, make_table):
    runs = [log_run(f"row{i}", {s: make_table(i, split=s) for s in ("validation", "test")}) for i in range(3)]
    next(Path("mlruns").glob(f"*/{runs[1]}/artifacts/predictions/test.parquet")).write_bytes(b"PAR1")
    members, notes = gather_candidates(tracker, "s")
    assert [member.name for member in members] == ["row0 seed 0", "row2 seed 0"]
    assert notes[0].startswith(f"left out: predictions/test.parquet of run {runs[1]} cannot be used")
    with pytest.raises(InputError, match="cannot be used"):
        gather_candidates(tracker, "s", references=["s/row0", "s/row1"])


def test_options_are_checked_before_anything_is_read():
    for options, message in (
        ({"max_members": 0}, "--max-members must be at least 1"),
        ({"max_overlap": float("nan")}, "--max-overlap must be in"),
        ({"metric": "accc"}, "the objective must be a known metric"),
        ({"fusion": "mean"}, "unknown fusion.rule"),
    ):
        with pytest.raises(InputError, match=message):
            EnsembleOptions(**options)


def test_named_candidates_are_of_one_task(shared):
    with pytest.raises(InputError, match="members are of one task, ten_class, got coarse seed 0"):
        gather_candidates(shared, "s", references=["s/a", "s/b", "s/coarse"])


@pytest.mark.parametrize("status", ["RUNNING", "KILLED", "FAILED"])
def test_a_run_that_was_cut_off_while_it_was_logged_is_logged_anew(tracker, log_run, make_table, status):
    for i in range(2):
        log_run(f"row{i}", {s: make_table(i, split=s) for s in ("validation", "test")})
    members, _ = gather_candidates(tracker, "s")
    chosen = choose(members, EnsembleOptions())
    first = log_ensemble(tracker, "s", "e", chosen)
    tracker.reopen(first.run_id)  # as a kill leaves it
    if status != "RUNNING":
        tracker.finish(first.run_id, status, failure="interrupted while it was logged")
    second = log_ensemble(tracker, "s", "e", chosen)
    assert not second.existed
    (record,) = tracker.runs("s", kind="ensemble")
    assert (record.run_id, record.status, record.failure) == (first.run_id, "FINISHED", "")


def test_orphans_are_no_candidates(tracker, log_run, make_table):
    for i, combination in enumerate("ab"):
        tables = {split: make_table(i, split=split) for split in ("validation", "test")}
        log_run("plain", tables, combination=combination * 64, signature=combination * 64)
    log_run("masks", {split: make_table(5, split=split) for split in ("validation", "test")})
    members, notes = gather_candidates(tracker, "s")
    assert [member.name for member in members] == ["plain seed 0", "masks seed 0"]
    assert members[0].record.tags["asc.combination"] == "b" * 64
    assert notes == ["1 orphaned runs (other settings, code or data than the study has now): left out"]
