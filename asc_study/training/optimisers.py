"""What changes the weights after each batch: SGD with momentum (section 5.2), or AdamW (Loshchilov and Hutter 2019)."""

import keras

from asc_study.settings.training import TrainingConfig

#: Of AdamW, as PyTorch has it: Keras' own is ten times that.
_EPSILON = 1e-8


def make_optimiser(
    settings: TrainingConfig, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """The optimiser of a training, whose learning rate follows ``schedule``; AdamW decays all trained parameters."""
    if settings.optimizer == "adamw":
        return keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, epsilon=_EPSILON)
    return keras.optimizers.SGD(schedule, momentum=settings.momentum)
