"""Fault B9: a fusion can be written down, rebuilt without the runs, and applied to clips that nobody has fused."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES
from asc_study.ensemble.fuse import FUSIONS, read_rule
from asc_study.ensemble.fusion_file import FusionFile, System
from asc_study.ensemble.select import SelectionRule, select
from asc_study.ensemble.stack import pair, stack
from asc_study.ensemble.two_stage import FittedTwoStage, TwoStage


@pytest.fixture
def fine(make_table):
    return {split: stack({f"fine{i}": make_table(i, split=split, clips=100) for i in (1, 2, 3)}) for split in "ab"}


@pytest.fixture
def coarse(make_table):
    names = {
        split: {f"coarse{i}": make_table(i + 10, skill=2.5, split=split, clips=100, task="three_class") for i in (1, 2)}
        for split in "ab"
    }
    return {split: stack(tables) for split, tables in names.items()}


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize("name", FUSIONS)
def test_a_fitted_rule_that_was_written_down_gives_the_same_for_new_clips(name, fine):
    fitted = FUSIONS[name].fit(fine["a"])
    read = read_rule(through_json(fitted.to_dict()), "fusion")
    assert read == fitted
    np.testing.assert_allclose(read.combine(fine["b"]), fitted.combine(fine["b"]), rtol=0, atol=1e-12)


def test_logistic_regression_is_that_of_scikit_learn(fine):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = FUSIONS["logistic"].fit(fine["a"])

    def features(sample):
        logs = np.log(np.maximum(sample.probabilities, 1e-7))
        return np.hstack(list(logs))  # the first system's classes, then the second's

    model = make_pipeline(StandardScaler(), LogisticRegression(C=fitted.model.strength, max_iter=300, tol=1e-3))
    expected = model.fit(features(fine["a"]), fine["a"].label).predict_proba(features(fine["b"]))
    expected = np.maximum(expected, 1e-7)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.combine(fine["b"]), expected, rtol=0, atol=1e-12)


def test_of_two_classes_it_is_that_of_scikit_learn_too(tiny_table):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    outputs = {"indoor": (0.6, 0.3, 0.1), "outdoor": (0.3, 0.6, 0.1)}
    sample = stack({"x": tiny_table(*((scene, "a", "1", *output) for scene, output in outputs.items()))})
    fitted = FUSIONS["logistic"].fit(sample)
    logs = np.log(sample.probabilities[0])
    scaled = StandardScaler().fit_transform(logs)
    model = LogisticRegression(C=fitted.model.strength, max_iter=300, tol=1e-3).fit(scaled, [0, 1])
    expected = np.full((2, 3), 1e-7)
    expected[:, :2] = model.predict_proba(scaled)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.combine(sample), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "rule",
    [
        TwoStage(FUSIONS["average"], FUSIONS["product"], exponent=0.5),
        TwoStage(FUSIONS["weighted"], FUSIONS["average"], exponent=None),
        TwoStage(FUSIONS["average"], FUSIONS["weighted"], join="learned"),
    ],
    ids=["product", "fitted", "learned"],
)
def test_two_stages_too(rule, fine, coarse):
    pairs = {split: pair(fine[split], coarse[split]) for split in "ab"}
    fitted = rule.fit(pairs["a"])
    read = FittedTwoStage.from_dict(through_json(fitted.to_dict()))
    assert read == fitted
    np.testing.assert_allclose(read.combine(pairs["b"]), fitted.combine(pairs["b"]), rtol=0, atol=1e-12)
    by_hand = fitted.apply(fine["b"].probabilities, coarse["b"].probabilities)
    np.testing.assert_array_equal(by_hand, fitted.combine(pairs["b"]))


def test_a_selection_is_the_fusion_of_its_members(fine):
    for fusion in (None, FUSIONS["logistic"]):
        rule = SelectionRule(partial(select, method="caruana", metric="log_loss", max_members=2), fusion)
        fitted = rule.fit(fine["a"])
        read = read_rule(through_json(fitted.to_dict()), "fusion")
        assert read.systems == tuple(fitted.selection.weights())
        np.testing.assert_allclose(read.combine(fine["b"]), fitted.combine(fine["b"]), rtol=0, atol=1e-12)


def file_of(fusion, **tasks: str) -> FusionFile:
    systems = tuple(System(name, task, "train", "0" * 32, "f" * 64) for name, task in tasks.items())
    return FusionFile("fixed", {task: CLASSES[task] for task in tasks.values()}, systems, fusion)


@pytest.fixture
def two_stage(fine, coarse):
    fitted = TwoStage(FUSIONS["weighted"], FUSIONS["average"], join="learned").fit(pair(fine["a"], coarse["a"]))
    tasks = dict.fromkeys(fine["a"].names, "ten_class") | dict.fromkeys(coarse["a"].names, "three_class")
    return file_of(fitted, **tasks)


def test_a_file_is_applied_to_the_outputs_of_its_systems(two_stage, fine, coarse):
    read = FusionFile.from_dict(through_json(two_stage.to_dict()))
    assert read == two_stage
    assert read.output_classes == CLASSES["ten_class"]
    new = pair(fine["b"], coarse["b"])
    outputs = {
        name: sample.probabilities[number]
        for sample in (fine["b"], coarse["b"])
        for number, name in reversed(list(enumerate(sample.names)))  # by their names, whatever their order
    }
    np.testing.assert_allclose(read.apply(outputs), two_stage.fusion.combine(new), rtol=0, atol=1e-12)
    with pytest.raises(InputError, match=r"got \(100, 3\) of 'fine1' in place of \(100, 10\)"):
        read.apply(outputs | {"fine1": outputs["coarse1"]})
    with pytest.raises(InputError, match="of 'coarse2' in place of"):
        read.apply({name: output for name, output in outputs.items() if name != "coarse2"})


def test_numpy_is_enough_to_apply_it(two_stage, tmp_path):
    """A deployed system has no more than that."""
    (tmp_path / "fusion.json").write_text(json.dumps(two_stage.to_dict()), encoding="utf-8")
    code = """
import json, sys
import numpy as np
from asc_study.ensemble.fusion_file import FusionFile
fusion = FusionFile.from_dict(json.load(open("fusion.json")))
outputs = {s.name: np.full((4, len(fusion.classes[s.task])), 1 / len(fusion.classes[s.task])) for s in fusion.systems}
assert abs(fusion.apply(outputs).sum(axis=1) - 1).max() < 1e-9
print(*sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    heavy = {"click", "keras", "mlflow", "pandas", "pydantic", "scipy", "sklearn", "tensorflow"}
    assert {"asc_study", "numpy"} <= set(done.stdout.split())
    assert not heavy & set(done.stdout.split())


def changed(raw: dict, path: str, value: object) -> dict:
    """A copy with another value at a dotted path; without what is there for None."""
    inside = copy = through_json(raw)
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in steps:
        inside = inside[step]
    inside[last] = value
    if value is None:
        del inside[last]
    return copy


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "zip", "must be a mapping with the format 'asc-study fusion'"),
        ("version", 2, "must be of version 1, got 2: use the version of asc-study that wrote it"),
        ("basis", "test", "a basis of fixed, validation, cross-fitted .* got .* the basis 'test'"),
        ("extra", 1, "must hold format, version, basis, classes, systems, fusion, "),
        ("systems", {}, r"fusion\.json: systems must be a list"),
        ("systems.0.run_id", None, r"systems\[0\] must hold name, task, kind, run_id, signature"),
        ("systems.0.name", "other", "must list the systems that are fused, fine1, .* got other"),
        ("systems.0.task", "three_class", "the systems of a stage of one task"),
        ("classes.three_class", None, "the systems of a stage of one task, whose classes it lists"),
        ("classes.ten_class", "abc", "classes.ten_class must be a list, got 'abc'"),
        ("fusion", [], "must be a fusion rule with its name as `rule`"),
        ("fusion.join.rule", "sum", "a join by product or learned"),
        ("fusion.join.model.floor", None, r"fusion\.join\.model must hold means, scales"),
        ("fusion.join.model.means.0", "1", r"fusion\.join\.model\.means\[0\] must be a finite number, got '1'"),
        ("fusion.join.model.scales.0", 0, "a scale above 0"),
        ("fusion.join.model.columns.0", 10, "a logistic regression needs"),
        ("fusion.fine.rule", "averge", "unknown fusion.rule 'averge': did you mean 'average'"),
        ("fusion.fine.weights.0", 7, "weights must be at least 0, one a system, and sum to 1"),
        ("fusion.fine.weights.0", True, r"weights\[0\] must be a finite number, got True"),
        ("fusion.fine.systems", ["fine1", "fine1", "fine3"], "a fusion needs systems of different names"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(two_stage, path, value, message):
    raw = changed(two_stage.to_dict(), path, value)
    with pytest.raises(InputError, match=message) as caught:
        FusionFile.from_dict(raw)
    assert "\n" not in str(caught.value)
