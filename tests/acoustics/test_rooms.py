"""Simulated rooms against mirror images worked out by hand, and the decay that they are asked for."""

import numpy as np
import pyroomacoustics
import pytest

from asc_study.acoustics.rooms import REVERBERATION_SECONDS, SIZE_METRES, Room, draw_room, room_response, simulate_rooms
from asc_study.base.errors import InputError

SAMPLE_RATE = 44_100


def decay_seconds(response: np.ndarray) -> float:
    """Reverberation time from the fall between -5 and -25 dB of the backward integrated energy (T20)."""
    energy = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    level_db = 10 * np.log10(energy / energy[0])
    return 3 * (np.argmax(level_db < -25) - np.argmax(level_db < -5)) / SAMPLE_RATE


def test_direct_sound_and_first_reflections_are_where_the_mirror_images_are():
    # At 34,300 Hz and 343 m/s, a metre takes 100 samples. The source is 2 m away; its image in the floor, 1.5 m below
    # it, 2.5 m; that in the near wall, 1 m behind it, 4 m.
    room = Room(size=(5, 4, 3), reverberation_seconds=0.4, source=(1, 2, 0.75), microphone=(3, 2, 0.75))
    response = room_response(room, 34_300)
    direct = int(np.argmax(response))
    volume, walls = 5 * 4 * 3, 2 * (5 * 4 + 5 * 3 + 4 * 3)
    absorption = 24 * np.log(10) * volume / (343 * walls * 0.4)
    reflected = np.sqrt(1 - absorption)
    assert response[direct] == 1
    assert response[direct + 50] == pytest.approx(reflected * 2 / 2.5, abs=0.02)
    assert response[direct + 200] == pytest.approx(reflected * 2 / 4, abs=0.02)
    assert np.abs(response[direct + 20 : direct + 45]).max() < 0.02
    assert len(response) == direct + round(0.4 * 34_300)


def test_rooms_decay_as_asked():
    rngs = [np.random.default_rng(seed) for seed in range(8)]
    for room in map(draw_room, rngs):
        # Sabine's formula is only true where the sound field is diffuse, which a shoebox's is not quite.
        assert 0.7 < decay_seconds(room_response(room, SAMPLE_RATE)) / room.reverberation_seconds < 1.45


def test_drawn_rooms_are_in_range_and_apart_from_walls():
    rng = np.random.default_rng(0)
    rooms = [draw_room(rng) for _ in range(300)]
    sizes = np.array([room.size for room in rooms])
    lows, highs = np.transpose(SIZE_METRES)
    np.testing.assert_allclose(sizes.min(axis=0), lows, rtol=0.05)
    np.testing.assert_allclose(sizes.max(axis=0), highs, rtol=0.05)
    assert (sizes >= lows).all()
    assert (sizes <= highs).all()
    seconds = [room.reverberation_seconds for room in rooms]
    assert (min(seconds), max(seconds)) == pytest.approx(REVERBERATION_SECONDS, abs=0.02)
    for room in rooms:
        for position in (room.source, room.microphone):
            assert min(position) >= 0.5
            assert (np.subtract(room.size, position) >= 0.5).all()
        assert np.linalg.norm(np.subtract(room.source, room.microphone)) >= 1


def test_responses_follow_from_the_seed_alone():
    first = simulate_rooms(3, 7, SAMPLE_RATE)
    for response in first:
        assert response.dtype == np.float32
        assert np.abs(response).max() == 1
        assert np.isfinite(response).all()
    more = simulate_rooms(4, 7, SAMPLE_RATE)
    for one, other in zip(first, more[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({response.tobytes() for response in (*more, *simulate_rooms(4, 8, SAMPLE_RATE))}) == 8


def test_neither_threads_nor_global_random_states_matter_or_change():
    threads = pyroomacoustics.constants.get("num_threads")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    expected = simulate_rooms(1, 1, SAMPLE_RATE)[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert pyroomacoustics.constants.get("num_threads") == threads
    pyroomacoustics.constants.set("num_threads", threads + 3)
    try:
        np.testing.assert_array_equal(simulate_rooms(1, 1, SAMPLE_RATE)[0], expected)
    finally:
        pyroomacoustics.constants.set("num_threads", threads)


def test_refuses_what_cannot_be():
    with pytest.raises(InputError, match="number of simulated rooms must be at least 1, got 0: raise it"):
        simulate_rooms(0, 0, SAMPLE_RATE)
    hall = Room(size=(30, 20, 10), reverberation_seconds=0.1, source=(5, 5, 2), microphone=(20, 10, 2))
    with pytest.raises(InputError, match="a room of 30 x 20 x 10 m needs a longer reverberation time, got 0.1 s"):
        room_response(hall, SAMPLE_RATE)
