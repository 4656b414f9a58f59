"""What several commands share: options, and the store that must be there."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from asc_study.base.errors import InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from asc_study.base.progress import Say
    from asc_study.data.identified import IdentifiedDataset
    from asc_study.store.tracking import Tracker
    from asc_study.systems.derived import Logged
    from asc_study.workers.backends import Workers

LoadedT = TypeVar("LoadedT")
CommandT = TypeVar("CommandT", bound=Callable[..., Any])


#: Options whose value is an address, also one with a typing error.
_ADDRESS_OPTIONS: Final = ("--storage", "--base-url")


def given_addresses(words: Sequence[str]) -> list[str]:
    """The addresses among words of a command line: values of options that take one, and whatever looks like one."""
    found = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if equals and option in _ADDRESS_OPTIONS:
            found.append(value)
        elif before in _ADDRESS_OPTIONS or "://" in word:
            found.append(word)
    return found


def typed() -> str:
    """The command as it was typed, without secrets of addresses."""
    from asc_study.store.addresses import masked

    words = sys.argv[1:]
    for address in given_addresses(words):
        words = [word.replace(address, masked(address)) if word.endswith(address) else word for word in words]
    return shlex.join(["asc-study", *words])


def page_of(name: str, view: str) -> str:
    """The address of a view of a study or search in MLflow's page."""
    from asc_study.store.queries import Reader
    from asc_study.store.views import page_address, view_link

    store = Reader()
    experiment = store.find_experiment(name)
    page = page_address(store.uri)
    return view_link(experiment.experiment_id, view, page=page) if experiment else page


def where_to_look(name: str, view: str) -> str:
    """What to open to see the runs of a study or search, as lines for people; of a study the dashboards too."""
    from asc_study.store.addresses import tracking_uri
    from asc_study.store.views import needs_server

    server = needs_server(tracking_uri())
    line = f"look: {page_of(name, view)}" + (f"  (served by `{server}`)" if server else "")
    return f"{line}\ndashboards: {shlex.join(['asc-study', 'dashboard', name])}" if view == DEVICES_VIEW else line


#: Keys of the views that commands point to (`asc_study.store.views`, which is not imported for ``--help``).
DEVICES_VIEW, TRIALS_VIEW = "devices", "trials"

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)

data_option = click.option(
    "--data",
    "data_dir",
    required=True,
    type=FOLDER,
    metavar="DIR",
    help="Folder in TAU layout (meta.csv, audio/, ...).",
)
jobs_option = click.option("--jobs", default=1, show_default=True, metavar="N", help="Processes at the same time.")
_WORKER_OPTIONS: Final = (
    click.option("--backend", default="local", show_default=True, metavar="NAME", help="Where: local, ray or dask."),
    click.option("--address", default="", metavar="A", help="Of a running cluster; default: starts one."),
    click.option(
        "--cpus-per-run", default=1, show_default=True, metavar="N", help="CPUs of a cluster that a run takes."
    ),
    click.option("--gpus-per-run", default=0.0, metavar="F", help="GPUs that a run takes, or a share of one."),
)


#: What these options say if none is given.
ON_THIS_MACHINE: Final[Mapping[str, Any]] = {"backend": "local", "address": "", "cpus_per_run": 1, "gpus_per_run": 0.0}


def _refuse_own_parts(context: click.Context, _: click.Parameter, given: bool) -> None:
    from asc_study.base.plugins import OWN_PARTS

    OWN_PARTS.are_refused = given
    context.call_on_close(lambda: setattr(OWN_PARTS, "are_refused", False))


own_parts_option = click.option(
    "--no-own-parts",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_refuse_own_parts,
    help="Refuse a file that names code of its own (module:object), which would run.",
)


def worker_options(command: CommandT) -> CommandT:
    """Add the options that say where runs are trained, which `workers_of` reads."""
    for option in reversed(_WORKER_OPTIONS):
        command = option(command)
    return command


def workers_of(jobs: int, where: Mapping[str, Any]) -> "AbstractContextManager[Workers]":
    """Open the back end that `worker_options` chose.

    Raises
    ------
    InputError
        If there is none of this name, or its cluster does not answer.
    """
    from asc_study.workers.backends import WorkerOptions, open_workers
    from asc_study.workers.pool import require_jobs

    require_jobs(jobs)
    for name, least in (("cpus_per_run", 1), ("gpus_per_run", 0)):
        if not where[name] >= least:
            raise InputError(f"--{name.replace('_', '-')} must be at least {least}, got {where[name]}: raise it")
    rest = {name: value for name, value in where.items() if name != "backend"}
    return open_workers(where["backend"], WorkerOptions(jobs=jobs, **rest))


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
profile_option = click.option(
    "--profile", metavar="NAME", help="Settings for all rows: one of the file, or small-data."
)
fingerprint_option = click.option(
    "--fingerprint",
    type=click.Choice(["any", "same"]),
    default="any",
    show_default=True,
    help="Runs that another back end, device or library version computed: done all the same (any), or trained anew.",
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting in all rows; repeatable."
)


def existing_store() -> "Tracker":
    """The store in use.

    Raises
    ------
    InputError
        If there is none yet: it has no runs to work on.
    """
    from asc_study.store.addresses import address_line, tracking_uri
    from asc_study.store.queries import store_exists
    from asc_study.store.tracking import Tracker

    if not store_exists():
        raise InputError(
            address_line(
                tracking_uri(), "there is no tracking store {address}: run a study here first, or import a system"
            )
        )
    return Tracker()


def load_with_data(
    load: Callable[..., LoadedT],
    path: Path,
    data_dir: Path,
    *,
    check: Callable[[LoadedT], object] = lambda loaded: None,
    **given: Any,
) -> "tuple[LoadedT, IdentifiedDataset]":
    """Load a study or search file and the data set whose task is its default; the quick errors come first.

    ``load`` is `load_study` or `load_search`, ``given`` is for it; ``check`` is what else can be checked before
    the data set is read.
    """
    from asc_study.data.description import meet
    from asc_study.data.identified import identify
    from asc_study.settings.run_config import DEFAULT_TASK

    meet(data_dir)
    loaded = load(path, **given)
    check(loaded)
    data = identify(data_dir)
    if data.dataset.task == DEFAULT_TASK:  # what was loaded already is what it would be
        return loaded, data
    return load(path, default_task=data.dataset.task, **given), data


def teller(as_json: bool) -> "Say":
    """Print lines for people: beside the result, on standard error, if that is JSON."""
    return lambda line: click.echo(line, err=as_json)


task_option = click.option("--task", metavar="TASK")


def print_run(logged: "Logged") -> None:
    """Say which run holds a result, and whether it held it before."""
    click.echo(
        f"run {logged.run_id}" + (f" (was there already, as {logged.name!r}: use that name)" if logged.existed else "")
    )
