"""The command line: parse, call, print. Heavy imports are inside the commands, so that ``--help`` is instant."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asc_study import __version__
from asc_study.errors import InputError

if TYPE_CHECKING:
    from asc_study.execution import Outcome

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)

_data_option = click.option(
    "--data",
    "data_dir",
    required=True,
    type=_FOLDER,
    metavar="DIR",
    help="Folder in TAU layout (meta.csv, audio/, ...).",
)
_jobs_option = click.option("--jobs", default=1, show_default=True, metavar="N", help="Processes at the same time.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_profile_option = click.option("--profile", metavar="NAME", help="Settings of the study file for all rows, e.g. small.")
_set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting in all rows; repeatable."
)


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    try:
        status = cli.main(prog_name="asc-study", standalone_mode=False)
    except InputError as error:
        _fail(str(error), 2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "asc-study"
        _fail(f"{error.format_message().rstrip('.')}: see `{command} --help`", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted: the same command goes on from here", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> None:
    click.echo(f"asc-study: {' '.join(message.split())}", err=True)
    sys.exit(status)


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


@cli.group()
def data() -> None:
    """Check, download and simulate data sets in the layout of TAU Urban Acoustic Scenes 2020.

    \b
    Example:
      asc-study data check DIR
    """


@data.command("check")
@click.argument("directory", type=_FOLDER, metavar="DIR")
@click.option("--task", type=click.Choice(["ten_class", "three_class"]), help="Default: told by the labels.")
@click.option("--jobs", default=4, show_default=True, metavar="N", help="Audio files opened at the same time.")
@_json_option
def data_check(directory: Path, task: str | None, jobs: int, as_json: bool) -> int:
    """Count the clips of DIR by split, scene and device, and report every problem at once.

    Exit code 1 if there are problems.

    \b
    Example:
      asc-study data check TAU-urban-acoustic-scenes-2020-mobile-development
    """
    from asc_study.data.check import check

    if jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {jobs}: give the number of files to open at the same time")
    report = check(directory, task, jobs)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.render())
    return 0 if report.ok else 1


@data.command("download")
@click.argument("name", metavar="NAME")
@click.argument("directory", type=_FOLDER, metavar="DIR")
@click.option("--base-url", metavar="URL", help="A mirror to fetch the files from; default: Zenodo.")
@click.option("--keep-zips", is_flag=True, help="Keep the zip files after they are unpacked.")
@_json_option
def data_download(name: str, directory: Path, base_url: str | None, keep_zips: bool, as_json: bool) -> None:
    """Download the data set NAME (tau2020-mobile or tau2020-3class) to DIR; run again to go on after a cut.

    \b
    Example:
      asc-study data download tau2020-mobile tau-mobile
    """
    from asc_study.data.download import download

    unpacked = download(name, directory, base_url=base_url, keep_zips=keep_zips)
    if as_json:
        click.echo(json.dumps({"name": name, "root": str(directory), "unpacked": unpacked}, indent=2))
    else:
        click.echo(f"{len(unpacked)} zips unpacked" if unpacked else "already complete")
        click.echo(f"next: asc-study data check {directory}")


@data.command("simulate")
@click.argument("directory", type=_FOLDER, metavar="DIR")
@click.option("--task", default="ten_class", show_default=True, type=click.Choice(["ten_class", "three_class"]))
@click.option("--clips-per-scene", default=60, show_default=True, metavar="N", help="Training segments of each scene.")
@click.option("--seconds", default=10.0, show_default=True, metavar="S", help="Length of a clip in seconds.")
@click.option("--seed", default=0, show_default=True, metavar="K")
@_jobs_option
@_json_option
def data_simulate(**options: Any) -> None:
    """Write a simulated data set in TAU layout to DIR: ten scenes, nine devices.

    \b
    Example:
      asc-study data simulate sim --clips-per-scene 60 --seconds 3
    """
    from asc_study.data.simulate import simulate

    as_json = options.pop("as_json")
    _print_written(simulate(options.pop("directory"), **options), as_json)


@data.command("add-devices")
@click.argument("source", type=_FOLDER, metavar="IN")
@click.argument("target", type=_FOLDER, metavar="OUT")
@click.option("--impulse-responses", type=_FOLDER, metavar="DIR", help="WAVs for s1-s6; default: simulated ones.")
@click.option("--seed", default=0, show_default=True, metavar="K")
@_jobs_option
@_json_option
def data_add_devices(**options: Any) -> None:
    """Copy IN, a data set of device a only, to OUT and add the eight other devices (simulated).

    \b
    Example:
      asc-study data add-devices my-recordings my-benchmark
    """
    from asc_study.data.add_devices import add_devices

    as_json = options.pop("as_json")
    _print_written(add_devices(options.pop("source"), options.pop("target"), **options), as_json)


def _print_written(written: Any, as_json: bool) -> None:
    if as_json:
        shown = {"root": str(written.root), "written": written.written, "clips": written.clips}
        click.echo(json.dumps(shown, indent=2))
        return
    total = sum(sum(devices.values()) for devices in written.clips.values())
    click.echo(f"{written.root}: {total} clips ({written.written} written now)")
    for split, devices in written.clips.items():
        click.echo(f"  {split}: " + "  ".join(f"{device} {count}" for device, count in devices.items()))


@cli.group()
def models() -> None:
    """List the systems of the paper and import the authors' weights.

    \b
    Example:
      asc-study models list
    """


@models.command("list")
@_json_option
def models_list(as_json: bool) -> None:
    """Print the parameters and multiply-accumulates of each system of the paper, counted on the models as built.

    \b
    Example:
      asc-study models list
    """
    from asc_study.training.runtime import start_keras

    start_keras(2)
    from asc_study.models.catalogue import catalogue, render, to_json

    rows = catalogue()
    click.echo(to_json(rows) if as_json else render(rows))


@models.command("import-weights")
@click.argument("file", type=_FILE, metavar="FILE.hdf5")
@click.option("--architecture", required=True, metavar="NAME", help="What the weights belong to, e.g. small_fcnn.")
@click.option("--task", default="three_class", show_default=True, type=click.Choice(["ten_class", "three_class"]))
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Of the architecture; default: inferred.")
@click.option("--out", type=_FILE, metavar="FILE.keras", help="Default: FILE.keras in the working directory.")
@_json_option
def models_import_weights(**arguments: Any) -> None:
    """Make a Keras 3 model of weights that Keras 2 saved as HDF5, such as those that the authors published.

    \b
    Example:
      asc-study models import-weights model.hdf5 --architecture small_fcnn
    """
    from asc_study.training.runtime import start_keras

    start_keras(2)
    from asc_study.models.import_weights import import_model

    as_json = arguments.pop("as_json")
    imported = import_model(arguments.pop("file"), **arguments)
    if as_json:
        click.echo(json.dumps(imported, indent=2))
    else:
        click.echo(
            f"{imported['file']}: {imported['architecture']} {imported['options']}, {imported['parameters']:,} values"
        )


@cli.command()
@click.argument("study_file", type=_FILE, metavar="STUDY.yaml")
@_data_option
@_profile_option
@_set_option
@_json_option
def plan(study_file: Path, data_dir: Path, profile: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show which runs of a study are new, done, failed, running, interrupted or orphaned; runs nothing.

    \b
    Example:
      asc-study plan studies/demo.yaml --data DIR
    """
    from asc_study.plan import STATUSES, describe_plan, make_plan
    from asc_study.preflight import check_fit
    from asc_study.study import identify
    from asc_study.study_file import load_study
    from asc_study.tracking import open_existing

    load_study(study_file, overrides=overrides, profile=profile)  # before the data are read: the quick errors first
    identified = identify(data_dir)
    study = load_study(study_file, overrides=overrides, profile=profile, default_task=identified.dataset.task)
    check_fit(study, identified.dataset)
    made = make_plan(study, identified.digest, open_existing())
    if as_json:
        click.echo(json.dumps({"study": study.name, "counts": made.counts, "runs": made.to_rows()}, indent=2))
        return
    click.echo(describe_plan(study, made))
    rows = made.to_rows()
    width = max(len(row["row"]) for row in rows)
    for row in rows:
        cells = [
            f"{row['row']:<{width}}",
            f"seed {row['seed']}",
            f"{row['status']:<11}",
            row["signature"],
            row["reason"],
        ]
        click.echo("  " + "  ".join(cells).rstrip())
    for status, count in made.counts.items():
        if count:
            click.echo(f"{status}: {STATUSES[status]}")


@cli.command()
@click.argument("study_file", type=_FILE, metavar="STUDY.yaml")
@_data_option
@_jobs_option
@click.option("--only", multiple=True, metavar="ROW", help="Run this row only; repeatable.")
@click.option("--retry-failed", is_flag=True, help="Try runs that failed again.")
@_profile_option
@_set_option
@_json_option
def run(
    study_file: Path,
    data_dir: Path,
    jobs: int,
    only: tuple[str, ...],
    retry_failed: bool,
    profile: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Train the runs of a study that are not done yet; each row and seed becomes an MLflow run.

    Runs that are done are skipped, interrupted ones go on. Exit code 1 if a run failed.

    \b
    Example:
      asc-study run studies/demo.yaml --data DIR --jobs 2 --set training.epochs=6
    """
    outcomes = _run(
        study_file,
        data_dir,
        jobs,
        only=only,
        retry_failed=retry_failed,
        profile=profile,
        overrides=overrides,
        say=lambda line: click.echo(line, err=as_json),
    )
    if as_json:
        click.echo(json.dumps({"runs": [outcome.to_dict() for outcome in outcomes]}, indent=2))
    else:
        click.echo(f"next: asc-study leaderboard {study_file}")
    return _exit_status(outcomes)


def _run(
    study_file: Path,
    data_dir: Path,
    jobs: int,
    *,
    say: Callable[[str], None],
    only: tuple[str, ...] = (),
    retry_failed: bool = False,
    profile: str | None = None,
    overrides: tuple[str, ...] = (),
) -> "list[Outcome]":
    from asc_study.study import identify, run_study
    from asc_study.study_file import load_study

    # Before the data set is read: the quick errors first.
    load_study(study_file, overrides=overrides, profile=profile).only(only)
    identified = identify(data_dir)
    study = load_study(study_file, overrides=overrides, profile=profile, default_task=identified.dataset.task)
    return run_study(study, identified, jobs=jobs, only=only, retry_failed=retry_failed, say=say)


def _exit_status(outcomes: "list[Outcome]") -> int:
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


@cli.command()
@click.argument("study", metavar="STUDY")
@_json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV.")
def leaderboard(study: str, as_json: bool, as_csv: bool) -> None:
    """Print the finished runs of STUDY (a name, or its YAML file) in the form of the paper's Table 1.

    Where the study names published figures, they stand in brackets behind ours.

    \b
    Example:
      asc-study leaderboard demo --csv > demo.csv
    """
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other, got both: choose one")
    click.echo(_leaderboard(study, as_json=as_json, as_csv=as_csv))


def _leaderboard(study: str, *, as_json: bool = False, as_csv: bool = False) -> str:
    from asc_study.leaderboard import launched_table, render, to_json
    from asc_study.leaderboard import leaderboard as gather
    from asc_study.published import parse_published
    from asc_study.tracking import open_existing, tracking_uri

    order: list[str] = []
    published, tracker = "", open_existing()
    if study.endswith((".yaml", ".yml")):
        from asc_study.study_file import load_study

        loaded = load_study(Path(study))
        study, order, published = loaded.name, [row.name for row in loaded.rows], loaded.published
    elif tracker:
        order, published = launched_table(tracker, study)
    figures = parse_published(published, f"the published figures of {study}") if published else None
    board = gather(tracker, study, order=order, published=figures) if tracker else None
    if board is None or board.empty or not board["seeds"].any():
        raise InputError(f"study {study!r} has no finished runs in {tracking_uri()}: run it, or name another one")
    if as_json:
        return to_json(board, study)
    return str(board.to_csv(index=False)).rstrip("\n") if as_csv else render(board, study)


@cli.command()
@click.option("--data", "data_dir", default="demo-data", show_default=True, type=_FOLDER, metavar="DIR")
@click.option("--study", "study_file", type=_FILE, metavar="STUDY.yaml", help="Default: studies/demo.yaml.")
@click.option("--jobs", default=2, show_default=True, metavar="N", help="Processes at the same time.")
@_json_option
def demo(data_dir: Path, study_file: Path | None, jobs: int, as_json: bool) -> int:
    """Simulate a small data set, run the study studies/demo.yaml on it and print the table.

    \b
    Example:
      asc-study demo
    """
    from asc_study.demo import demo_study, next_steps, simulate_demo_data
    from asc_study.study_file import load_study

    study_file = study_file or demo_study()
    load_study(study_file)  # its errors before the data are made
    simulate_demo_data(data_dir, jobs)
    outcomes = _run(study_file, data_dir, jobs, say=lambda line: click.echo(line, err=as_json))
    if as_json:
        click.echo(_leaderboard(str(study_file), as_json=True))
    else:
        click.echo("\n" + _leaderboard(str(study_file)))
        click.echo("\n" + next_steps(study_file, data_dir))
    return _exit_status(outcomes)
