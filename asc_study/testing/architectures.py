"""The contract of an architecture, checked on the models that it builds, under whichever back end Keras has."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError
from asc_study.base.schema import validate
from asc_study.models import Architecture
from asc_study.models.cost import model_cost
from asc_study.testing.rules import check_settings, require, same

_CHANNELS, _CLASSES = 3, 10

#: Largest difference of outputs that the same model may give in TFLite: in float32, and with weights of 8 bits.
_TFLITE: Final = 1e-5
_TFLITE_QUANTISED: Final = 0.05

#: Of the sum of probabilities.
_SUM: Final = 1e-5

_STEPS: Final = 5

FloatArray = npt.NDArray[np.float32]


def check_architecture(
    architecture: Architecture, *, options: Mapping[str, Any] | None = None, quick: bool = False
) -> None:
    """Check that an architecture keeps its contract; needs no data.

    Parameters
    ----------
    architecture
        What builds the models, and the model of its options.
    options
        The options to check it with; if it has a ``width``, a small one is quick.
    quick
        Whether to leave out what takes seconds: a few steps of training, and the forms in which a model is kept (Keras'
        own, and TFLite under the TensorFlow back end).

    Raises
    ------
    AssertionError
        At the first rule that it breaks: the rule, what it has, what to do.
    """
    require(isinstance(architecture, Architecture), f"it must be made with Architecture, got {architecture!r:.80}")
    least = architecture.smallest_input
    require(
        isinstance(least, tuple) and len(least) == 2 and all(type(size) is int and size > 0 for size in least),
        f"`smallest_input` must be bands and frames, whole numbers above 0, got {least!r}",
    )
    check_settings(architecture.options_model)
    builder = _Builder(architecture, dict(options or {}))
    model = builder.build()
    _check_form(builder, model)
    _check_lengths(builder, model)
    _check_precision(builder)
    _check_seed(builder, model)
    _check_width(builder, model)
    if not quick:
        _check_training(builder)
        _check_saving(builder, model)
    _check_cost(builder, model)
    if not quick and keras.backend.backend() == "tensorflow":
        _check_tflite(builder)


class _Builder:
    """Builds models of one architecture, of clips that are not smaller than it takes."""

    def __init__(self, architecture: Architecture, options: dict[str, Any]) -> None:
        self.architecture, self.options = architecture, options
        self.bands, frames = (max(size, 32) for size in architecture.smallest_input)
        self.frames = max(frames, 48)
        try:
            validate(architecture.options_model, options, path="options")
        except InputError as error:
            raise AssertionError(f"every option must have a default: {error}") from error

    def build(
        self, shape: tuple[int, int | None, int] | None = None, classes: int = _CLASSES, seed: int = 1, **options: Any
    ) -> keras.Model:
        keras.utils.set_random_seed(seed)
        chosen = validate(self.architecture.options_model, self.options | options)
        return self.architecture.build(shape or (self.bands, None, _CHANNELS), classes, chosen)

    def clips(self, frames: int, count: int = 4) -> FloatArray:
        return np.random.default_rng(0).random((count, self.bands, frames, _CHANNELS), np.float32)


def _check_form(builder: _Builder, model: keras.Model) -> None:
    require(
        isinstance(model, keras.Model) and hasattr(model, "_nodes_by_depth"),
        f"`build` must return a functional keras.Model, got {model!r:.80}",
    )
    require(getattr(model, "optimizer", None) is None, "`build` must not compile the model: training does")
    expected = (None, builder.bands, None, _CHANNELS), (None, _CLASSES)
    found = model.input_shape, model.output_shape
    require(found == expected, f"a model must map {expected[0]} to {expected[1]}, got {found[0]} and {found[1]}")
    fixed = builder.build((builder.bands, builder.frames, _CHANNELS))
    require(
        fixed.input_shape == (None, builder.bands, builder.frames, _CHANNELS),
        f"a number of frames that is given must be that of the input, got {fixed.input_shape}",
    )


def _check_lengths(builder: _Builder, model: keras.Model) -> None:
    """Check that one model takes crops and whole clips, odd sizes and the smallest."""
    for frames in (builder.frames, builder.frames + 23):
        _check_probabilities(model, builder.clips(frames), _CLASSES)
    odd = builder.bands + 9 - builder.bands % 2
    _check_probabilities(
        builder.build((odd, None, 6), classes=3), np.zeros((1, odd, builder.frames + 2, 6), np.float32), 3
    )
    bands, frames = builder.architecture.smallest_input
    smallest = builder.build((bands, None, _CHANNELS))
    _check_probabilities(smallest, np.ones((2, bands, frames, _CHANNELS), np.float32), _CLASSES)


def _check_probabilities(model: keras.Model, clips: FloatArray, classes: int) -> None:
    found = np.asarray(model(clips))
    require(
        found.shape == (len(clips), classes)
        and bool((found >= 0).all())
        and bool(np.allclose(found.sum(axis=1), 1, atol=_SUM)),
        f"the output must be probabilities of {classes} classes, rows that sum to 1, got {found[0].tolist()} for clips "
        f"of {clips.shape[1:]}: end in softmax",
    )


def _check_precision(builder: _Builder) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = builder.build()
    finally:
        keras.config.set_dtype_policy("float32")
    require(
        model.output.dtype == "float32",
        f"probabilities must be float32 in mixed precision too, got {model.output.dtype}: give the last layer "
        'dtype="float32"',
    )
    *others, _ = (layer for layer in model.layers if layer.weights or layer is model.layers[-1])
    wide = [layer.name for layer in others if layer.compute_dtype != "float16"]
    require(not wide, f"all but the last layer must take the precision that Keras is set to, got float32 in {wide}")


def _check_seed(builder: _Builder, model: keras.Model) -> None:
    first, again, other = (
        {weight.path: np.asarray(weight) for weight in one.weights}
        for one in (model, builder.build(), builder.build(seed=2))
    )
    differ = [
        path for (path, weight), twin in zip(first.items(), again.values(), strict=True) if not same(weight, twin)
    ]
    require(not differ, f"initial weights must follow from Keras' seed, got others in {', '.join(differ)}")
    fixed = [
        path
        for (path, weight), twin in zip(first.items(), other.values(), strict=True)
        if same(weight, twin) and np.ptp(weight) > 0
    ]
    require(not fixed, f"another seed must give other initial weights, got the same in {', '.join(fixed)}")


def _check_width(builder: _Builder, model: keras.Model) -> None:
    if "width" not in builder.architecture.options_model.model_fields:
        return
    width = builder.options.get("width", 1.0)
    wider = builder.build(width=2 * width)
    require(
        wider.count_params() > model.count_params(),
        f"`width` must scale the filters, got {wider.count_params()} parameters with {2 * width} and "
        f"{model.count_params()} with {width}: use options.filters(...)",
    )


def _check_cost(builder: _Builder, model: keras.Model) -> None:
    lengths = (builder.frames, 2 * builder.frames)
    try:
        short, long = (model_cost(model, (builder.bands, frames, _CHANNELS)) for frames in lengths)
    except InputError as error:
        raise AssertionError(str(error)) from None
    require(
        0 < short.macs < long.macs,
        f"a longer clip must cost more operations, got {short.macs} and {long.macs}: use convolutions and dense layers "
        "of Keras",
    )
    require(
        short.parameters == long.parameters == model.count_params(),
        f"parameters must not depend on the clip, got {short.parameters} and {long.parameters}",
    )


def _check_training(builder: _Builder) -> None:
    """Check that a few steps on one batch lower the loss and reach every weight."""
    model = builder.build(seed=3)
    before = [np.array(weight) for weight in model.trainable_weights]
    # Compiling a step pays under JAX only, where operations are else compiled one by one.
    eagerly = keras.backend.backend() == "tensorflow"
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "categorical_crossentropy", run_eagerly=eagerly)
    labels = np.eye(_CLASSES, dtype=np.float32)[np.arange(8)]
    clips = builder.clips(builder.frames, count=8) + labels.argmax(axis=1)[:, None, None, None].astype(np.float32)
    losses = [float(model.train_on_batch(clips, labels)) for _ in range(_STEPS)]
    lowest = min(losses[1:])  # the last one of a few big steps may be above the first
    require(lowest < losses[0], f"training on one batch must lower the loss, got {losses[0]} and {lowest} at best")
    still = [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if same(np.asarray(weight), old)
    ]
    require(not still, f"training must change every weight, got no change of {', '.join(still)}")


def _check_saving(builder: _Builder, model: keras.Model) -> None:
    """Check that a saved model opens without the code that built it."""
    clips = builder.clips(builder.frames)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        with ZipFile(file) as archive:
            config = archive.read("config.json").decode()
        strange = set(re.findall(r'"module": "([^".]*)', config)) - {"keras"}
        require(
            not strange and '"Lambda"' not in config,
            f"a model must be of Keras' own layers, so that it opens without yours, got {sorted(strange)} or Lambda",
        )
        loaded = keras.models.load_model(file, safe_mode=True)
    require(same(loaded(clips), model(clips)), "a model that was saved and loaded must give the same outputs")


def _check_tflite(builder: _Builder) -> None:
    model = builder.build((builder.bands, builder.frames, _CHANNELS), seed=2)
    clips = builder.clips(builder.frames, count=1)
    expected = np.asarray(model(clips))
    for quantised, most in ((False, _TFLITE), (True, _TFLITE_QUANTISED)):
        found = _run_tflite(_to_tflite(model, quantised), clips)
        differs = float(np.abs(found - expected).max())
        form = "of 8 bits" if quantised else "in float32"
        require(differs < most, f"the TFLite model {form} must give the same outputs up to {most}, got {differs:.2g}")


def _to_tflite(model: keras.Model, quantised: bool) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    traced = tf.function(lambda clips: model(clips, training=False)).get_concrete_function(signature)
    # Frozen first: the converter else goes through a SavedModel, which takes ten times as long.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(traced)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if quantised else []
    return bytes(converter.convert())


def _run_tflite(model: bytes, clips: FloatArray) -> FloatArray:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow import lite

        Interpreter = lite.Interpreter
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clips)
    interpreter.invoke()
    output: FloatArray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output
