"""The cosine-decay-restart learning rate of section 5.2, which may begin with a warm-up."""

import math

import keras

from asc_study.training.cycles import cycles, require_warmup


class WarmRestarts(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The learning rate of every optimiser step, for any Keras backend.

    lr_min + (lr_max - lr_min) / 2 * (1 + cos(pi * p / T)), p the epochs since the restart (a fraction inside an epoch),
    T the epochs of the cycle. The restarts are compared as whole steps; Keras' own ``CosineDecayRestarts`` finds them
    by a float32 logarithm, which can be one step late. In a warm-up of W steps the rate is lr_max * (step + 1) /
    (W + 1); the first cycle then comes down in the steps that it has left.

    Parameters
    ----------
    steps_per_epoch
        Optimiser steps in one epoch.
    epochs
        Length of the whole training, in epochs.
    lr_max, lr_min, first_cycle_epochs, cycle_multiplier, warmup_steps
        As in `asc_study.settings.training.TrainingConfig`.

    Raises
    ------
    InputError
        If the first cycle is over before the warm-up.
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
        warmup_steps: int = 0,
    ) -> None:
        require_warmup(warmup_steps, steps_per_epoch, first_cycle_epochs)
        self.settings = {
            "steps_per_epoch": steps_per_epoch,
            "epochs": epochs,
            "lr_max": lr_max,
            "lr_min": lr_min,
            "first_cycle_epochs": first_cycle_epochs,
            "cycle_multiplier": cycle_multiplier,
            "warmup_steps": warmup_steps,
        }
        table = list(cycles(epochs, first_cycle_epochs, cycle_multiplier))
        self._starts = [start * steps_per_epoch for start, _ in table]
        self._lengths = [length * steps_per_epoch for _, length in table]
        self._starts[0], self._lengths[0] = warmup_steps, self._lengths[0] - warmup_steps
        self._lr_max, self._lr_min, self._warmup_steps = lr_max, lr_min, warmup_steps

    def __call__(self, step):  # type: ignore[no-untyped-def]
        """Return the learning rate of optimiser step ``step`` (an integer tensor)."""
        ops = keras.ops
        starts = ops.convert_to_tensor(self._starts, dtype="int32")
        lengths = ops.convert_to_tensor(self._lengths, dtype="float32")
        step = ops.cast(step, "int32")
        cycle = ops.maximum(ops.sum(ops.cast(step >= starts, "int32")) - 1, 0)
        progress = ops.cast(step - ops.take(starts, cycle), "float32") / ops.take(lengths, cycle)
        rate = self._lr_min + (self._lr_max - self._lr_min) / 2 * (1 + ops.cos(math.pi * progress))
        if not self._warmup_steps:
            return rate
        rising = self._lr_max * ops.cast(step + 1, "float32") / (self._warmup_steps + 1)
        return ops.where(step < self._warmup_steps, rising, rate)

    def get_config(self) -> dict[str, float]:
        """Return the constructor's arguments."""
        return dict(self.settings)
