"""Rows on embeddings end to end: made of log-mel statistics of simulated clips, trained, compared, identified."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.base.paths import cache_dir
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.features.audio import read_audio
from asc_study.features.logmel import LogMelSettings, log_mel
from asc_study.settings.run_config import resolve
from asc_study.settings.study_file import load_study
from asc_study.store.references import find_runs
from asc_study.store.tracking import Tracker
from asc_study.study.plan import explain, make_plan
from asc_study.study.preflight import check_fit
from asc_study.study.run_study import run_study

FRAMES = 5

MLP = {
    "architecture": "embedding_mlp",
    "features": {"embeddings": "e.npz"},
    "model": {"hidden_units": [64], "dropout": 0.2},
    "training": {
        "epochs": 40,
        "batch_size": 16,
        "optimizer": "adamw",
        "weight_decay": 0,
        "lr_max": 0.01,
        "schedule": "cosine",
        "select_epoch": "last",
        "threads": 2,
    },
}


@pytest.fixture(scope="module")
def data(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> IdentifiedDataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASC_STUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
        return identify(simulated)


@pytest.fixture(scope="module")
def statistics(data: IdentifiedDataset) -> np.ndarray:
    """(clips, frames, values): mean and deviation of 32 mel bands over a fifth of a second each."""
    settings = LogMelSettings(data.dataset.sample_rate, n_mels=32, scale="none")
    made = []
    for path in data.dataset.clips["path"]:
        spectrogram = log_mel(read_audio(Path(path), data.dataset.sample_rate), settings)[:, :, 0]
        pieces = np.array_split(spectrogram, FRAMES, axis=1)
        made.append([np.concatenate([piece.mean(axis=1) / 5 + 1, piece.std(axis=1)]) for piece in pieces])
    return np.array(made, np.float32)


@pytest.fixture
def file(data: IdentifiedDataset, statistics: np.ndarray) -> Path:
    return save(data, statistics)


def save(data: IdentifiedDataset, values: np.ndarray, path: str = "e.npz", **changed: object) -> Path:
    arrays = {"clip_id": data.dataset.clips["clip_id"].to_numpy(str), "embeddings": values, "name": "log-mel statistics"}
    np.savez(path, **arrays | {"version": "1"} | changed)
    return Path(path)


def study_file(*rows: dict, **more: object) -> Path:
    path = Path("emb.yaml")
    path.write_text(yaml.safe_dump({"study": "emb", "base": MLP, "rows": list(rows) or [{"name": "mlp"}]} | more))
    return path


@pytest.mark.slow
def test_a_study_on_embeddings_learns_and_is_identified_by_their_contents(
    data: IdentifiedDataset, statistics: np.ndarray, file: Path, tracker: Tracker
):
    spectrogram = {
        "name": "spectrogram",
        "architecture": "tiny_network:TINY",
        "model": {"hidden_units": None},
    }
    study = load_study(study_file({"name": "mlp"}, {"name": "frames", "batch_augmentation": {"random_crop": {"frames": 1}}}))
    outcomes = run_study(study, data)
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    (record,) = find_runs(tracker, "emb/mlp")
    assert record.metrics["test/acc_avg"] > 40  # chance: 10
    assert record.params["features.embeddings"] == "e.npz"
    assert not [name for name in record.params if name.startswith("features.") and name != "features.embeddings"]
    (baseline,) = find_runs(tracker, "emb/baseline")
    assert baseline.tags["asc.system"] == "embedding statistics"
    assert baseline.metrics["test/acc_avg"] > 40

    def statuses() -> list[str]:
        return [run.status for run in make_plan(load_study(study_file()), data.digest, tracker).runs]

    assert statuses() == ["done"]
    Path("moved").mkdir()
    shutil.move(file, "moved/other.npz")
    moved = load_study(study_file({"name": "mlp", "features.embeddings": "moved/other.npz"}))
    assert [run.status for run in make_plan(moved, data.digest, tracker).runs] == ["done"]
    save(data, statistics * np.float32(1.01))
    assert statuses() == ["new"]
    plan = make_plan(load_study(study_file()), data.digest, tracker)
    assert re.search(r"features\.embeddings\.digest .* -> ", "\n".join(explain(plan, tracker)))
