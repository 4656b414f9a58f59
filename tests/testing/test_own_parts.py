"""The templates for parts of one's own, in a stranger's folder: checked, planned, trained and searched from outside."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asc_study.search.file import load_search
from asc_study.settings.study_file import load_study

EXAMPLES = Path(__file__).parents[2] / "studies" / "examples"
GAIN = "own_augmentations:Gain"

#: What makes the examples' trainings as small as can be.
SMALL = [
    argument
    for setting in ("features.n_mels=8", "training.epochs=1", "training.batch_size=32")
    for argument in ("--set", setting)
]


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A folder that is neither the repository nor the working directory, with copies of the templates."""
    return shutil.copytree(EXAMPLES, tmp_path / "stranger", ignore=shutil.ignore_patterns("__pycache__"))


def asc_study(*arguments: object) -> str:
    """What a command prints, called as a user does."""
    done = subprocess.run([sys.executable, "-m", "asc_study", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("own_augmentations.py", "Gain and Roll keep the contracts of augmentations"),
        ("own_fusion.py", "ByAccuracy keeps the contract of a fusion rule"),
        pytest.param("own_architecture.py", "OWN keeps the contract of an architecture", marks=pytest.mark.slow),
    ],
)
def test_a_template_alone_passes_its_suite(template: str, message: str, isolated: Path) -> None:
    shutil.copy(EXAMPLES / template, isolated)
    done = subprocess.run([sys.executable, template], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{message}\n"), done.stderr


def test_the_strength_of_an_own_part_is_gridded_and_searched(stranger: Path) -> None:
    rows = load_study(stranger / "own_parts.yaml").rows
    assert [row.config.batch_augmentation[GAIN].spread for row in rows] == [0.1, 0.3]
    search = load_search(stranger / "own_parts_search.yaml")
    key = f"batch_augmentation.{GAIN}.spread"
    ends = {point[key]: config.batch_augmentation[GAIN].spread for point, config in search.corners()}
    assert ends == {0.05: 0.05, 0.5: 0.5}
    assert search.config({key: 0.25, "model.dropout": 0.4}).model.model_dump()["dropout"] == 0.4
    assert "own_augmentations" in str(search.identity("0" * 64)["code"])


def test_an_own_part_is_switched_and_its_strength_searched_where_it_is_on(stranger: Path) -> None:
    part = f"batch_augmentation.{GAIN}"
    (stranger / "switch.yaml").write_text(
        f"search: s\nspace:\n  '{part}': {{type: categorical, choices: [null, {{}}]}}\n"
        f"  '{part}.spread': {{type: float, low: 0.1, high: 0.2, when: {{'{part}': on}}}}\n"
    )
    search = load_search(stranger / "switch.yaml")
    assert search.config({part: "off"}).batch_augmentation == {}
    assert search.config({part: "on", f"{part}.spread": 0.15}).batch_augmentation[GAIN].spread == 0.15


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_strangers_parts_are_trained_in_worker_processes(stranger: Path, simulated: Path) -> None:
    planned = json.loads(asc_study("plan", stranger / "own_parts.yaml", "--data", simulated, *SMALL, "--json"))
    assert [(run["row"], run["status"]) for run in planned["runs"]] == [
        ("baseline", "new"),
        ("spread=0.1", "new"),
        ("spread=0.3", "new"),
    ]
    ran = asc_study("run", stranger / "own_parts.yaml", "--data", simulated, *SMALL, "--jobs", 2, "--json")
    assert {(run["row"], run["status"]) for run in json.loads(ran)["runs"]} == {
        ("baseline", "done"),
        ("spread=0.1", "done"),
        ("spread=0.3", "done"),
        ("by-accuracy", "done"),
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_strength_of_a_strangers_part_is_searched_in_worker_processes(stranger: Path, simulated: Path) -> None:
    best = stranger / "best.yaml"
    options = ["--trials", 2, "--jobs", 2, "--write", best]
    asc_study("search", stranger / "own_parts_search.yaml", "--data", simulated, *SMALL, *options)
    assert 0.05 <= load_study(best).rows[0].config.batch_augmentation[GAIN].spread <= 0.5
