"""Conversion: sizes, schemes, what stands in a file."""

import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.deploy.runtime.network import Network
from asc_study.deploy.tflite import SCHEMES, convert, inspect

SHAPE = (24, 40, 3)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    return np.random.default_rng(0).random((12, *SHAPE), dtype=np.float32)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_file_computes_what_the_model_does(scheme, tiny_source, clips) -> None:
    model = tiny_source().load()
    network = Network(convert(model, SHAPE, scheme, clips))
    assert (network.input_shape, network.classes) == (SHAPE, 10)
    found = np.stack([network(clip) for clip in clips])
    tolerance = {"float32": 1e-5, "float16": 1e-2, "dynamic": 5e-2, "int8": 8e-2}[scheme]
    np.testing.assert_allclose(found, model.predict_on_batch(clips), atol=tolerance)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    assert found.min() > 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_model_gives_the_same_bytes(scheme, tiny_source, clips) -> None:
    first, second = (convert(tiny_source(seed=3).load(), SHAPE, scheme, clips) for _ in range(2))
    assert first == second


def test_bytes_are_counted_by_their_own_precision(tiny_source, clips) -> None:
    model = tiny_source().load()
    kernel, bias = model.layers[-3].get_weights()
    kernel[:3] = 0
    model.layers[-3].set_weights([kernel, bias])
    files = {scheme: inspect(convert(model, SHAPE, scheme, clips)) for scheme in SCHEMES}
    folded = 3 * 3 * 3 * 8 + 8  # batch normalisation is part of the first convolution then
    expected = folded + kernel.size + bias.size
    assert files["float32"].parameters == expected
    assert files["float32"].stored_bytes == 4 * expected
    assert files["float32"].nonzero_bytes == 4 * (expected - np.count_nonzero(kernel == 0))
    assert files["float16"].stored_bytes == 2 * expected
    assert files["int8"].stored_bytes == expected + 3 * (8 + bias.size)  # biases keep 32 bits
    assert files["dynamic"].stored_bytes <= files["float32"].stored_bytes
    assert "CONV_2D" in files["int8"].operators
    assert all(file.foreign == () for file in files.values())


def test_what_cannot_be_converted_is_one_line(tiny_source) -> None:
    with pytest.raises(InputError, match="unknown quantisation scheme 'int4'"):
        convert(tiny_source().load(), SHAPE, "int4")
    with pytest.raises(InputError, match="int8 needs training clips"):
        convert(tiny_source().load(), SHAPE, "int8")


def test_operators_that_litert_lacks_are_refused() -> None:
    import keras

    inputs = keras.Input(SHAPE)
    x = keras.ops.erfinv(inputs)
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(InputError, match="the model cannot be converted"):
        convert(model, SHAPE, "float32")


def test_a_file_that_litert_cannot_run_is_refused_when_it_is_made(tiny_source, clips, monkeypatch) -> None:
    """The converter makes such files of some networks without a word, by int8."""
    from ai_edge_litert import schema_py_generated as schema

    def broken(converter, _) -> bytes:
        file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(converter.convert(), 0))
        code = file.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"NowhereToBeFound"
        builder = schema.flatbuffers.Builder(1024)
        builder.Finish(file.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    monkeypatch.setattr("asc_study.deploy.tflite._int8", broken)
    with pytest.raises(InputError, match=r"int8 makes a file .* LiteRT cannot run \(.+\): use dynamic or float16"):
        convert(tiny_source().load(), SHAPE, "int8", clips)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "options", "most_bytes"),
    [("small_fcnn", {"block_filters": [36, 72, 96], "doubled_padding": True}, 258_656), ("mobnet", {}, 252_256)],
)
def test_the_papers_networks_are_no_larger_than_the_authors_files(architecture, options, most_bytes) -> None:
    """Their .tflite files of Task 1b, and dynamic range as the paper has it."""
    from asc_study.models import build_model

    model = build_model(architecture, input_shape=(128, None, 6), num_classes=3, **options)
    content = convert(model, (128, 461, 6), "dynamic")
    assert len(content) <= most_bytes
    clip = np.random.default_rng(1).random((128, 461, 6), dtype=np.float32)
    np.testing.assert_allclose(Network(content)(clip), model.predict_on_batch(clip[np.newaxis])[0], atol=0.02)
