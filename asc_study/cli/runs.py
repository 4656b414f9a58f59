"""Commands on the runs of a store."""

import json
import sys
from pathlib import Path

import click

from asc_study.base.errors import InputError
from asc_study.cli.options import FILE, FOLDER, existing_store, json_option, own_parts_option, set_option


@click.group()
def runs() -> None:
    """Tidy up the runs of a study; tell a store that its folder was moved.

    \b
    Example:
      asc-study runs prune studies/demo.yaml --orphans
    """


@runs.command("prune")
@click.argument("study_file", type=FILE, metavar="STUDY.yaml")
@own_parts_option
@click.option("--orphans", is_flag=True, help="Runs that the study no longer asks for, as `plan` names them.")
@click.option(
    "--data", "data_dir", type=FOLDER, metavar="DIR", help="Runs on other data go too; default: each on its own data."
)
@set_option
@click.option("--dry-run", is_flag=True, help="Show them only; so it is without a terminal unless --yes is given.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(
    study_file: Path,
    orphans: bool,
    data_dir: Path | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete the runs of a study that its file no longer asks for; MLflow can restore them.

    Runs of any profile of the file stay, and so do runs that are being trained, members of ensembles and fusions that
    stay, and whatever was made of runs that stay.

    \b
    Example:
      asc-study runs prune studies/demo.yaml --orphans
    """
    if not orphans:
        raise InputError("runs prune must be told what to delete, got nothing: add --orphans")
    if dry_run and yes:
        raise InputError("--dry-run and --yes exclude each other, got both: choose one")
    from asc_study.data.description import meet
    from asc_study.store.queries import open_existing
    from asc_study.store.removal import restore_command
    from asc_study.study.definition import meet_runs
    from asc_study.study.prune import delete_orphans, find_orphans, load_variants, render_orphans

    meet_runs(study_file, open_existing())
    if data_dir:
        meet(data_dir)
    variants, data = load_variants(study_file, overrides=overrides), None
    if data_dir:
        from asc_study.data.identified import identify

        data = identify(data_dir)
        variants = load_variants(study_file, overrides=overrides, data=data)
    tracker = existing_store()
    found = find_orphans(variants, tracker, data)
    if not as_json:
        click.echo(render_orphans(variants[0].name, found))
    going = sum(not orphan.kept_because for orphan in found)
    deleted: list[str] = []
    if going and not dry_run and (yes or _confirmed(going, as_json)):
        deleted = delete_orphans(found, tracker)
    restore = restore_command(deleted) if deleted else ""
    if as_json:
        shown = {"study": variants[0].name, "orphans": [orphan.to_dict() for orphan in found]}
        click.echo(json.dumps(shown | {"deleted": deleted, "restore": restore}, indent=2))
    elif deleted:
        click.echo(f"{len(deleted)} of {going} runs deleted; to have them back:\n  {restore}")
    elif going:
        click.echo(f"nothing deleted: {going} runs would go with --yes")


@runs.command("relocate")
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD")
@click.argument("new", type=FOLDER, metavar="NEW")
def relocate(old: Path, new: Path) -> None:
    """Tell the store of this folder that its artifacts, which were in OLD, are in NEW: the folder was moved.

    \b
    Example:
      asc-study runs relocate /home/me/study /data/study
    """
    from asc_study.store.addresses import SQLITE, address_line, tracking_uri
    from asc_study.store.queries import store_exists
    from asc_study.store.relocation import relocate as change

    uri = tracking_uri()
    if not (uri.startswith(SQLITE) and store_exists()):
        line = "runs relocate is for a SQLite store that is there, got {address}: set MLFLOW_TRACKING_URI to its file"
        raise InputError(address_line(uri, line))
    count = change(Path(uri.removeprefix(SQLITE)), old, new)
    click.echo(f"{count} places of artifacts are now below {new}")


def _confirmed(count: int, as_json: bool) -> bool:
    """Ask a person; where nobody can answer it is no."""
    return not as_json and sys.stdin.isatty() and click.confirm(f"Delete {count} runs? MLflow can restore them")
