import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENE_GROUPS, SCENES
from asc_study.evaluation.significance import Comparison, SubsetComparison, compare, render, to_frame


def table(
    right: Sequence[bool] | np.ndarray,
    *,
    location: Sequence[str] | None = None,
    device: Sequence[str] | None = None,
    sure: float = 0.8,
) -> pd.DataFrame:
    """Three-class predictions: indoor clips that get ``sure`` where right, else outdoor does; one location a clip."""
    count = len(right)
    probabilities = np.full((count, 3), (1 - sure) / 2)
    probabilities[np.arange(count), np.where(right, 0, 1)] = sure
    context = pd.DataFrame(
        {
            "clip_id": [f"clip{i:04d}" for i in range(count)],
            "scene": "indoor",
            "device": device or "a",
            "city": "lisbon",
            "location": location or [str(i) for i in range(count)],
            "split": "test",
        }
    )
    return pd.concat([context, pd.DataFrame(probabilities, columns=list(SCENE_GROUPS))], axis=1)


def overall(comparison: Comparison) -> SubsetComparison:
    return comparison.subsets[0]


def test_counts_and_accuracies_by_hand():
    # 7 clips differ: the first alone is right on 1, the second alone on 6; both are right on 2, neither on 1.
    first = table([True, *6 * [False], True, True, False])
    second = table([False, *6 * [True], True, True, False])
    found = overall(compare([first], [second]))
    assert (found.name, found.clips, found.locations, found.b, found.c) == ("acc_avg", 10, 10, 1, 6)
    assert found.accuracy_first == pytest.approx(0.3)
    assert found.accuracy_second == pytest.approx(0.8)
    assert found.difference == pytest.approx(0.5)
    # Of the 2**7 signs of 7 locations, a sum of 5 or more has at most one against it: 2 * (1 + 7) / 128.
    assert found.p_value == pytest.approx(0.125)


def test_subsets_have_their_own_counts():
    device = ["a", "a", "b", "c", "s1", "s4", "s6"]
    first = table([True, True, True, False, False, False, False], device=device)
    second = table([True, False, True, True, False, True, True], device=device)
    comparison = compare([first], [second])
    found = {s.name: (s.clips, s.b, s.c, s.difference) for s in comparison.subsets}
    assert found == {
        "acc_avg": (7, 1, 3, pytest.approx(2 / 7)),
        "acc_A": (2, 1, 0, -0.5),
        "acc_BC": (2, 0, 1, 0.5),
        "acc_s1-s3": (1, 0, 0, 0.0),
        "acc_s4-s6": (2, 0, 2, 1.0),
    }
    assert list(found) == ["acc_avg", "acc_A", "acc_BC", "acc_s1-s3", "acc_s4-s6"]


def test_seeds_are_averaged_clip_by_clip():
    # Clip: seeds right of the first side's three, of the second's two -> shares
    # 0: 3/3, 1/2 (first)  1: 1/3, 1/2 (second)  2: 2/3, 2/2 (second)  3: 0/3, 0/2 (tie)
    first = [table([True, True, True, False]), table([True, False, True, False]), table([True, False, False, False])]
    second = [table([True, False, True, False]), table([False, True, True, False])]
    comparison = compare(first, second)
    found = overall(comparison)
    assert (comparison.seeds_first, comparison.seeds_second) == (3, 2)
    assert (found.b, found.c) == (1, 2)
    assert found.accuracy_first == pytest.approx(6 / 12)
    assert found.accuracy_second == pytest.approx(4 / 8)
    assert found.difference == 0


def test_seeds_are_no_ensemble():
    # The mean probability of the first side would be right (0.98 + 0.4 for indoor); half of its decisions are not.
    sure, unsure = table([True], sure=0.98), table([False], sure=0.6)
    unsure[list(SCENE_GROUPS)] = [[0.4, 0.6, 0.0]]
    found = compare([sure, unsure], [sure])
    assert overall(found).accuracy_first == 0.5
    assert found.log_loss_first == pytest.approx(-(math.log(0.98) + math.log(0.4)) / 2)
    swapped = compare([sure], [sure, unsure])
    assert swapped.log_loss_difference == pytest.approx((math.log(0.98) - math.log(0.4)) / 2)


def test_log_loss_by_hand():
    first, second = table([True, True, False]), table([True, False, False])
    second.loc[2, list(SCENE_GROUPS)] = [0.0, 1.0, 0.0]  # counts as 1e-7
    comparison = compare([first], [second])
    losses = [-math.log(0.8) * 2 - math.log(0.1), -math.log(0.8) - math.log(0.1) - math.log(1e-7)]
    assert comparison.log_loss_difference == pytest.approx((losses[1] - losses[0]) / 3)
    assert comparison.log_loss_low < comparison.log_loss_difference < comparison.log_loss_high


def test_equal_differences_of_all_locations_leave_no_width():
    # Every location: 4 clips, of which the first gets 2 right and the second 3.
    location = [str(i // 4) for i in range(40)]
    first = table(10 * [True, True, False, False], location=location)
    second = table(10 * [False, True, True, True], location=location)
    found = overall(compare([first], [second]))
    assert (found.low, found.difference, found.high) == pytest.approx((0.25, 0.25, 0.25), abs=1e-12)
    assert found.significant


def test_thirds_that_cancel_are_exactly_even():
    # Three clips a location; the sides' seeds are equally often right in each, so no draw of locations differs.
    location = [str(i // 3) for i in range(30)]
    first = [table(10 * right, location=location) for right in ([True, True, False],)]
    second = [table(10 * right, location=location) for right in ([True, False, True], [False, True, True])]
    found = overall(compare(first, second))
    assert (found.low, found.difference, found.high) == (0.0, 0.0, 0.0)
    assert not found.significant
    assert found.p_value == 1.0


def test_interval_is_that_of_locations():
    # 40 locations of 25 like clips each. The mean difference of a location is +1 (10), -1 (10) or 0 (20): its variance
    # is 0.5, so the interval is 2 * 1.96 * sqrt(0.5 / 40) = 0.438 wide; for 1,000 clips of their own, 0.088.
    change = np.repeat([1] * 10 + [-1] * 10 + [0] * 20, 25)
    together = [str(i // 25) for i in range(1000)]
    width = {}
    for name, location in (("together", together), ("apart", None)):
        found = overall(compare([table(change < 0, location=location)], [table(change > 0, location=location)]))
        width[name] = found.high - found.low
    assert width["together"] == pytest.approx(2 * 1.96 * math.sqrt(0.5 / 40), rel=0.1)
    assert width["apart"] == pytest.approx(2 * 1.96 * math.sqrt(0.5 / 1000), rel=0.1)


def test_both_systems_are_on_the_same_draw():
    # Hard and easy locations: accuracies vary widely, their difference not at all.
    location = [str(i // 2) for i in range(40)]
    first, second = table(20 * [False] + 20 * [True], location=location), table(40 * [True], location=location)
    second.loc[:19, list(SCENE_GROUPS)] = first.loc[:19, list(SCENE_GROUPS)].to_numpy()
    found = overall(compare([first], [second]))
    assert found.low == found.high == found.difference == 0


def test_sides_swapped_change_the_sign():
    rng = np.random.default_rng(0)
    first, second = table(rng.random(50) < 0.5), table(rng.random(50) < 0.7)
    there, back = overall(compare([first], [second])), overall(compare([second], [first]))
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert (there.b, there.c, there.p_value) == (back.c, back.b, back.p_value)


def test_locations_of_two_cities_are_apart():
    location = ["1", "1", "2", "2"]
    first, second = table(4 * [False], location=location), table(4 * [True], location=location)
    city = ["lisbon", "paris", "lisbon", "paris"]
    assert overall(compare([first.assign(city=city)], [second.assign(city=city)])).locations == 4
    assert overall(compare([first], [second])).locations == 2


def test_coverage_of_a_true_null():
    """Two systems of equal quality whose clips of a location stand or fall together, 120 times."""
    rng = np.random.default_rng(1)
    location = [str(i // 5) for i in range(200)]
    excluded = 0
    for _ in range(120):
        sides = [np.repeat(rng.random(40) < 0.6, 5) for _ in range(2)]
        found = overall(compare(*([table(right, location=location)] for right in sides), resamples=400))
        excluded += found.significant
    assert 0 < excluded / 120 < 0.1


def test_one_location_gives_no_interval():
    device = ["a", "s1", "a", "a"]
    first, second = table(4 * [False], device=device), table(4 * [True], device=device)
    one = [table_.assign(location="7") for table_ in (first, second)]
    comparison = compare([one[0]], [one[1]])
    assert all(subset.low is None and subset.high is None for subset in comparison.subsets)
    assert (comparison.log_loss_low, comparison.log_loss_high) == (None, None)
    assert not overall(comparison).significant
    # s1 is heard in one location of the four: its interval would have no width.
    subsets = {subset.name: subset for subset in compare([first], [second]).subsets}
    assert subsets["acc_s1-s3"].low is None
    assert (subsets["acc_A"].low, subsets["acc_A"].high) == (1.0, 1.0)


def test_a_subset_that_a_draw_misses_has_an_interval():
    device = ["s4", "s4"] + 8 * ["a"]  # a draw misses both locations of s4 with probability 0.8 ** 10 = 0.11
    found = compare([table(10 * [False], device=device)], [table([True, False] + 8 * [True], device=device)])
    unseen = found.subsets[-1]
    assert (unseen.name, unseen.locations, unseen.low, unseen.high) == ("acc_s4-s6", 2, 0.0, 1.0)


def test_order_of_rows_is_irrelevant():
    rng = np.random.default_rng(2)
    location = [str(i // 3) for i in range(60)]
    sides = [[table(rng.random(60) < share, location=location) for _ in range(2)] for share in (0.5, 0.6)]
    shuffled = [[seed.sample(frac=1, random_state=i) for i, seed in enumerate(side)] for side in sides]
    assert compare(*shuffled) == compare(*sides)


def test_the_seed_of_the_draws():
    rng = np.random.default_rng(3)
    sides = [[table(rng.random(60) < 0.5)] for _ in range(2)]
    sides[1][0][list(SCENE_GROUPS)] = rng.dirichlet([1, 1, 1], 60)  # losses of their own: no two draws are equal
    assert compare(*sides) == compare(*sides)
    assert compare(*sides, seed=1).log_loss_low != compare(*sides).log_loss_low


def test_frame():
    device = ["a", "a", "s1"]
    frame = to_frame(compare([table([False, False, True], device=device)], [table(3 * [True], device=device)]))
    assert frame["name"].tolist() == ["acc_avg", "acc_A", "acc_s1-s3"]
    assert frame["significant"].tolist() == [False, False, False]  # two locations can never be sure
    assert frame["low"].isna().tolist() == [False, False, True]
    assert frame["difference"].tolist() == pytest.approx([2 / 3, 1.0, 0.0])


def subset(**changes: object) -> SubsetComparison:
    fields = {
        "name": "acc_avg",
        "clips": 2970,
        "locations": 120,
        "accuracy_first": 0.7012,
        "accuracy_second": 0.7222,
        "difference": 0.021,
        "low": 0.003,
        "high": 0.0404,
        "b": 100,
        "c": 162,
        "p_value": 0.0001,
    }
    return SubsetComparison(**(fields | changes))


def rendered(*subsets: SubsetComparison, seeds: tuple[int, int] = (3, 1)) -> list[str]:
    comparison = Comparison(
        clips=2970,
        seeds_first=seeds[0],
        seeds_second=seeds[1],
        split="test",
        subsets=subsets,
        log_loss_first=0.9,
        log_loss_second=0.8,
        log_loss_difference=-0.1,
        log_loss_low=-0.1234,
        log_loss_high=-0.0666,
        log_loss_p_value=0.002,
    )
    return render(comparison, "plain", "masks").splitlines()


def test_render():
    lines = rendered(subset(), subset(name="acc_BC", low=None, high=None, difference=-0.0002, p_value=0.0417))
    assert lines[0] == "masks against plain (test split, 2970 clips; seeds: 1 against 3)"
    shown = [" ".join(line.split()) for line in lines]
    assert shown[1] == "Subset Clips Locations plain masks Difference [95 %] p Ahead 1st/2nd"
    assert shown[3] == "all clips 2970 120 70.1 72.2 +2.1 [+0.3, +4.0] * < 0.001 100/162"
    assert shown[4] == "B&C 2970 120 70.1 72.2 +0.0 [no interval] 0.042 100/162"
    assert shown[5] == "log loss 2970 120 0.900 0.800 -0.100 [-0.123, -0.067] * 0.002"
    assert max(map(len, lines)) <= 120


BETTER = "masks is better than plain, and that is more than noise (+2.1 [+0.3, +4.0] points)."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, f"On all clips: {BETTER}"),
        ({"name": "acc_s4-s6"}, f"On s4-s6 (unseen): {BETTER}"),
        (
            {"difference": -0.021, "low": -0.0404, "high": -0.003},
            "On all clips: plain is better than masks, and that is more than noise (-2.1 [-4.0, -0.3] points).",
        ),
        (
            {"low": -0.0101},
            "On all clips: no difference that is more than noise (masks minus plain: +2.1 [-1.0, +4.0] points).",
        ),
        (  # the test must agree with the interval
            {"p_value": 0.06},
            "On all clips: no difference that is more than noise (masks minus plain: +2.1 [+0.3, +4.0] points).",
        ),
        (
            {"low": None, "high": None},
            "On all clips: the clips are of one location, nothing can be said beyond them (+2.1 [no interval] points).",
        ),
    ],
)
def test_a_sentence_for_each_subset(changes, sentence):
    assert rendered(subset(**changes), seeds=(3, 2))[-2] == sentence


@pytest.mark.parametrize(
    ("seeds", "names", "scope"),
    [
        ((1, 1), ("this run of masks", "this run of plain"), "One run a side: this speaks of these two trainings only"),
        ((3, 1), ("this run of masks", "plain"), "One run of masks: this speaks of that training only"),
        ((1, 3), ("masks", "this run of plain"), "One run of plain: this speaks of that training only"),
        ((2, 3), ("masks", "plain"), "Seeds and locations were both resampled: this speaks of the two ways to train."),
    ],
)
def test_what_one_seed_can_say_is_said_of_that_training(seeds, names, scope):
    lines = rendered(subset(), seeds=seeds)
    assert f"{names[0]} is better than {names[1]}, and" in lines[-2]
    assert lines[-1].startswith(scope)


def test_other_clips():
    first = table(4 * [True])
    with pytest.raises(InputError, match=r"same clips, got 4 and 2, of which 2 and 0 .* such as 'clip0001'"):
        compare([first], [first.iloc[[0, 3]]])
    other = first.replace({"clip_id": {"clip0002": "x"}})
    with pytest.raises(InputError, match=r"same clips, got 4 and 4, of which 1 and 1 .* such as 'clip0002'"):
        compare([first, other], [first])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("scene", "outdoor", r"true label of each clip; 1 of 3 differ, such as 'clip0001': 'indoor' and 'outdoor'"),
        ("device", "s1", r"device of each clip; 1 of 3 differ, such as 'clip0001': 'a' and 's1'"),
        ("location", "9", r"location of each clip; 1 of 3 differ"),
        ("city", "paris", r"city of each clip; 1 of 3 differ"),
    ],
)
def test_clips_described_otherwise(column, value, message):
    first = table(3 * [True])
    second = first.copy()
    second.loc[1, column] = value
    with pytest.raises(InputError, match=message):
        compare([first], [second.iloc[::-1]])


def test_other_tasks():
    first = table([True])
    scenes = pd.DataFrame(np.full((1, 10), 0.1), columns=list(SCENES))
    second = pd.concat([first.drop(columns=list(SCENE_GROUPS)).assign(scene="park"), scenes], axis=1)
    with pytest.raises(InputError, match="one task can be compared, got ten_class and three_class"):
        compare([first], [second])


def test_splits_and_sides():
    first = table(2 * [True])
    with pytest.raises(InputError, match=r"clips of one split, got \['test', 'validation'\]"):
        compare([first], [first.assign(split="validation")])
    with pytest.raises(InputError, match="one split, got no clips"):
        compare([first.iloc[:0]], [first.iloc[:0]])
    with pytest.raises(InputError, match="the second has none"):
        compare([first], [])
    with pytest.raises(InputError, match="resamples must be at least 1, got 0"):
        compare([first], [first], resamples=0)
    with pytest.raises(InputError, match="'clip0000' stands twice"):
        compare([first], [first.assign(clip_id="clip0000")])
