"""A search over a network on embeddings: its rate and its size, then the study of the best in full."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.search.file import Search, load_search
from asc_study.search.run_search import run_search
from asc_study.search.storage import storage_url
from asc_study.settings.study_file import load_study
from asc_study.store.tracking import Tracker
from asc_study.study.run_study import run_study

CONTENT = {
    "search": "on-embeddings",
    "base": {
        "architecture": "embedding_mlp",
        "features": {"embeddings": "e.npz"},
        "model": {"hidden_units": [16]},
        "training": {"epochs": 2, "batch_size": 10, "threads": 2, "select_epoch": "last"},
        "validation": {"share": 0.3},
    },
    "space": {
        "training.lr_max": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
        "model.width": {"type": "float", "low": 0.5, "high": 2},
        "model.dropout": {"type": "float", "low": 0, "high": 0.5},
        "batch_augmentation.random_crop": {"type": "categorical", "choices": {"off": None, "frame": {"frames": 1}}},
    },
    "holdout": {"devices": ["s3"]},
    "fidelity": {"epochs": 1, "clip_fraction": 0.5},
    "sampler": {"name": "random", "seed": 0},
    "final": {"seeds": [0]},
}


def load(**changes: object) -> Search:
    Path("search.yaml").write_text(yaml.safe_dump(CONTENT | changes))
    return load_search(Path("search.yaml"))


def save(data: IdentifiedDataset, seed: int = 0) -> None:
    clips = data.dataset.clips["clip_id"].to_numpy(str)
    values = np.random.default_rng(seed).standard_normal((len(clips), 3, 8)).astype(np.float16)
    np.savez("e.npz", clip_id=clips, embeddings=values, name="noise", version="1")


@pytest.mark.slow
def test_it_is_searched_and_trained_in_full(simulated: Path, tracker: Tracker):
    data, said = identify(simulated), []
    save(data)
    search = load()
    result = run_search(search, data, url=storage_url(), trials=2, say=said.append)
    assert result.counts["complete"] == 2, said
    trials = [run for run in tracker.runs("on-embeddings", kind="trial") if run.tags["asc.trial"] != "-1"]
    assert {run.params["features.embeddings"] for run in trials} == {"e.npz"}
    assert len({run.params["model.width"] for run in trials}) == 2
    Path("best.yaml").write_text(result.study)
    study = load_study(Path("best.yaml"))
    assert {row.config.features.embeddings for row in study.rows} == {"e.npz"}
    assert {outcome.status for outcome in run_study(study, data)} == {"done"}
    save(data, seed=1)
    with pytest.raises(InputError, match=r"begun with other settings: settings\.features\.embeddings\.digest was"):
        run_search(search, data, url=storage_url(), trials=3)


def test_a_point_that_embeddings_cannot_have_is_told_before_anything_runs(simulated: Path, tracker: Tracker):
    with pytest.raises(InputError, match=r"noise=on: waveform_augmentation makes sounds, whose embeddings are in no"):
        load(space={"waveform_augmentation.noise": {"type": "categorical", "choices": [None, {}]}})
    with pytest.raises(InputError, match=r"the file of embeddings e\.npz does not exist"):
        run_search(load(), identify(simulated), url=storage_url(), trials=1)
