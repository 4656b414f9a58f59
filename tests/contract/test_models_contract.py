"""What every registered architecture has to hold, under the TensorFlow and the JAX backend of Keras."""

import os
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from subprocess import run
from zipfile import ZipFile

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from asc_study.models import ARCHITECTURES, build_model
from asc_study.models.cost import model_cost

BANDS, CHANNELS, CLASSES = 32, 3, 10
TINY, WIDER = 0.05, 0.125

#: Compiling a step pays under JAX only, where operations are else compiled one by one.
EAGERLY = keras.backend.backend() == "tensorflow"

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TFLite is made under the TensorFlow backend"
)


#: Those that take longest to build; resnet_d is the resnet of double width.
HEAVY = {"mobnet", "resnet_d"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in ARCHITECTURES],
)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@lru_cache
def built(architecture: str, frames: int | None = None, width: float = TINY, seed: int = 1) -> keras.Model:
    """A model that tests share: they must not train it."""
    keras.utils.set_random_seed(seed)
    return build_model(architecture, input_shape=(BANDS, frames, CHANNELS), num_classes=CLASSES, width=width)


@pytest.fixture
def model(architecture: str) -> keras.Model:
    return built(architecture)


def clips(frames: int, count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((count, BANDS, frames, CHANNELS), np.float32)


@pytest.mark.parametrize("frames", [48, 71])
def test_one_model_gives_probabilities_for_crops_and_whole_clips(model: keras.Model, frames: int) -> None:
    probabilities = np.asarray(model(clips(frames)))
    assert probabilities.shape == (4, CLASSES)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_a_fixed_number_of_frames_is_taken_too(architecture: str) -> None:
    model = built(architecture, frames=48, seed=2)
    assert model.input_shape == (None, BANDS, 48, CHANNELS)
    assert model(clips(48)).shape == (4, CLASSES)


@pytest.mark.slow
def test_a_saved_model_needs_none_of_our_code_and_gives_the_same_outputs(model: keras.Model, tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    model.save(file)
    with ZipFile(file) as archive:
        config = archive.read("config.json").decode()
    assert set(re.findall(r'"module": "([^".]*)', config)) == {"keras"}
    assert '"Lambda"' not in config
    loaded = keras.models.load_model(file, safe_mode=True)
    np.testing.assert_array_equal(np.asarray(loaded(clips(48))), np.asarray(model(clips(48))))


@pytest.mark.slow
def test_three_classes_of_stereo_features_with_an_odd_number_of_bands(architecture: str) -> None:
    model = build_model(architecture, input_shape=(41, None, 6), num_classes=3, width=TINY)
    assert model(np.zeros((1, 41, 50, 6), np.float32)).shape == (1, 3)


def test_the_smallest_input_gives_probabilities(architecture: str) -> None:
    bands, frames = ARCHITECTURES[architecture].smallest_input
    model = build_model(architecture, input_shape=(bands, None, CHANNELS), num_classes=CLASSES, width=TINY)
    probabilities = np.asarray(model(np.ones((2, bands, frames, CHANNELS), np.float32)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_probabilities_are_float32_in_mixed_precision(architecture: str) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build_model(architecture, input_shape=(BANDS, None, CHANNELS), num_classes=CLASSES, width=TINY)
    finally:
        keras.config.set_dtype_policy("float32")
    halves = {layer.name for layer in model.layers if layer.compute_dtype == "float16"}
    assert {layer.name for layer in model.layers} - halves == {"probabilities"}
    assert model.output.dtype == "float32"


@pytest.mark.slow
def test_training_lowers_the_loss_on_a_fixed_batch_and_changes_every_weight(architecture: str) -> None:
    keras.utils.set_random_seed(3)
    model = keras.models.clone_model(built(architecture, width=WIDER))
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "categorical_crossentropy", run_eagerly=EAGERLY)
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(8)]
    features = clips(32, count=8) + labels.argmax(axis=1)[:, None, None, None].astype(np.float32)
    losses = [float(model.train_on_batch(features, labels)) for _ in range(5)]
    assert losses[-1] < losses[0]
    unchanged = [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(np.asarray(weight), old)
    ]
    assert unchanged == []


def test_width_changes_the_number_of_parameters(architecture: str, model: keras.Model) -> None:
    assert built(architecture, width=WIDER).count_params() > 2 * model.count_params()


def test_the_seed_decides_the_initial_weights(architecture: str, model: keras.Model) -> None:
    again, other = built.__wrapped__(architecture), built(architecture, frames=48, seed=2)
    first, second, third = (np.concatenate([np.ravel(w) for w in m.weights]) for m in (model, again, other))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_cost_grows_with_the_length_of_the_clip(model: keras.Model) -> None:
    short, long = (model_cost(model, (BANDS, frames, CHANNELS)) for frames in (48, 96))
    assert 0 < short.macs < long.macs
    assert short.parameters == long.parameters == model.count_params()
    assert 0 < short.nonzero_bytes <= short.weight_bytes


def test_unknown_options_are_refused(architecture: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ARCHITECTURES[architecture].options_model.model_validate({"colour": "red"})


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated")
def test_the_tflite_model_gives_the_same_outputs(
    architecture: str, to_tflite: Callable[..., bytes], run_tflite: Callable[..., np.ndarray]
) -> None:
    model, features = built(architecture, frames=48, seed=2), clips(48, count=1)
    expected = np.asarray(model(features))
    largest_difference = {
        quantised: np.abs(run_tflite(to_tflite(model, quantised=quantised), features) - expected).max()
        for quantised in (False, True)
    }
    assert largest_difference[False] < 1e-5
    assert largest_difference[True] < 0.05


@pytest.mark.slow
def test_both_backends_give_the_same_outputs_and_jax_needs_no_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    other = {"tensorflow": "jax", "jax": "tensorflow"}[keras.backend.backend()]
    features = clips(48)
    np.save(tmp_path / "features.npy", features)
    expected = {}
    for name in ARCHITECTURES:
        model = built(name)
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
