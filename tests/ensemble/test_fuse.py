import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENE_GROUPS, SCENES
from asc_study.ensemble import crossfit
from asc_study.ensemble.crossfit import cross_fit, fuse_splits, location_folds
from asc_study.ensemble.fuse import FUSIONS, find_fusion
from asc_study.ensemble.stack import pair, stack
from asc_study.ensemble.two_stage import TwoStage, two_stage_product
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import check_predictions


@pytest.fixture
def two(tiny_table):
    first = tiny_table(("indoor", "a", "1", 0.6, 0.3, 0.1), ("outdoor", "b", "2", 0.5, 0.4, 0.1))
    second = tiny_table(("indoor", "a", "1", 0.2, 0.2, 0.6), ("outdoor", "b", "2", 0.1, 0.8, 0.1))
    return stack({"x": first, "y": second})


def test_average_by_hand(two):
    fused = FUSIONS["average"].fit(two).combine(two)
    np.testing.assert_allclose(fused, [[0.4, 0.25, 0.35], [0.3, 0.6, 0.1]])


def test_product_by_hand(two):
    fused = FUSIONS["product"].fit(two).combine(two)
    roots = np.sqrt([[0.12, 0.06, 0.06], [0.05, 0.32, 0.01]])
    np.testing.assert_allclose(fused, roots / roots.sum(axis=1, keepdims=True))


def test_weights_have_the_lowest_log_loss(make_table):
    sample = stack({"good": make_table(1, skill=2.0), "bad": make_table(2, skill=0.2), "fair": make_table(3)})
    fitted = FUSIONS["weighted"].fit(sample)
    weights = list(fitted.learned["weights"].values())
    assert sum(weights) == pytest.approx(1)
    assert weights[0] > weights[2] > weights[1]

    def loss(candidate: np.ndarray) -> float:
        mean = np.tensordot(candidate, sample.probabilities, axes=1)
        return float(-np.log(mean[np.arange(200), sample.label]).mean())

    grid = [np.array([a, b, 1 - a - b]) for a in np.linspace(0, 1, 21) for b in np.linspace(0, 1 - a, 21)]
    assert loss(np.array(weights)) <= min(map(loss, grid)) + 1e-6


@pytest.mark.slow
def test_logistic_regression_beats_the_mean_where_one_system_is_reversed(make_table):
    reversed_system = make_table(2, skill=-3.0, clips=400)  # tells what the scene is not
    sample = {"validation": stack({"x": make_table(1, clips=400), "y": reversed_system})}
    accuracy = {}
    for name in ("average", "logistic"):
        fused = fuse_splits(FUSIONS[name], {"test": sample["validation"]})
        accuracy[name] = evaluate(fused.tables["test"], intervals=False)["test/acc_avg"]
    assert accuracy["logistic"] > accuracy["average"] + 0.1


def test_two_stage_fusion_is_the_equation_of_the_paper():
    # Class(x) = argmax F1_p(x) F2_q(x): a tram (transportation) whose ten-class winner is the park (outdoor)
    fine = np.zeros((1, 10))
    fine[0, [SCENES.index("park"), SCENES.index("tram"), SCENES.index("bus")]] = 0.5, 0.4, 0.1
    coarse = np.array([[0.1, 0.3, 0.6]])  # indoor, outdoor, transportation
    fused = two_stage_product(fine, coarse)
    total = 0.5 * 0.3 + 0.4 * 0.6 + 0.1 * 0.6
    assert fused[0, SCENES.index("park")] == pytest.approx(0.15 / total)
    assert fused[0, SCENES.index("tram")] == pytest.approx(0.24 / total)
    assert fused[0, SCENES.index("bus")] == pytest.approx(0.06 / total)
    assert SCENES[int(fused.argmax())] == "tram"
    np.testing.assert_allclose(two_stage_product(fine, coarse, exponent=0), fine)
    sharper = two_stage_product(fine, coarse, exponent=2)
    assert sharper[0, SCENES.index("tram")] == pytest.approx(0.4 * 0.36 / (0.5 * 0.09 + 0.5 * 0.36))


def test_two_stages_that_contradict_each_other_leave_the_fine_scores():
    fine = np.eye(10)[[SCENES.index("park")]]
    np.testing.assert_array_equal(two_stage_product(fine, np.array([[1.0, 0.0, 0.0]])), fine)


@pytest.fixture
def two_stage_samples(make_table):
    def make(split: str):
        fine = {f"fine{i}": make_table(i, split=split) for i in (1, 2)}
        coarse = {f"coarse{i}": make_table(i + 10, skill=2.5, split=split, task="three_class") for i in (1, 2)}
        return pair(stack(fine), stack(coarse))

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [
        TwoStage(FUSIONS["average"], FUSIONS["average"]),
        TwoStage(FUSIONS["weighted"], FUSIONS["product"], exponent=None),
        TwoStage(FUSIONS["weighted"], FUSIONS["average"], join="learned"),
    ],
    ids=["paper", "exponent", "learned"],
)
def test_two_stage_rules_beat_the_fine_stage(rule, two_stage_samples):
    samples = {split: two_stage_samples(split) for split in ("validation", "test")}
    fused = fuse_splits(rule, samples)
    fine = fuse_splits(FUSIONS["average"], {"test": samples["test"].fine})
    for table in fused.tables.values():
        check_predictions(table)
    assert fused.basis == ("validation" if rule.learns else "fixed")
    before = evaluate(fine.tables["test"], intervals=False)["test/acc_avg"]
    assert evaluate(fused.tables["test"], intervals=False)["test/acc_avg"] > before


def test_fitted_exponent_is_high_for_a_good_coarse_stage_and_low_for_a_useless_one(make_table):
    fine = stack({"fine": make_table(1)})
    rule = TwoStage(FUSIONS["average"], FUSIONS["average"], exponent=None)
    found = {}
    for name, skill in (("good", 4.0), ("useless", 0.0)):
        coarse = stack({"coarse": make_table(5, skill=skill, task="three_class")})
        found[name] = rule.fit(pair(fine, coarse)).learned["exponent"]
    assert found["useless"] < 0.3
    assert found["good"] > 0.7


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_takes_long_to_cross_fit_shows_how_far_it_is(two_stage_samples, monkeypatch, capsys, split):
    """One bar, that of the folds of the whole: within each of them the join cross-fits the stages once more."""
    monkeypatch.setattr(crossfit, "_SHOWN_AFTER", 0)
    rule = TwoStage(FUSIONS["weighted"], FUSIONS["average"], join="learned")
    fuse_splits(rule, {split: two_stage_samples(split)})
    said = capsys.readouterr().err
    assert said.count("cross-fitting: 100%") == 1
    assert "| 5/5 [" in said
    monkeypatch.undo()
    fuse_splits(FUSIONS["average"], {split: two_stage_samples(split).fine})
    fuse_splits(FUSIONS["weighted"], {split: two_stage_samples(split).fine})
    assert capsys.readouterr().err == ""


def permuted(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """The table with the labels of the given rows moved on by one."""
    table = table.copy()
    scenes = table["scene"].to_numpy(copy=True)
    scenes[rows] = np.roll(scenes[rows], 1)
    return table.assign(scene=scenes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weighted", "logistic"])
def test_test_labels_change_nothing_where_there_is_validation(name, make_table):
    validation = stack({str(i): make_table(i, split="validation") for i in range(3)})
    outputs = []
    for change in (False, True):
        tables = {str(i): make_table(i + 5) for i in range(3)}
        if change:
            tables = {key: permuted(table, np.arange(len(table))) for key, table in tables.items()}
        outputs.append(fuse_splits(FUSIONS[name], {"validation": validation, "test": stack(tables)}))
    assert outputs[0].fitted.learned == outputs[1].fitted.learned
    classes = list(SCENES)
    np.testing.assert_array_equal(outputs[0].tables["test"][classes], outputs[1].tables["test"][classes])


@pytest.mark.slow
def test_cross_fitted_output_of_a_location_does_not_depend_on_its_labels(make_table):
    outputs = []
    for change in (False, True):
        fine = {f"fine{i}": make_table(i) for i in (1, 2)}
        coarse = {f"coarse{i}": make_table(i + 10, skill=2.0, task="three_class") for i in (1, 2)}
        here = ((fine["fine1"]["city"] == "milan") & (fine["fine1"]["location"] == "3")).to_numpy()
        if change:
            fine = {name: permuted(table, np.flatnonzero(here)) for name, table in fine.items()}
            groups = fine["fine1"]["scene"].map(dict(GROUP_OF_SCENE))
            coarse = {name: table.assign(scene=groups) for name, table in coarse.items()}
        rule = TwoStage(FUSIONS["weighted"], FUSIONS["weighted"], join="learned")
        outputs.append(cross_fit(rule, pair(stack(fine), stack(coarse))))
    assert here.sum() == 10
    np.testing.assert_array_equal(outputs[0][here], outputs[1][here])
    assert not np.array_equal(outputs[0][~here], outputs[1][~here])  # the labels do matter elsewhere


def test_folds_keep_locations_whole_and_do_not_depend_on_labels(make_table):
    table = make_table(1)
    folds = location_folds(table)
    assert set(folds) == {0, 1, 2, 3, 4}
    assert pd.Series(folds).groupby(table["city"] + table["location"]).nunique().eq(1).all()
    assert np.bincount(folds).min() >= 30
    np.testing.assert_array_equal(folds, location_folds(permuted(table, np.arange(len(table)))))


def test_evaluation_clips_without_labels_are_fused_too(make_table):
    unlabelled = {str(i): make_table(i, split="evaluation").assign(scene="") for i in range(2)}
    validation = stack({str(i): make_table(i, split="validation") for i in range(2)})
    fused = fuse_splits(FUSIONS["weighted"], {"validation": validation, "evaluation": stack(unlabelled)})
    assert len(fused.tables["evaluation"]) == 200
    with pytest.raises(InputError, match="needs labelled predictions, got the splits"):
        fuse_splits(FUSIONS["weighted"], {"evaluation": stack(unlabelled)})


def test_what_does_not_fit_together_is_refused(make_table, tiny_table):
    table = make_table(1)
    with pytest.raises(InputError, match="must be of one task"):
        stack({"x": table, "y": make_table(1, task="three_class")})
    with pytest.raises(InputError, match="'y' without 1 of the 200 clips of 'x' and with 0 others"):
        stack({"x": table, "y": table.iloc[1:]})
    with pytest.raises(InputError, match="must agree on labels and devices"):
        stack({"x": table, "y": table.assign(device="a")})
    with pytest.raises(InputError, match="two-stage fusion takes ten-class systems"):
        pair(stack({"x": table}), stack({"y": table}))
    with pytest.raises(InputError, match="the scene of a clip must be in its group"):
        pair(stack({"x": table}), stack({"y": make_table(1, task="three_class").assign(scene=SCENE_GROUPS[0])}))
    with pytest.raises(InputError, match="unknown fusion.rule 'averge': did you mean 'average'"):
        find_fusion("averge")
    one_place = stack({"x": tiny_table(("indoor", "a", "1", 0.6, 0.3, 0.1), ("outdoor", "b", "1", 0.5, 0.4, 0.1))})
    with pytest.raises(InputError, match="at least 2 locations, got 1"):
        cross_fit(FUSIONS["weighted"], one_place)


def places_per_scene(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """The table with ``count`` locations a scene."""
    number = np.arange(len(table)) // 10 % count
    return table.assign(city="lisbon", location=[f"{s}{n}" for s, n in zip(table["scene"], number, strict=True)])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_locations_a_class_are_enough_to_learn_but_may_not_be_to_validate(make_table, count):
    samples = {
        split: stack({str(i): places_per_scene(make_table(i, skill=2.0, split=split), count) for i in range(2)})
        for split in ("validation", "test")
    }
    mean = fuse_splits(FUSIONS["average"], samples).tables
    learned = fuse_splits(FUSIONS["logistic"], samples).tables
    for split, table in learned.items():
        accuracy, plain = (evaluate(t, intervals=False)[f"{split}/acc_avg"] for t in (table, mean[split]))
        assert accuracy > plain - 0.08, split
    assert ("validation" in learned) == _every_class_is_in_two_folds(samples["validation"].context)
    weighted = fuse_splits(FUSIONS["weighted"], samples)
    assert set(weighted.tables) == {"validation", "test"}  # it learns nothing of a class


def _every_class_is_in_two_folds(context: pd.DataFrame) -> bool:
    return bool(pd.Series(location_folds(context)).groupby(context["scene"]).nunique().gt(1).all())


def test_learning_by_class_refuses_what_would_lose_one(make_table):
    validation = {str(i): make_table(i, split="validation") for i in range(2)}
    lacking = {name: table[table["scene"] != "tram"] for name, table in validation.items()}
    samples = {"validation": stack(lacking), "test": stack({str(i): make_table(i) for i in range(2)})}
    with pytest.raises(InputError, match="needs validation clips of every class, got none of tram"):
        fuse_splits(FUSIONS["logistic"], samples)
    one_place = stack({str(i): places_per_scene(make_table(i), 1) for i in range(2)})
    with pytest.raises(InputError, match="clips of several locations of each class, got too few of airport, bus"):
        fuse_splits(FUSIONS["logistic"], {"test": one_place})
    fine = {split: stack({"f": places_per_scene(make_table(1, split=split), 1)}) for split in ("validation", "test")}
    coarse = {split: stack({"c": _coarse(fine[split], make_table)}) for split in fine}
    rule = TwoStage(FUSIONS["logistic"], FUSIONS["logistic"], join="learned")
    with pytest.raises(InputError, match="clips of several locations of each class"):
        fuse_splits(rule, {split: pair(fine[split], coarse[split]) for split in fine})


def _coarse(fine, make_table) -> pd.DataFrame:
    split = fine.context["split"].iloc[0]
    table = make_table(5, split=split, task="three_class").sort_values("clip_id", ignore_index=True)
    return table.assign(city=fine.context["city"], location=fine.context["location"])


def test_rounding_to_float32_changes_no_decision(make_table):
    table = make_table(1, clips=20)
    values = np.full((20, 10), 0.05)
    values[:, 3], values[:, 7] = 0.3, 0.3 + 1e-12
    close = table.assign(**dict(zip(SCENES, (values / values.sum(axis=1, keepdims=True)).T, strict=True)))
    fused = fuse_splits(FUSIONS["average"], {"test": stack({"x": close})})
    assert (fused.tables["test"][list(SCENES)].to_numpy().argmax(axis=1) == 7).all()
