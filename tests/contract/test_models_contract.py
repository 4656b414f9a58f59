"""Every built-in architecture keeps the contract, under the TensorFlow and the JAX backend of Keras."""

import os
import sys
from pathlib import Path
from subprocess import run

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from asc_study.models import ARCHITECTURES, build_model
from asc_study.testing import check_architecture

BANDS, CHANNELS, CLASSES = 32, 3, 10
TINY, WIDER = 0.05, 0.125

#: Those that take longest to build; resnet_d is the resnet of double width.
HEAVY = {"mobnet", "resnet_d", "tf_sepnet", "bc_resnet_asc"}

#: Channels that are multiples of 8 are the same at half of this width; networks that normalise over
#: channels learn little in the contract's five steps if they have few.
LEAST_WIDTH = {"cp_mobile": 0.25, "bc_resnet_asc": 0.5, "tf_sepnet": 0.5}


def width_of(name: str, width: float) -> float:
    return max(width, LEAST_WIDTH.get(name, 0.0))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in ARCHITECTURES]
)
def test_an_architecture_builds_what_it_promises(name: str) -> None:
    check_architecture(ARCHITECTURES[name], options={"width": width_of(name, TINY)}, quick=True)


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_trained_and_kept(name: str) -> None:
    check_architecture(ARCHITECTURES[name], options={"width": width_of(name, WIDER)})


@pytest.mark.slow
def test_both_backends_give_the_same_outputs_and_jax_needs_no_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    other = {"tensorflow": "jax", "jax": "tensorflow"}[keras.backend.backend()]
    features = np.random.default_rng(0).random((4, BANDS, 48, CHANNELS), np.float32)
    np.save(tmp_path / "features.npy", features)
    expected = {}
    for name in ARCHITECTURES:
        model = build_model(name, input_shape=(BANDS, None, CHANNELS), num_classes=CLASSES, width=TINY)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        expected[name] = np.asarray(model(features))
    code = f"""
import sys
if {other!r} == "jax":
    sys.modules["tensorflow"] = None  # cannot be imported
import keras, numpy as np
from asc_study.models import build_model
assert keras.backend.backend() == {other!r}
# The file's weights replace the initial ones, whose draws JAX would compile for each shape: that takes a minute.
keras.initializers.VarianceScaling.__call__ = lambda self, shape, dtype=None: np.zeros(shape, dtype)
features = np.load("features.npy")
for name in {list(ARCHITECTURES)}:
    model = build_model(name, input_shape=({BANDS}, None, {CHANNELS}), num_classes={CLASSES}, width={TINY})
    model.load_weights(f"{{name}}.weights.h5")
    np.save(f"{{name}}.npy", model.predict_on_batch(features))
"""
    environment = os.environ | {"KERAS_BACKEND": other, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    for name, probabilities in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), probabilities, atol=1e-5, err_msg=name)
