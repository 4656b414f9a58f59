"""The demo: a small simulated data set and the study file that goes with it."""

import os
from pathlib import Path
from typing import Final

from asc_study.errors import InputError

#: Size of the demo's data set: small enough for six minutes on two cores, large enough to show the gap between devices.
CLIPS_PER_SCENE: Final = 50
SECONDS: Final = 3.0
SEED: Final = 0


def demo_study() -> Path:
    """The path of ``studies/demo.yaml``: in a checkout beside the package, in an installed package inside it.

    Raises
    ------
    InputError
        If the file is in neither place.
    """
    package = Path(__file__).resolve().parent
    for folder in (package.parent, package):
        path = folder / "studies" / "demo.yaml"
        if path.exists():
            here = Path.cwd()
            return path.relative_to(here) if path.is_relative_to(here) else path
    raise InputError(f"studies/demo.yaml is not beside {package}: name a study file with --study")


def simulate_demo_data(folder: Path) -> None:
    """Write the demo's data set to ``folder``, or complete it.

    Raises
    ------
    InputError
        If the folder holds anything else.
    """
    from asc_study.data.simulate import simulate

    jobs = min(2, os.cpu_count() or 1)
    simulate(folder, clips_per_scene=CLIPS_PER_SCENE, seconds=SECONDS, seed=SEED, jobs=jobs)
