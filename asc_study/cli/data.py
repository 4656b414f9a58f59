"""Commands on data sets."""

import json
from pathlib import Path
from typing import Any

import click

from asc_study.base.text_table import text_table
from asc_study.cli.options import FOLDER, jobs_option, json_option


@click.group()
def data() -> None:
    """Check, describe, download and simulate data sets: TAU Urban Acoustic Scenes, or recordings of your own.

    \b
    Example:
      asc-study data check DIR
    """


@data.command("check")
@click.argument("directory", type=FOLDER, metavar="DIR")
@click.option("--task", metavar="TASK", help="Such as ten_class or three_class; default: told by the labels.")
@click.option("--format", "name", metavar="NAME", help="Data format, also module:object; default: told by the lists.")
@click.option("--jobs", default=4, show_default=True, metavar="N", help="Audio files opened at the same time.")
@click.option("--deep", is_flag=True, help="Decode every audio file to its end, too; takes minutes for thousands.")
@json_option
def data_check(directory: Path, task: str | None, name: str | None, jobs: int, deep: bool, as_json: bool) -> int:
    """Count the clips of DIR by split, scene and device, and report every problem at once.

    Exit code 1 if there are problems.

    \b
    Example:
      asc-study data check TAU-urban-acoustic-scenes-2020-mobile-development
    """
    from asc_study.data.check import check
    from asc_study.data.formats import find_format
    from asc_study.workers.pool import require_jobs

    require_jobs(jobs, "files to open at the same time")
    report = check(directory, task, jobs, data_format=find_format(name) if name else None, deep=deep)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.render())
    return 0 if report.ok else 1


@data.command("init")
@click.argument("directory", type=FOLDER, metavar="DIR")
@click.option("--metadata", metavar="FILE", help="Metadata file in DIR; default: the one that names recordings.")
@json_option
def data_init(directory: Path, metadata: str | None, as_json: bool) -> None:
    """Write a first dataset.yaml into DIR, a folder of your own recordings with a metadata file, to be completed.

    \b
    Example:
      asc-study data init my-recordings
    """
    from asc_study.data.init import init

    path = init(directory, metadata=metadata)
    if as_json:
        click.echo(json.dumps({"written": str(path)}, indent=2))
    else:
        click.echo(f"written: {path}")
        click.echo(f"next: look at every line of it, then asc-study data check {directory}")


@data.command("download")
@click.argument("name", metavar="NAME")
@click.argument("directory", type=FOLDER, metavar="DIR")
@click.option("--base-url", metavar="URL", help="A mirror to fetch the files from; default: the publisher's address.")
@click.option("--keep-zips", is_flag=True, help="Keep the zip files after they are unpacked.")
@json_option
def data_download(name: str, directory: Path, base_url: str | None, keep_zips: bool, as_json: bool) -> None:
    """Download the data set NAME, such as tau2020-mobile or tau2022-mobile, to DIR; run again to go on after a cut.

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
@click.argument("directory", type=FOLDER, metavar="DIR")
@click.option("--task", default="ten_class", show_default=True, type=click.Choice(["ten_class", "three_class"]))
@click.option("--format", "data_format", metavar="NAME", help="Another format: tau2022-mobile, or a dataset.yaml.")
@click.option("--clips-per-scene", default=60, show_default=True, metavar="N", help="Training segments of each scene.")
@click.option("--seconds", type=float, metavar="S", help="Length of a clip in seconds; by default the format's.")
@click.option("--seed", default=0, show_default=True, metavar="K")
@jobs_option
@json_option
def data_simulate(**options: Any) -> None:
    """Write a simulated data set to DIR: ten scenes and nine devices in TAU layout, or what a dataset.yaml says.

    \b
    Example:
      asc-study data simulate sim --clips-per-scene 60 --seconds 3
      asc-study data simulate sim --format dataset.yaml --clips-per-scene 20 --seconds 3
    """
    from asc_study.simulation.simulate import simulate

    as_json = options.pop("as_json")
    _print_written(simulate(options.pop("directory"), **options), as_json)


@data.command("add-devices")
@click.argument("source", type=FOLDER, metavar="IN")
@click.argument("target", type=FOLDER, metavar="OUT")
@click.option("--impulse-responses", type=FOLDER, metavar="DIR", help="WAVs for s1-s6; default: simulated ones.")
@click.option("--seed", default=0, show_default=True, metavar="K")
@jobs_option
@json_option
def data_add_devices(**options: Any) -> None:
    """Copy IN, a data set of device a only, to OUT and add the eight other devices (simulated).

    \b
    Example:
      asc-study data add-devices my-recordings my-benchmark
    """
    from asc_study.simulation.add_devices import add_devices

    as_json = options.pop("as_json")
    _print_written(add_devices(options.pop("source"), options.pop("target"), **options), as_json)


def _print_written(written: Any, as_json: bool) -> None:
    if as_json:
        shown = {"root": str(written.root), "written": written.written, "clips": written.clips}
        click.echo(json.dumps(shown, indent=2))
        return
    total = sum(sum(devices.values()) for devices in written.clips.values())
    click.echo(f"{written.root}: {total} clips ({written.written} written now)")
    heard = list(dict.fromkeys(device for devices in written.clips.values() for device in devices))
    counts = [[split, *(str(devices.get(one, 0)) for one in heard)] for split, devices in written.clips.items()]
    click.echo(text_table([["Split", *heard], *counts]))
