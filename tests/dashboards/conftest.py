"""A store that pages read: a study of a reference, two better systems over two seeds, one of three classes."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from logged_runs import log

from asc_study.base.taxonomy import CLASSES
from asc_study.data.identity import dataset_digest
from asc_study.data.layout import read_dataset
from asc_study.evaluation.predictions import predictions_table
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


@pytest.fixture(scope="session")
def heard_store(tmp_path_factory, empty_store, simulated) -> str:
    """A store whose predictions are of the simulated data set: ``plain``, ``other`` and, of the groups, ``groups``."""
    folder = tmp_path_factory.mktemp("heard")
    shutil.copy(empty_store, folder / "mlflow.db")
    dataset = read_dataset(simulated)
    clips = dataset.clips.query("split == 'test'")
    sums = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in dataset.clips["path"]]
    digest = dataset_digest(dataset, sums)
    before = Path.cwd()
    os.chdir(folder)
    try:
        tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
        for number, (row, task) in enumerate(
            {"plain": "ten_class", "other": "ten_class", "groups": "three_class"}.items()
        ):
            drawn = np.random.default_rng(number).dirichlet(np.ones(len(CLASSES[task])), len(clips))
            tables = {"test": predictions_table(clips, drawn.astype(np.float32), task)}
            log(tracker, row, tables, task=task, dataset_digest=digest)
    finally:
        os.chdir(before)
    return tracker.uri


@pytest.fixture
def heard(heard_store: str, simulated: Path) -> Source:
    """What pages read where the recordings are there too."""
    return Source(Reader(heard_store), ("s",), simulated)


@pytest.fixture
def source(dashboard_store: str) -> Source:
    """What pages read, of the study ``s``."""
    return Source(Reader(dashboard_store), ("s",))
