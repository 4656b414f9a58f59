"""Trained runs as the store has them, with made predictions."""

import shutil

import pytest
from logged_runs import log

from asc_study.store.tracking import Tracker


@pytest.fixture(scope="session")
def shared(tmp_path_factory, empty_store, make_table) -> Tracker:
    """A store of its own with the study ``s``: four ten-class runs and a three-class one, on validation and test.

    The tests that share it may add runs, but no trained ones.
    """
    folder = tmp_path_factory.mktemp("shared")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
        for i, row in enumerate(["a", "b", "c", "d"]):
            log(tracker, row, {split: make_table(i, split=split) for split in ("validation", "test")})
        coarse = {split: make_table(9, skill=2.5, split=split, task="three_class") for split in ("validation", "test")}
        log(tracker, "coarse", coarse, task="three_class")
    return tracker
