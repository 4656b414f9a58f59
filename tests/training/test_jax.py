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
from asc_study.settings.run_config import resolve
from asc_study.training.fit import train
from small_clips import small_clips

clips, store = small_clips()
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
