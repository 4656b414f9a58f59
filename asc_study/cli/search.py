"""The command that searches settings with Optuna."""

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asc_study.base.contract import Artifact
from asc_study.base.errors import InputError
from asc_study.base.files import read_input, require_writable, write_file
from asc_study.cli.options import (
    DEVICES_VIEW,
    FILE,
    TRIALS_VIEW,
    data_option,
    jobs_option,
    json_option,
    load_with_data,
    own_parts_option,
    profile_option,
    set_option,
    teller,
    typed,
    where_to_look,
    worker_options,
    workers_of,
)
from asc_study.cli.studies import exit_status

if TYPE_CHECKING:
    from asc_study.base.progress import Say
    from asc_study.data.identified import IdentifiedDataset
    from asc_study.search.run_search import SearchResult


@click.command()
@click.argument("search_file", type=FILE, metavar="SEARCH.yaml")
@data_option
@click.option("--trials", type=int, metavar="N", help="Trials in total, over all launches; default: the file's budget.")
@click.option("--timeout", type=float, metavar="S", help="No trial begins after S seconds of this launch.")
@jobs_option
@worker_options
@click.option("--storage", metavar="URL", help="Optuna storage; default: optuna.db beside mlflow.db.")
@own_parts_option
@profile_option
@set_option
@click.option("--write", "target", type=FILE, metavar="FILE", help="Write the best settings as a study file.")
@click.option(
    "--final",
    is_flag=True,
    help="Then train the best settings and the file's base, without its fidelity, over several seeds.",
)
@json_option
def search(
    search_file: Path,
    data_dir: Path,
    trials: int | None,
    timeout: float | None,
    jobs: int,
    storage: str | None,
    profile: str | None,
    overrides: tuple[str, ...],
    target: Path | None,
    final: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """Search settings with Optuna: each trial is an MLflow run; nothing is chosen on the test split.

    The same command goes on until there are N trials in total, beside other launches too. Exit code 1 if no trial is
    complete, or it ended early because trial after trial failed or a store did.

    \b
    Example:
      asc-study search studies/search_mixup_masks.yaml --data DIR --trials 40 --jobs 2
    """
    from asc_study.search.file import load_search
    from asc_study.search.run_search import run_search
    from asc_study.search.storage import storage_url
    from asc_study.store.addresses import masked

    say, url = teller(as_json), storage_url(storage)
    loaded, data = load_with_data(
        load_search,
        search_file,
        data_dir,
        check=lambda search: _require_writable(target),
        overrides=overrides,
        profile=profile,
    )
    with workers_of(jobs, where) as workers:
        result = run_search(
            loaded,
            data,
            url=url,
            trials=trials,
            timeout_seconds=timeout,
            jobs=jobs,
            command=typed(),
            say=say,
            workers=workers,
        )
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        click.echo(result.render())
        click.echo(f"next: optuna-dashboard {shlex.quote(masked(url))}")
        click.echo(where_to_look(loaded.name, TRIALS_VIEW))
    if target is not None and result.study:
        write_file(target, result.study)
        say(f"written: {target}; train it in full with `asc-study run {target} --data {data_dir}`")
    if not result.best or result.ended:
        return 1
    return _run_final(result, data, jobs, say, where) if final else 0


def _require_writable(target: Path | None) -> None:
    """Find out before a search whether its best study can be written; other files are never overwritten."""
    if target is None:
        return
    from asc_study.search.report import BEST_STUDY_HEAD

    require_writable(target)
    there = read_input(target, "study") if os.path.exists(target) else b""
    if there and not there.startswith(BEST_STUDY_HEAD.encode()):
        raise InputError(f"--write {target}: the file is there and not what a search wrote: name another file")


def _run_final(
    result: "SearchResult", data: "IdentifiedDataset", jobs: int, say: "Say", where: Mapping[str, Any]
) -> int:
    """Train the study of the best settings; exit code 1 if a run failed."""
    import tempfile

    from asc_study.settings.study_file import load_study
    from asc_study.study.run_study import run_study

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Artifact.BEST
        write_file(path, result.study)
        study = load_study(path, default_task=data.dataset.task)
    with workers_of(jobs, where) as workers:
        outcomes = run_study(study, data, jobs=jobs, command=typed(), say=say, workers=workers)
    say(f"next: asc-study leaderboard {study.name}")
    say(where_to_look(study.name, DEVICES_VIEW))
    return exit_status(outcomes)
