"""Devices: what each kind does to a sound, and that a data set's devices are constant and distinct."""

from itertools import combinations

import numpy as np
import pytest

from asc_study.acoustics.compander import compand
from asc_study.acoustics.devices import SIMULATED_DEVICES, Device, make_devices, record
from asc_study.acoustics.impulse_responses import convolve
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import DEVICES

SAMPLE_RATE = 44_100


@pytest.fixture(scope="module")
def devices():
    return make_devices(3, SAMPLE_RATE)


@pytest.fixture(scope="module")
def signal():
    return (0.05 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)).astype(np.float32)


def play(signal, device):
    return record(signal, SAMPLE_RATE, device, np.random.default_rng(1))


def test_device_a_changes_nothing(devices, signal):
    np.testing.assert_array_equal(play(signal, devices["a"]), signal)


def test_every_device_sounds_different_and_the_same_each_time(devices, signal):
    assert tuple(devices) == DEVICES
    recorded = {name: play(signal, device) for name, device in devices.items()}
    again = {name: play(signal, device) for name, device in make_devices(3, SAMPLE_RATE).items()}
    for name in DEVICES:
        np.testing.assert_array_equal(recorded[name], again[name])
    for one, other in combinations(DEVICES, 2):
        assert np.corrcoef(recorded[one], recorded[other])[0, 1] < 0.98
    other_seed = play(signal, make_devices(4, SAMPLE_RATE)["s5"])
    assert np.corrcoef(recorded["s5"], other_seed)[0, 1] < 0.98


def test_simulated_devices_are_an_impulse_response_then_compression(devices, signal):
    for name in SIMULATED_DEVICES:
        device = devices[name]
        wet = convolve(signal, device.impulse_response)
        level_db = 20 * np.log10(np.mean(np.abs(wet)))
        expected = compand(wet, SAMPLE_RATE, device.compander, initial_level_db=level_db)
        np.testing.assert_allclose(play(signal, device), expected, atol=1e-4)


def test_phones_have_a_noise_floor_and_clip(devices):
    for name in ("b", "c"):
        silence = play(np.zeros(SAMPLE_RATE, dtype=np.float32), devices[name])
        floor_db = 20 * np.log10(silence.std())
        assert floor_db == pytest.approx(devices[name].noise_floor_db, abs=0.1)
        loud = np.random.default_rng(0).uniform(-1, 1, SAMPLE_RATE)
        assert np.mean(np.abs(play(loud, devices[name])) == 1.0) > 0.05


def test_given_impulse_responses_are_taken_in_order_and_over_again():
    responses = [np.eye(1, 8, k, dtype=np.float32)[0] for k in range(4)]
    devices = make_devices(0, SAMPLE_RATE, responses)
    taken = [int(np.argmax(devices[name].impulse_response)) for name in SIMULATED_DEVICES]
    assert taken == [0, 1, 2, 3, 0, 1]
    one_for_all = make_devices(0, SAMPLE_RATE, responses[:1])
    assert len({one_for_all[name].compander for name in SIMULATED_DEVICES}) == 6


@pytest.mark.parametrize("name", DEVICES)
def test_two_channels_stay_two(devices, signal, name):
    recorded = play(np.stack([signal, signal[::-1]], axis=1), devices[name])
    assert recorded.shape == (len(signal), 2)
    assert recorded.dtype == np.float32
    assert np.abs(recorded).max() <= 1
    assert not np.array_equal(recorded[:, 0], recorded[:, 1])


def test_refuses_another_sample_rate(signal):
    with pytest.raises(InputError, match="device b records at 44100 Hz, got a signal at 48000 Hz"):
        record(signal, 48_000, Device("b", SAMPLE_RATE), np.random.default_rng(0))
