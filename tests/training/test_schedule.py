import math
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.settings.run_config import resolve
from asc_study.training.cycles import cycles
from asc_study.training.optimisers import make_optimiser
from asc_study.training.schedule import WarmRestarts


def test_restarts_are_those_of_the_authors_code():
    assert [start for start, _ in cycles(255, 2, 2)] == [0, 2, 6, 14, 30, 62, 126, 254]
    assert [length for _, length in cycles(254, 2, 2)] == [2, 4, 8, 16, 32, 64, 128]


@pytest.mark.parametrize("steps", [1, 5])
def test_every_step_follows_the_equation(steps):
    schedule = WarmRestarts(steps_per_epoch=steps, epochs=14, lr_max=0.1, lr_min=1e-5)
    expected = []
    for start, length in ((0, 2), (2, 4), (6, 8)):
        for step in range(start * steps, (start + length) * steps):
            p = step / steps - start
            expected.append(1e-5 + (0.1 - 1e-5) / 2 * (1 + math.cos(math.pi * p / length)))
    got = [float(schedule(step)) for step in range(14 * steps)]
    np.testing.assert_allclose(got, expected, atol=2e-7)
    assert got[0] == got[2 * steps] == got[6 * steps] == pytest.approx(0.1)


def test_one_cycle_with_a_warm_up_rises_along_a_line_and_comes_down_by_a_cosine():
    schedule = WarmRestarts(steps_per_epoch=4, epochs=5, lr_max=0.005, lr_min=0.0, first_cycle_epochs=5, warmup_steps=6)
    rising = [0.005 * (step + 1) / 7 for step in range(6)]
    falling = [0.005 / 2 * (1 + math.cos(math.pi * step / 14)) for step in range(14)]
    np.testing.assert_allclose([float(schedule(step)) for step in range(20)], rising + falling, atol=1e-8)


def test_restarts_after_a_warm_up_are_where_they_would_be_without():
    with_it, without = (WarmRestarts(steps_per_epoch=3, epochs=6, warmup_steps=steps) for steps in (2, 0))
    assert [float(with_it(step)) for step in range(6, 18)] == [float(without(step)) for step in range(6, 18)]
    assert float(with_it(0)) == pytest.approx(0.1 / 3)


def test_a_warm_up_must_be_shorter_than_the_first_cycle():
    line = r"must be below the 6 steps of the first cycle .* \(2 epochs of 3\), got 6: lower it"
    with pytest.raises(InputError, match=line):
        WarmRestarts(steps_per_epoch=3, epochs=6, warmup_steps=6)


def test_adamw_is_the_algorithm_of_its_paper():
    settings = resolve({"training": {"optimizer": "adamw", "lr_max": 0.005, "weight_decay": 0.01}}).training
    optimiser = make_optimiser(settings, WarmRestarts(steps_per_epoch=3, epochs=6, lr_max=0.005, lr_min=0.001))
    start = np.array([1.0, -2.0, 0.5])
    weight = keras.Variable(start.astype(np.float32))
    expected, first, second = start.copy(), np.zeros(3), np.zeros(3)
    for step in range(1, 6):
        gradient = np.array([0.1, -1e-4, 3.0]) * step
        optimiser.apply([keras.ops.convert_to_tensor(gradient, "float32")], [weight])
        rate = float(optimiser._learning_rate(step - 1))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        change = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        expected -= rate * (change + 0.01 * expected)
        np.testing.assert_allclose(np.asarray(weight), expected, rtol=2e-4)


def test_config_round_trip():
    schedule = WarmRestarts(steps_per_epoch=3, epochs=6, lr_max=0.2, warmup_steps=2)
    again = WarmRestarts(**schedule.get_config())
    assert [float(again(s)) for s in range(18)] == [float(schedule(s)) for s in range(18)]
