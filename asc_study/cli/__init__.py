"""The command line: parse, call, print. Heavy imports are inside the commands, so that ``--help`` is instant."""

import gc
import os
import signal
import sys
import traceback
from typing import Final

import click

from asc_study import __version__
from asc_study.base.errors import InputError, failure_reason
from asc_study.base.files import is_full
from asc_study.base.plugins import OWN_PARTS
from asc_study.cli.cache import cache
from asc_study.cli.dashboard import dashboard, report
from asc_study.cli.data import data
from asc_study.cli.demo import demo
from asc_study.cli.deploy import bundle, classify, quantize
from asc_study.cli.models import models
from asc_study.cli.options import given_addresses
from asc_study.cli.runs import runs
from asc_study.cli.scores import export, import_, predict, score
from asc_study.cli.search import search
from asc_study.cli.status import status
from asc_study.cli.studies import leaderboard, plan, run
from asc_study.cli.sync import sync
from asc_study.cli.systems import compare, ensemble, fuse

#: Python looks for cycles of garbage after so many new objects (by default after 700): while libraries are imported
#: nearly all stay, and to look is a sixth of a launch that has nothing to train. A training looks by itself at its end.
_OBJECTS_BETWEEN_COLLECTIONS: Final = 5_000

#: What to do after a command was ended.
_GOES_ON: Final = "the same command takes it up again"


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 10)
    for argument in sys.argv[1:]:
        if not argument.isascii() and argument.encode(errors="surrogateescape").decode(errors="replace") != argument:
            _fail(f"arguments must be UTF-8 text, got {argument.encode(errors='surrogateescape')!r}: rename it", 2)
    OWN_PARTS.tell = lambda line: click.echo(line, err=True)
    terminated = _hear_termination()
    try:
        status = cli.main(prog_name="asc-study", standalone_mode=False)
    except InputError as error:
        if is_full(error.__cause__):
            _fail(str(error), 1)
        _fail(str(error), 2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "asc-study"
        _fail(f"{error.format_message().rstrip('.')}: see `{command} --help`", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would end in a traceback of some exit hook
        if terminated:
            _fail(f"terminated: {_GOES_ON}", 143)
        _fail(f"interrupted: {_GOES_ON}", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # a fault of ours or of a library, whose text may hold an address in full
        from asc_study.store.failures import is_outer

        if is_outer(error):
            _fail(f"the store or the disk failed ({failure_reason(error):.300}): the same command goes on from here", 1)
        click.echo(_without_secrets(traceback.format_exc()), err=True, nl=False)
        sys.exit(1)
    finally:
        OWN_PARTS.tell = None
    sys.exit(status if isinstance(status, int) else 0)


def _hear_termination() -> list[int]:
    """End by SIGTERM as by Ctrl-C from now on; the list that is returned has the signal in it once it has come.

    Batch systems, containers and service managers send it before they kill: what trains leaves its runs to others.
    """
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough: what follows is cleaning up
        received.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # not if who started it wants it ignored
        signal.signal(signal.SIGTERM, interrupt)
    return received


def _fail(message: str, status: int) -> None:
    click.echo(f"asc-study: {' '.join(_without_secrets(message).split())}", err=True)
    sys.exit(status)


def _without_secrets(text: str) -> str:
    """The text without the secrets of the addresses in the environment and on the command line."""
    from asc_study.store.addresses import scrubbed

    return scrubbed(text, os.environ.get("MLFLOW_TRACKING_URI", ""), *given_addresses(sys.argv[1:]))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="asc-study")
def cli() -> None:
    """Acoustic scene classification studies, tracked as MLflow runs with accuracy per device subset.

    \b
    Example:
      asc-study demo
      asc-study run studies/demo.yaml --data TAU-urban-acoustic-scenes-2020-mobile-development
      asc-study leaderboard demo
    """


_COMMANDS = (
    data,
    models,
    plan,
    run,
    runs,
    cache,
    search,
    status,
    sync,
    leaderboard,
    ensemble,
    fuse,
    compare,
    import_,
    score,
    predict,
    export,
    demo,
    dashboard,
    report,
)
for command in _COMMANDS:
    cli.add_command(command)
for command in (quantize, bundle, classify):
    cli.add_command(command)
