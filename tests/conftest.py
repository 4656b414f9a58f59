"""What all tests share: no test touches the user's cache, store or working directory."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start TensorFlow with the threads that the tests' runs ask for, before a test starts it with other ones."""
    if "keras" in sys.modules:
        from asc_study.training.runtime import start_keras

        start_keras(2)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test in an empty folder with a cache and a store of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASC_STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny simulated ten-class data set: clips of one second, three training segments a scene."""
    from asc_study.data.simulate import simulate

    root = tmp_path_factory.mktemp("simulated") / "sim"
    simulate(root, clips_per_scene=3, seconds=1.0, seed=1)
    return root
