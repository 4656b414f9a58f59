"""Commands on what can be computed again: features, checkpoints, lock files."""

import json
import re
import sys
from typing import TYPE_CHECKING, Final

import click

from asc_study.base.errors import InputError
from asc_study.cli.options import json_option

if TYPE_CHECKING:
    from asc_study.study.tidying import Removal

#: Unit of an age -> its seconds.
_UNITS: Final = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """An age such as ``30d`` in seconds."""
    if value is None:
        return None
    given = re.fullmatch(r"(\d{1,6})([hdw])", value)
    if not given:
        raise InputError(f"--older-than must be a number of hours, days or weeks such as 30d, got {value!r}")
    return int(given[1]) * _UNITS[given[2]]


@click.group()
def cache() -> None:
    """See and tidy up what can be computed again: features, and checkpoints of runs that were cut off.

    \b
    Example:
      asc-study cache show
    """


@cache.command("show")
@json_option
def show(as_json: bool) -> None:
    """Show the features by data and settings, who used them and when, the checkpoints and the lock files.

    Checkpoints are looked up in the tracking store in use: `its run goes on from it` is said of those that a run of it
    still needs.

    \b
    Example:
      asc-study cache show --json
    """
    from asc_study.store.queries import open_existing
    from asc_study.study.tidying import look_around
    from asc_study.study.tidying_forms import render_contents

    contents = look_around(open_existing())
    click.echo(json.dumps(contents.to_dict(), indent=2) if as_json else render_contents(contents))


@cache.command("prune")
@click.option("--older-than", callback=_seconds, metavar="AGE", help="Only what was not used for so long: 30d.")
@click.option("--keep-study", "studies", multiple=True, metavar="STUDY", help="Keep what it used; repeatable.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(older_than: float | None, studies: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Remove features that no process uses now, checkpoints of finished and deleted runs, and free lock files.

    What is removed is computed again when it is needed. Checkpoints of unfinished runs stay. Those of runs that the
    tracking store in use does not know stay without --older-than: another store may know them.

    \b
    Example:
      asc-study cache prune --older-than 30d --keep-study demo
    """
    from asc_study.base.files import size_text
    from asc_study.store.queries import open_existing
    from asc_study.study.tidying import look_around, plan_removal, remove
    from asc_study.study.tidying_forms import removal_dict, render_removal

    removal = plan_removal(look_around(open_existing()), older_than_seconds=older_than, keep_studies=studies)
    if not as_json:
        click.echo(render_removal(removal))
    freed = remove(removal) if removal and (yes or _confirmed(removal, as_json)) else None
    if as_json:
        click.echo(json.dumps(removal_dict(removal) | {"removed": freed is not None, "freed_bytes": freed or 0}))
    elif freed is not None:
        click.echo(f"removed: {size_text(freed)} are free")
    elif removal:
        click.echo(f"nothing removed: {size_text(removal.size)} would go with --yes")


def _confirmed(removal: "Removal", as_json: bool) -> bool:
    """Ask a person; where nobody can answer it is no."""
    from asc_study.base.files import size_text

    return not as_json and sys.stdin.isatty() and click.confirm(f"Remove {size_text(removal.size)}?")
