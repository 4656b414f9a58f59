"""Stores that earlier versions wrote, opened by today's code: what they hold still reads as it did then.

The stores lie in ``tests/old_stores``, one archive a version, with what that version said about its own store;
``make_store.py`` there makes them.
"""

import importlib.metadata
import io
import json
import re
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from old_stores.make_store import FOLDER, write_clips
from packaging.version import Version

from asc_study.cli import cli

STORES = Path(__file__).parents[1] / "old_stores"
ARCHIVES = sorted(STORES.glob("*.tar.xz"))

#: Where MLflow keeps addresses of artifacts.
ADDRESSES = {"experiments": "artifact_location", "logged_models": "artifact_location", "runs": "artifact_uri"}


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.partition(".")[0])
def expected(request: pytest.FixtureRequest, isolated: Path) -> dict[str, Any]:
    """Unpack a store into the test's folder; what the version that wrote it said about it."""
    with tarfile.open(request.param) as tar:
        tar.extractall(isolated, filter="data")
    with closing(sqlite3.connect(isolated / "mlflow.db")) as connection:
        for table, column in ADDRESSES.items():
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(FOLDER), str(isolated)))
        connection.commit()
    found: dict[str, Any] = json.loads((isolated / "expected.json").read_text(encoding="utf-8"))
    wrote, reads = Version(found["mlflow"]), Version(importlib.metadata.version("mlflow"))
    if wrote > reads:
        pytest.skip(f"MLflow {reads} does not open what MLflow {wrote} wrote")
    if wrote < reads:  # what MLflow tells a person to do with an older database
        upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", "sqlite:///mlflow.db"]
        subprocess.run(upgrade, cwd=isolated, check=True, capture_output=True)
    return found


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command and returns what it printed."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        cli.main(list(arguments), standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_there_are_old_stores() -> None:
    assert ARCHIVES


def test_the_leaderboard_shows_the_same_figures(expected: dict[str, Any], command: Callable[..., str]) -> None:
    now = {row["row"]: row for row in json.loads(command("leaderboard", "old", "--json"))["rows"]}
    assert set(now) == {"plain", "mixup", "three-class", "both", "two-stage", "theirs"}
    for row in expected["leaderboard"]:
        shown = {key: now[row["row"]][key] for key in row}
        figures = {key for key, value in row.items() if isinstance(value, float)}
        assert {key: shown[key] for key in figures} == pytest.approx({key: row[key] for key in figures})
        assert {key: shown[key] for key in set(row) - figures} == {key: row[key] for key in set(row) - figures}


def test_two_rows_compare_as_before(expected: dict[str, Any], command: Callable[..., str]) -> None:
    now = json.loads(command("compare", "old/plain", "old/mixup", "--json"))
    then = expected["compare"]
    assert [now[key] for key in ("clips", "seeds_first", "seeds_second")] == [180, 2, 2]
    assert now["log_loss_difference"] == pytest.approx(then["log_loss_difference"])
    # Intervals and p-values are a matter of the method, which may change; what they are computed from may not.
    for found, known in zip(now["subsets"], then["subsets"], strict=True):
        same = ("name", "accuracy_first", "accuracy_second", "difference", "clips", "locations")
        assert [found[key] for key in same] == pytest.approx([known[key] for key in same])


def test_the_same_members_are_chosen(expected: dict[str, Any], command: Callable[..., str]) -> None:
    candidates = ("--run", "old/plain", "--run", "old/mixup")  # greedy was the method that an earlier version took
    now = json.loads(command("ensemble", "old", "--method", "greedy", *candidates, "--name", "chosen", "--json"))
    assert now["members"] == expected["ensemble"]["members"]
    assert now["basis"] == "validation"


def test_stages_fuse_to_the_same_metrics(expected: dict[str, Any], command: Callable[..., str]) -> None:
    now = json.loads(command("fuse", "--fine", "old/plain", "--coarse", "old/three-class", "--name", "fused", "--json"))
    then = expected["fuse"]["metrics"]
    accuracies = [name for name in then if name.startswith("test/acc_") and not name.endswith(("_lo", "_hi"))]
    assert len(accuracies) > 4
    assert [now["metrics"][name] for name in accuracies] == pytest.approx([then[name] for name in accuracies])


def test_predictions_export_as_before(expected: dict[str, Any], command: Callable[..., str]) -> None:
    command("export", "old/mixup@0", "--format", "csv", "--split", "test", "--out", "mixup.csv")
    then = pd.read_csv(io.StringIO(expected["export"]), dtype={"location": str})
    pd.testing.assert_frame_equal(pd.read_csv("mixup.csv", dtype={"location": str}), then)


@pytest.mark.slow
def test_a_model_predicts_new_clips_as_before(expected: dict[str, Any], command: Callable[..., str]) -> None:
    write_clips(Path("clips"))
    # In a process of its own: the run asks for one thread, and TensorFlow keeps the number that it starts with.
    predict = [sys.executable, "-m", "asc_study", "predict", "old/plain@0", "--data", "clips"]
    subprocess.run(predict, check=True, timeout=200)
    command("export", "old/plain@0", "--format", "csv", "--split", "evaluation", "--out", "predicted.csv")
    then = pd.read_csv(io.StringIO(expected["predict"]))
    pd.testing.assert_frame_equal(pd.read_csv("predicted.csv"), then, rtol=0, atol=1e-3)


def test_the_search_opens_with_its_trials(expected: dict[str, Any]) -> None:
    import optuna

    study = optuna.load_study(study_name="old-search", storage="sqlite:///optuna.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert all(0.1 <= trial.params["batch_augmentation.mixup.alpha"] <= 2.0 for trial in study.trials)


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_an_archive_is_small_and_names_no_folder_of_a_person(archive: Path) -> None:
    assert archive.stat().st_size < 300_000
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member).read()
            assert not re.search(rb"/(home|root|Users)/", content), member.name
