"""Parts that are not built in: found by entry point or path, checked, and part of a run's identity."""

import importlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from asc_study.augmentation import AUGMENTATIONS, batch_augmentations, compose
from asc_study.base import plugins
from asc_study.base.errors import InputError
from asc_study.ensemble.fuse import find_fusion
from asc_study.settings.identity import run_identity
from asc_study.settings.run_config import resolve
from asc_study.settings.settings_file import split_key
from asc_study.settings.study_file import load_study
from asc_study.workers.pool import run_parallel

EXAMPLES = Path(__file__).parents[2] / "studies" / "examples"


@pytest.fixture
def example(isolated: Path) -> Path:
    for file in EXAMPLES.iterdir():
        if file.is_file():
            shutil.copy(file, isolated)
    return isolated / "own_parts.yaml"


def test_parts_are_named_by_a_path(example):
    row = load_study(example).rows[1]
    assert row.config.architecture == "own_architecture:OWN"
    assert row.config.model.model_dump() == {"width": 1.0, "batch_norm_momentum": 0.9, "dropout": 0.1}
    assert row.config.batch_augmentation["own_augmentations:Gain"].spread == 0.3
    assert row.config.waveform_augmentation["own_augmentations:Roll"].seconds == 0.5


OWN_PART = """
from asc_study import BatchAugmentation

class Gain(BatchAugmentation):
    spread: float = {}
"""


def write_study(folder: Path, default: float) -> Path:
    """A study and the module of its own part, with the default of its setting."""
    folder.mkdir(exist_ok=True)
    (folder / "gain.py").write_text(OWN_PART.format(default), encoding="utf-8")
    study = folder / "study.yaml"
    study.write_text("study: s\nbase: {batch_augmentation: {'gain:Gain': {}}}\n", encoding="utf-8")
    return study


def default_of(study: Path) -> float:
    (row,) = load_study(study).rows
    return row.config.batch_augmentation["gain:Gain"].spread


def test_a_part_is_looked_for_beside_the_study_file_first(isolated, tmp_path):
    write_study(isolated, 0.1)
    assert default_of(write_study(tmp_path / "elsewhere", 0.2)) == 0.2


def test_a_part_is_looked_for_in_the_working_directory_then(isolated, tmp_path):
    write_study(isolated, 0.1)
    study = write_study(tmp_path / "elsewhere", 0.2)
    (study.parent / "gain.py").unlink()
    assert default_of(study) == 0.1


def test_a_part_beside_the_file_comes_before_an_installed_module(isolated, tmp_path, monkeypatch):
    site = tmp_path / "site"
    write_study(site, 0.3)
    monkeypatch.syspath_prepend(site)
    assert default_of(write_study(tmp_path / "elsewhere", 0.2)) == 0.2


def test_a_fusion_rule_is_looked_for_beside_the_study_file_too(tmp_path):
    study = write_study(tmp_path / "elsewhere", 0.2)
    rule = "from asc_study.ensemble.rules.average import Average\n\nclass Mean(Average):\n    pass\n"
    (study.parent / "fusing.py").write_text(rule, encoding="utf-8")
    with study.open("a", encoding="utf-8") as file:
        file.write("grid: {training.epochs: [1, 2]}\n")
        file.write("ensembles: [{name: e, fine: [epochs=1, epochs=2], fusion: 'fusing:Mean'}]\n")
    load_study(study)
    assert find_fusion("fusing:Mean").name == "fusing:Mean"


def test_a_name_does_not_stand_for_two_modules_in_one_process(tmp_path):
    first, second = (write_study(tmp_path / name, 0.2) for name in ("first", "second"))
    assert default_of(first) == default_of(first) == 0.2
    with pytest.raises(
        InputError, match="has already imported another module 'gain', .*first/gain.py: rename"
    ) as caught:
        load_study(second)
    assert "\n" not in str(caught.value)


def test_a_file_that_no_study_names_hides_no_module(tmp_path):
    study = write_study(tmp_path / "elsewhere", 0.2)
    (study.parent / "gain.py").rename(study.parent / "own_gain.py")
    (study.parent / "colorsys.py").write_text("raise SystemExit", encoding="utf-8")
    with pytest.raises(InputError, match="No module named 'gain'"):
        load_study(study)
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_worker_processes_know_the_parts(tmp_path):
    assert list(run_parallel(abs, [(-1,), (-1,)], jobs=2)) == [1, 1]  # they are kept for the calls below
    (row,) = load_study(write_study(tmp_path / "elsewhere", 0.2)).rows
    calls = [(row.config, "data")] * 2
    assert list(run_parallel(run_identity, calls, jobs=2)) == [run_identity(*call) for call in calls]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gain.Gain", "unknown batch_augmentation 'gain.Gain': a part .* is named module:object, .* write 'gain:Gain'"),
        ("gain", "unknown batch_augmentation 'gain': known: channel_confusion, cutmix, .*mixup"),
        ("mixap", "unknown batch_augmentation 'mixap': did you mean 'mixup'?"),
        ("gain:", "unknown batch_augmentation 'gain:': .* is named module:object, two names that Python can import"),
        ("gain:Gain.inner", "unknown batch_augmentation 'gain:Gain.inner': .* is named module:object"),
        ("../gain:Gain", "unknown batch_augmentation '../gain:Gain': .* is named module:object"),
    ],
)
def test_a_part_is_named_in_one_way(name, message):
    with pytest.raises(InputError, match=message):
        resolve({"batch_augmentation": {name: {}}})


def test_own_batch_augmentations_come_right_before_mixup(example):
    chosen = batch_augmentations({"mixup": {}, "own_augmentations:Gain": {}, "random_crop": {"frames": 9}})
    steps = compose(chosen).steps
    assert [type(step).__name__ for step in steps] == ["RandomCrop", "Gain", "Mixup"]


def test_the_strength_of_an_own_part_is_set_and_gridded(example):
    rows = load_study(example).rows
    assert [row.name for row in rows] == ["spread=0.1", "spread=0.3"]
    assert [row.config.batch_augmentation["own_augmentations:Gain"].spread for row in rows] == [0.1, 0.3]
    row, _ = load_study(example, overrides=["waveform_augmentation.own_augmentations:Roll.seconds=0.7"]).rows
    assert row.config.waveform_augmentation["own_augmentations:Roll"].seconds == 0.7


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("training.epochs", ("training", "epochs")),
        ("batch_augmentation.my.parts:Gain.spread", ("batch_augmentation", "my.parts:Gain.spread")),
        ("my.parts:Gain.spread", ("my.parts:Gain", "spread")),
        ("parts:Gain", ("parts:Gain", "")),
    ],
)
def test_a_part_of_ones_own_is_one_word_of_a_key(key, words):
    assert split_key(key) == words


def test_parts_are_named_by_an_entry_point(example, monkeypatch):
    monkeypatch.syspath_prepend(example.parent)
    point = EntryPoint("tiny", "own_architecture:OWN", "asc_study.architectures")
    monkeypatch.setattr(plugins, "_installed", lambda group: {"tiny": point} if "architectures" in group else {})
    assert resolve({"architecture": "tiny"}).model.dropout == 0.2
    with pytest.raises(InputError, match="unknown architecture 'tiy': did you mean 'tiny'"):
        resolve({"architecture": "tiy"})


def test_a_module_that_ends_the_program_is_one_line(tmp_path):
    study = write_study(tmp_path / "elsewhere", 0.2)
    (study.parent / "gain.py").write_text("import sys\nsys.exit('bye')\n", encoding="utf-8")
    with pytest.raises(InputError, match="'gain:Gain' cannot be imported .SystemExit: bye"):
        load_study(study)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:X", "cannot be imported .ModuleNotFoundError"),
        ("json:nothing", "cannot be imported .AttributeError"),
        ("json:dumps", r"must be made with asc_study\.models\.Architecture"),
    ],
)
def test_a_part_that_does_not_fit_is_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        resolve({"architecture": name}, where="row 'x'")
    assert str(caught.value).startswith("row 'x': architecture")
    assert "\n" not in str(caught.value)


def test_an_installed_package_announces_its_parts(isolated, tmp_path):
    """A wheel's metadata as pip unpacks it; found by another process, and by its name alone."""
    site = tmp_path / "site"
    write_study(site, 0.4)
    metadata = site / "strangers_parts-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers-parts\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[asc_study.batch_augmentations]\nstrangers-gain = gain:Gain\n")
    code = "from asc_study.augmentation import AUGMENTATIONS, batch_augmentations; "
    code += "print(list(AUGMENTATIONS.known()), batch_augmentations({'strangers-gain': {}})['strangers-gain'].spread)"
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    names = [*AUGMENTATIONS, "strangers-gain"]
    assert done.stdout == f"{names} 0.4\n", done.stderr


@pytest.mark.parametrize("command", ["plan", "run", "leaderboard"])
def test_code_that_a_file_names_is_told_before_it_runs_or_refused(example, asc, simulated, command):
    marker = Path("was-run")
    text = Path("own_architecture.py").read_text()
    Path("own_architecture.py").write_text(f"open({str(marker)!r}, 'a').close()\n{text}")
    data = ["--data", str(simulated)] if command in ("plan", "run") else []
    sys.modules.pop("own_architecture", None)
    code, _, said = asc(command, str(example), *data, "--no-own-parts")
    assert (code, marker.exists()) == (2, False)
    assert (
        "--no-own-parts refuses code that a file names, got architecture 'own_architecture:OWN': read own_arch" in said
    )
    if command == "plan":
        code, _, said = asc(command, str(example), *data)
        assert marker.exists()
        first = said.splitlines()[0]
        assert first == (
            f"note: runs the code of {Path('own_architecture.py').resolve()} (architecture 'own_architecture:OWN'); "
            "--no-own-parts refuses that"
        )


@pytest.mark.parametrize(
    "command",
    [
        "score s/own --data {data}",
        "quantize s/own",
        "quantize w.h5 --like {study}:own-network",
        "bundle build --fine s/own --out b",
    ],
)
def test_code_that_settings_of_a_run_name_is_refused(
    example, asc, tracker, log_run, make_table, simulated, command, monkeypatch
):
    monkeypatch.setattr(plugins.OWN_PARTS, "_told", set())  # a process tells of a file once
    marker = Path("was-run")
    text = Path("own_architecture.py").read_text()
    Path("own_architecture.py").write_text(f"open({str(marker)!r}, 'a').close()\n{text}")
    sys.modules.pop("own_architecture", None)
    run_id = log_run("own", {"test": make_table(0)})
    with tracker.artifacts(run_id) as folder:
        (folder / "config.yaml").write_text("schema: 2\narchitecture: own_architecture:OWN\n")
    Path("w.h5").touch()
    arguments = command.format(data=simulated / "audio", study=example).split()
    code, _, said = asc(*arguments, "--no-own-parts")
    assert (code, said.count("\n"), marker.exists()) == (2, 1, False), said
    assert "--no-own-parts refuses code that a file names, got architecture 'own_architecture:OWN': read own_" in said
    _, _, said = asc(*arguments)
    assert marker.exists()
    assert said.startswith(f"note: runs the code of {Path('own_architecture.py').resolve()} (architecture 'own_arch")
