"""What the documents promise of an optimiser that has no name of its own."""

import keras
import numpy as np

from asc_study.settings.training import TrainingConfig
from asc_study.training.optimisers import make_optimiser


def test_adamw_without_decay_is_adam() -> None:
    rate = keras.optimizers.schedules.ExponentialDecay(0.001, 10, 1.0)
    settings = TrainingConfig(optimizer="adamw", weight_decay=0, lr_max=0.001)
    ours, adam = make_optimiser(settings, rate), keras.optimizers.Adam(rate, epsilon=1e-8)
    start = np.linspace(-1, 1, 7).astype(np.float32)
    weights = [keras.Variable(start) for _ in range(2)]
    for step in range(3):
        gradient = keras.ops.convert_to_tensor(np.sin(start * (step + 2)))
        for optimiser, weight in zip((ours, adam), weights, strict=True):
            optimiser.apply([gradient], [weight])
    np.testing.assert_array_equal(*map(np.asarray, weights))
    assert np.abs(np.asarray(weights[0]) - start).max() > 0.001
