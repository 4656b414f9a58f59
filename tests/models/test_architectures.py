import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from asc_study.errors import InputError
from asc_study.models import build_model
from asc_study.models.blocks import add_zero_channels, channel_attention, frequency_halves
from asc_study.models.cost import count_macs, model_cost


# Parameter counts and multiply-accumulates of the authors' models, read from their code and published weights.
@pytest.mark.parametrize(
    ("architecture", "num_classes", "trainable", "other", "giga_macs_of_crop", "giga_macs_of_clip"),
    [
        ("fcnn", 10, 11_780_329, 6_382, 14.472, 15.340),
        ("fcnn", 3, 11_776_192, 6_354, 14.471, 15.340),
        ("resnet", 10, 3_246_108, 7_040, 7.547, 8.084),
        ("resnet", 3, 3_240_732, 7_026, 7.530, 8.065),
    ],
)
def test_size_and_cost_are_those_of_the_paper_s_models(
    architecture: str, num_classes: int, trainable: int, other: int, giga_macs_of_crop: float, giga_macs_of_clip: float
) -> None:
    model = build_model(architecture, input_shape=(128, None, 3), num_classes=num_classes)
    cost = model_cost(model, (128, 400, 3))
    assert cost.trainable_parameters == trainable
    assert cost.parameters - cost.trainable_parameters == other
    assert cost.weight_bytes == 4 * cost.parameters
    assert cost.macs / 1e9 == pytest.approx(giga_macs_of_crop, abs=6e-4)
    assert count_macs(model, (128, 423, 3)) / 1e9 == pytest.approx(giga_macs_of_clip, abs=6e-4)


def test_resnet_of_double_width_is_the_resnet_d() -> None:
    model = build_model("resnet", input_shape=(128, None, 3), num_classes=10, width=2.0)
    cost = model_cost(model, (128, 400, 3))
    assert (cost.trainable_parameters, cost.parameters - cost.trainable_parameters) == (12_966_444, 14_048)
    assert round(cost.macs / 1e9, 3) == 30.104


def test_cost_by_hand() -> None:
    inputs = keras.Input((8, None, 2))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)  # 4 x 5 positions, 3*3*2*4 each
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)  # 4 x 5 positions, 3*3*4 each
    shared = keras.layers.Dense(4, use_bias=False)
    x = shared(keras.layers.GlobalAveragePooling2D()(x))  # 4*4
    model = keras.Model(inputs, shared(x))  # and again
    cost = model_cost(model, (8, 10, 2))
    assert cost.macs == 20 * 72 + 20 * 36 + 2 * 16
    assert cost.parameters == cost.trainable_parameters == 72 + 4 + 36 + 16
    assert cost.weight_bytes == 4 * 128
    assert cost.nonzero_bytes == 4 * (128 - 4)  # the bias starts at zero


def test_fcnn_has_nine_convolutions_and_three_dropouts() -> None:
    model = build_model("fcnn", input_shape=(128, None, 3), num_classes=10, width=0.05, dropout=0.2)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") == 9
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.2] * 3


def test_resnet_has_two_paths_of_seventeen_convolutions_with_weight_decay() -> None:
    model = build_model("resnet", input_shape=(128, None, 3), num_classes=10, width=0.1, l2=0.01)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 2 * 17 + 2
    assert [float(layer.kernel_regularizer.l2) for layer in convolutions] == pytest.approx([0.01] * 36)
    scaled = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.scale]
    assert len(scaled) == 2  # the stems only


def test_attention_can_be_left_out() -> None:
    with_attention, without = (
        build_model("fcnn", input_shape=(64, None, 3), num_classes=10, width=0.05, attention=attention)
        for attention in (True, False)
    )
    assert with_attention.count_params() - without.count_params() == 10 * 5 + 5 + 5 * 10 + 10


def test_width_rounds_to_the_nearest_filter_and_keeps_at_least_one() -> None:
    def filters(width: float) -> list[int]:
        model = build_model("fcnn", input_shape=(64, None, 3), num_classes=10, width=width)
        return [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]

    assert filters(0.01) == [1, 1, 3, 3, 6, 6, 6, 6, 10]
    assert filters(0.001) == [1, 1, 1, 1, 1, 1, 1, 1, 10]


@pytest.mark.parametrize("architecture", ["fcnn", "resnet"])
def test_odd_numbers_of_bands_and_stereo_are_taken(architecture: str) -> None:
    model = build_model(architecture, input_shape=(41, None, 6), num_classes=3, width=0.05)
    assert model(np.zeros((1, 41, 50, 6), np.float32)).shape == (1, 3)


def test_channel_attention_weighs_each_channel_by_one_gate() -> None:
    inputs = keras.Input((4, None, 6))
    model = keras.Model(inputs, channel_attention(inputs, units=3))
    features = np.random.default_rng(0).uniform(0.5, 1, (2, 4, 5, 6)).astype(np.float32)
    gate = np.asarray(model(features)) / features
    np.testing.assert_allclose(gate, np.broadcast_to(gate[:, :1, :1], gate.shape), rtol=1e-5)

    squeeze, excite = (model.get_layer(f"attention_{name}") for name in ("squeeze", "excite"))

    def answer(pooled: np.ndarray) -> np.ndarray:
        hidden = np.maximum(pooled @ np.asarray(squeeze.kernel), 0)
        return hidden @ np.asarray(excite.kernel)

    expected = 1 / (1 + np.exp(-answer(features.mean(axis=(1, 2))) - answer(features.max(axis=(1, 2)))))
    np.testing.assert_allclose(gate[:, 0, 0], expected, rtol=1e-5)


def test_frequency_halves_and_zero_channels() -> None:
    inputs = keras.Input((5, None, 2))
    model = keras.Model(inputs, [*frequency_halves(inputs), add_zero_channels(inputs, 3)])
    features = np.random.default_rng(0).random((2, 5, 7, 2)).astype(np.float32)
    lower, upper, padded = (np.asarray(output) for output in model(features))
    np.testing.assert_array_equal(lower, features[:, :2])
    np.testing.assert_array_equal(upper, features[:, 2:])
    np.testing.assert_array_equal(padded[..., :2], features)
    assert padded.shape == (2, 5, 7, 5)
    assert not padded[..., 2:].any()


@pytest.mark.parametrize(
    ("architecture", "options", "line"),
    [
        ("fcn", {}, "unknown architecture 'fcn': did you mean 'fcnn'?"),
        ("fcnn", {"witdh": 1.0}, "unknown key 'fcnn.witdh': did you mean 'width'?"),
        ("fcnn", {"l2": 0.1}, "unknown key 'fcnn.l2': known: attention, batch_norm_momentum, dropout, width"),
        ("fcnn", {"width": 0}, "`fcnn.width` must be above .* got 0"),
        ("fcnn", {"dropout": 1.0}, "`fcnn.dropout` must be .* got 1.0"),
        ("resnet", {"width": -1.0}, "`resnet.width` must be above .* got -1.0"),
        ("resnet", {"l2": -1.0}, "`resnet.l2` must be .* got -1.0"),
    ],
)
def test_bad_options_give_one_line(architecture: str, options: dict, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        build_model(architecture, input_shape=(128, None, 3), num_classes=10, **options)
    assert "\n" not in str(caught.value)


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="`num_classes` must be at least 2, got 1"):
        build_model("fcnn", input_shape=(128, None, 3), num_classes=1)
