"""Commands on systems after training: import, score, export, ensemble, fuse, compare."""

import json
from pathlib import Path
from typing import Any

import click

from asc_study.base.contract import Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import DEFAULT_OBJECTIVE
from asc_study.cli.options import FILE, existing_store, jobs_option, json_option, teller

_RUN_HELP = "STUDY/ROW (all its seeds), STUDY/ROW@SEED or an MLflow run id"

_task_option = click.option("--task", metavar="TASK")
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


@click.command("import")
@click.argument("scores", type=FILE, metavar="SCORES")
@click.option("--labels", required=True, type=FILE, metavar="FILE", help="TAU list with labels of the scored clips.")
@click.option("--name", required=True, metavar="NAME", help="Name of the row.")
@click.option("--study", required=True, metavar="STUDY", help="Study (MLflow experiment) that it joins.")
@_task_option
@click.option(
    "--validation",
    nargs=2,
    type=FILE,
    metavar="SCORES FILE",
    help="Scores of validation clips and the list with their labels: ensembles are then chosen on them.",
)
@json_option
def import_(
    scores: Path,
    labels: Path,
    name: str,
    study: str,
    task: str | None,
    validation: tuple[Path, Path] | None,
    as_json: bool,
) -> None:
    """Make a run of the SCORES of a system trained elsewhere, with all metrics.

    SCORES is text separated by tabs, commas or spaces, with or without header and file names (rows are then in the
    order of FILE), the DCASE 2020 output form, or parquet. FILE is a list of the data set such as
    evaluation_setup/fold1_evaluate.csv, or meta.csv.

    \b
    Example:
      asc-study import scores.txt --labels tau-mobile/evaluation_setup/fold1_evaluate.csv --name theirs --study demo
    """
    from asc_study.evaluation.accuracy_table import accuracy_table
    from asc_study.store.tracking import Tracker
    from asc_study.systems.exchange import import_system

    imported, logged = import_system(Tracker(), study, name, scores, labels, task=task, validation=validation)
    if as_json:
        shown = {"run_id": logged.run_id, "existed": logged.existed, "notes": imported.notes}
        click.echo(json.dumps(shown | {"metrics": dict(logged.metrics)}, indent=2))
        return
    for note in imported.notes:
        click.echo(f"note: {note}")
    click.echo(accuracy_table({logged.name: logged.metrics}))
    _print_run(logged)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--data",
    "paths",
    required=True,
    multiple=True,
    type=FILE,
    metavar="PATH",
    help="A recording, or a folder with audio/*.wav or *.wav; repeatable.",
)
@click.option(
    "--split",
    type=click.Choice(["test"]),
    help="Score the labelled test clips of the data set --data, as new runs that `fuse` takes.",
)
@jobs_option
@json_option
def score(runs: tuple[str, ...], paths: tuple[Path, ...], split: str | None, jobs: int, as_json: bool) -> None:
    """Name the scenes of clips, which need no labels, with runs, so that `fuse` and `export` can.

    An ensemble or a fusion is scored by the trained runs that it is made of.

    The predictions become an artifact of the runs, beside those of other clips; those of the last clips are exported.

    \b
    Example:
      asc-study score submissions/a-resnet_d submissions/a-fsfcnn_s --data tau-mobile-evaluation
      asc-study score task1b/three-class --data tau-mobile-development --split test
    """
    from asc_study.systems.score import score_runs

    if split:
        _score_labelled(runs, paths, jobs, as_json)
        return

    scored = score_runs(existing_store(), runs, paths, jobs=jobs, say=teller(as_json))
    if as_json:
        click.echo(json.dumps({"runs": [one.to_dict() for one in scored]}, indent=2))
        return
    for one in scored:
        click.echo("\n" + one.render())


def _score_labelled(runs: tuple[str, ...], paths: tuple[Path, ...], jobs: int, as_json: bool) -> None:
    from asc_study.systems.score_labelled import score_labelled

    if len(paths) > 1:
        raise InputError(f"--split test scores one data set at a time, got {len(paths)}: give --data once")
    scored = score_labelled(existing_store(), runs, paths[0], jobs=jobs, say=teller(as_json))
    if as_json:
        found = [{"run": record.label, "run_id": logged.run_id, "metrics": logged.metrics} for record, logged in scored]
        click.echo(json.dumps({"runs": found}, indent=2))
    for record, logged in scored if not as_json else ():
        click.echo(f"{record.label}: run {logged.run_id}, {logged.name!r} of study {record.tags['asc.study']}")


@click.command(params=score.params, hidden=True)
@click.pass_context
def predict(context: click.Context, /, **arguments: Any) -> None:
    """The earlier name of `score`.

    \b
    Example:
      asc-study score demo/fcnn-plain --data DIR
    """
    click.echo("asc-study: `predict` is called `score` now; this name will go", err=True)
    context.invoke(score, **arguments)


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["dcase2020", "dcase2024", "dcase2025", "csv", "parquet"]),
)
@click.option("--out", required=True, type=FILE, metavar="FILE", help="Of a package: its folder.")
@click.option("--label", default="", metavar="LABEL", help="Of a package: LASTNAME_INSTITUTE_task1_N.")
@click.option("--about", type=FILE, metavar="FILE", help="Of a package: YAML with what people say of the system.")
@click.option(
    "--split", type=click.Choice(["test", "validation", "evaluation"]), help="Default: evaluation, else test."
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def export(
    runs: tuple[str, ...], form: str, out: Path, label: str, about: Path | None, split: str | None, force: bool
) -> None:
    """Write the predictions of RUN (STUDY/ROW, STUDY/ROW@SEED or an MLflow run id) to FILE.

    dcase2020 is the challenge's system output, csv and parquet are the whole predictions table. dcase2024 and dcase2025
    are submission packages: the outputs of one run for each split, and meta information with complexity and results.

    \b
    Example:
      asc-study export demo/fcnn-plain --format dcase2020 --out fcnn-plain.tsv
      asc-study export task1/split25@0 --format dcase2025 --out package --label Smith_MyUni_task1_1
    """
    from asc_study.systems.exchange import export_predictions
    from asc_study.systems.submission import SPLITS, export_submission

    store = existing_store()
    if form in SPLITS:
        if split:
            raise InputError(
                f"a package has the evaluation clips and the results of test, got --split {split}: leave it"
            )
        package = export_submission(store, runs, out, form, label=label, about=about, overwrite=force)
        for line in (*map(str, package.files), *(f"note: {note}" for note in package.notes)):
            click.echo(line)
        return
    if label or about or len(runs) > 1:
        raise InputError(f"--label, --about and several runs are for packages, got --format {form}: leave them out")
    split, clips = export_predictions(store, runs[0], out, form, split=split, overwrite=force)
    click.echo(f"{out}: {clips} clips of the {split} split")


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
@_task_option
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
    _print_run(logged)


@click.command(context_settings=_LEFT_OVER)
@click.option("--fine", required=True, multiple=True, metavar="RUN", help=f"System to fuse, repeatable. {_RUN_HELP}.")
@click.option("--coarse", multiple=True, metavar="RUN", help="Three-class system: two-stage fusion. Repeatable.")
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
    fusion: str,
    join: str,
    exponent: str,
    study: str | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Fuse systems: those of --fine alone, or in two stages with the three-class systems of --coarse.

    What learns (weighted, logistic, learned, --exponent fit) is fitted on validation; without validation predictions
    it is cross-fitted over locations of test.

    \b
    Example:
      asc-study fuse --fine demo/fcnn-plain --fine demo/fcnn-mixup --coarse demo/three-class
    """
    _require_no_more("--fine", "--coarse")
    from asc_study.systems.fusions import default_name, fuse_runs, log_fusion, render, to_dict

    tracker = existing_store()
    fused = fuse_runs(tracker, fine, coarse, fusion=fusion, join=join, exponent=exponent)
    name = name or default_name(fused)
    logged = log_fusion(tracker, study or fused.fine[0].record.tags[Tag.STUDY], name, fused)
    if as_json:
        shown = {"run_id": logged.run_id, "existed": logged.existed, **to_dict(fused)}
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(render(fused, logged.name))
    _print_run(logged)


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


def _print_run(logged: Any) -> None:
    click.echo(
        f"run {logged.run_id}" + (f" (was there already, as {logged.name!r}: use that name)" if logged.existed else "")
    )
