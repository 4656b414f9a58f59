"""Commands that make systems of systems, and compare them: ensemble, fuse, compare."""

import json
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from asc_study.base.contract import Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import DEFAULT_OBJECTIVE
from asc_study.cli.options import existing_store, json_option, print_run, task_option

_RUN_HELP = "STUDY/ROW (all its seeds), STUDY/ROW@SEED or an MLflow run id"

_fusion_option = click.option(
    "--fusion",
    default="average",
    show_default=True,
    metavar="RULE",
    help="How systems of one task become one: average, weighted, product, logistic, or one's own, module:class.",
)


#: What is left over of a command line whose options are repeated is told by `_require_no_more`.
_LEFT_OVER = {"allow_extra_args": True}


def _require_no_more(*options: str) -> None:
    """Raise `InputError` for words that belong to no option, such as the second of ``--fine A B``."""
    left_over = click.get_current_context().args
    if left_over:
        raise InputError(
            f"each run needs {' or '.join(options)} before it, got {left_over[0]!r} without: write "
            f"{options[0]} RUN {options[0]} RUN"
        )


@click.command(context_settings=_LEFT_OVER)
@click.argument("study", metavar="STUDY")
@click.option(
    "--method",
    default="overlap",
    show_default=True,
    type=click.Choice(["overlap", "greedy", "exhaustive", "caruana"]),
    help="overlap: systems that help and err least alike; greedy: best objective of the mean; exhaustive: all subsets; "
    "caruana: with replacement.",
)
@click.option("--max-members", default=5, show_default=True, metavar="K")
@click.option(
    "--max-overlap",
    type=float,
    metavar="X",
    help="overlap: instead, the next best systems that decide alike with each member on less than this share.",
)
@click.option(
    "--objective",
    "metric",
    default=DEFAULT_OBJECTIVE,
    show_default=True,
    metavar="METRIC",
    help="What is optimised, never on test: acc_device_macro, acc_avg, log_loss, acc_s4-s6, acc_macro ...",
)
@_fusion_option
@task_option
@click.option("--run", "runs", multiple=True, metavar="RUN", help=f"Candidate, repeatable; default: all. {_RUN_HELP}.")
@click.option("--name", metavar="NAME", help="Name of the row; default: ensemble-METHOD.")
@click.option("--show-test", is_flag=True, help="Print the test accuracy of every step; the run is tagged with it.")
@json_option
def ensemble(
    study: str,
    task: str | None,
    runs: tuple[str, ...],
    name: str | None,
    show_test: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Choose members among the finished runs of STUDY, fuse them and log the result as a run.

    Decides on the validation split; if a candidate has no validation predictions (imported systems), by cross-fitting
    over locations. Options that are chosen with --show-test are chosen on test.

    \b
    Example:
      asc-study ensemble demo --max-members 3
    """
    from asc_study.settings.settings_file import require_name
    from asc_study.systems.ensemble_report import log_ensemble, render, to_dict
    from asc_study.systems.ensembles import EnsembleOptions, choose, gather_candidates

    _require_no_more("--run")
    require_name("study", study)
    tracker = existing_store()
    members, notes = gather_candidates(tracker, study, references=runs, task=task)
    chosen = choose(members, EnsembleOptions(**options), notes, show_test=show_test)
    logged = log_ensemble(tracker, study, name or f"ensemble-{options['method']}", chosen)
    if as_json:
        click.echo(json.dumps({"run_id": logged.run_id, "existed": logged.existed, **to_dict(chosen)}, indent=2))
        return
    click.echo(render(chosen, study))
    print_run(logged)


@click.command(context_settings=_LEFT_OVER)
@click.option("--fine", multiple=True, metavar="RUN", help=f"System to fuse, repeatable. {_RUN_HELP}.")
@click.option("--coarse", multiple=True, metavar="RUN", help="Three-class system: two-stage fusion. Repeatable.")
@click.option("--general", metavar="RUN", help="By device: what hears each clip whose device has no run of its own.")
@click.option("--device", "devices", multiple=True, metavar="DEVICE=RUN", help="By device: what hears it. Repeatable.")
@_fusion_option
@click.option(
    "--join",
    default="product",
    show_default=True,
    type=click.Choice(["product", "learned"]),
    help="How the stages are joined: the paper's product, or logistic regression.",
)
@click.option("--exponent", default="1", show_default=True, metavar="X|fit", help="On the coarse score of the product.")
@click.option("--study", metavar="STUDY", help="Study that the result joins; default: that of the first run.")
@click.option("--name", metavar="NAME", help="Name of the row; default: what was fused.")
@json_option
def fuse(
    fine: tuple[str, ...],
    coarse: tuple[str, ...],
    general: str | None,
    devices: tuple[str, ...],
    fusion: str,
    join: str,
    exponent: str,
    study: str | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Fuse systems: those of --fine alone, or in two stages with the three-class systems of --coarse.

    With --general and --device it is a system by device instead: each clip is heard by the run of its device.

    What learns (weighted, logistic, learned, --exponent fit) is fitted on validation; without validation predictions
    it is cross-fitted over locations of test.

    \b
    Example:
      asc-study fuse --fine demo/fcnn-plain --fine demo/fcnn-mixup --coarse demo/three-class
      asc-study fuse --general dcase2025/general@0 --device a=dcase2025/of-a@0 --name by-device
    """
    _require_no_more("--fine", "--coarse")
    from asc_study.systems.fusion_log import default_name, log_fusion, render, to_dict
    from asc_study.systems.fusions import fuse_runs, route_runs

    by_device = _is_by_device(fine, general, devices)
    tracker = existing_store()
    if by_device:
        fused = route_runs(tracker, general or "", devices)
    else:
        fused = fuse_runs(tracker, fine, coarse, fusion=fusion, join=join, exponent=exponent)
    name = name or default_name(fused)
    logged = log_fusion(tracker, study or fused.fine[0].record.tags[Tag.STUDY], name, fused)
    if as_json:
        shown = {"run_id": logged.run_id, "existed": logged.existed, **to_dict(fused)}
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(render(fused, logged.name))
    print_run(logged)


def _is_by_device(fine: Sequence[str], general: str | None, devices: Sequence[str]) -> bool:
    """Whether the options of `fuse` ask for a system by device; raises `InputError` if they do not go together."""
    if not general and not devices:
        if not fine:
            raise click.MissingParameter(param_type="option", param_hint="'--fine'")
        return False
    if not general or not devices:
        got = "--general alone" if general else "--device alone"
        raise InputError(f"a system by device needs --general and at least one --device, got {got}: add the other")
    context = click.get_current_context()
    others = ("fine", "coarse", "fusion", "join", "exponent")
    if given := [name for name in others if context.get_parameter_source(name) != ParameterSource.DEFAULT]:
        raise InputError(
            f"runs are fused or by device, got --general beside --{given[0]}: leave one out, and fuse the result"
        )
    return True


@click.command()
@click.argument("first", metavar="RUN_A")
@click.argument("second", metavar="RUN_B")
@click.option("--split", default="test", show_default=True, type=click.Choice(["test", "validation"]))
@json_option
def compare(first: str, second: str, split: str, as_json: bool) -> None:
    """Tell whether RUN_B differs from RUN_A on the same clips, by device subset.

    A run is STUDY/ROW (its seeds are averaged), STUDY/ROW@SEED or an MLflow run id. Intervals are from a bootstrap over
    locations, and over seeds where there are several; p is that of a permutation test over locations.

    \b
    Example:
      asc-study compare demo/fcnn-plain demo/fcnn-mixup
    """
    from dataclasses import asdict

    from asc_study.evaluation.significance import render
    from asc_study.systems.compare import compare_runs

    found = compare_runs(existing_store(), first, second, split=split)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else render(found, first, second))
