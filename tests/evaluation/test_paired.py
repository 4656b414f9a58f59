import math

import numpy as np
import pandas as pd
import pytest

from asc_study.evaluation.paired import LOG_LOSS, Panel, permutation_test


def panel(*clips: int, device: str = "a") -> Panel:
    """Locations of so many clips each."""
    location = np.repeat(np.arange(len(clips)), clips).astype(str)
    return Panel(pd.DataFrame({"city": "lisbon", "location": location, "device": device}))


def right(*seeds: str) -> np.ndarray:
    """A row a seed: ``x`` is right."""
    return np.array([[mark == "x" for mark in seed] for seed in seeds])


def sums(clips: Panel, *seeds: str):
    decided = right(*seeds)
    return clips.sums(decided, np.where(decided, 0.5, 2.0))


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        ((1, 1, 1), 2 / 8),  # |sum| of 3: all signs alike, 2 of 8
        ((3, 1, -1), 6 / 8),  # found 3; 3+1+1 = 5, 3+1-1 = 3, 3-1+1 = 3, 3-1-1 = 1: 3 of 4, and their opposites
        ((2, 2), 2 / 4),
        ((1, -1), 1.0),
        ((0, 0), 1.0),
        ((5,), 1.0),
        ((0, 4, 0, 4, 4, 4, 4, 4), 2 / 2**6),
    ],
)
def test_the_permutation_test_by_hand(lead, expected):
    assert permutation_test(np.array(lead, float)) == pytest.approx(expected)


def test_with_many_locations_signs_are_drawn():
    lead = np.tile([2.0, -1.0], 20)  # sum 20, deviation sqrt(20 * 5) = 10; sums are even, so all above 19 are as far
    p = permutation_test(lead)
    assert p == pytest.approx(math.erfc(19 / 10 / math.sqrt(2)), abs=0.01)
    assert p == permutation_test(lead)
    assert permutation_test(np.ones(40)) == pytest.approx(1 / 10_000)


def test_a_difference_in_many_clips_does_not_hide_the_one_that_is_printed():
    """60 clips a third better, 25 clips worse on all three seeds: the mean is worse, and the test is of the mean."""
    clips = panel(*[1] * 85)
    first = sums(clips, "-" * 60 + "x" * 25, "-" * 60 + "x" * 25, "-" * 60 + "x" * 25)
    second = sums(clips, "x" * 60 + "-" * 25, "-" * 85, "-" * 85)
    found = clips.difference(first, second, "acc_avg")
    assert found.value == pytest.approx((60 / 3 - 25) / 85)
    # In thirds: 60 signs of 1 and 25 of 3, deviation sqrt(60 + 225) = 16.9; found 15, sums are odd: all above 14 are
    # as far. The sign test on clips had p < 0.001, for the other side.
    assert found.p_value == pytest.approx(math.erfc(14 / math.sqrt(60 + 225) / math.sqrt(2)), abs=0.02)
    assert not found.significant


def test_seeds_are_resampled_where_there_are_several():
    # Every location alike, so that locations alone give no width: all of it comes from the seeds.
    clips = panel(*[2] * 30)
    plain = sums(clips, "x-" * 30)
    one, three = sums(clips, "xx" * 30), sums(clips, "xx" * 30, "x-" * 30, "x-" * 30)
    alone = clips.difference(plain, one, "acc_avg")
    assert (alone.low, alone.value, alone.high) == (0.5, 0.5, 0.5)
    several = clips.difference(plain, three, "acc_avg")
    assert several.value == pytest.approx(1 / 6)
    # Draws of three seeds hold the better one 0 to 3 times: (2/3)**3 = 30 % none, 1/27 = 3.7 % all three.
    assert (several.low, several.high) == (0.0, 0.5)
    assert not several.significant
    assert clips.mean(three, "acc_avg") == (pytest.approx(2 / 3), 0.5, 1.0)


def test_both_interval_and_test_must_agree():
    few, more = panel(1, 1, 1, 1, 1), panel(1, 1, 1, 1, 1, 1)
    found = few.difference(sums(few, "-----"), sums(few, "xxxxx"), "acc_avg")
    assert (found.low, found.high, found.p_value) == (1.0, 1.0, 2 / 2**5)
    assert not found.significant
    assert more.difference(sums(more, "------"), sums(more, "xxxxxx"), "acc_avg").significant


def test_the_log_loss_is_a_mean_of_losses():
    clips = panel(1, 3)
    found = clips.difference(sums(clips, "----"), sums(clips, "x-x-"), LOG_LOSS)
    assert found.value == pytest.approx((0.5 - 2.0) * 2 / 4)


def test_clips_of_a_subset_alone_count():
    clips = panel(2, 1, device="s5")
    assert list(clips.masks) == ["acc_avg", "acc_s4-s6", LOG_LOSS]
    assert clips.locations("acc_s4-s6") == 2
    assert clips.mean(sums(clips, "xx-"), "acc_s4-s6")[0] == pytest.approx(2 / 3)
    assert panel(4).mean(sums(panel(4), "xxx-"), "acc_avg") == (0.75, None, None)
