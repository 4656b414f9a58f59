"""Parts that are not built in: found by entry point or path, checked, and part of a run's identity."""

import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from asc_study.augmentation import batch_augmentations, compose
from asc_study.base import plugins
from asc_study.base.errors import InputError
from asc_study.settings.run_config import resolve
from asc_study.settings.study_file import load_study, split_key

EXAMPLES = Path(__file__).parents[2] / "studies" / "examples"


@pytest.fixture
def example(isolated: Path) -> Path:
    for file in EXAMPLES.iterdir():
        if file.is_file():
            shutil.copy(file, isolated)
    return isolated / "own_parts.yaml"


def test_parts_are_named_by_a_path(example):
    (row,) = load_study(example).rows
    assert row.config.architecture == "own_parts:TINY"
    assert row.config.model.model_dump() == {"width": 1.0, "batch_norm_momentum": 0.9, "dropout": 0.1}
    assert row.config.batch_augmentation["own_parts:Gain"].spread == 0.3
    assert resolve({"architecture": "own_parts.TINY"}).architecture == "own_parts.TINY"


def test_own_batch_augmentations_come_right_before_mixup(example):
    chosen = batch_augmentations({"mixup": {}, "own_parts:Gain": {}, "random_crop": {"frames": 9}})
    steps = compose(chosen).steps
    assert [type(step).__name__ for step in steps] == ["RandomCrop", "Gain", "Mixup"]


def test_the_strength_of_an_own_part_is_set_and_gridded(example):
    key = "batch_augmentation.own_parts:Gain.spread"
    (row,) = load_study(example, overrides=[f"{key}=0.7"]).rows
    assert row.config.batch_augmentation["own_parts:Gain"].spread == 0.7
    grid = example.parent / "grid.yaml"
    grid.write_text(f"study: g\ngrid: {{'{key}': [0.1, 0.2]}}\n", encoding="utf-8")
    rows = load_study(grid).rows
    assert [row.name for row in rows] == ["spread=0.1", "spread=0.2"]
    assert [row.config.batch_augmentation["own_parts:Gain"].spread for row in rows] == [0.1, 0.2]


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
    point = EntryPoint("tiny", "own_parts:TINY", "asc_study.architectures")
    monkeypatch.setattr(plugins, "_installed", lambda group: {"tiny": point} if "architectures" in group else {})
    assert resolve({"architecture": "tiny"}).model.dropout == 0.2
    with pytest.raises(InputError, match="unknown architecture 'tiy': did you mean 'tiny'"):
        resolve({"architecture": "tiy"})


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


@pytest.mark.slow
def test_the_example_of_the_readme_runs(example, simulated):
    from asc_study.study.launch import identify
    from asc_study.study.run_study import run_study

    settings = ["features.hop_length=512", "features.n_mels=16", "training.epochs=1", "training.threads=2"]
    (outcome,) = run_study(load_study(example, overrides=settings), identify(simulated))
    assert outcome.status == "done", outcome.reason
