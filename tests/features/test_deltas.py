import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.features.deltas import deltas, widen, with_deltas


def test_delta_of_a_straight_line_is_its_slope_and_of_a_parabola_twice_the_place() -> None:
    time = np.arange(9, dtype=np.float32)[np.newaxis, :, np.newaxis]
    # (2 slope) / 10 + (4 slope) / 5: the authors' weights give the slope itself.
    np.testing.assert_allclose(deltas(3 * time)[0, :, 0], 3.0, rtol=1e-6)
    np.testing.assert_allclose(deltas(time**2)[0, :, 0], 2 * time[0, 2:-2, 0], rtol=1e-5)


def test_channels_are_all_statics_then_all_deltas_then_all_delta_deltas() -> None:
    time = np.arange(12, dtype=np.float32)
    left, right = time, 0.5 * time**2
    stacked = with_deltas(np.stack([left, right], axis=-1)[np.newaxis])
    assert stacked.shape == (1, 4, 6)
    np.testing.assert_allclose(stacked[0, :, 0], left[4:-4])
    np.testing.assert_allclose(stacked[0, :, 1], right[4:-4])
    np.testing.assert_allclose(stacked[0, :, 2], 1.0, rtol=1e-6)
    np.testing.assert_allclose(stacked[0, :, 3], time[4:-4], rtol=1e-6)
    np.testing.assert_allclose(stacked[0, :, 4], 0.0, atol=1e-6)
    np.testing.assert_allclose(stacked[0, :, 5], 1.0, rtol=1e-5)


def test_deltas_match_the_formula_on_noise_and_are_written_in_place() -> None:
    static = np.random.default_rng(3).random((5, 20, 2)).astype(np.float16)
    x = static.astype(np.float64)
    first = (x[:, 3:-1] - x[:, 1:-3]) / 10 + (x[:, 4:] - x[:, :-4]) / 5
    second = (first[:, 3:-1] - first[:, 1:-3]) / 10 + (first[:, 4:] - first[:, :-4]) / 5
    batch = np.full((2, 5, 12, 6), np.nan, np.float32)
    assert np.shares_memory(with_deltas(static, out=batch[1]), batch)
    np.testing.assert_allclose(batch[1], np.concatenate([x[:, 4:-4], first[:, 2:-2], second], axis=-1), atol=1e-6)
    assert np.isnan(batch[0]).all()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_stored_types_and_layouts_give_the_same_deltas(dtype: type, channels: int) -> None:
    static = np.random.default_rng(4).standard_normal((6, 30, channels)).astype(np.float16)
    expected = with_deltas(static)
    first = deltas(static.astype(np.float32))
    np.testing.assert_array_equal(expected[..., :channels], static[:, 4:-4])
    np.testing.assert_array_equal(expected[..., channels : 2 * channels], first[:, 2:-2])
    np.testing.assert_allclose(expected[..., 2 * channels :], deltas(first), atol=1e-6)
    locked = static.astype(dtype)
    locked.flags.writeable = False
    for stored in (locked, np.asfortranarray(locked), np.repeat(locked, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(with_deltas(stored), expected)
    with_gaps = np.zeros((12, 22, 3 * channels), np.float32)[::2]
    np.testing.assert_array_equal(with_deltas(static, out=with_gaps), expected)
    np.testing.assert_array_equal(with_gaps, expected)


def test_too_few_frames_for_deltas_are_refused() -> None:
    assert with_deltas(np.zeros((4, 9, 1), np.float32)).shape == (4, 1, 3)
    with pytest.raises(InputError, match="at least 9 frames, got 8"):
        with_deltas(np.zeros((4, 8, 1), np.float32))
    with pytest.raises(InputError, match="at least 5 frames, got 4"):
        deltas(np.zeros((4, 4, 1), np.float32))


def test_an_out_array_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"`out` must have shape \(4, 1, 3\), got \(4, 2, 3\)"):
        with_deltas(np.zeros((4, 9, 1), np.float32), out=np.empty((4, 2, 3), np.float32))


def test_widening_is_exact_for_every_finite_float16() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    np.testing.assert_array_equal(widen(finite).view(np.uint32), finite.astype(np.float32).view(np.uint32))
