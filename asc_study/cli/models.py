"""Commands on architectures."""

import json
from typing import Any

import click

from asc_study.cli.options import FILE, json_option


@click.group()
def models() -> None:
    """List the published systems and import the authors' weights.

    \b
    Example:
      asc-study models list
    """


@models.command("list")
@json_option
def models_list(as_json: bool) -> None:
    """Print the parameters and multiply-accumulates of each published system, counted on the models as built.

    Multiply-accumulates are counted by two rules: by kernels alone, and as torchinfo does for DCASE from 2022 on.

    \b
    Example:
      asc-study models list
    """
    from asc_study.models.catalogue import render, stored_catalogue, to_json

    rows = stored_catalogue()
    click.echo(to_json(rows) if as_json else render(rows))


@models.command("import-weights")
@click.argument("file", type=FILE, metavar="FILE.hdf5")
@click.option("--architecture", required=True, metavar="NAME", help="What the weights belong to, e.g. small_fcnn.")
@click.option("--task", default="three_class", show_default=True, type=click.Choice(["ten_class", "three_class"]))
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Of the architecture; default: inferred.")
@click.option("--out", type=FILE, metavar="FILE.keras", help="Default: FILE.keras in the working directory.")
@json_option
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
