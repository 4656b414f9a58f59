"""Progress of long work on standard error: a bar for people, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from tqdm import tqdm

#: Told one line for people at a time.
Say = Callable[[str], None]

_LOG_SECONDS: Final = 15

#: Metric of an epoch -> what people are told that it is.
_SHOWN: Final = {
    "train_loss": "train_loss",
    "validation_acc_device_macro": "validation_acc over devices",
    "objective": "objective",
}


def tell_nobody(line: str) -> None:
    """The `Say` of those who want to hear nothing."""


def progress_bar(
    total: int, what: str, unit: str, *, shown: bool = True, keep: bool = True, delay_seconds: float = 0
) -> "tqdm[None]":
    """Make a progress bar over ``total`` units; in a log (not a terminal) it moves every 15 seconds only.

    Work that ends within ``delay_seconds`` shows nothing. With ``keep`` false the bar disappears from a terminal when
    it is closed.
    """
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        unit_scale=unit == "B",
        disable=not shown,
        file=sys.stderr,
        mininterval=0.2 if live else _LOG_SECONDS,
        delay=delay_seconds,
        leave=keep or not live,
        dynamic_ncols=live,
    )


def about_seconds(seconds: float) -> str:
    """A time in words, to two digits or so: ``40 s``, ``12 min``, ``3.1 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def time_left(elapsed_seconds: float, done: int, left: int) -> str:
    """What to add to a line about work that goes on: about how long ``left`` more take if ``done`` took so long."""
    return f"  ~{about_seconds(elapsed_seconds / done * left)} left" if done and left else ""


class EpochProgress:
    """Progress of a training on standard error: a bar if it is ``alone``, else a line now and then.

    ``validation_clips`` is said once: of few clips the accuracy jumps from epoch to epoch.
    """

    def __init__(self, label: str, epochs: int, *, alone: bool, validation_clips: int = 0) -> None:
        if validation_clips:
            label += f" ({validation_clips} validation clips)"
        self._label, self._epochs, self._told = label, epochs, time.monotonic()
        self._bar = progress_bar(epochs, label, "epoch", shown=alone, keep=False)

    def __enter__(self) -> "EpochProgress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def __call__(self, epoch: int, measured: Mapping[str, float]) -> None:
        """Show that an epoch (from 0) is over, its loss and its validation accuracy, each device counting alike."""
        shown = {name: f"{measured[key]:.3f}" for key, name in _SHOWN.items() if key in measured}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(epoch + 1 - self._bar.n)
        if self._bar.disable and time.monotonic() - self._told > _LOG_SECONDS:
            self._told = time.monotonic()
            figures = "  ".join(f"{name} {value}" for name, value in shown.items())
            print(f"  {self._label}: epoch {epoch + 1}/{self._epochs}  {figures}", file=sys.stderr, flush=True)
