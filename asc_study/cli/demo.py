"""The command `demo`: a small simulated data set, and the study and the search that go with it."""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from asc_study.base.errors import InputError
from asc_study.cli.options import DEVICES_VIEW, FOLDER, json_option, load_with_data, page_of, teller, typed
from asc_study.cli.studies import exit_status, leaderboard_text, run_file

if TYPE_CHECKING:
    from asc_study.base.progress import Say
    from asc_study.search.run_search import SearchResult
    from asc_study.settings.study_file import Study

#: Size of the demo's data set: small enough for six minutes on two cores, large enough to show the gap between devices.
CLIPS_PER_SCENE: Final = 50
SECONDS: Final = 3.0
SEED: Final = 0


@click.command()
@click.option("--data", "data_dir", default="demo-data", show_default=True, type=FOLDER, metavar="DIR")
@click.option("--jobs", default=2, show_default=True, metavar="N", help="Processes at the same time.")
@json_option
def demo(data_dir: Path, jobs: int, as_json: bool) -> int:
    """Simulate a small data set, run studies/demo.yaml and studies/search_demo.yaml on it and print what came out.

    The study ends in a quantised two-stage system, in the folder bundles/demo/.

    \b
    Example:
      asc-study demo
    """
    from asc_study.settings.study_file import load_study

    search_file, study_file = _shipped("search_demo.yaml"), _shipped("demo.yaml")
    study = load_study(study_file)  # its errors before the data are made
    _simulate_demo_data(data_dir, jobs)

    say = teller(as_json)
    outcomes = run_file(study_file, data_dir, jobs, say=say)
    found = _search(search_file, data_dir, jobs, say)
    if as_json:
        board = json.loads(leaderboard_text(str(study_file), form="json"))
        click.echo(json.dumps(board | {"search": found.to_dict()}, indent=2))
    else:
        page = page_of(study.name, DEVICES_VIEW)
        click.echo("\n" + leaderboard_text(str(study_file)))
        click.echo("\n" + found.render() + "\n\n" + _next_steps(study, study_file, page, data_dir))
    return exit_status(outcomes)


def _search(search_file: Path, data_dir: Path, jobs: int, say: "Say") -> "SearchResult":
    from asc_study.search.file import load_search
    from asc_study.search.run_search import run_search
    from asc_study.search.storage import storage_url

    search, data = load_with_data(load_search, search_file, data_dir)
    return run_search(search, data, url=storage_url(None), jobs=jobs, command=typed(), say=say)


def _shipped(name: str) -> Path:
    """The path of ``studies/<name>``: in a checkout beside the package, in an installed package inside it.

    Raises
    ------
    InputError
        If the file is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent, package):
        path = folder / "studies" / name
        if path.exists():
            here = Path.cwd()
            return path.relative_to(here) if path.is_relative_to(here) else path
    raise InputError(f"studies/{name} is not beside {package}: install the package again, or run in a checkout")


def _simulate_demo_data(folder: Path, jobs: int) -> None:
    """Write the demo's data set to ``folder``, or complete it.

    Raises
    ------
    InputError
        If the folder holds anything else.
    """
    from asc_study.simulation.simulate import simulate

    simulate(folder, clips_per_scene=CLIPS_PER_SCENE, seconds=SECONDS, seed=SEED, jobs=jobs)


def _next_steps(study: "Study", study_file: Path, page: str, data_dir: Path) -> str:
    """What to open and to try after the demo, as lines that can be typed as they stand."""
    from asc_study.deploy.bundle_folder import bundle_folder

    scripts = Path(sys.executable).parent
    shown = scripts.relative_to(Path.cwd()) if scripts.is_relative_to(Path.cwd()) else scripts
    found = shutil.which("mlflow")
    prefix = "" if found and Path(found).parent == scripts else f"{shown}/"  # the environment may not be activated
    bundle = bundle_folder(study.name, study.systems[-1].name)
    recordings = sorted((data_dir / "audio").glob("*-s5.wav"))
    clips = shlex.join(str(path) for path in (*recordings[:1], *recordings[-1:]))
    # Without an installed script (an MLflow project's environment) the checkout itself is run.
    own = f"{prefix}asc-study" if (scripts / "asc-study").exists() else f"{prefix}python -m asc_study"
    return f"""Next:
  {prefix}mlflow ui
      then open {page}
      accuracy per device subset of every run, best first; charts under "Views"; figures among a run's artifacts
  {own} dashboard {study.name} --data {shlex.quote(str(data_dir))}
      which combination holds on which device, and how sure that is
  {own} compare {study.name}/{study.rows[0].name} {study.name}/{study.names[-1]}
      whether the last row differs from the first by more than noise
  {own} ensemble {study.name} --max-members 2
      another ensemble of these runs, chosen step by step
  {prefix}optuna-dashboard sqlite:///optuna.db
      the trials of the search; open http://127.0.0.1:8080
  {own} run {study_file} --data DIR
      the same study on your data in TAU layout
  {own} classify {bundle} {clips}
      names the scene of two clips of the unseen device s5, by the quantised two-stage system in {bundle}/"""
