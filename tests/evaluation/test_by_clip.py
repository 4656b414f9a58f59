"""Confusions and the clips behind them, against counts by hand."""

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.evaluation.by_clip import (
    confused_clips,
    confusion_shares,
    hardest_clips,
    measure_confusion,
    most_changed,
    most_frequent,
    of_devices,
)
from asc_study.evaluation.metrics import confusion

INDOOR, OUTDOOR, MOVING = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)


def table(tiny_table, *decided):
    places = [("indoor", "a", "1"), ("indoor", "b", "1"), ("indoor", "s4", "2"), ("outdoor", "a", "3")]
    return tiny_table(*[(*place, *one) for place, one in zip(places, decided, strict=True)])


@pytest.fixture
def two(tiny_table):
    """Of three indoor clips, the first seed takes one for outdoor, the second seed two."""
    return [
        table(tiny_table, INDOOR, OUTDOOR, INDOOR, OUTDOOR),
        table(tiny_table, INDOOR, OUTDOOR, OUTDOOR, OUTDOOR).iloc[::-1],
    ]


def test_shares_are_the_mean_over_seeds_of_each_true_class(two):
    shares = confusion_shares(two)
    assert shares.loc["indoor"].tolist() == pytest.approx([50, 50, 0])
    assert shares.loc["outdoor"].tolist() == [0, 100, 0]
    assert shares.loc["transportation"].isna().all()
    assert most_frequent(shares) == ("indoor", "outdoor")


def test_one_seed_has_the_shares_of_its_confusion_matrix(make_table):
    one = make_table(0)
    counts = confusion(one)
    np.testing.assert_allclose(confusion_shares([one]), 100 * counts.div(counts.sum(axis=1), axis=0))


def test_nothing_is_confused_where_all_is_right_and_nothing_changes_against_itself(two):
    right = pd.DataFrame(np.eye(3) * 100, list("abc"), list("abc"))
    assert most_frequent(right) is None
    assert most_changed(right - right) is None
    assert most_changed(confusion_shares(two) - confusion_shares(two[:1]))[0] == "indoor"


def test_a_confusion_is_measured_with_its_interval_and_its_change(make_table):
    own, other = [make_table(0), make_table(1)], [make_table(2, skill=3)]
    true, decided = most_frequent(confusion_shares(own))
    found = measure_confusion(own, true, decided, other)
    assert found.share == pytest.approx(confusion_shares(own)[decided][true])
    assert found.low < found.share < found.high
    assert (found.clips, found.locations) == (20, 20)
    change = found.share - confusion_shares(other)[decided][true]
    assert 100 * found.change.value == pytest.approx(change)
    assert measure_confusion(own, true, decided).change is None


def test_clips_of_one_location_have_no_interval(two):
    found = measure_confusion(of_devices(two, ("a", "b")), "indoor", "outdoor")
    assert (found.share, found.low, found.high, found.clips) == (50, None, None, 2)


def test_the_clips_of_a_cell_are_those_that_some_seed_decides_so_the_surest_first(two, tiny_table):
    other = [table(tiny_table, INDOOR, MOVING, INDOOR, OUTDOOR)]
    clips = confused_clips(two, "indoor", "outdoor", other)
    assert clips["clip_id"].tolist() == ["clip1", "clip2"]
    assert clips["seeds"].tolist() == [2, 1]
    assert clips["device"].tolist() == ["b", "s4"]
    assert clips["location"].tolist() == ["lisbon-1", "lisbon-2"]
    np.testing.assert_allclose(clips["p_decided"], [80, 45], rtol=1e-6)
    np.testing.assert_allclose(clips["p_true"], [10, 45], rtol=1e-6)
    assert clips["other_decided"].tolist() == ["transportation", "indoor"]
    np.testing.assert_allclose(clips["other_p_true"], [10, 80], rtol=1e-6)
    assert "other_decided" not in confused_clips(two, "indoor", "outdoor")


def test_an_empty_cell_has_no_clips(two):
    assert confused_clips(two, "outdoor", "transportation").empty


def test_the_hardest_clip_is_that_which_fewest_runs_get_right_then_that_whose_truth_is_expected_least(two, tiny_table):
    clips = hardest_clips({"two": two, "one": [table(tiny_table, INDOOR, OUTDOOR, INDOOR, MOVING)]})
    assert clips["clip_id"].tolist() == ["clip1", "clip3", "clip2", "clip0"]
    np.testing.assert_allclose(clips["p_true"], [10, 45, (45 + 80) / 2, 80], rtol=1e-6)
    assert clips["right"].tolist() == [0, 2, 2, 3]
    assert clips["decided"].tolist() == ["outdoor", "outdoor", "indoor", "indoor"]
    assert set(clips["runs"]) == {3}


def test_systems_of_other_clips_are_refused(make_table, two):
    with pytest.raises(InputError, match="one task"):
        confused_clips(two, "indoor", "outdoor", [make_table(0, split="validation")])
    with pytest.raises(InputError, match="one task"):
        hardest_clips({"two": two, "other": [make_table(0, split="validation")]})
