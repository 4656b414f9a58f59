"""The demo: a small simulated data set, and the study and the search that go with it."""

import shutil
import sys
from pathlib import Path
from typing import Final

from asc_study.base.errors import InputError
from asc_study.settings.study_file import Study

#: Size of the demo's data set: small enough for six minutes on two cores, large enough to show the gap between devices.
CLIPS_PER_SCENE: Final = 50
SECONDS: Final = 3.0
SEED: Final = 0


def shipped(name: str) -> Path:
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
    raise InputError(f"studies/{name} is not beside {package}: name a study file with --study")


def simulate_demo_data(folder: Path, jobs: int) -> None:
    """Write the demo's data set to ``folder``, or complete it.

    Raises
    ------
    InputError
        If the folder holds anything else.
    """
    from asc_study.simulation.simulate import simulate

    simulate(folder, clips_per_scene=CLIPS_PER_SCENE, seconds=SECONDS, seed=SEED, jobs=jobs)


def next_steps(study: Study, study_file: Path, page: str) -> str:
    """What to open and to try after the demo, as lines that can be typed as they stand."""
    scripts = Path(sys.executable).parent
    shown = scripts.relative_to(Path.cwd()) if scripts.is_relative_to(Path.cwd()) else scripts
    found = shutil.which("mlflow")
    prefix = "" if found and Path(found).parent == scripts else f"{shown}/"  # the environment may not be activated
    # Without an installed script (an MLflow project's environment) the checkout itself is run.
    own = f"{prefix}asc-study" if (scripts / "asc-study").exists() else f"{prefix}python -m asc_study"
    return f"""Next:
  {prefix}mlflow ui
      then open {page}
      accuracy per device subset of every run, best first; charts under "Views"; figures among a run's artifacts
  {own} compare {study.name}/{study.rows[0].name} {study.name}/{study.names[-1]}
      whether the last row differs from the first by more than noise
  {own} ensemble {study.name} --max-members 2
      another ensemble of these runs, chosen step by step
  {prefix}optuna-dashboard sqlite:///optuna.db
      the trials of the search; open http://127.0.0.1:8080
  {own} run {study_file} --data DIR
      the same study on your data in TAU layout"""
