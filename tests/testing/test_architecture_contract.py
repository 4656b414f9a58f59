"""The suite for architectures: what breaks the contract is found and named."""

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import pytest
from keras import layers
from pydantic import BaseModel

from asc_study import Architecture, ModelOptions
from asc_study.base.schema import Strict
from asc_study.testing import check_architecture


class Required(Strict):
    filters: int


class Loose(BaseModel):
    filters: int = 8


def build(
    input_shape: tuple[int, int | None, int],
    num_classes: int,
    options: ModelOptions,
    *,
    activation: str = "softmax",
    compiled: bool = False,
    last_type: str | None = "float32",
    frames: int | None = None,
    kernel: Any = "glorot_uniform",
    by_width: bool = True,
    pool: Any = layers.GlobalAveragePooling2D,
) -> keras.Model:
    """A model that keeps the contract, or breaks it in one way."""
    inputs = keras.Input((input_shape[0], frames or input_shape[1], input_shape[2]))
    filters = options.filters(8) if by_width else 8
    x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=kernel)(inputs)
    x = pool()(layers.BatchNormalization()(x))
    outputs = layers.Dense(num_classes, activation=activation, dtype=last_type)(x)
    model = keras.Model(inputs, outputs)
    if compiled:
        model.compile()
    return model


def broken(**how: Any) -> Architecture:
    def build_broken(*arguments: Any) -> keras.Model:
        return build(*arguments, **how)

    return Architecture(build_broken, ModelOptions, (1, 1))


def silenced() -> Any:
    return lambda x: layers.GlobalAveragePooling2D()(layers.Rescaling(0.0)(x))


def by_lambda() -> Any:
    return layers.Lambda(lambda x: keras.ops.mean(x, (1, 2)))


class Unregistered(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return keras.ops.mean(inputs, (1, 2))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0], input_shape[3]


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (build, "it must be made with Architecture"),
        (Architecture(build, ModelOptions, (0, 4)), r"`smallest_input` must be bands and frames, .* got \(0, 4\)"),
        (Architecture(build, Loose, (1, 1)), "unknown settings must be refused, Loose takes 'no_such_setting'"),
        (Architecture(build, Required, (1, 1)), "every option must have a default: 'options.filters' is missing"),
        (broken(compiled=True), "`build` must not compile the model"),
        (broken(frames=48), r"a model must map \(None, 32, None, 3\) .* got \(None, 32, 48, 3\)"),
        (broken(activation="sigmoid"), "the output must be probabilities of 10 classes"),
        (broken(last_type=None), "probabilities must be float32 in mixed precision too"),
        (
            broken(kernel=keras.initializers.GlorotUniform(seed=3)),
            r"another seed must give other .* in conv2d\w*/kernel",
        ),
        (broken(by_width=False), "`width` must scale the filters"),
    ],
)
def test_what_breaks_the_contract_is_named(architecture, message):
    with pytest.raises(AssertionError, match=message):
        check_architecture(architecture, quick=True)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"pool": silenced}, "training must change every weight, got no change of conv2d"),
        ({"pool": Unregistered}, r"a model must be of Keras' own layers, .* got \['test_architecture_contract'\]"),
        ({"pool": by_lambda}, "a model must be of Keras' own layers"),
    ],
)
def test_what_breaks_the_contract_in_use_is_named(how, message):
    with pytest.raises(AssertionError, match=message):
        check_architecture(broken(**how))


@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated")
def test_one_that_keeps_the_contract_passes():
    check_architecture(Architecture(build, ModelOptions, (1, 1)))
