"""Networks that compute with 8 bits in training: what they round, and the int8 file that keeps it."""

import keras
import numpy as np
import pytest
from tiny_network import TinyOptions, build

from asc_study.base.errors import InputError
from asc_study.deploy.runtime.network import Network
from asc_study.deploy.tflite import convert
from asc_study.models import build_model
from asc_study.models.cost import count_torchinfo_macs, model_size
from asc_study.models.stored import load_model
from asc_study.settings.continuation import QuantisationConfig
from asc_study.training.fake_quant import is_rounded, plain_network, rounded_network
from asc_study.training.rounding import RoundedActivation, RoundedWeights

SHAPE, BATCH = (32, 32, 1), 8
STEPS, SETTINGS = 4, QuantisationConfig(frozen_share=0.5)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(24, *SHAPE)).astype(np.float32)


def trained(model: keras.Model, clips: np.ndarray, epochs: int) -> keras.Model:
    model.compile(keras.optimizers.Adam(1e-3), loss="categorical_crossentropy")
    model.fit(clips, np.eye(10)[np.arange(len(clips)) % 10], epochs=epochs, batch_size=BATCH, verbose=0)
    return model


def tiny(clips: np.ndarray) -> keras.Model:
    keras.utils.set_random_seed(1)
    return trained(build((SHAPE[0], None, SHAPE[2]), 10, TinyOptions()), clips, 2)


@pytest.fixture(scope="module")
def networks(clips: np.ndarray) -> tuple[keras.Model, keras.Model, keras.Model]:
    """A trained network, the same trained with 8 bits, and what of that predicts."""
    model = tiny(clips)
    rounded = trained(rounded_network(model, SETTINGS, STEPS), clips, 2)
    return model, rounded, plain_network(rounded)


def test_without_rounding_it_is_the_same_network(clips, networks, monkeypatch):
    """The normalisation becomes part of the convolution before it, and nothing is lost."""
    monkeypatch.setattr(RoundedWeights, "rounded", lambda self: keras.ops.convert_to_tensor(self.kernel))
    monkeypatch.setattr(RoundedActivation, "call", lambda self, inputs, training=False: inputs)
    model = networks[0]
    same = rounded_network(model, SETTINGS, STEPS)
    np.testing.assert_allclose(same.predict(clips, verbose=0), model.predict(clips, verbose=0), atol=1e-6)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in same.layers)


def test_each_output_channel_has_a_scale_of_254_steps(networks):
    convolution = next(layer for layer in networks[2].layers if isinstance(layer, keras.layers.Conv2D))
    kernel = convolution.get_weights()[0]
    for channel in range(kernel.shape[-1]):
        own = kernel[..., channel]
        steps = own / (np.abs(own).max() / 127)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_ranges_follow_the_batches_and_then_stand_still(clips):
    first = RoundedActivation(0.9, 2)
    first(clips[:8], training=True)
    assert first.range() == pytest.approx((clips[:8].min(), clips[:8].max()), rel=1e-5)
    first(clips[8:16], training=True)
    mean = np.mean([(clips[part].min(), clips[part].max()) for part in (slice(0, 8), slice(8, 16))], axis=0)
    assert first.range() == pytest.approx(tuple(mean), rel=1e-5)
    held = first.range()
    outputs = first(10 * clips[16:], training=True)
    assert first.range() == held
    values = np.unique(keras.ops.convert_to_numpy(outputs))
    assert len(values) <= 256
    assert 0 in values, "what is padded with must be exact"
    step = (held[1] - held[0]) / 255
    assert (values.min(), values.max()) == pytest.approx(held, abs=step)


def test_what_predicts_is_made_of_layers_of_keras_and_computes_the_same(clips, networks, tmp_path):
    _, rounded, plain = networks
    plain.save(tmp_path / "aware.keras")
    loaded = load_model(tmp_path / "aware.keras")
    np.testing.assert_array_equal(loaded.predict(clips, verbose=0), plain.predict(clips, verbose=0))
    np.testing.assert_allclose(loaded.predict(clips, verbose=0), rounded.predict(clips, verbose=0), atol=1e-3)
    assert is_rounded(loaded)
    assert not is_rounded(networks[0])
    assert model_size(loaded).parameters == 3 * 3 * 8 + 8 + 32 * 8 * 10 + 10
    assert count_torchinfo_macs(loaded, SHAPE) > 0


@pytest.mark.parametrize(
    ("architecture", "options"),
    [("tiny", {}), ("cp_mobile", {"width": 0.25}), ("small_fcnn", {"width": 0.1})],
)
def test_the_int8_file_computes_what_was_trained(clips, networks, architecture, options):
    if architecture == "tiny":
        plain = networks[2]
    else:
        shape = (SHAPE[0], None, SHAPE[2])
        model = build_model(architecture, input_shape=shape, num_classes=10, **options)
        rounded = rounded_network(model, SETTINGS, STEPS)
        for _ in range(2):  # only their ranges move: no gradients are traced
            rounded(clips, training=True)
        plain = plain_network(rounded)
    network = Network(convert(plain, SHAPE, "int8"))
    found = np.stack([network(clip) for clip in clips])
    np.testing.assert_allclose(found, plain.predict(clips, verbose=0), atol=0.02)


def test_ranges_that_were_trained_are_not_measured_again(clips, networks):
    plain = networks[2]
    assert convert(plain, SHAPE, "int8") == convert(plain, SHAPE, "int8", 100 * clips)
    with pytest.raises(InputError, match="trained for 8 bits, which int8 keeps as they are, got dynamic: use int8"):
        convert(plain, SHAPE, "dynamic")


def test_layers_of_unknown_weights_are_refused():
    inputs = keras.Input((32, None, 1))
    x = keras.layers.SeparableConv2D(4, 3, name="mine")(inputs)
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(InputError, match=r"got layer 'mine' \(SeparableConv2D\): build the network of those"):
        rounded_network(model, SETTINGS, STEPS)
