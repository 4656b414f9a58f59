"""Options that several commands share."""

from pathlib import Path

import click

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
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
profile_option = click.option("--profile", metavar="NAME", help="Settings of the study file for all rows, e.g. small.")
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
