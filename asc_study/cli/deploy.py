"""Commands on deployable systems: quantize, bundle, classify."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asc_study.base.errors import InputError
from asc_study.cli.options import FILE, FOLDER, jobs_option, json_option, own_parts_option

if TYPE_CHECKING:
    from asc_study.deploy.runtime.program import Form

_SCHEMES = ["dynamic", "float16", "int8", "float32"]
_MEMBER = "STUDY/ROW (all its seeds), STUDY/ROW@SEED or an MLflow run id, trained or quantised; repeatable."


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--scheme",
    type=click.Choice(_SCHEMES),
    help="dynamic (default): weights in 8 bits (the paper's); int8: activations too, needs --data; default of a "
    "quantisation-aware run, which needs none.",
)
@click.option("--data", type=FOLDER, metavar="DIR", help="What SOURCE was trained on: proves the file on its clips.")
@click.option("--like", metavar="STUDY.yaml:ROW", help="Whose features and task a file of weights has.")
@click.option("--max-kb", type=click.FloatRange(min=0), metavar="N", help="Exit code 1 if the file is larger.")
@click.option("--out", type=FILE, metavar="FILE.tflite", help="Default: in the working directory, named by SOURCE.")
@jobs_option
@json_option
@own_parts_option
def quantize(
    source: str,
    scheme: str | None,
    data: Path | None,
    like: str | None,
    max_kb: float | None,
    out: Path | None,
    jobs: int,
    as_json: bool,
) -> int:
    """Convert SOURCE to TFLite and prove it by running it: STUDY/ROW@SEED, a run id, a .keras or a Keras 2 HDF5 file.

    A run's result is logged beside it as a run of kind quantised, with its predictions of validation and test.

    \b
    Example:
      asc-study quantize demo/small-fcnn@0 --data simulated
    """
    from asc_study.deploy.quantise import (
        default_path,
        quantise,
        render,
        require_room,
        to_dict,
        usual_scheme,
        write_tflite,
    )
    from asc_study.store.queries import store_exists
    from asc_study.store.tracking import Tracker

    tracker = Tracker() if store_exists() else None
    scheme = scheme or usual_scheme(tracker, source)
    path = out or default_path(source, scheme)
    require_room(path)
    made = quantise(tracker, source, scheme, data=data, like=like, jobs=jobs)
    write_tflite(made, path)
    click.echo(json.dumps(to_dict(made, path), indent=2) if as_json else render(made, path))
    if made.logged and not as_json:
        click.echo(f"run {made.logged.run_id}" + (" (was there already)" if made.logged.existed else ""))
    return _over_budget(path, made.file.file_bytes / 1024, max_kb)


@click.group()
def bundle() -> None:
    """Build, show and verify bundles: whole systems in a folder that runs by itself.

    \b
    Example:
      asc-study bundle build --fusion demo/two-stage --out scene-system
    """


@bundle.command()
@click.option("--fine", multiple=True, metavar="SOURCE", help=f"Networks of the system. {_MEMBER}")
@click.option("--coarse", multiple=True, metavar="SOURCE", help="Three-class networks: two stages.")
@click.option(
    "--fusion",
    default="average",
    show_default=True,
    metavar="RUN|average|product",
    help="How the networks of a stage become one, or the run of an ensemble or fusion that says all.",
)
@click.option("--scheme", type=click.Choice(_SCHEMES), default="dynamic", show_default=True, help="Of trained runs.")
@click.option("--max-kb", type=click.FloatRange(min=0), metavar="N", help="Exit code 1 if the networks are larger.")
@click.option("--out", required=True, type=FOLDER, metavar="DIR", help="A new folder.")
@own_parts_option
def build(
    fine: tuple[str, ...], coarse: tuple[str, ...], fusion: str, scheme: str, max_kb: float | None, out: Path
) -> int:
    """Make a bundle of networks, or of the members of a fusion's run.

    \b
    Example:
      asc-study bundle build --fine demo/fcnn@0 --fine demo/resnet@0 --coarse demo/three-class@0 --out scene-system
      python scene-system/classify.py recording.wav
    """
    from asc_study.deploy.bundle import build_bundle, show
    from asc_study.deploy.runtime.stored import open_bundle
    from asc_study.store.queries import open_existing

    tracker = open_existing()
    if tracker is None:
        raise InputError("a bundle is built of runs, but there is no tracking store here: run a study first")
    built = build_bundle(tracker, fine, coarse, fusion=fusion, scheme=scheme, out=out)
    for note in built.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(show(open_bundle(out)))
    return _over_budget(out, built.kilobytes, max_kb)


@bundle.command("show")
@click.argument("folder", type=FOLDER, metavar="DIR")
@json_option
def show_(folder: Path, as_json: bool) -> None:
    """Show the networks of the bundle DIR, its size and its test accuracy by device subset.

    \b
    Example:
      asc-study bundle show scene-system
    """
    from asc_study.deploy.bundle import show
    from asc_study.deploy.runtime.stored import open_bundle

    stored = open_bundle(folder)
    click.echo(json.dumps(stored.manifest, indent=2) if as_json else show(stored))


@bundle.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
def verify(folder: Path) -> None:
    """Hold every file of the bundle DIR to its digest, and load it.

    \b
    Example:
      asc-study bundle verify scene-system
    """
    from asc_study.deploy.runtime.stored import open_bundle
    from asc_study.deploy.runtime.system import load_bundle

    stored = open_bundle(folder)
    strangers = stored.verify()
    load_bundle(folder)
    for name in strangers:
        click.echo(f"note: {name} is not one of its files", err=True)
    click.echo(f"{folder}: {len(stored.files)} files as they were built")


@bundle.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--name", required=True, metavar="NAME", help="Registered model that it becomes a version of.")
def register(folder: Path, name: str) -> None:
    """Register the bundle DIR in MLflow; it becomes the champion if it beats the present one on validation.

    \b
    Example:
      asc-study bundle register scene-system --name scenes
      mlflow models serve -m models:/scenes@champion --env-manager local -p 5001
    """
    from asc_study.deploy.register import register_bundle, render
    from asc_study.store.queries import store_exists
    from asc_study.store.tracking import Tracker

    if not store_exists():
        raise InputError("a bundle is registered in the store of its runs, but there is none here: change the folder")
    click.echo(render(register_bundle(Tracker(), folder, name)))


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.argument("clips", nargs=-1, required=True, metavar="CLIP...")
@click.option("--top", type=int, metavar="K", help="Scenes to show of each clip; default: 3, in JSON all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="All probabilities, a line a clip.")
@click.option(
    "--device", default="", metavar="NAME", help="What recorded the clips: a system by device hears them accordingly."
)
@click.option(
    "--labels", type=FILE, metavar="LIST", help="List with the clips' labels: print the device table instead."
)
def classify(
    bundle: str, clips: tuple[str, ...], top: int | None, as_json: bool, as_csv: bool, device: str, labels: Path | None
) -> None:
    """Name the scene of recordings: files, folders, patterns, or - for standard input.

    BUNDLE is its folder, or a registered one, such as models:/scenes@champion.

    Any sample rate, number of channels and length will do; what is done about it is said once. No code in BUNDLE runs.

    \b
    Example:
      asc-study classify scene-system recording.wav
      asc-study classify by-device recording.wav --device a
      asc-study classify scene-system tau-mobile/audio --labels tau-mobile/evaluation_setup/fold1_evaluate.csv
    """
    from asc_study.deploy.runtime.program import classify_clips, write_results
    from asc_study.deploy.runtime.sound import find_clips
    from asc_study.deploy.runtime.system import load_bundle

    if as_json and as_csv:
        raise InputError("results are written in one form, got --json and --csv: leave one out")
    if device and labels is not None:
        raise InputError(f"the list of --labels says what recorded each clip, got --device {device} too: leave it out")
    folder = _bundle_folder(bundle)
    system = load_bundle(folder)
    found = find_clips(list(clips))
    if labels is not None:
        from asc_study.deploy.judge import judge

        click.echo(judge(system, found, labels, name=folder.name, as_json=as_json))
        return
    form: Form = "json" if as_json else "csv" if as_csv else "text"
    write_results(
        classify_clips(system, found, device),
        system,
        form,
        top,
        click.echo,
        lambda line: click.echo(line, err=True),
    )


def _bundle_folder(reference: str) -> Path:
    """The folder of a bundle that is named by its path or as a model of MLflow."""
    from asc_study.base.contract import Artifact
    from asc_study.store.registry import is_model, model_folder

    return model_folder(reference, Artifact.MANIFEST) if is_model(reference) else Path(reference)


def _over_budget(path: Path, kilobytes: float, limit: float | None) -> int:
    """Exit code 1 and a line on standard error if a file or folder is larger than was allowed."""
    if limit is None or kilobytes <= limit:
        return 0
    click.echo(
        f"asc-study: {path} must have at most {limit:g} kB, got {kilobytes:,.1f}: take a smaller network or scheme "
        "(it is kept)",
        err=True,
    )
    return 1
