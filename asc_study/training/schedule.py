"""The cosine-decay-restart learning rate of section 5.2."""

import math

import keras

from asc_study.training.cycles import cycles


class WarmRestarts(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The learning rate of every optimiser step, for any Keras backend.

    lr_min + (lr_max - lr_min) / 2 * (1 + cos(pi * p / T)), p the epochs since the restart (a fraction inside an epoch),
    T the epochs of the cycle. The restarts are compared as whole steps; Keras' own ``CosineDecayRestarts`` finds them
    by a float32 logarithm, which can be one step late.

    Parameters
    ----------
    steps_per_epoch
        Optimiser steps in one epoch.
    epochs
        Length of the whole training, in epochs.
    lr_max, lr_min, first_cycle_epochs, cycle_multiplier
        As in `asc_study.settings.run_config.TrainingConfig`.
    """

    def __init__(
        self,
        *,
        steps_per_epoch: int,
        epochs: int,
        lr_max: float = 0.1,
        lr_min: float = 1e-5,
        first_cycle_epochs: int = 2,
        cycle_multiplier: int = 2,
    ) -> None:
        self.settings = {
            "steps_per_epoch": steps_per_epoch,
            "epochs": epochs,
            "lr_max": lr_max,
            "lr_min": lr_min,
            "first_cycle_epochs": first_cycle_epochs,
            "cycle_multiplier": cycle_multiplier,
        }
        table = list(cycles(epochs, first_cycle_epochs, cycle_multiplier))
        self._starts = [start * steps_per_epoch for start, _ in table]
        self._lengths = [length * steps_per_epoch for _, length in table]
        self._lr_max, self._lr_min = lr_max, lr_min

    def __call__(self, step):  # type: ignore[no-untyped-def]
        """Return the learning rate of optimiser step ``step`` (an integer tensor)."""
        ops = keras.ops
        starts = ops.convert_to_tensor(self._starts, dtype="int32")
        lengths = ops.convert_to_tensor(self._lengths, dtype="float32")
        step = ops.cast(step, "int32")
        cycle = ops.sum(ops.cast(step >= starts, "int32")) - 1
        progress = ops.cast(step - ops.take(starts, cycle), "float32") / ops.take(lengths, cycle)
        return self._lr_min + (self._lr_max - self._lr_min) / 2 * (1 + ops.cos(math.pi * progress))

    def get_config(self) -> dict[str, float]:
        """Return the constructor's arguments."""
        return dict(self.settings)
