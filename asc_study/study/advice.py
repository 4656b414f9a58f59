"""Settings that do not fit the number of clips: what is wrong and what to set, a line each; rules of thumb, no errors.

The defaults are those of the paper's 13,965 training clips. On a few hundred, an epoch is ten steps, so that statistics
do not settle, cycles of the learning rate are over before anything is learned, and the best epoch is luck.
"""

import math
from collections.abc import Iterable
from typing import Final

from asc_study.base.text_table import some
from asc_study.study.effort import Effort
from asc_study.training.cycles import cycles, minima

#: Running statistics with momentum m forget what came 1 / (1 - m) steps ago; after five times that they have settled.
_MEMORIES: Final = 5

#: Momenta to advise, the highest first.
_MOMENTA: Final = (0.98, 0.95, 0.9, 0.8, 0.5)

#: Steps of the longest cycle of the learning rate that are enough to come down from its maximum.
_STEPS_OF_CYCLE: Final = 100

#: Learning rate of AdamW above which it is likely SGD's.
_HIGHEST_RATE: Final = 0.03

#: Log power of a mel band, not scaled, above which it is a sound.
_LOUD: Final = -5.0

#: Validation clips below which the best epoch is hardly better than any: differences of 7 points are noise.
_VALIDATION_CLIPS: Final = 200


def advice(efforts: Iterable[Effort]) -> list[str]:
    """The notes on all rows, each once with the rows that it is about."""
    rows: dict[str, list[str]] = {}
    for effort in efforts:
        for rule in (momentum_note, cut_note, cycle_note, rate_note, validation_note, mask_note):
            if note := rule(effort):
                rows.setdefault(note, []).append(effort.row)
    return [f"note ({some(names)}): {note}" for note, names in rows.items()]


def momentum_note(effort: Effort) -> str:
    """Whether batch normalisation's running statistics settle within the training."""
    momentum = getattr(effort.config.model, "batch_norm_momentum", None)
    if not isinstance(momentum, float) or _settling(momentum) <= effort.steps:
        return ""
    fitting = next((one for one in _MOMENTA if _settling(one) <= effort.steps and one < momentum), _MOMENTA[-1])
    return (
        f"batch normalisation with momentum {momentum:g} needs about {_settling(momentum)} steps to settle, "
        f"{effort.steps} are trained: set model.batch_norm_momentum to {fitting:g}"
    )


def cut_note(effort: Effort) -> str:
    """Whether the training ends where a cycle of the learning rate does."""
    settings = effort.config.training
    ends = minima(settings.epochs, settings.first_cycle, settings.cycle_multiplier)
    if ends and ends[-1] == settings.epochs - 1:
        return ""
    start, length = list(cycles(settings.epochs, settings.first_cycle, settings.cycle_multiplier))[-1]
    whole = f"{start} or {start + length}" if start else f"{start + length}"
    return (
        f"{settings.epochs} epochs end inside a cycle of the learning rate, before it has come down: set "
        f"training.epochs to {whole}"
    )


def cycle_note(effort: Effort) -> str:
    """Whether the longest whole cycle of the learning rate has enough steps to learn in."""
    settings, steps = effort.config.training, effort.steps_per_epoch
    table = list(cycles(settings.epochs, settings.first_cycle, settings.cycle_multiplier))
    whole = [length for start, length in table if start + length <= settings.epochs]
    if not whole or max(whole) * steps >= _STEPS_OF_CYCLE:
        return ""
    wanted = math.ceil(_STEPS_OF_CYCLE / steps)
    keys = "training.epochs" if settings.schedule == "cosine" else "training.first_cycle_epochs and training.epochs"
    return (
        f"the longest cycle of the learning rate has {max(whole) * steps} steps ({max(whole)} epochs of {steps}), too "
        f"short to learn in: set {keys} to {wanted} or more, or lower training.batch_size"
    )


def rate_note(effort: Effort) -> str:
    """Whether the learning rate is one for the optimiser: that of SGD is the default."""
    settings = effort.config.training
    if settings.optimizer == "sgd" or settings.lr_max <= _HIGHEST_RATE:
        return ""
    return f"adamw at a learning rate of {settings.lr_max:g} hardly learns: set training.lr_max to 0.005 or less"


def validation_note(effort: Effort) -> str:
    """Whether there are enough validation clips to choose an epoch by."""
    clips = effort.validation
    if effort.config.training.select_epoch != "best" or not 0 < clips < _VALIDATION_CLIPS:
        return ""
    noise = 100 * 2 * math.sqrt(0.25 / clips)  # two standard errors of a share of one half, if clips were independent
    return (
        f"the best epoch is chosen on {clips} validation clips of {effort.locations} locations, where differences of "
        f"{noise:.0f} points are noise at the least: set training.select_epoch to last or snapshots"
    )


def mask_note(effort: Effort) -> str:
    """Whether masks are filled with a value that means sound and not silence."""
    masks = effort.config.batch_augmentation.get("spec_augment")
    value = getattr(masks, "mask_value", None)
    if value is None or effort.config.features.scale != "none" or value < _LOUD:
        return ""
    return (
        f"masks of the value {value:g} are loud where features are not scaled (features.scale: none; silence is "
        "-18.4): set batch_augmentation.spec_augment.mask_value to -18.4, or features.scale to min_max"
    )


def _settling(momentum: float) -> int:
    return round(_MEMORIES / (1 - momentum))
