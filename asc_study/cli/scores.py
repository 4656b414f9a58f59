"""Commands on the scores of trained systems: import, score, export."""

import json
from pathlib import Path
from typing import Any

import click

from asc_study.base.contract import Tag
from asc_study.base.errors import InputError
from asc_study.cli.options import (
    FILE,
    existing_store,
    jobs_option,
    json_option,
    own_parts_option,
    print_run,
    task_option,
    teller,
)


@click.command("import")
@click.argument("scores", type=FILE, metavar="SCORES")
@click.option("--labels", required=True, type=FILE, metavar="FILE", help="TAU list with labels of the scored clips.")
@click.option("--name", required=True, metavar="NAME", help="Name of the row.")
@click.option("--study", required=True, metavar="STUDY", help="Study (MLflow experiment) that it joins.")
@task_option
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
    print_run(logged)


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
@click.option(
    "--embeddings",
    type=FILE,
    metavar="FILE",
    help="The clips' embeddings, for runs on these; by default the file that they were trained on.",
)
@jobs_option
@json_option
@own_parts_option
def score(
    runs: tuple[str, ...],
    paths: tuple[Path, ...],
    split: str | None,
    embeddings: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
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
        _score_labelled(runs, paths, embeddings, jobs, as_json)
        return

    scored = score_runs(existing_store(), runs, paths, jobs=jobs, say=teller(as_json), embeddings=embeddings)
    if as_json:
        click.echo(json.dumps({"runs": [one.to_dict() for one in scored]}, indent=2))
        return
    for one in scored:
        click.echo("\n" + one.render())


def _score_labelled(
    runs: tuple[str, ...], paths: tuple[Path, ...], embeddings: Path | None, jobs: int, as_json: bool
) -> None:
    from asc_study.systems.score_labelled import score_labelled

    if len(paths) > 1:
        raise InputError(f"--split test scores one data set at a time, got {len(paths)}: give --data once")
    say = teller(as_json)
    scored = score_labelled(existing_store(), runs, paths[0], jobs=jobs, say=say, embeddings=embeddings)
    if as_json:
        found = [{"run": record.label, "run_id": logged.run_id, "metrics": logged.metrics} for record, logged in scored]
        click.echo(json.dumps({"runs": found}, indent=2))
    for record, logged in scored if not as_json else ():
        click.echo(f"{record.label}: run {logged.run_id}, {logged.name!r} of study {record.tags[Tag.STUDY]}")


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
