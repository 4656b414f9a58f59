"""Commands on studies: plan, run, leaderboard."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asc_study.base.errors import InputError
from asc_study.cli.options import (
    DEVICES_VIEW,
    FILE,
    ON_THIS_MACHINE,
    data_option,
    fingerprint_option,
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

if TYPE_CHECKING:
    from asc_study.base.progress import Say
    from asc_study.study.estimated import Machine
    from asc_study.study.run_study import StudyOutcome


@click.command()
@click.argument("study_file", type=FILE, metavar="STUDY.yaml")
@data_option
@click.option("--explain", is_flag=True, help="Say which settings, code or data an orphaned run differs in.")
@click.option("--estimate", is_flag=True, help="Time some steps of each kind of training: hours, disk and memory.")
@click.option("--speed", type=float, metavar="F", help="Estimate for a machine whose steps take 1/F of those here.")
@click.option("--jobs", type=int, metavar="N", help="Estimate for so many runs at the same time.  [default: 1]")
@fingerprint_option
@own_parts_option
@profile_option
@set_option
@json_option
def plan(
    study_file: Path,
    data_dir: Path,
    explain: bool,
    estimate: bool,
    speed: float | None,
    jobs: int | None,
    fingerprint: str,
    profile: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show which runs of a study are new, done, failed, running, interrupted or orphaned; runs nothing.

    Says how many epochs and steps are to be trained, how long that takes if the like was measured before, and which
    settings do not fit the number of clips. --estimate times some steps of each kind of training in processes of their
    own. F of --speed is a step's time in its table here, divided by that in its table there.

    \b
    Example:
      asc-study plan studies/demo.yaml --data DIR --explain
      asc-study plan studies/table1.yaml --data DIR --estimate --speed 40 --jobs 2
    """
    from asc_study.settings.study_file import load_study
    from asc_study.store.queries import open_existing
    from asc_study.study.advice import advice
    from asc_study.study.effort import describe_time, describe_work, efforts
    from asc_study.study.estimate import estimate as estimate_study
    from asc_study.study.plan import explain as explain_orphans
    from asc_study.study.plan import make_plan, render_plan
    from asc_study.study.preflight import check_fit
    from asc_study.study.teachers import heard_before
    from asc_study.training.run_data import Cuts

    machine = _estimated_machine(estimate, speed, jobs)
    study, identified = load_with_data(load_study, study_file, data_dir, overrides=overrides, profile=profile)
    fit: list[str] = []
    cuts = Cuts(identified.dataset)
    check_fit(study, identified.dataset, fit.append, cuts)
    tracker = open_existing()
    made = make_plan(study, identified.digest, tracker, same_fingerprint=fingerprint == "same")
    found, pending = efforts(study.rows, identified.dataset, cuts), made.pending
    work = describe_work(found, pending) + describe_time(found, pending, tracker, identified.digest)
    notes = fit + advice(effort for effort in found if pending.get(effort.row)) + heard_before(study, pending)
    estimated = estimate_study(study, identified, found, pending, machine) if machine else None
    if as_json:
        systems = [system.to_dict() for system in made.systems]
        content = {"study": study.name, "counts": made.counts, "runs": made.to_rows(), "systems": systems}
        content |= {"work": work, "notes": notes}
        content |= {"estimate": estimated.to_dict()} if estimated else {}
        click.echo(json.dumps(content, indent=2))
        return
    click.echo("\n".join([render_plan(study, made), *work, *notes, *([estimated.render()] if estimated else [])]))
    if explain:
        click.echo(explain_orphans(study, made, tracker))


def _estimated_machine(estimate: bool, speed: float | None, jobs: int | None) -> "Machine | None":
    """What is to be estimated, if anything is."""
    from asc_study.study.estimated import Machine

    if estimate:
        return Machine(1.0 if speed is None else speed, 1 if jobs is None else jobs)
    for name, value in (("--speed", speed), ("--jobs", jobs)):
        if value is not None:
            raise InputError(f"{name} describes a machine for --estimate, got {value:g} alone: add --estimate")
    return None


@click.command()
@click.argument("study_file", type=FILE, metavar="STUDY.yaml")
@data_option
@jobs_option
@worker_options
@click.option("--only", multiple=True, metavar="ROW", help="Run this row or ensemble only; repeatable.")
@click.option("--retry-failed", is_flag=True, help="Try runs that failed again.")
@fingerprint_option
@own_parts_option
@profile_option
@set_option
@json_option
def run(
    study_file: Path,
    data_dir: Path,
    jobs: int,
    only: tuple[str, ...],
    retry_failed: bool,
    fingerprint: str,
    profile: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    **where: Any,
) -> int:
    """Train the runs of a study that are not done yet; each row and seed becomes an MLflow run.

    Runs that are done are skipped, interrupted ones go on. Exit code 1 if a run failed, now or before, could not be
    logged, or lost its process.

    \b
    Example:
      asc-study run studies/demo.yaml --data DIR --jobs 2 --set training.epochs=6
      asc-study run studies/table1.yaml --data DIR --backend ray --address auto --jobs 8 --gpus-per-run 0.5
    """
    outcomes = run_file(
        study_file,
        data_dir,
        jobs,
        only=only,
        retry_failed=retry_failed,
        same_fingerprint=fingerprint == "same",
        profile=profile,
        overrides=overrides,
        say=teller(as_json),
        where=where,
    )
    if as_json:
        click.echo(json.dumps({"runs": [outcome.to_dict() for outcome in outcomes]}, indent=2))
    else:
        options = ["--profile", profile] if profile else []
        options += [text for override in overrides for text in ("--set", override)]
        click.echo(f"next: {shlex.join(['asc-study', 'leaderboard', str(study_file), *options])}")
        click.echo(where_to_look(_study_name(study_file), DEVICES_VIEW))
    return exit_status(outcomes)


def run_file(
    study_file: Path,
    data_dir: Path,
    jobs: int,
    *,
    say: "Say",
    only: tuple[str, ...] = (),
    retry_failed: bool = False,
    same_fingerprint: bool = False,
    profile: str | None = None,
    overrides: tuple[str, ...] = (),
    where: Mapping[str, Any] = ON_THIS_MACHINE,
) -> "list[StudyOutcome]":
    """Run a study file on a folder of data; see `run_study`. ``where`` is what `worker_options` say."""
    from asc_study.settings.study_file import load_study
    from asc_study.study.run_study import run_study

    study, identified = load_with_data(
        load_study, study_file, data_dir, check=lambda study: study.only(only), overrides=overrides, profile=profile
    )
    with workers_of(jobs, where) as workers:
        return run_study(
            study,
            identified,
            jobs=jobs,
            only=only,
            retry_failed=retry_failed,
            same_fingerprint=same_fingerprint,
            command=typed(),
            say=say,
            workers=workers,
        )


def _study_name(study_file: Path) -> str:
    from asc_study.settings.study_file import load_study

    return load_study(study_file).name


def exit_status(outcomes: "list[StudyOutcome]") -> int:
    """1 if a run failed, now or before, could not be logged or lost its process, else 0."""
    from asc_study.study.run_study import UNFINISHED

    return 1 if any(outcome.status in UNFINISHED for outcome in outcomes) else 0


@click.command()
@click.argument("study", metavar="STUDY")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "latex", "csv", "json"]),
    help="text by default; csv and json hold everything that is known.",
)
@click.option("--sort", metavar="METRIC", help="Best first by this metric, e.g. acc_s4-s6; default: the study's order.")
@click.option(
    "--reference", metavar="ROW", help="Row that the others are compared with; default: the first trained one."
)
@click.option("--orphans", is_flag=True, help="Show finished runs that are no longer part of the study too.")
@own_parts_option
@profile_option
@set_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV.")
def leaderboard(
    study: str,
    form: str | None,
    sort: str | None,
    reference: str | None,
    orphans: bool,
    profile: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
) -> None:
    """Print the finished runs of STUDY in the form of the paper's Table 1, the best of each column marked.

    STUDY is a name (its rows as they were launched last) or a YAML file (its rows as they are now; with --profile and
    --set as for `run`). Where the study names published figures, they stand below ours.

    \b
    Example:
      asc-study leaderboard demo --sort acc_s4-s6 --format latex
    """
    forms = [name for name, chosen in ((form, form), ("json", as_json), ("csv", as_csv)) if chosen]
    if len(forms) > 1:
        raise InputError(f"--format, --json and --csv exclude each other, got {len(forms)} of them: choose one")
    options = {"profile": profile, "overrides": overrides, "orphans": orphans, "reference": reference}
    click.echo(leaderboard_text(study, form=forms[0] if forms else "text", sort=sort, **options))


def leaderboard_text(study: str, *, form: Any = "text", sort: str | None = None, **options: Any) -> str:
    """The leaderboard of a study in one of its forms; see `study_leaderboard`."""
    from asc_study.study.leaderboard import study_leaderboard
    from asc_study.study.leaderboard_forms import render

    name, board = study_leaderboard(study, sort=sort, **options)
    return render(board, name, form, metric=sort)
