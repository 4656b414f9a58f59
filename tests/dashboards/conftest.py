"""A store that pages read: a study of a reference, two better systems over two seeds, one of three classes."""

import os
import shutil
from pathlib import Path

import pytest
from logged_runs import log

from asc_study.store.queries import Reader
from asc_study.store.tracking import Tracker
from dashboards.source import Source

#: Row -> how well it decides; a name may hold markup.
SKILLS = {"plain": 0.8, "mixup": 2.0, "mixup <b>masks</b>": 2.6}


@pytest.fixture(scope="session")
def dashboard_store(tmp_path_factory, empty_store, make_table) -> str:
    """The address of the store; no test changes it."""
    folder = tmp_path_factory.mktemp("dashboards")
    shutil.copy(empty_store, folder / "mlflow.db")
    before = Path.cwd()
    os.chdir(folder)  # artifacts lie in the working directory
    try:
        tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
        for row, skill in SKILLS.items():
            for seed in (0, 1):
                tables = {split: make_table(seed, skill=skill, split=split) for split in ("test", "validation")}
                log(tracker, row, tables, seed=seed)
        log(tracker, "groups", {"test": make_table(7, skill=2, task="three_class")}, task="three_class")
        log(tracker, "alone", {"test": make_table(3, skill=2)}, study="other")
    finally:
        os.chdir(before)
    return tracker.uri


@pytest.fixture
def source(dashboard_store: str) -> Source:
    """What pages read, of the study ``s``."""
    return Source(Reader(dashboard_store), ("s",))
