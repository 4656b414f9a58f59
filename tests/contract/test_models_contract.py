"""What every registered architecture has to hold, under the TensorFlow and the JAX backend of Keras."""

import os
import re
import sys
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

BANDS, CHANNELS, CLASSES = 32, 3, 4
TINY = 0.05


#: Compiling a step pays under JAX only, where operations are else compiled one by one.
EAGERLY = keras.backend.backend() == "tensorflow"

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TFLite is made under the TensorFlow backend"
)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(architecture: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_model(architecture, input_shape=(BANDS, None, CHANNELS), num_classes=CLASSES, width=TINY)


def clips(frames: int, count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((count, BANDS, frames, CHANNELS), np.float32)


@pytest.mark.parametrize("frames", [48, 71])
def test_one_model_gives_probabilities_for_crops_and_whole_clips(model: keras.Model, frames: int) -> None:
    probabilities = np.asarray(model(clips(frames)))
    assert probabilities.shape == (4, CLASSES)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_a_fixed_number_of_frames_is_taken_too(architecture: str) -> None:
    model = build_model(architecture, input_shape=(BANDS, 48, CHANNELS), num_classes=CLASSES, width=TINY)
    assert model.input_shape == (None, BANDS, 48, CHANNELS)
    assert model(clips(48)).shape == (4, CLASSES)


def test_a_saved_model_needs_none_of_our_code_and_gives_the_same_outputs(model: keras.Model, tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    model.save(file)
    with ZipFile(file) as archive:
        config = archive.read("config.json").decode()
    assert set(re.findall(r'"module": "([^".]*)', config)) == {"keras"}
    assert '"Lambda"' not in config
    loaded = keras.models.load_model(file, safe_mode=True)
    np.testing.assert_array_equal(np.asarray(loaded(clips(48))), np.asarray(model(clips(48))))


@pytest.mark.parametrize(("classes", "channels"), [(3, 6), (10, 3)])
def test_three_and_ten_classes_of_stereo_and_mono_features(architecture: str, classes: int, channels: int) -> None:
    model = build_model(architecture, input_shape=(BANDS, None, channels), num_classes=classes, width=TINY)
    assert model.input_shape == (None, BANDS, None, channels)
    assert model.output_shape == (None, classes)


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
def test_training_lowers_the_loss_on_a_fixed_batch(architecture: str) -> None:
    keras.utils.set_random_seed(2)
    model = build_model(architecture, input_shape=(BANDS, None, CHANNELS), num_classes=CLASSES, width=0.1)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "categorical_crossentropy", run_eagerly=EAGERLY)
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(8) % CLASSES]
    features = clips(32, count=8) + labels.argmax(axis=1)[:, None, None, None].astype(np.float32)
    losses = [float(model.train_on_batch(features, labels)) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_every_weight_is_trained(architecture: str) -> None:
    keras.utils.set_random_seed(3)
    model = build_model(architecture, input_shape=(BANDS, None, CHANNELS), num_classes=10, width=0.125)
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1.0), "categorical_crossentropy", run_eagerly=EAGERLY)
    model.train_on_batch(clips(48), np.eye(10, dtype=np.float32)[:4])
    unchanged = [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(np.asarray(weight), old)
    ]
    assert unchanged == []


def test_width_changes_the_number_of_parameters(architecture: str, model: keras.Model) -> None:
    wider = build_model(architecture, input_shape=(BANDS, None, CHANNELS), num_classes=CLASSES, width=2 * TINY)
    assert wider.count_params() > 1.5 * model.count_params()


def test_the_seed_decides_the_initial_weights(architecture: str) -> None:
    outputs = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        model = build_model(architecture, input_shape=(BANDS, None, CHANNELS), num_classes=CLASSES, width=TINY)
        outputs.append(np.concatenate([np.ravel(weight) for weight in model.weights]))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


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
def test_the_tflite_model_gives_the_same_outputs(architecture: str, tmp_path: Path) -> None:
    from tensorflow import lite

    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = lite.Interpreter

    keras.utils.set_random_seed(1)
    model = build_model(architecture, input_shape=(BANDS, 48, CHANNELS), num_classes=CLASSES, width=TINY)
    features = clips(48, count=1)
    largest_difference = {}
    for name, optimizations in (("float32", []), ("dynamic range", [lite.Optimize.DEFAULT])):
        file = tmp_path / "model.tflite"
        model.export(file, format="litert", verbose=False, optimizations=optimizations)
        interpreter = Interpreter(str(file))
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], features)
        interpreter.invoke()
        output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        largest_difference[name] = np.abs(output - np.asarray(model(features))).max()
    assert largest_difference["float32"] < 1e-5
    assert largest_difference["dynamic range"] < 0.05


@pytest.mark.slow
def test_both_backends_give_the_same_outputs_and_jax_needs_no_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    other = {"tensorflow": "jax", "jax": "tensorflow"}[keras.backend.backend()]
    features = clips(48)
    np.save(tmp_path / "features.npy", features)
    expected = {}
    for name in ARCHITECTURES:
        keras.utils.set_random_seed(1)
        model = build_model(name, input_shape=(BANDS, None, CHANNELS), num_classes=CLASSES, width=TINY)
        model.save(tmp_path / f"{name}.keras")
        expected[name] = model.predict_on_batch(features)
    code = f"""
import sys
from pathlib import Path
if {other!r} == "jax":
    sys.modules["tensorflow"] = None  # cannot be imported
import keras, numpy as np
from asc_study.models import build_model
assert keras.backend.backend() == {other!r}
features = np.load("features.npy")
for file in Path().glob("*.keras"):
    model = build_model(file.stem, input_shape=({BANDS}, None, {CHANNELS}), num_classes={CLASSES}, width={TINY})
    model.load_weights(file)
    np.save(file.with_suffix(".npy"), model.predict_on_batch(features))
"""
    environment = os.environ | {"KERAS_BACKEND": other}
    run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    for name, probabilities in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), probabilities, atol=1e-5, err_msg=name)


def test_the_registry_is_light() -> None:
    heavy = {"h5py", "jax", "keras", "librosa", "pandas", "tensorflow"}
    code = f"import asc_study.models, sys; print(sorted({heavy} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
