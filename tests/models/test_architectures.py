import math
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.models import ARCHITECTURES, build_model
from asc_study.models.blocks import add_zero_channels, channel_attention, frequency_halves
from asc_study.models.cost import count_macs, count_torchinfo_macs, model_cost


def test_multiply_accumulates_of_the_fsfcnn_by_hand() -> None:
    model = build_model("fsfcnn", input_shape=(128, None, 3), num_classes=10, width=1.0)
    convolutions = [  # bands, frames of the output; kernel; channels in and out
        (128, 200, 25, 3, 48),
        (128, 200, 9, 48, 48),
        (64, 100, 9, 48, 96),
        (64, 100, 9, 96, 96),
        (32, 50, 9, 96, 512),
        (32, 50, 9, 512, 512),
        (32, 25, 9, 512, 512),
        (32, 25, 9, 512, 512),
        (32, 13, 9, 512, 768),
        (32, 13, 9, 768, 768),
        (32, 13, 1, 768, 10),
    ]
    attention = 2 * (10 * 5 + 5 * 10)
    assert count_macs(model, (128, 400, 3)) == sum(map(math.prod, convolutions)) + attention


def test_multiply_accumulates_of_the_resnet_by_hand() -> None:
    path = 64 * 200 * 9 * 3 * 24
    path += 4 * 64 * 200 * 9 * 24 * 24
    for filters, frames in ((48, 100), (96, 50), (192, 25)):
        path += 64 * frames * 9 * (filters // 2 * filters + 3 * filters * filters)
    joined = 128 * 25 * (192 * 768 + 768 * 3)
    model = build_model("resnet", input_shape=(128, None, 3), num_classes=3)
    assert count_macs(model, (128, 400, 3)) == 2 * path + joined


def test_resnet_d_is_the_resnet_of_double_width() -> None:
    double, named = (
        build_model(architecture, input_shape=(64, None, 3), num_classes=10, width=width)
        for architecture, width in (("resnet", 0.25), ("resnet_d", 0.125))
    )
    assert [weight.shape for weight in double.weights] == [weight.shape for weight in named.weights]
    assert named.name == "resnet_d"


def test_cost_by_hand() -> None:
    inputs = keras.Input((8, None, 2))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)  # 4 x 5 positions, 3*3*2*4 each
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)  # 4 x 5 positions, 3*3*4 each
    shared = keras.layers.Dense(4, use_bias=False)
    x = shared(keras.layers.GlobalAveragePooling2D()(x))  # 4*4
    model = keras.Model(inputs, shared(x))  # and again
    cost = model_cost(model, (8, 10, 2))
    assert cost.torchinfo_macs == 20 * (72 + 4) + 20 * 36 + 2 * 16
    assert count_macs(model, (8, 10, 2)) == 20 * 72 + 20 * 36 + 2 * 16
    assert cost.parameters == cost.trainable_parameters == 72 + 4 + 36 + 16
    assert cost.weight_bytes == 4 * 128
    assert cost.nonzero_bytes == 4 * (128 - 4)  # the bias starts at zero


def convolution(bands: int = 8) -> keras.Model:
    inputs = keras.Input((bands, None, 2))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(inputs))
    return keras.Model(inputs, keras.layers.ReLU()(x))


def test_models_inside_of_a_model_are_counted_as_often_as_they_are_used() -> None:
    part = convolution()  # 8 x 10 positions, 3*3*2*4 weights and 4 biases each; 4 scales and 4 offsets once
    once = 80 * (72 + 4) + 8
    assert count_torchinfo_macs(part, (8, 10, 2)) == once
    inputs = keras.Input((8, None, 2))
    other = keras.Sequential([keras.layers.MaxPooling2D(2), convolution(4)])  # a quarter of the positions
    outputs = [part(inputs), part(keras.layers.ReLU()(inputs)), convolution()(inputs), other(inputs)]
    model = keras.Model(inputs, outputs)
    assert count_torchinfo_macs(model, (8, 10, 2)) == 3 * once + 20 * (72 + 4) + 8
    mean = keras.Model(inputs, keras.ops.mean(keras.layers.Average()(outputs[:3]), axis=(1, 2)))  # as of snapshots
    assert model_cost(mean, (8, 10, 2)).torchinfo_macs == 3 * once


def test_the_rule_is_that_of_the_challenges() -> None:
    """The rule's own example: the first two convolutions of a published system, counted for 256 bands and 65 frames."""
    inputs = keras.Input((256, None, 1))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    first = keras.Model(inputs, keras.layers.BatchNormalization()(x))
    assert first.count_params() - 2 * 8 == 88  # without running statistics, which the rule does not know
    assert count_torchinfo_macs(first, (256, 65, 1)) == 304_144
    inputs = keras.Input((128, None, 8))
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)(inputs)
    second = keras.Model(inputs, keras.layers.BatchNormalization()(x))
    assert second.count_params() - 2 * 32 == 2_368
    assert count_torchinfo_macs(second, (128, 33, 8)) == 2_506_816


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2DTranspose(4, 3),
        keras.layers.SeparableConv2D(4, 3),
        keras.layers.EinsumDense("abcd,de->abce", (None, None, 4)),
        keras.layers.TimeDistributed(keras.layers.Dense(4)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_that_cannot_be_counted_is_refused(layer: keras.layers.Layer) -> None:
    inputs = keras.Input((8, 10, 2))
    model = keras.Model(inputs, layer(inputs))
    with pytest.raises(InputError, match=rf"the cost of layer '.*' \({type(layer).__name__}\) is not known"):
        count_macs(model, (8, 10, 2))


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


@pytest.mark.parametrize(
    ("architecture", "default"),
    [
        ("fcnn", True),
        ("fsfcnn", True),
        ("fsfcnn_s", True),
        ("small_fcnn", True),
        ("resnet", False),
    ],
)
def test_attention_is_an_option(architecture: str, default: bool) -> None:
    unsaid, switched = (
        build_model(architecture, input_shape=(64, None, 3), num_classes=10, width=0.05, **options).count_params()
        for options in ({}, {"attention": not default})
    )
    assert abs(unsaid - switched) == 10 * 5 + 5 + 5 * 10 + 10
    assert (unsaid > switched) == default


def test_fsfcnn_has_eleven_convolutions_two_dropouts_and_subsamples_time_by_32_and_frequency_by_4() -> None:
    model = build_model("fsfcnn", input_shape=(128, 400, 3), num_classes=10, width=0.05)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.kernel_size[0] for layer in convolutions] == [5] + 9 * [3] + [1]
    assert convolutions[-1].output.shape == (None, 32, 13, 10)
    names = [type(layer).__name__ for layer in model.layers if not layer.weights]
    pools_and_dropouts = [name for name in names if name in {"MaxPooling2D", "Dropout"}]
    assert pools_and_dropouts == 4 * ["MaxPooling2D"] + 2 * ["Dropout"]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.5, 0.5]


def test_fsfcnn_s_is_two_fsfcnns_joined_before_two_convolutions() -> None:
    one = build_model("fsfcnn", input_shape=(64, 100, 3), num_classes=10, width=0.05)
    two = build_model("fsfcnn_s", input_shape=(128, 100, 3), num_classes=10, width=0.05)
    filters = 38  # of 768
    classifier = filters * 10 + 4 * 10 + (10 * 5 + 5 + 5 * 10 + 10)
    path = one.count_params() - classifier
    assert two.count_params() == 2 * path + filters * filters + 4 * filters + classifier
    joined = next(layer for layer in two.layers if isinstance(layer, keras.layers.Concatenate))
    assert [tensor.shape for tensor in joined.input] == 2 * [(None, 16, 4, filters)]
    assert joined.output.shape == (None, 32, 4, filters)


def test_small_fcnn_has_seven_convolutions_one_dropout_and_filters_of_choice() -> None:
    model = build_model(
        "small_fcnn", input_shape=(128, None, 6), num_classes=3, block_filters=[3, 5, 7], width=2.0, dropout=0.1
    )
    convolutions = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert convolutions == [6, 6, 10, 10, 14, 14, 3]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.1]


def test_doubled_padding_lets_the_last_maps_grow_by_one_cell_on_each_side() -> None:
    once, twice = (
        build_model("small_fcnn", input_shape=(128, 461, 6), num_classes=3, doubled_padding=doubled)
        for doubled in (False, True)
    )
    shapes = [
        [layer.output.shape[1:3] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        for model in (once, twice)
    ]
    assert shapes[0][:5] == shapes[1][:5]
    assert shapes[0][5:] == [(16, 57), (8, 28)]
    assert shapes[1][5:] == [(18, 59), (9, 29)]
    assert [weight.shape for weight in once.weights] == [weight.shape for weight in twice.weights]


def test_mobnet_has_two_paths_of_nine_inverted_residuals() -> None:
    model = build_model("mobnet", input_shape=(128, 461, 6), num_classes=3, dropout=0.1, l2=0.01)
    depthwise = [layer for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    strides = [layer.strides for layer in depthwise]
    assert strides == 3 * (2 * [(2, 2)] + 4 * [(1, 1)])
    assert sum(isinstance(layer, keras.layers.Add) for layer in model.layers) == 2 * 6
    assert [layer.kernel.shape[2] for layer in depthwise[::2]] == [64, 64, 64, 64, 80, 80, 80, 96, 96]
    decayed = [layer.filters for layer in model.layers if getattr(layer, "kernel_regularizer", None)]
    assert decayed == [48, 3]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.1]
    joined = next(layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate))
    assert joined.output.shape == (None, 8, 29, 56)


@pytest.mark.parametrize("architecture", ["fcnn", "small_fcnn"])
@pytest.mark.parametrize("shape", [(14, 15, 3), (15, 14, 3)])
def test_less_than_the_smallest_input_leaves_nothing_of_the_fcnn(
    architecture: str, shape: tuple[int, int, int]
) -> None:
    assert ARCHITECTURES[architecture].smallest_input == (15, 15)
    if tuple(int(part) for part in keras.__version__.split(".")[:2]) >= (3, 14):
        with pytest.raises(ValueError, match="zero or negative"):
            build_model(architecture, input_shape=shape, num_classes=3, width=0.05)
    else:  # builds what cannot compute anything
        model = build_model(architecture, input_shape=shape, num_classes=3, width=0.05)
        assert min(size for layer in model.layers for size in layer.output.shape if size is not None) < 1


def test_width_rounds_to_the_nearest_filter_and_keeps_at_least_one() -> None:
    def filters(width: float) -> list[int]:
        model = build_model("fcnn", input_shape=(64, None, 3), num_classes=10, width=width)
        return [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]

    assert filters(0.01) == [1, 1, 3, 3, 6, 6, 6, 6, 10]
    assert filters(0.001) == [1, 1, 1, 1, 1, 1, 1, 1, 10]


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
        ("fsfcnn", {"dropout": -0.1}, "`fsfcnn.dropout` must be .* got -0.1"),
        ("small_fcnn", {"block_filters": [48, 84]}, r"`block_filters` must be three whole .* got \[48, 84\]: give"),
        ("small_fcnn", {"block_filters": [48, 0, 1]}, r"`block_filters` must be three whole .* got \[48, 0, 1\]: give"),
        (
            "small_fcnn",
            {"block_filters": [48, 84, 1.5]},
            "`small_fcnn.block_filters.2` must be a whole number, got 1.5",
        ),
        ("small_fcnn", {"block_filters": 48}, "`small_fcnn.block_filters` must be a list, got 48"),
        (
            "mobnet",
            {"attention": True},
            "unknown key 'mobnet.attention': known: batch_norm_momentum, dropout, l2, width",
        ),
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
