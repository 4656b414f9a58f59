"""Progress of long work on standard error: a bar for people, a line now and then in a log."""

import sys

from tqdm import tqdm


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
        mininterval=0.2 if live else 15,
        delay=delay_seconds,
        leave=keep or not live,
        dynamic_ncols=live,
    )
