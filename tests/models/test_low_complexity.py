import logging
import math
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest
from keras import layers

from asc_study.base.errors import InputError
from asc_study.models import build_model
from asc_study.models.cost import count_macs, count_torchinfo_macs, mac_metrics, model_size
from asc_study.models.cp_mobile import divisible_by_8
from asc_study.models.low_complexity_blocks import (
    convolve,
    convolve_each,
    learned_scalar,
    residual_normalisation,
    response_normalisation,
)


def features(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("architecture", "options", "parameters", "millions"),
    [
        ("cp_mobile", {"variant": "dcase2024", "base_channels": 24}, 35_062, 16.86),
        ("cp_mobile", {"variant": "dcase2024", "base_channels": 16}, 18_624, 8.45),
        ("cp_mobile", {"variant": "dcase2024", "width": 0.25}, 5_722, 2.49),
        ("bc_resnet_asc", {"base_channels": 8}, 4_896, 2.9),
        ("bc_resnet_asc", {"base_channels": 16}, 15_520, 7.4),
        ("bc_resnet_asc", {"base_channels": 24}, 31_872, 13.4),
        ("bc_resnet_asc", {"width": 1.25}, 81_760, 30.28),
        ("bc_resnet_asc", {"base_channels": 80}, 306_720, 100),
    ],
)
def test_other_widths_have_their_counts_too(architecture: str, options: dict, parameters: int, millions: float) -> None:
    model = build_model(architecture, input_shape=(256, 65, 1), num_classes=10, **options)
    assert model_size(model).trainable_parameters == parameters
    digits = len(str(millions).partition(".")[2])
    assert round(count_torchinfo_macs(model, (256, 65, 1)) / 1e6, digits) == millions


def test_cp_mobile_has_its_strides_and_is_over_the_limit_at_65_frames() -> None:
    model = build_model("cp_mobile", input_shape=(256, None, 1), num_classes=10)
    assert count_torchinfo_macs(model, (256, 65, 1)) == 31_684_180
    depthwise = [layer.strides for layer in model.layers if isinstance(layer, layers.DepthwiseConv2D)]
    assert depthwise == [(1, 1), (2, 2), (1, 1), (2, 1), (1, 1), (1, 1)]
    baseline = build_model("cp_mobile", input_shape=(256, 65, 1), num_classes=10, variant="dcase2024")
    depthwise = [layer.strides for layer in baseline.layers if isinstance(layer, layers.DepthwiseConv2D)]
    assert depthwise == [(1, 1), (1, 1), (1, 2), (2, 1), (1, 1), (1, 1)]
    final = [layer for layer in baseline.layers if isinstance(layer, layers.BatchNormalization)][-1]
    assert final.output.shape[1:] == (32, 9, 10)


@pytest.mark.parametrize(("value", "channels"), [(73.6, 72), (169.28, 168), (3, 8), (11.9, 16), (67.2, 64), (60, 64)])
def test_channels_are_multiples_of_8(value: float, channels: int) -> None:
    assert divisible_by_8(value) == channels


def test_response_normalisation_by_hand() -> None:
    inputs = keras.Input((4, None, 3))
    model = keras.Model(inputs, response_normalisation(inputs, "one"))
    x = features(2, 4, 5, 3)
    x[1] = 0.0
    np.testing.assert_array_equal(model(x), x)  # gamma and beta are 0 at first
    gamma, beta = (model.get_layer(f"learned_scalar_{name}_one") for name in ("gamma", "beta"))
    gamma.kernel.assign([[2.0]])
    beta.kernel.assign([[0.5]])
    norm = np.sqrt((x.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True))
    share = norm / (norm.mean(axis=-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(model(x), 2 * share * x + 0.5 + x, rtol=1e-5)
    assert count_macs(model, (4, 5, 3)) == count_torchinfo_macs(model, (4, 5, 3)) == 0


def test_residual_normalisation_by_hand() -> None:
    inputs = keras.Input((4, None, 3))
    x = features(2, 4, 5, 3) * 3 + 7
    mean, variance = x.mean(axis=(2, 3), keepdims=True), x.var(axis=(2, 3), keepdims=True)
    expected = 0.1 * x + (x - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(keras.Model(inputs, residual_normalisation(inputs))(x), expected, rtol=1e-4, atol=1e-5)


def test_convolutions_are_padded_alike_on_both_sides_and_drawn_by_the_fan_out_of_all_channels() -> None:
    inputs = keras.Input((8, 8, 50))
    model = keras.Model(inputs, [convolve(inputs, 40, 3, (2, 2)), convolve_each(inputs, (3, 3), multiplier=4)])
    dense, each = (np.asarray(weight) for weight in model.weights)
    assert dense.std() == pytest.approx(math.sqrt(2 / (9 * 40)), rel=0.03)
    assert each.std() == pytest.approx(math.sqrt(2 / (9 * 4 * 50)), rel=0.06)
    x = features(1, 8, 8, 50)
    corner = np.einsum("ijc,ijcf->f", x[0, :2, :2], dense[1:, 1:])  # the first kernel lies one row and column outside
    np.testing.assert_allclose(np.asarray(model(x)[0])[0, 0, 0], corner, rtol=1e-3, atol=1e-4)


def test_zeros_at_the_edge_count_in_the_mean_of_cp_mobile_s_shortcut() -> None:
    model = build_model("cp_mobile", input_shape=(64, 64, 1), num_classes=3, width=0.25)
    (pool,) = [layer for layer in model.layers if isinstance(layer, layers.AveragePooling2D)]
    shortcut = keras.Model(model.input, [pool._inbound_nodes[0].input_tensors[0], pool.output])
    padded, pooled = (np.asarray(output) for output in shortcut(features(1, 64, 64, 1)))
    assert not padded[:, 0].any()
    np.testing.assert_allclose(pooled[0, 0, 0], padded[0, :3, :3].sum(axis=(0, 1)) / 9, rtol=1e-4, atol=1e-6)


def test_tf_sepnet_gives_both_halves_something_of_each() -> None:
    model = build_model("tf_sepnet", input_shape=(32, 32, 1), num_classes=3, width=0.125)
    first = [layer for layer in model.layers if isinstance(layer, layers.Reshape)][:2]
    shuffle = keras.Model(first[0].input, first[1].output)
    numbers = np.broadcast_to(np.arange(8, dtype=np.float32), (1, *first[0].input.shape[1:]))
    assert np.asarray(shuffle(numbers))[0, 0, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_sub_bands_of_bc_resnet_are_normalised_each_by_itself_and_must_divide() -> None:
    one, four = (
        build_model("bc_resnet_asc", input_shape=(64, None, 1), num_classes=3, width=0.125, sub_bands=bands)
        for bands in (1, 4)
    )
    normalised = 2 * (2 * 4 + 2 * 6 + 2 * 8 + 3 * 10)
    assert model_size(four).trainable_parameters - model_size(one).trainable_parameters == 3 * normalised
    with pytest.raises(InputError, match="`sub_bands` must divide the bands of every feature map, got 5 for 32: give"):
        build_model("bc_resnet_asc", input_shape=(64, None, 1), num_classes=3, sub_bands=5)


def test_the_cnn_of_2020_pools_over_the_whole_clip() -> None:
    model = build_model("dcase2020_task1b", input_shape=(40, None, 1), num_classes=3)
    assert model_size(model).parameters == 116_118 - 7 * 101
    statistics = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert [sum(weight.shape[0] for weight in layer.weights) for layer in statistics] == [160, 32]
    last_map = keras.Model(model.input, statistics[-1].output)
    flat = next(layer for layer in model.layers if isinstance(layer, layers.Flatten))
    x = features(2, 40, 500, 1)
    pooled = layers.MaxPooling2D((4, 100))(np.maximum(last_map(x), 0))
    np.testing.assert_allclose(keras.Model(model.input, flat.output)(x), np.asarray(pooled).reshape(2, 128))


def test_both_rules_by_hand_and_once_for_each_use_within_a_model_too() -> None:
    inner_inputs = keras.Input((8, None, 2))
    x = layers.Conv2D(4, 3, padding="same")(inner_inputs)  # 8 x 10 positions, 72 weights, 4 biases
    x = layers.BatchNormalization()(x)  # 8 values
    inner = keras.Model(inner_inputs, layers.GlobalAveragePooling2D()(x))
    inputs = keras.Input((8, None, 2))
    shared = layers.Dense(4)  # 16 weights, 4 biases
    model = keras.Model(inputs, shared(shared(layers.Add()([inner(inputs), inner(inputs)]))))
    assert count_macs(model, (8, 10, 2)) == 2 * 80 * 72 + 2 * 16
    assert count_torchinfo_macs(model, (8, 10, 2)) == 2 * (80 * 76 + 8) + 2 * 20


def test_a_layer_of_unknown_cost_is_refused_and_never_free(caplog: pytest.LogCaptureFixture) -> None:
    inputs = keras.Input((8, 10, 2))
    recurrent = layers.GRU(4, name="memory")(layers.Reshape((8, 20))(inputs))
    product = keras.ops.matmul(inputs, keras.ops.transpose(inputs, (0, 1, 3, 2)))
    for output, line in ((recurrent, r"the cost of layer 'memory' \(GRU\) is not known: build"), (product, "Matmul")):
        model = keras.Model(inputs, output)
        for count in (count_macs, count_torchinfo_macs):
            with pytest.raises(InputError, match=line):
                count(model, (8, 10, 2))
        with caplog.at_level(logging.WARNING):
            assert mac_metrics(model, (8, 10, 2)) == {}
    assert "multiply-accumulates are not reported: the cost of layer 'memory'" in caplog.text


def test_a_learned_scalar_is_one_value() -> None:
    inputs = keras.Input((4, None, 3))
    model = keras.Model(inputs, learned_scalar(inputs, "level"))
    assert model.output_shape == (None, 1, 1, 1)
    assert model.count_params() == 1
