import itertools
from functools import partial

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENES
from asc_study.ensemble.crossfit import fuse_splits
from asc_study.ensemble.fuse import FUSIONS
from asc_study.ensemble.select import METHODS, SelectionRule, prefix_mean, select
from asc_study.ensemble.stack import Stack, stack
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.significance import compare


def accuracy(sample: Stack, weights: dict[str, float]) -> float:
    """Accuracy of a weighted mean, computed without the code under test."""
    fused = sum(weight * sample.probabilities[sample.names.index(name)] for name, weight in weights.items())
    return float((fused.argmax(axis=1) == sample.label).mean())


@pytest.fixture
def candidates(make_table):
    return stack({f"system{i}": make_table(i, skill=0.6 + 0.2 * i, split="validation") for i in range(6)})


@pytest.fixture
def by_hand(tiny_table):
    """Five clips, one location each. x: 4 right. y: 3 right, alike but for clip 3. z: 3 right, sure where x errs."""
    truth = ["indoor", "outdoor", "indoor", "outdoor", "indoor"]

    def system(*indoor: float):
        rows = [(scene, "a", str(i), p, 1 - p, 0.0) for i, (scene, p) in enumerate(zip(truth, indoor, strict=True))]
        return tiny_table(*rows)

    return stack(
        {
            "x": system(0.8, 0.2, 0.8, 0.2, 0.4),  # errs on 4
            "y": system(0.8, 0.2, 0.8, 0.7, 0.4),  # errs on 3 and 4
            "z": system(0.45, 0.2, 0.45, 0.2, 0.9),  # errs on 0 and 2, a little
        }
    )


def test_greedy_by_hand(by_hand):
    selection = select(by_hand, method="greedy", metric="acc_avg")
    assert [step.added for step in selection.path] == ["x", "z"]
    assert [step.score for step in selection.path] == pytest.approx([0.8, 1.0])
    assert np.isnan(selection.path[0].overlap)
    assert selection.path[1].overlap == pytest.approx(2 / 5)  # alike on clips 1 and 3
    assert selection.ended.startswith("no other member helps: the best, y, would give")


def test_overlap_method_by_hand(by_hand):
    # the overlap of x and y is 4/5, that of x and z 2/5, of y and z 1/5
    assert [step.added for step in select(by_hand, method="overlap", metric="acc_avg", max_overlap=0.81).path] == [
        "x",
        "y",
        "z",
    ]
    strict = select(by_hand, method="overlap", metric="acc_avg", max_overlap=0.5)
    assert [step.added for step in strict.path] == ["x", "z"]
    assert "by 0.5 or more, by 0.800 at least" in strict.ended
    equal = select(by_hand, method="overlap", metric="acc_avg", max_overlap=0.8)
    assert [step.added for step in equal.path] == ["x", "z"]  # it has to stay under


def weak_beside_good(make_table, split="validation"):
    """Four equals, a near copy of the first, and two systems at chance, which decide least like all others."""
    tables = {f"good{i}": make_table(i, skill=2.2, clips=400, split=split) for i in range(4)}
    first, noise = tables["good0"], make_table(50, skill=0, clips=400, split=split)
    classes = list(SCENES)
    copy = first.assign(**{c: 0.95 * first[c] + 0.05 * noise[c] for c in classes})
    return stack(
        tables | {"copy": copy} | {f"weak{i}": make_table(20 + i, skill=0, clips=400, split=split) for i in range(2)}
    )


def test_overlap_is_the_default_and_takes_neither_copies_nor_what_is_at_chance(make_table):
    sample = weak_beside_good(make_table)
    selection = select(sample, max_members=4)
    assert selection.path[1:] == select(sample, method="overlap", max_members=4).path[1:]
    assert set(selection.weights()) in ({"good0", "good1", "good2", "good3"}, {"copy", "good1", "good2", "good3"})
    everything = select(sample, max_members=7)
    assert not {"weak0", "weak1"} & set(everything.weights())
    assert everything.ended.startswith("none of the other ")
    by_name = {candidate.name: candidate for candidate in selection.candidates}
    assert by_name["weak0"].overlap < min(by_name[name].overlap for name in selection.weights())  # why it is no guide
    assert by_name["weak0"].both_wrong > max(by_name[name].both_wrong for name in selection.weights())


def test_overlap_takes_the_one_that_is_wrong_elsewhere(tiny_table):
    def system(*indoor: float):
        return tiny_table(*(("indoor", "a", str(i), p, 1 - p, 0.0) for i, p in enumerate(indoor)))

    # All but a make two of eight wrong and raise the objective alike; b shares one of the errors of a, c none.
    sample = stack(
        {
            "a": system(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.3),
            "b": system(0.4, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.45),
            "c": system(0.9, 0.4, 0.4, 0.9, 0.9, 0.9, 0.9, 0.9),
        }
    )
    selection = select(sample, metric="acc_avg", max_members=2)
    assert [step.added for step in selection.path] == ["a", "c"]
    assert [step.score for step in selection.path] == pytest.approx([7 / 8, 1])
    assert (selection.path[1].overlap, selection.path[1].both_wrong) == pytest.approx((5 / 8, 0))
    low, high = selection.path[1].low, selection.path[1].high
    assert 0 <= low < 1 / 8 < high  # the one clip is drawn not at all, or several times


def test_the_interval_of_a_step_is_that_of_a_paired_comparison(candidates):
    selection = select(candidates, method="greedy", metric="acc_avg")
    tables = []
    for count in (1, 2):
        fused = pd.DataFrame(prefix_mean(selection, count).combine(candidates), columns=list(SCENES)).astype(np.float32)
        tables.append(candidates.context.join(fused))
    compared = compare(tables[:1], tables[1:]).subsets[0]
    step = selection.path[1]
    assert (step.low, step.high) == pytest.approx((compared.low, compared.high), abs=0.005)


def test_clips_of_one_location_have_no_noise(candidates):
    sample = candidates.take((candidates.context["location"] == "4").to_numpy())
    selection = select(sample.take((sample.context["city"] == "lisbon").to_numpy()), metric="acc_avg")
    assert selection.noise is None
    assert all(step.low is None for step in selection.path)


def test_greedy_takes_the_lower_overlap_on_a_tie(tiny_table):
    def system(*indoor: float):
        return tiny_table(*(("indoor", "a", str(i), p, 1 - p, 0.0) for i, p in enumerate(indoor)))

    # Either of b and c makes everything right with a; b decides like a on two of four clips, c on one.
    sample = stack(
        {"a": system(0.9, 0.9, 0.9, 0.4), "b": system(0.45, 0.9, 0.9, 0.9), "c": system(0.45, 0.45, 0.9, 0.9)}
    )
    path = select(sample, method="greedy", metric="acc_avg", max_members=2).path
    assert [(step.added, step.score) for step in path] == [("a", 0.75), ("c", 1.0)]
    assert path[1].overlap == 0.25


def test_greedy_adds_what_keeps_the_objective_and_lowers_the_log_loss(tiny_table):
    def system(*indoor: float):
        return tiny_table(*(("indoor", "a", str(i), p, 1 - p, 0.0) for i, p in enumerate(indoor)))

    surer = {"a": system(0.9, 0.6, 0.4), "b": system(0.6, 0.9, 0.4)}  # the mean errs on the last one as each does
    path = select(stack(surer), method="greedy", metric="acc_avg").path
    assert [(step.added, step.score) for step in path] == [("a", pytest.approx(2 / 3)), ("b", pytest.approx(2 / 3))]
    worse = {"a": system(0.9, 0.9, 0.4), "b": system(0.6, 0.6, 0.3)}
    assert [step.added for step in select(stack(worse), method="greedy", metric="acc_avg").path] == ["a"]


def test_exhaustive_finds_the_best_subset_of_all(candidates):
    selection = select(candidates, method="exhaustive", metric="acc_avg", max_members=4)
    subsets = [c for size in range(1, 5) for c in itertools.combinations(candidates.names, size)]
    best = max(accuracy(candidates, dict.fromkeys(names, 1.0)) for names in subsets)
    assert accuracy(candidates, selection.weights()) == pytest.approx(best)
    assert selection.path[-1].score == pytest.approx(best)
    assert len(selection.path) <= 4


def test_caruana_weights_by_draws(candidates):
    selection = select(candidates, method="caruana", metric="log_loss", max_members=3)
    weights = selection.weights()
    assert len(weights) <= 3
    assert sum(weights.values()) == pytest.approx(1)
    draws = [step.added for step in selection.path]
    assert weights[draws[0]] == pytest.approx(draws.count(draws[0]) / len(draws))
    scores = [step.score for step in selection.path]
    assert scores[-1] == min(scores)


@pytest.mark.parametrize("method", METHODS)
def test_every_score_of_a_path_is_the_metric_of_its_prefix(method, candidates):
    options = {"method": method, "metric": "acc_s4-s6"}
    selection = SelectionRule(partial(select, **options)).fit(candidates).selection
    for count, step in enumerate(selection.path, 1):
        fused = pd.DataFrame(prefix_mean(selection, count).combine(candidates), columns=list(SCENES))
        metrics = evaluate(candidates.context.join(fused), intervals=False)
        assert metrics["validation/acc_s4-s6"] == pytest.approx(step.score)


def test_log_loss_is_lowered(candidates):
    scores = [step.score for step in select(candidates, method="greedy", metric="log_loss").path]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) > 1


@pytest.mark.parametrize("method", METHODS)
def test_test_labels_have_no_influence_on_the_members(method, make_table):
    validation = stack({f"s{i}": make_table(i, split="validation") for i in range(5)})
    rule = SelectionRule(partial(select, method=method, metric="acc_avg"), FUSIONS["weighted"])
    results = []
    for shift in (0, 1):
        tables = {f"s{i}": make_table(i + 10) for i in range(5)}
        tables = {name: table.assign(scene=np.roll(table["scene"], shift)) for name, table in tables.items()}
        results.append(fuse_splits(rule, {"validation": validation, "test": stack(tables)}))
    assert results[0].basis == "validation"
    assert results[0].fitted.learned == results[1].fitted.learned
    classes = list(SCENES)
    assert results[0].tables["test"][classes].equals(results[1].tables["test"][classes])


@pytest.mark.parametrize("method", ["overlap", "greedy"])
def test_cross_fitted_selection_does_not_look_at_a_locations_own_labels(method, make_table):
    rule = SelectionRule(partial(select, method=method, metric="acc_avg"))
    outputs, here = [], None
    for shift in (0, 1):
        tables = {}
        for i in range(8):
            table = make_table(i, clips=120)
            here = ((table["city"] == "lisbon") & (table["location"] == "4")).to_numpy()
            scene = table["scene"].to_numpy(copy=True)
            scene[here] = np.roll(scene[here], shift)
            tables[f"s{i}"] = table.assign(scene=scene)
        outputs.append(fuse_splits(rule, {"test": stack(tables)}))
    assert outputs[0].basis == "cross-fitted"
    classes = list(SCENES)
    first, second = (output.tables["test"][classes].to_numpy() for output in outputs)
    assert here.sum() == 10
    np.testing.assert_array_equal(first[here], second[here])


def test_bad_options(candidates, make_table):
    with pytest.raises(InputError, match="unknown method 'gredy': did you mean 'greedy'"):
        select(candidates, method="gredy")
    with pytest.raises(InputError, match="--max-members must be at least 1, got 0"):
        select(candidates, max_members=0)
    with pytest.raises(InputError, match=r"--max-overlap must be in \(0, 1\], got 1.5"):
        select(candidates, method="overlap", max_overlap=1.5)
    with pytest.raises(InputError, match="nothing is chosen on the test split, got the objective 'test/acc_avg'"):
        select(candidates, metric="test/acc_avg")
    with pytest.raises(InputError, match="must be a known metric, got 'acc_agv': did you mean 'acc_avg'"):
        select(candidates, metric="acc_agv")
    many = stack({f"s{i:02d}": make_table(i, clips=20) for i in range(17)})
    with pytest.raises(InputError, match="at most 16 candidates, got 17"):
        select(many, method="exhaustive")
