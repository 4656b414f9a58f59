"""Building, augmenting and training where TensorFlow is not installed, on the JAX backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import sys
sys.modules["tensorflow"] = None  # importing it fails, as where it is not installed
from pathlib import Path
import numpy as np
import pandas as pd
from asc_study.settings.run_config import resolve
from asc_study.features.store import FeatureStore
from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENES
from asc_study.training.fit import train

splits = ("train", "train", "train", "validation", "test")
rows = [
    (f"{scene}{i}", "", scene, GROUP_OF_SCENE[scene], "lisbon", f"{i}", "a", split)
    for scene in SCENES for i, split in enumerate(splits)
]
columns = ["clip_id", "path", "scene", "scene_group", "city", "location", "device", "split"]
clips = pd.DataFrame(rows, columns=columns)
features = np.random.default_rng(0).random((len(clips), 32, 40, 1)).astype(np.float16)
store = FeatureStore([features], [(0, i) for i in range(len(clips))])
settings = {"epochs": 2, "batch_size": 10, "threads": 1}
augmentation = {"mixup": {}, "spec_augment": {}, "random_crop": {"frames": 28}}
config = resolve({"architecture": "tiny_network:TINY", "batch_augmentation": augmentation, "training": settings})
result = train(config, clips, store, 0, checkpoint=Path("c.npz"))
import keras
assert keras.backend.backend() == "jax"
assert sys.modules["tensorflow"] is None
second = {"continues": {"row": "first"}, "quantisation_aware": {}}
aware = resolve({"architecture": "tiny_network:TINY", "training": settings, **second})
rounded = train(aware, clips, store, 0, checkpoint=Path("a.npz"), origin=result.model.get_weights())
print(len(result.predictions["test"]), len(result.history), len(rounded.predictions["test"]))
"""


@pytest.mark.slow
def test_training_works_without_tensorflow(isolated):
    pytest.importorskip("jax")
    # Every architecture gives TensorFlow's outputs on JAX (the contract of models), so a tiny one will do here.
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}
    done = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, env=environment, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["10", "2", "10"]
