import math

import numpy as np
import pytest

from asc_study.training.cycles import cycles
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


def test_config_round_trip():
    schedule = WarmRestarts(steps_per_epoch=3, epochs=6, lr_max=0.2)
    again = WarmRestarts(**schedule.get_config())
    assert [float(again(s)) for s in range(18)] == [float(schedule(s)) for s in range(18)]
