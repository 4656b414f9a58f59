"""TFLite: conversion of a Keras model, and what stands in a file."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError
from asc_study.base.quiet import quiet
from asc_study.base.schema import did_you_mean
from asc_study.deploy.runtime.network import why_not_run
from asc_study.models.unequal_strides import as_written
from asc_study.settings.system_rows import Scheme

if TYPE_CHECKING:
    import keras

#: Ways to convert.
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

#: Operators that int8 leaves in float32: a probability in steps of 1/256 makes ties of what is close and 0 of the rest.
_KEPT_FLOAT: Final = ("SOFTMAX",)


def convert(
    model: "keras.Model",
    input_shape: tuple[int, int, int],
    scheme: str,
    calibration: Iterable[npt.NDArray[np.float32]] = (),
) -> bytes:
    """Convert a model for one clip of a fixed shape at a time; the same model gives the same bytes.

    Parameters
    ----------
    model
        A functional model on the TensorFlow back end.
    input_shape
        Frequency, time, channel.
    scheme
        One of `SCHEMES`.
    calibration
        Features of training clips, for int8; a model that was trained with 8 bits has its ranges and needs none.

    Raises
    ------
    InputError
        If the scheme is unknown or not that of the training, int8 has no clips to calibrate on, Keras runs on another
        back end, or what the converter makes is a file that LiteRT does not run (int8 of some networks that divide by a
        deviation).
    """
    import keras

    from asc_study.training.fake_quant import is_rounded

    require_scheme(scheme)
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"conversion needs Keras on TensorFlow, got {keras.backend.backend()}: set KERAS_BACKEND=tensorflow"
        )
    aware = is_rounded(model)
    if aware and scheme != "int8":
        raise InputError(f"{model.name} was trained for 8 bits, which int8 keeps as they are, got {scheme}: use int8")
    clips = [features[np.newaxis] for features in calibration] if scheme == "int8" and not aware else []
    if scheme == "int8" and not (clips or aware):
        raise InputError("int8 needs training clips to calibrate on, got none: give --data, or use dynamic")
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf
        from tensorflow.lite.python.convert_phase import ConverterError
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        logging.getLogger("absl").setLevel(logging.ERROR)
        signature = tf.TensorSpec((1, *input_shape), tf.float32)
        with as_written():
            traced = tf.function(lambda features: model(features, training=False)).get_concrete_function(signature)
        # Its variables frozen first: from a Keras 3 model as it is, the converter makes a file full of NaN; and by way
        # of a SavedModel it takes ten times as long.
        frozen = convert_variables_to_constants_v2(traced)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        # Built-in operators only: any other needs TensorFlow where the file is run.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if scheme != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if scheme == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            content = _without_names(_int8(converter, clips) if clips else converter.convert())
            content = _with_float_decision(content) if aware else content
        except ConverterError as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"the model cannot be converted ({reason:.300}): use other layers or another scheme"
            ) from None
    if reason := why_not_run(content):
        other = " or ".join(one for one in ("dynamic", "float16") if one != scheme)
        raise InputError(f"{scheme} makes a file of this network that LiteRT cannot run ({reason:.200}): use {other}")
    return content


def _int8(converter: Any, clips: Sequence[npt.NDArray[np.float32]]) -> bytes:
    from tensorflow import lite

    def dataset() -> Iterator[list[npt.NDArray[np.float32]]]:
        return ([clip] for clip in clips)

    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = dataset
    # TensorFlow's only way to leave operators out of a quantisation.
    options = lite.experimental.QuantizationDebugOptions(denylisted_ops=list(_KEPT_FLOAT))
    debugger = lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=dataset, debug_options=options)
    return bytes(debugger.get_nondebug_quantized_model())


def _with_float_decision(content: bytes) -> bytes:
    """The file with its softmax, and a mean before it, in float32: what comes behind them to float32 comes before.

    A converter that takes ranges from the graph has no way to leave operators out.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = _read(content)
    codes = schema.BuiltinOperator
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    graph = model.subgraphs[0]
    maker = {operator.outputs[0]: operator for operator in graph.operators}
    last = maker[graph.outputs[0]]
    chain: list[Any] = []
    wanted = codes.SOFTMAX
    operator = maker.get(last.inputs[0])
    while operator is not None and kinds[operator.opcodeIndex] == wanted:
        chain.insert(0, operator)
        operator, wanted = maker.get(operator.inputs[0]), codes.MEAN
    if kinds[last.opcodeIndex] != codes.DEQUANTIZE or not chain:
        return content
    # The same tensors in the same order, of which all but the first are floats now.
    tensors = [chain[0].inputs[0], *(operator.outputs[0] for operator in chain), last.outputs[0]]
    for number in tensors[1:-1]:
        graph.tensors[number].type, graph.tensors[number].quantization = schema.TensorType.FLOAT32, None
    for operator, taken, given in zip([last, *chain], tensors, tensors[1:], strict=False):
        operator.inputs, operator.outputs = [taken, *operator.inputs[1:]], [given]
    place = graph.operators.index(chain[0])
    graph.operators.remove(last)
    graph.operators.insert(place, last)
    return _packed(model, len(content))


def _without_names(content: bytes) -> bytes:
    """The file without the names of its tensors: they take kilobytes, and differ from process to process."""
    model = _read(content)
    model.description = model.signatureDefs = None  # a signature is of names alone
    for graph in model.subgraphs:
        graph.name = None
        for tensor in graph.tensors:
            tensor.name = None
    return _packed(model, len(content))


def _packed(model: Any, size: int) -> bytes:
    """The bytes of a file, of about that size."""
    from ai_edge_litert import schema_py_generated as schema

    builder = schema.flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _read(content: bytes) -> Any:
    """A file as the objects of its schema."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def require_scheme(scheme: str) -> None:
    """Raise `InputError` if there is no such scheme."""
    if scheme not in SCHEMES:
        raise InputError(f"unknown quantisation scheme {scheme!r}: {did_you_mean(scheme, list(SCHEMES))}")


@dataclass(frozen=True)
class TfliteFile:
    """What stands in a ``.tflite`` file.

    Attributes
    ----------
    file_bytes
        Its size.
    parameters
        Values that it stores, zeros included.
    stored_bytes
        They at their own precision (the size rule of DCASE 2022).
    nonzero_bytes
        The same without those that stand for zero (the rule of DCASE 2020).
    operators
        Names of its operators, each once, in alphabetical order.
    foreign
        Those of them that LiteRT alone does not have.
    """

    file_bytes: int
    parameters: int
    stored_bytes: int
    nonzero_bytes: int
    operators: tuple[str, ...]
    foreign: tuple[str, ...]


def inspect(content: bytes) -> TfliteFile:
    """Read what stands in a ``.tflite`` file."""
    from ai_edge_litert import schema_py_generated as schema

    model = _read(content)
    constants = [
        _values(tensor, model.buffers[tensor.buffer].data)
        for graph in model.subgraphs
        for tensor in graph.tensors
        if _is_parameter(tensor, model.buffers[tensor.buffer].data)
    ]
    builtin = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    custom = [code.customCode.decode() for code in model.operatorCodes if code.customCode]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes if not code.customCode]
    return TfliteFile(
        file_bytes=len(content),
        parameters=sum(values.size for values, _ in constants),
        stored_bytes=sum(values.nbytes for values, _ in constants),
        nonzero_bytes=sum(int(nonzero) * values.itemsize for values, nonzero in constants),
        operators=tuple(sorted({builtin[code] for code in codes} | set(custom))),
        foreign=tuple(sorted(custom)),
    )


def _is_parameter(tensor: Any, data: Any) -> bool:
    """Whether a tensor is a weight: shapes and axes of operators are whole numbers without a scale."""
    if data is None or not len(data):
        return False
    return tensor.type in _TYPES and (tensor.type not in _WHOLE or _scale(tensor) is not None)


#: Of weights: the number of a type in the schema -> NumPy's.
_TYPES: Final = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64, 7: np.int16, 9: np.int8}
_WHOLE: Final = (2, 4)


def _scale(tensor: Any) -> Any:
    return tensor.quantization.scale if tensor.quantization is not None else None


def _values(tensor: Any, data: Any) -> tuple[npt.NDArray[Any], int]:
    """The stored values of a weight, and how many of them do not stand for zero."""
    values = np.frombuffer(bytes(data), _TYPES[tensor.type])
    points = tensor.quantization.zeroPoint if _scale(tensor) is not None else None
    zero = int(points[0]) if points is not None and len(set(points)) == 1 else 0
    return values, int(np.count_nonzero(values != zero))
