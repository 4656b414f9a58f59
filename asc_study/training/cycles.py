"""The cycles of the learning rate (section 5.2) as whole epochs; free of Keras, so that a plan can look at them."""

from collections.abc import Iterator

from asc_study.base.errors import InputError


def cycles(epochs: int, first_cycle_epochs: int, cycle_multiplier: int) -> Iterator[tuple[int, int]]:
    """Yield (start epoch, length in epochs) of each cycle that begins before ``epochs``.

    With 2 and 2, as in the authors' code, the restarts are at epochs 0, 2, 6, 14, 30, 62, 126, 254; with a multiplier
    of 1 they come regularly.
    """
    start, length = 0, first_cycle_epochs
    while start < epochs:
        yield start, length
        start, length = start + length, length * cycle_multiplier


def minima(epochs: int, first_cycle_epochs: int, cycle_multiplier: int) -> list[int]:
    """Epochs (from 0) at whose end the learning rate has its minimum: the last of each cycle that is completed.

    With 2 and 2, and 254 epochs: 1, 5, 13, 29, 61, 125, 253.
    """
    ends = [start + length - 1 for start, length in cycles(epochs, first_cycle_epochs, cycle_multiplier)]
    return [end for end in ends if end < epochs]


def require_warmup(warmup_steps: int, steps_per_epoch: int, first_cycle_epochs: int) -> None:
    """Raise `InputError` unless the first cycle is longer than the warm-up."""
    steps = steps_per_epoch * first_cycle_epochs
    if warmup_steps >= steps:
        raise InputError(
            f"training.warmup_steps must be below the {steps} steps of the first cycle of the learning rate "
            f"({first_cycle_epochs} epochs of {steps_per_epoch}), got {warmup_steps}: lower it, or train longer"
        )
