"""The command that looks at a study while another terminal runs it."""

import json
import sys
import time

import click

from asc_study.cli.options import existing_store, json_option, own_parts_option

#: Between two looks.
_WATCH_SECONDS = 3

#: Looks in a row at which nothing runs that end the watch: a launch on another machine is not seen between two runs.
_IDLE_LOOKS = 3


@click.command()
@click.argument("study", metavar="STUDY")
@own_parts_option
@click.option("--watch", is_flag=True, help=f"Look again every {_WATCH_SECONDS} seconds until no launch is alive.")
@json_option
def status(study: str, watch: bool, as_json: bool) -> None:
    """Show where STUDY (a name, or its YAML file) stands: what is done, how far the rest is, about how long it takes.

    Reads only. With --json each look is one line. Ctrl-C ends --watch.

    \b
    Example:
      asc-study status demo --watch
    """
    from asc_study.study.status import study_state

    tracker = existing_store()
    idle = 0
    while True:
        try:
            state = study_state(study, tracker)
            if watch and not as_json and sys.stdout.isatty():
                click.clear()
            click.echo(json.dumps(state.to_dict(), indent=None if watch else 2) if as_json else state.render())
            idle = 0 if state.active else idle + 1
            if not watch or idle == _IDLE_LOOKS or not state.unfinished:
                return
            time.sleep(_WATCH_SECONDS)
        except KeyboardInterrupt:
            if watch:
                return
            raise
