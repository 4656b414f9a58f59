"""Progress of long work on standard error: a bar for people, a line now and then in a log."""

import sys

from tqdm import tqdm


def progress_bar(total: int, what: str, unit: str, *, shown: bool = True) -> "tqdm[None]":
    """A progress bar over ``total`` units; in a log (not a terminal) it moves every 15 seconds only."""
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        disable=not shown,
        file=sys.stderr,
        mininterval=0.2 if live else 15,
        leave=live,
        dynamic_ncols=live,
    )
