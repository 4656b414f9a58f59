import json

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENE_GROUPS, SCENES
from asc_study.ensemble.fuse import fusion_settings
from asc_study.ensemble.fusion_file import FusionFile
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import read_predictions
from asc_study.evaluation.significance import compare
from asc_study.systems.ensemble_report import log_ensemble
from asc_study.systems.ensembles import EnsembleOptions, choose, gather_candidates
from asc_study.systems.fusion_log import log_fusion, render
from asc_study.systems.fusions import fuse_runs

PAPER = {"fusion": "average", "join": "product", "exponent": "1"}


def test_two_stage_fusion_of_runs_is_the_product_of_their_means(shared, make_table):
    fusion = fuse_runs(shared, ["s/a", "s/b"], ["s/coarse"], **PAPER)
    fine = np.mean([make_table(i)[list(SCENES)].to_numpy() for i in (0, 1)], axis=0)
    coarse = make_table(9, skill=2.5, task="three_class")[list(SCENE_GROUPS)]
    product = fine * coarse[[GROUP_OF_SCENE[scene] for scene in SCENES]].to_numpy()
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fusion.tables["test"][list(SCENES)], expected, atol=1e-6)
    before = evaluate(make_table(0).assign(**dict(zip(SCENES, fine.T, strict=True))))
    assert fusion.parts["fine: average of 2"]["test/acc_s4-s6"] == pytest.approx(before["test/acc_s4-s6"])
    assert fusion.change["test/acc_s4-s6"] == pytest.approx(fusion.metrics["test/acc_s4-s6"] - before["test/acc_s4-s6"])
    assert fusion.basis == "fixed"
    logged = log_fusion(shared, "s", "two", fusion)
    record = shared.run(logged.run_id)
    assert record.tags["asc.kind"] == "fusion"
    assert record.tags["asc.change_against"] == "fine: average of 2, the best part on validation"
    assert record.metrics["test/change_acc_s4-s6"] == pytest.approx(fusion.change["test/acc_s4-s6"])
    assert record.metrics["test/acc_avg"] > before["test/acc_avg"]
    parts = pd.read_csv(shared.artifact(logged.run_id, "parts.csv"), index_col="system")
    assert list(parts.index) == [
        "a seed 0", "b seed 0", "fine: average of 2", "coarse: coarse seed 0 (3 classes)", "two"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("coarse", "options"),
    [
        ([], {"fusion": "weighted"}),
        (["s/coarse"], {}),
        (["s/coarse"], {"fusion": "weighted", "join": "learned"}),
    ],
)
def test_a_fusion_is_rebuilt_from_its_file_and_its_runs(shared, coarse, options):
    """Fault B9: the coefficients were in closures alone."""
    logged = log_fusion(shared, "s", "rebuilt", fuse_runs(shared, ["s/b", "s/a"], coarse, **PAPER | options))
    file = FusionFile.from_dict(json.loads(shared.artifact(logged.run_id, "fusion.json").read_text(encoding="utf-8")))
    assert file.basis == shared.run(logged.run_id).tags["asc.basis"]
    assert [system.name for system in file.systems] == ["b seed 0", "a seed 0", *["coarse seed 0"] * len(coarse)]
    assert rebuilt(shared, logged.run_id, file) < 1e-7


def rebuilt(tracker, run_id: str, file: FusionFile) -> float:
    """How far the logged test predictions, float32, are from those made anew of the systems' own."""
    outputs = {}
    for system in file.systems:
        assert tracker.run(system.run_id).signature == system.signature
        table = read_predictions(tracker.artifact(system.run_id, "predictions/test.parquet")).sort_values("clip_id")
        values = table[list(file.classes[system.task])].to_numpy(np.float64)
        outputs[system.name] = values / values.sum(axis=1, keepdims=True)
    logged = read_predictions(tracker.artifact(run_id, "predictions/test.parquet")).sort_values("clip_id")
    return float(abs(file.apply(outputs) - logged[list(file.output_classes)].to_numpy()).max())


def test_an_ensemble_is_rebuilt_from_its_file_and_its_runs(shared):
    members, _ = gather_candidates(shared, "s", references=["s/a", "s/b", "s/c"])
    for fusion in ("average", "logistic"):
        chosen = choose(members, EnsembleOptions(method="caruana", metric="log_loss", fusion=fusion))
        logged = log_ensemble(shared, "s", f"rebuilt {fusion}", chosen)
        content = json.loads(shared.artifact(logged.run_id, "fusion.json").read_text(encoding="utf-8"))
        file = FusionFile.from_dict(content)
        assert rebuilt(shared, logged.run_id, file) < 1e-7
        if fusion == "average":
            assert dict(zip(file.fusion.systems, file.fusion.weights, strict=True)) == chosen.selection.weights()


OWN_RULE = """
from dataclasses import dataclass

import numpy as np

from asc_study import FusionRule


@dataclass(frozen=True)
class Median(FusionRule):
    def apply(self, probabilities):
        middle = np.median(probabilities, axis=0) + {bias}
        return middle / middle.sum(axis=1, keepdims=True)
"""


def test_a_rule_of_ones_own_fuses_and_its_code_is_part_of_the_result(shared, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    signatures = set()
    for name, bias in (("own_one", 0.0), ("own_two", 0.1)):
        (tmp_path / f"{name}.py").write_text(OWN_RULE.format(bias=bias), encoding="utf-8")
        fusion = fuse_runs(shared, ["s/a", "s/b", "s/c"], [], **PAPER | {"fusion": f"{name}:Median"})
        logged = log_fusion(shared, "s", name, fusion)
        file = FusionFile.from_dict(json.loads(shared.artifact(logged.run_id, "fusion.json").read_text("utf-8")))
        assert file.fusion.to_dict()["rule"] == f"{name}:Median"
        assert rebuilt(shared, logged.run_id, file) < 1e-7
        signatures.add(fusion_settings(f"{name}:Median")["fusion_code"])
    assert len(signatures) == 2
    assert fusion_settings("average") == {"fusion": "average"}  # what made earlier runs the same still does


def test_the_subset_table_shows_before_after_and_the_change(shared):
    fusion = fuse_runs(shared, ["s/a"], ["s/coarse"], **PAPER)
    lines = render(fusion, "two").splitlines()
    assert lines[1].split()[:4] == ["System", "A", "B&C", "s1-s3"]
    table = {line.split("  ")[0]: line.split() for line in lines[3:]}
    change = float(table["change"][-1])
    assert change == pytest.approx(float(table["two"][-1]) - float(table["fine: a seed 0"][-1]), abs=0.11)
    assert change > 0


def test_the_change_is_against_the_best_part_on_validation_with_its_interval(tracker, log_run, make_table):
    skills = {"weak": (0.3, 2.0), "strong": (2.5, 2.6)}  # on validation, on test
    for seed, (row, both) in enumerate(skills.items()):
        tables = {s: make_table(seed, skill=k, split=s) for s, k in zip(("validation", "test"), both, strict=True)}
        log_run(row, tables)
    fusion = fuse_runs(tracker, ["s/weak", "s/strong"], [], **PAPER)
    assert fusion.against == "strong seed 0, the best part on validation"
    found = fusion.change["test/acc_avg"]
    assert found == pytest.approx(fusion.metrics["test/acc_avg"] - fusion.parts["strong seed 0"]["test/acc_avg"])
    assert fusion.change["test/acc_avg_lo"] <= found <= fusion.change["test/acc_avg_hi"]
    again = compare([tracker.predictions(fusion.fine[1].record.run_id)["test"]], [fusion.tables["test"]])
    assert (again.subsets[0].low, again.subsets[0].high) == (
        fusion.change["test/acc_avg_lo"],
        fusion.change["test/acc_avg_hi"],
    )
    lines = {line.split("  ")[0].strip() or line.split()[0]: line.split() for line in render(fusion, "x").splitlines()}
    assert lines["from"][-1] == f"{100 * fusion.change['test/acc_avg_lo']:+.1f}"
    assert lines["to"][-1] == f"{100 * fusion.change['test/acc_avg_hi']:+.1f}"
    logged = log_fusion(tracker, "s", "x", fusion)
    assert logged.metrics["test/change_acc_avg_hi"] == fusion.change["test/acc_avg_hi"]


def test_what_learns_is_fitted_on_validation_and_says_so(shared):
    fusion = fuse_runs(shared, ["s/a", "s/b"], ["s/coarse"], fusion="weighted", join="product", exponent="fit")
    assert fusion.basis == "validation"
    assert set(fusion.fitted.learned["fine"]["weights"]) == {"a seed 0", "b seed 0"}
    assert "learned on validation" in render(fusion, "x")
    assert set(fusion.tables) == {"validation", "test"}


def test_an_ensemble_or_a_fusion_can_be_a_part(shared):
    first = fuse_runs(shared, ["s/a", "s/b"], [], **PAPER)
    log_fusion(shared, "s", "mean", first)
    second = fuse_runs(shared, ["s/mean"], ["s/coarse"], **PAPER)
    direct = fuse_runs(shared, ["s/a", "s/b"], ["s/coarse"], **PAPER)
    np.testing.assert_allclose(second.tables["test"][list(SCENES)], direct.tables["test"][list(SCENES)], atol=1e-6)


def test_seeds_of_a_row_are_all_fused(tracker, log_run, make_table):
    for seed in range(3):
        log_run("x", {"test": make_table(seed)}, seed=seed)
    fusion = fuse_runs(tracker, ["s/x"], [], **PAPER)
    assert list(fusion.parts) == ["x seed 0", "x seed 1", "x seed 2"]
    # No validation: against the part that is best on test, not the mean of the parts.
    best = max(fusion.parts, key=lambda name: fusion.parts[name]["test/acc_device_macro"])
    assert fusion.against == f"{best}, the best part on test"
    change = fusion.metrics["test/acc_avg"] - fusion.parts[best]["test/acc_avg"]
    assert fusion.change["test/acc_avg"] == pytest.approx(change)


@pytest.mark.parametrize(
    ("fine", "coarse", "options", "message"),
    [
        (["s/a"], [], {}, "a fusion takes at least 2 runs, got 1"),
        (["s/a", "s/a"], [], {}, "each run can be named once, got 'a seed 0' twice"),
        (["s/a", "s/coarse"], [], {}, "must be of one task"),
        (["s/coarse"], ["s/a"], {}, "two-stage fusion takes ten-class systems"),
        (["s/a", "s/b"], [], {"fusion": "mean"}, "unknown fusion.rule 'mean'"),
        (["s/a"], ["s/coarse"], {"exponent": "much"}, "--exponent must be a number or fit, got 'much'"),
        (["s/a"], ["s/coarse"], {"exponent": "-1"}, r"--exponent must be in \[0, 100\] or fit, got -1"),
        (["s/a"], ["s/coarse"], {"exponent": "nan"}, "--exponent must be in"),
        (["s/a", "s/b"], [], {"join": "learned"}, "--join and --exponent are for two stages, got learned and 1"),
        (["s/a"], ["s/coarse"], {"join": "sum"}, "must be product or learned, got 'sum'"),
    ],
)
def test_what_cannot_be_fused(shared, fine, coarse, options, message):
    with pytest.raises(InputError, match=message):
        fuse_runs(shared, fine, coarse, **PAPER | options)


def test_a_run_without_predictions_is_sent_to_predict(tracker, log_run, make_table):
    log_run("a", {"test": make_table(0)})
    log_run("dev", {})
    with pytest.raises(InputError, match="run 'dev seed 0' has no predictions .* `asc-study score`"):
        fuse_runs(tracker, ["s/a", "s/dev"], [], **PAPER)


def test_nothing_is_cross_fitted_on_top_of_what_was(tracker, log_run, make_table):
    for i in range(3):
        log_run(f"row{i}", {"test": make_table(i)})
    log_run("coarse", {"test": make_table(9, skill=2.5, task="three_class")}, task="three_class")
    log_fusion(tracker, "s", "weighted", fuse_runs(tracker, ["s/row*"], [], **PAPER | {"fusion": "weighted"}))
    fusion = fuse_runs(tracker, ["s/weighted"], ["s/coarse"], **PAPER)
    assert fusion.basis == "cross-fitted"  # it inherits what its part depends on
    assert "note: cross-fitted parts: weighted" in render(fusion, "x")
    with pytest.raises(InputError, match="cannot be cross-fitted on top of runs that were, got weighted"):
        fuse_runs(tracker, ["s/weighted"], ["s/coarse"], **PAPER | {"join": "learned"})
    with pytest.raises(InputError, match="cannot be cross-fitted on top of runs that were, got weighted"):
        fuse_runs(tracker, ["s/weighted", "s/row0"], [], **PAPER | {"fusion": "logistic"})


def test_parts_of_one_name_stay_apart(tracker, log_run, make_table):
    for study in ("s", "u"):
        for i, row in enumerate("ab"):
            log_run(row, {"test": make_table(i + (study == "u"))}, study=study)
    fusion = fuse_runs(tracker, ["s/a", "s/b", "u/b"], [], **PAPER)
    assert len(fusion.parts) == 3
    assert "b seed 0 (result)" not in render(fusion, "b seed 0")  # the parts are b seed 0 [id]
    assert "a seed 0 (result)" in render(fusion, "a seed 0")


def test_different_evaluation_sets_do_not_hinder_a_fusion_on_test(tracker, log_run, make_table):
    for i, row in enumerate("ab"):
        evaluation = make_table(i, clips=20 + 10 * i, split="evaluation").assign(scene="")
        log_run(row, {"test": make_table(i), "evaluation": evaluation})
    fusion = fuse_runs(tracker, ["s/a", "s/b"], [], **PAPER)
    assert set(fusion.tables) == {"test"}
    assert "different evaluation sets" in render(fusion, "x")


def test_the_basis_of_a_chosen_part_is_kept(tracker, log_run, make_table):
    for i in range(3):
        log_run(f"row{i}", {split: make_table(i, split=split) for split in ("validation", "test")})
    coarse = {s: make_table(9, skill=2.5, split=s, task="three_class") for s in ("validation", "test")}
    log_run("coarse", coarse, task="three_class")
    log_fusion(tracker, "s", "weighted", fuse_runs(tracker, ["s/row*"], [], **PAPER | {"fusion": "weighted"}))
    fixed = fuse_runs(tracker, ["s/weighted"], ["s/coarse"], **PAPER)
    assert (fixed.basis, set(fixed.tables)) == ("validation", {"validation", "test"})
    learned = fuse_runs(tracker, ["s/weighted"], ["s/coarse"], **PAPER | {"exponent": "fit"})
    assert set(learned.tables) == {"test"}  # labels of other locations would come back into the validation table


def test_the_study_of_a_result_needs_a_proper_name(shared):
    fusion = fuse_runs(shared, ["s/a", "s/b"], [], **PAPER)
    with pytest.raises(InputError, match="`study` must be at most 100 letters"):
        log_fusion(shared, "no/slash", "x", fusion)
