"""What every registered architecture has to hold."""

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


@pytest.mark.slow
def test_training_lowers_the_loss_on_a_fixed_batch(architecture: str) -> None:
    keras.utils.set_random_seed(2)
    model = build_model(architecture, input_shape=(BANDS, None, CHANNELS), num_classes=CLASSES, width=0.1)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "categorical_crossentropy", run_eagerly=True)
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(8) % CLASSES]
    features = clips(32, count=8) + labels.argmax(axis=1)[:, None, None, None].astype(np.float32)
    losses = [float(model.train_on_batch(features, labels)) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_every_weight_is_trained(model: keras.Model) -> None:
    losses = keras.losses.CategoricalCrossentropy()
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = losses(np.eye(CLASSES, dtype=np.float32), model(clips(48), training=True))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(gradient is not None for gradient in gradients)


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


def test_the_registry_is_light() -> None:
    heavy = {"keras", "tensorflow", "librosa", "pandas"}
    code = f"import asc_study.models, sys; print(sorted({heavy} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
