"""The pages, in the order of the navigation. A new page is a module here with a `PAGE`, and its name in `PAGES`."""

from typing import Any, Final

from dashboards.pages import confusions, devices, ensemble, leaderboard, listen, run, search, size
from dashboards.registry import Page

PAGES: Final[tuple[Page[Any], ...]] = (
    leaderboard.PAGE,
    devices.PAGE,
    confusions.PAGE,
    ensemble.PAGE,
    search.PAGE,
    size.PAGE,
    listen.PAGE,
    run.PAGE,
)
