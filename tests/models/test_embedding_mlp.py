"""The perceptron on embeddings, against the arithmetic by hand."""

import keras
import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.models import build_model
from asc_study.models.cost import model_cost


def test_the_baseline_of_task_1a_has_its_published_layers() -> None:
    """Dense 512 and 128 on 512 values (OpenL3), ten classes."""
    model = build_model("embedding_mlp", input_shape=(512, None, 1), num_classes=10)
    units = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert units == [512, 128, 10]
    cost = model_cost(model, (512, 91, 1))
    assert cost.parameters == 512 * 512 + 512 + 512 * 128 + 128 + 128 * 10 + 10 == 329_610
    assert cost.macs == 91 * (512 * 512 + 512 * 128 + 128 * 10)


def test_a_clip_has_the_mean_of_the_probabilities_of_its_frames() -> None:
    model = build_model("embedding_mlp", input_shape=(3, None, 1), num_classes=2, hidden_units=[4])
    clip = np.random.default_rng(0).normal(size=(1, 3, 5, 1)).astype(np.float32)
    (first, bias), (last, offset) = (
        layer.get_weights() for layer in model.layers if isinstance(layer, keras.layers.Dense)
    )
    logits = np.maximum(clip[0, :, :, 0].T @ first + bias, 0) @ last + offset
    frames = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(model(clip))[0], frames.mean(axis=0), atol=1e-6)


def test_hidden_units_and_dropout_are_options() -> None:
    model = build_model("embedding_mlp", input_shape=(8, None, 1), num_classes=3, hidden_units=[6], dropout=0.25)
    assert model.count_params() == 8 * 6 + 6 + 6 * 3 + 3
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.25]
    linear = build_model("embedding_mlp", input_shape=(8, None, 1), num_classes=3, hidden_units=[])
    assert linear.count_params() == 8 * 3 + 3
    with pytest.raises(InputError, match="hidden_units.* must be at least 1, got 0"):
        build_model("embedding_mlp", input_shape=(8, None, 1), num_classes=3, hidden_units=[0])
