"""A small two-stage bundle of untrained networks, and one tiny trained study that the slow tests share."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_network import TinyOptions, build

from asc_study.base.taxonomy import CLASSES
from asc_study.deploy.bundle import BundleMember, _files
from asc_study.deploy.bundle_folder import write_bundle
from asc_study.deploy.runtime.fusion import FusionTree
from asc_study.deploy.sources import Source
from asc_study.deploy.tflite import convert, inspect
from asc_study.ensemble.fusion_file import FusionFile, System
from asc_study.ensemble.rules.average import Average
from asc_study.ensemble.two_stage import FittedTwoStage, ProductJoin
from asc_study.features.logmel import LogMelSettings
from asc_study.settings.features import FeatureConfig
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker

FEATURES = FeatureConfig(n_fft=1024, hop_length=512, n_mels=24)
RATE, SAMPLES = 16_000, 16_000


@pytest.fixture(scope="session")
def tiny_source() -> Callable[..., Source]:
    """A function that makes an untrained network of a task as a source, without a store."""

    def make(task: str = "ten_class", seed: int = 0, channels: int = 1) -> Source:
        from asc_study.training.runtime import start_keras

        start_keras(2)
        import keras

        keras.utils.set_random_seed(seed)
        model = build((FEATURES.n_mels, None, 3 * channels), len(CLASSES[task]), TinyOptions())
        rng = np.random.default_rng(seed)
        model.set_weights([weight + 0.3 * rng.random(weight.shape) for weight in model.get_weights()])
        return Source(f"{task} seed {seed}", task, FEATURES, RATE, channels, SAMPLES, lambda: model)

    return make


@pytest.fixture(scope="session")
def make_member(tiny_source: Callable[..., Source]) -> Callable[..., BundleMember]:
    """A function that makes an untrained network of a task as a member of a bundle; its key is its seed."""

    def make(task: str, seed: int = 0, *, channels: int = 1, scheme: str = "float32") -> BundleMember:
        source = tiny_source(task, seed, channels)
        settings = LogMelSettings(RATE, **FEATURES.model_dump())
        shape = (settings.n_mels, settings.frames(SAMPLES) - 8, 3 * channels)
        content = convert(source.load(), shape, scheme)
        tags = {"asc.row": source.name, "asc.signature": "5" * 64, "asc.dataset": "sim"}
        record = RunRecord(f"{seed:032x}", "1", "FINISHED", tags, {}, {}, 0.0)
        return BundleMember(str(seed), source, record, scheme, content, inspect(content), None)

    return make


@pytest.fixture(scope="session")
def untrained_bundle(tmp_path_factory: pytest.TempPathFactory, make_member: Callable[..., BundleMember]) -> Path:
    """A bundle of two mono ten-class networks and one stereo three-class network; not to be changed."""
    members = [make_member("ten_class", 1), make_member("ten_class", 2), make_member("three_class", 3, channels=2)]
    systems = tuple(System(f"system {m.key}", m.source.task, "train", m.key, "") for m in members)
    first, second, third = (system.name for system in systems)
    whole = FittedTwoStage(Average((first, second)), Average((third,)), ProductJoin(1.0))
    tree = FusionTree("top", {"top": FusionFile("fixed", CLASSES, systems, whole)})
    files, _ = _files(members, tree, "scenes", {}, "nothing")
    folder = tmp_path_factory.mktemp("bundle") / "scenes"
    write_bundle(files, folder)
    return folder


@pytest.fixture
def own_bundle(untrained_bundle: Path, isolated: Path) -> Path:
    """A copy of that bundle, to be damaged."""
    return Path(shutil.copytree(untrained_bundle, isolated / "scenes"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, simulated: Path, empty_store: Path) -> Tracker:
    """A store with the study ``mini``: a ten-class network of two seeds and a three-class one, trained for a moment.

    The tests that share it may add runs, but no trained ones.
    """
    from asc_study.data.identified import identify
    from asc_study.settings.study_file import load_study
    from asc_study.study.run_study import run_study

    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_store, folder / "mlflow.db")
    (folder / "study.yaml").write_text(
        "study: mini\nfigures: cdn\nbaseline: false\nseeds: [0, 1]\n"
        "rows: [{name: ten}, {name: three, task: three_class}]\n"
        "base:\n  architecture: tiny_network:TINY\n  features: {n_mels: 32}\n"
        "  training: {epochs: 6, threads: 2, lr_max: 0.05}\n  validation: {share: 0.3}\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        outcomes = run_study(load_study(folder / "study.yaml"), identify(simulated))
        assert [outcome.status for outcome in outcomes] == ["done"] * 4
        return Tracker()


@pytest.fixture
def with_trained(trained: Tracker, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """The same, as the store of the environment and with its features."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained.uri)
    monkeypatch.setenv("ASC_STUDY_CACHE", str(Path(trained.uri.removeprefix("sqlite:///")).parent / "cache"))
    return trained
