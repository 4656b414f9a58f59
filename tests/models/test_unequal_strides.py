import numpy as np
import pytest

from asc_study.models import unequal_strides
from asc_study.models.backend import import_keras

keras = import_keras()


def expected(inputs: np.ndarray, kernel: np.ndarray, strides: tuple[int, int], padding: str) -> np.ndarray:
    """Place by place, with TensorFlow's zeros."""
    height, width, channels, multiplier = kernel.shape
    if padding == "same":
        around = []
        for size, extent, stride in zip(inputs.shape[1:3], (height, width), strides, strict=True):
            zeros = max((int(np.ceil(size / stride)) - 1) * stride + extent - size, 0)
            around.append((zeros // 2, zeros - zeros // 2))
        inputs = np.pad(inputs, [(0, 0), *around, (0, 0)])
    rows = range(0, inputs.shape[1] - height + 1, strides[0])
    columns = range(0, inputs.shape[2] - width + 1, strides[1])
    made = np.zeros((len(inputs), len(rows), len(columns), channels * multiplier), np.float32)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            seen = inputs[:, row : row + height, column : column + width]
            made[:, i, j] = np.einsum("bhwc,hwcm->bcm", seen, kernel).reshape(len(inputs), -1)
    return made


@pytest.mark.parametrize("native", [False, None])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [(2, 1), (1, 3), (2, 2), (1, 1)])
@pytest.mark.parametrize("size", [(9, 8), (8, 11)])
def test_two_strides_give_what_they_should(native, padding, strides, size, monkeypatch) -> None:
    if native is not None:
        monkeypatch.setattr(unequal_strides, "_computed_natively", lambda: native)
    rng = np.random.default_rng(0)
    inputs, kernel = rng.normal(size=(2, *size, 3)).astype("f4"), rng.normal(size=(3, 2, 3, 2)).astype("f4")
    made = keras.ops.depthwise_conv(inputs, kernel, strides if strides != (2, 2) else 2, padding)
    np.testing.assert_allclose(made, expected(inputs, kernel, strides, padding), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("native", [False, None])
def test_a_network_learns_through_them(native, monkeypatch) -> None:
    if native is not None:
        monkeypatch.setattr(unequal_strides, "_computed_natively", lambda: native)
    model = keras.Sequential(
        [
            keras.layers.Input((None, 8, 2)),  # any number of bands
            keras.layers.DepthwiseConv2D(3, (2, 1), padding="same"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile("sgd", "mse")
    before = [np.array(weight) for weight in model.weights]
    history = model.fit(np.ones((4, 10, 8, 2), "f4"), np.ones((4, 2), "f4"), epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]
    assert all(np.any(np.array(now) != then) for now, then in zip(model.weights, before, strict=True))


def test_a_graph_that_is_converted_has_the_strides_themselves(monkeypatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(unequal_strides, "_computed_natively", lambda: False)
    layer = keras.layers.DepthwiseConv2D(3, (2, 1))
    layer.build((1, 9, 8, 2))
    signature = tf.TensorSpec((1, 9, 8, 2))

    def operations() -> list[str]:
        graph = tf.function(layer).get_concrete_function(signature).graph
        return [operation.type for operation in graph.get_operations()]

    assert "StridedSlice" in operations()
    with unequal_strides.as_written():
        assert "StridedSlice" not in operations()
