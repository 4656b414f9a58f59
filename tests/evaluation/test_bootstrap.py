import numpy as np
import pytest

from asc_study.evaluation.bootstrap import LocationDraws, interval

PLACE = np.array([0, 0, 1, 2])
VALUES = np.array([1.0, 0.0, 1.0, 4.0])


def test_each_location_once_gives_the_mean_of_the_clips():
    everything = np.ones(4, bool)
    assert LocationDraws.each_once(PLACE).mean(VALUES, everything) == pytest.approx([1.5])


def test_clips_count_as_often_as_their_location_is_drawn():
    draws = LocationDraws(np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]]), PLACE)
    np.testing.assert_allclose(draws.mean(VALUES, np.ones(4, bool)), [(2 * 1 + 2 * 0 + 1) / 5, 4])


def test_a_draw_without_the_chosen_clips_has_no_mean():
    draws = LocationDraws(np.array([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), PLACE)
    np.testing.assert_array_equal(draws.mean(VALUES, PLACE == 2), [np.nan, 4])


def test_draws_are_as_many_as_there_are_locations_and_depend_on_the_seed_alone():
    draws = LocationDraws.resampled(PLACE, 50, seed=3)
    assert draws.counts.shape == (50, 3)
    assert (draws.counts.sum(axis=1) == 3).all()
    np.testing.assert_array_equal(draws.counts, LocationDraws.resampled(PLACE, 50, seed=3).counts)
    assert (draws.counts != LocationDraws.resampled(PLACE, 50, seed=4).counts).any()


def test_interval_leaves_out_what_is_not_known():
    assert interval(np.array([np.nan, *range(41)])) == (1.0, 39.0)
    assert interval(np.array([np.nan])) is None


def test_sums_of_a_draw_count_each_location_as_often_as_it_is_drawn():
    draws = LocationDraws(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([0, 1, 0]))
    np.testing.assert_allclose(draws.sums(np.array([1.0, 10.0, 100.0])), [111, 202])
    np.testing.assert_allclose(draws.sums(np.array([[1.0, 10.0, 100.0], [0.0, 1.0, 0.0]])), [[111, 202], [1, 0]])
