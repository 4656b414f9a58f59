"""What all tests share: no test touches the user's cache, store or working directory."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from asc_study.base import taxonomy
from asc_study.base.taxonomy import CLASSES, DEVICES, GROUP_OF_SCENE, SCENES

if TYPE_CHECKING:
    from asc_study.store.tracking import Tracker

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Locks in a folder of the tests: they are named by what is in a store, so all tests may share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASC_STUDY_STATE", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what only `make soak` runs."""
    if "ASC_STUDY_SOAK" not in os.environ:
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="make soak"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start TensorFlow with the threads that the tests' runs ask for, before a test starts it with other ones."""
    if "keras" in sys.modules:
        from asc_study.training.runtime import start_keras

        start_keras(2)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run the test in an empty folder with a cache and a store of its own; forget the modules and data sets of it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("ASC_STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setattr(taxonomy, "_known", (taxonomy.TAU,))
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store without runs: MLflow takes seconds to create one, a copy takes none."""
    from asc_study.store.tracking import Tracker

    file = tmp_path_factory.mktemp("store") / "empty.db"
    Tracker(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


@pytest.fixture
def tracker(isolated: Path, empty_store: Path) -> "Tracker":
    """The store of the test's own folder, without runs."""
    from asc_study.store.tracking import Tracker

    shutil.copy(empty_store, isolated / "mlflow.db")
    return Tracker()


@pytest.fixture
def log_run(tracker: "Tracker") -> Callable[..., str]:
    """A function that logs a finished run of kind ``train`` with the given predictions by split; returns its id."""
    from logged_runs import log

    return lambda *arguments, **options: log(tracker, *arguments, **options)


@pytest.fixture
def asc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process, where it starts sooner: (exit code, standard output, standard error)."""
    from asc_study.cli import main

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["asc-study", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny simulated ten-class data set: clips of one second, three training segments a scene."""
    from asc_study.simulation.simulate import simulate

    root = tmp_path_factory.mktemp("simulated") / "sim"
    simulate(root, clips_per_scene=3, seconds=1.0, seed=1)
    return root


@pytest.fixture(scope="session")
def make_table():
    """A function that makes the predictions table of a system of a given skill on simulated clips."""

    def make(
        seed: int, *, skill: float = 1.0, clips: int = 200, split: str = "test", task: str = "ten_class"
    ) -> pd.DataFrame:
        clip = np.arange(clips)
        scene = np.array([SCENES[i % 10] for i in clip])
        label = scene if task == "ten_class" else np.array([GROUP_OF_SCENE[name] for name in scene])
        classes = CLASSES[task]
        rng = np.random.default_rng([seed, clips])
        logits = rng.normal(size=(clips, len(classes)))
        logits[clip, [classes.index(name) for name in label]] += skill
        logits += 0.3 * np.random.default_rng(99).normal(size=(clips, 1)) * logits  # clips differ in difficulty
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        context = pd.DataFrame(
            {
                "clip_id": [f"{split}-{i:05d}" for i in clip],
                "scene": label,
                "device": [DEVICES[i % 9] for i in clip],
                "city": [("lisbon", "milan")[(i // 10) % 2] for i in clip],
                "location": [str(i // 10 % 20) for i in clip],
                "split": split,
            }
        )
        return pd.concat([context, pd.DataFrame(probabilities.astype(np.float32), columns=list(classes))], axis=1)

    return make


@pytest.fixture
def tiny_table():
    """A function that makes a three-class table of given rows: (scene, device, location, three probabilities)."""

    def make(*rows: tuple, split: str = "validation") -> pd.DataFrame:
        columns = ["scene", "device", "location", *CLASSES["three_class"]]
        table = pd.DataFrame(rows, columns=columns)
        table.insert(0, "clip_id", [f"clip{i}" for i in range(len(rows))])
        table = table.assign(city="lisbon", split=split)
        return table[["clip_id", "scene", "device", "city", "location", "split", *CLASSES["three_class"]]]

    return make
