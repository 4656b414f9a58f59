"""Import of weights that Keras 2 saved as HDF5, such as those that the authors published for Task 1b.

Keras 2 keeps the weights of every layer in a group of its own, in the order of ``model.layers``; the names of the
layers stand in the attribute ``layer_names``, those of a layer's arrays in its ``weight_names``. Layer names differ
between programs, so arrays are matched by order: Keras 2 and 3 sort the layers of a model by their distance from the
output, and those at the same distance by where a walk from the output back to the input meets them first.
"""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import h5py  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError, shown
from asc_study.base.files import open_input, replacing
from asc_study.base.schema import did_you_mean
from asc_study.base.yaml_file import parse_yaml
from asc_study.models import ARCHITECTURES
from asc_study.models.stored import check_hdf5

if TYPE_CHECKING:
    import keras

#: Name of a layer and its arrays, none for a layer without weights.
LayerWeights: TypeAlias = tuple[str, list[npt.NDArray[Any]]]

_PADDING: Final = re.compile(r"zero_padding2d(_\d+)?")


def read_hdf5_weights(path: Path | str) -> list[LayerWeights]:
    """Read the arrays of all layers from an HDF5 file that Keras 2 wrote, in the order of the file.

    Parameters
    ----------
    path
        A whole saved model (``model.save``, ``ModelCheckpoint``) or its weights alone (``model.save_weights``).

    Returns
    -------
    list
        Name and arrays of every layer; layers without weights have no arrays.

    Raises
    ------
    InputError
        If the file is missing, not HDF5, damaged or without weights in this form, points to other files, claims more
        than it holds, or if a weight is not a finite number.
    """
    opened = open_input(path, "weights")
    try:
        with opened, h5py.File(opened, "r") as file:
            check_hdf5(file, os.fstat(opened.fileno()).st_size)
            group = file.get("model_weights", file)
            layers = [(name, _arrays(group[name])) for name in _names(group, "layer_names")]
    except (OSError, LookupError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a readable HDF5 file of Keras 2 ({_one_line(error)}): "
            "give one that Keras' `save` or `save_weights` wrote"
        ) from None
    if not any(arrays for _, arrays in layers):
        raise InputError(
            f"{path} must hold the weights of at least one layer, got none in the form of Keras 2: "
            "give an .h5 or .hdf5 file that Keras' `save` or `save_weights` wrote"
        )
    for name, arrays in layers:
        for array in arrays:
            if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
                raise InputError(
                    f"weights must be finite numbers, got others in layer {name!r} of {path}: export again"
                )
    return layers


def load_weights_by_layer_order(model: "keras.Model", path: Path | str) -> None:
    """Give the layers of ``model`` the arrays of a Keras 2 HDF5 file, in order; layers without weights are skipped.

    Nothing is changed unless everything fits.

    Raises
    ------
    InputError
        As `read_hdf5_weights`, and if the number of layers with weights or the shapes of a layer differ.
    """
    saved = [layer for layer in read_hdf5_weights(path) if layer[1]]
    layers = [layer for layer in model.layers if layer.weights]
    if len(saved) != len(layers):
        raise InputError(
            f"the model {model.name!r} has {len(layers)} layers with weights, got {len(saved)} in {path}: "
            "build the architecture and options that the file was saved from"
        )
    for place, (layer, (name, arrays)) in enumerate(zip(layers, saved, strict=True), start=1):
        expected = [tuple(weight.shape) for weight in layer.weights]
        received = [array.shape for array in arrays]
        if expected != received:
            raise InputError(
                f"layer {place} with weights, {layer.name!r}, needs the shapes {_shapes(expected)}, got "
                f"{_shapes(received)} in {name!r} of {path}: "
                "build the architecture and options that the file was saved from"
            )
    for layer, (_, arrays) in zip(layers, saved, strict=True):
        layer.set_weights(arrays)


def import_model(
    file: Path, *, architecture: str, task: str, options: Sequence[str] = (), out: Path | None = None
) -> dict[str, Any]:
    """Make a Keras model of a Keras 2 HDF5 file and save it as ``.keras``.

    Parameters
    ----------
    file
        The HDF5 file.
    architecture, task
        What the weights belong to.
    options
        ``KEY=VALUE`` options of the architecture that win over those inferred from the file; the value is YAML.
    out
        The file to write; by default in the working directory, named as ``file``.

    Returns
    -------
    dict
        ``file, architecture, options, parameters``, in the types of JSON.

    Raises
    ------
    InputError
        If the file does not fit the architecture, or the model cannot be written.
    """
    from asc_study.base.taxonomy import CLASSES
    from asc_study.models import build_model

    target = out or Path(f"{file.stem}.keras")
    if target.suffix != ".keras":
        raise InputError(f"--out must end in .keras, got {str(target)!r}: rename it")
    layers = read_hdf5_weights(file)
    chosen = infer_options(architecture, layers)
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise InputError(f"--option takes KEY=VALUE, got {option!r}: for example --option width=0.5")
        chosen[key] = parse_yaml(value, f"--option {key:.100}: the value {shown(value)}")
    channels = 3 if task == "ten_class" else 6
    model = build_model(architecture, input_shape=(128, None, channels), num_classes=len(CLASSES[task]), **chosen)
    load_weights_by_layer_order(model, file)
    with replacing(target) as temporary:
        model.save(temporary)
    described = {"file": str(target), "architecture": architecture, "options": chosen}
    return described | {"parameters": model.count_params()}


def infer_options(architecture: str, layers: list[LayerWeights]) -> dict[str, Any]:
    """Guess with which options an architecture was built from the layers that `read_hdf5_weights` read.

    Returns
    -------
    dict
        ``attention`` where the architecture has the option; for the small FCNN ``block_filters`` and
        ``doubled_padding``, for the others ``width``: of those that give the filters of the first convolution, the one
        with the fewest decimals.

    Raises
    ------
    InputError
        On an architecture that is unknown or not of the paper, or if the file holds too few convolutions for it.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"unknown architecture {architecture!r}: {did_you_mean(architecture, ARCHITECTURES)}")
    if not ARCHITECTURES[architecture].stem_filters:
        known = ", ".join(name for name in ARCHITECTURES if ARCHITECTURES[name].stem_filters)
        raise InputError(f"weights are imported for the architectures of the paper ({known}), got {architecture!r}")
    kernels = [arrays[0] for _, arrays in layers if arrays]
    filters = [kernel.shape[-1] for kernel in kernels if kernel.ndim == 4]
    small = architecture == "small_fcnn"
    if len(filters) < (needed := 6 if small else 1):
        raise InputError(
            f"{architecture} needs at least {needed} convolution(s), got {len(filters)} in the file: "
            "name the architecture that the file was saved from"
        )
    options: dict[str, Any] = {}
    if "attention" in ARCHITECTURES[architecture].options_model.model_fields:
        options["attention"] = any(kernel.ndim == 2 for kernel in kernels)
    if small:
        options["block_filters"] = filters[0:6:2]
        options["doubled_padding"] = _pads_twice([name for name, _ in layers])
    else:
        options["width"] = _width(filters[0], ARCHITECTURES[architecture].stem_filters)
    return options


def _width(filters: int, base: int) -> float:
    return next(
        width
        for width in (round(filters / base, digits) for digits in range(16))
        if width > 0 and max(1, round(width * base)) == filters
    )


def _pads_twice(names: list[str]) -> bool:
    padding = [_PADDING.fullmatch(name) is not None for name in names]
    return any(first and second for first, second in pairwise(padding))


def _names(group: Any, attribute: str) -> list[str]:
    """Read a list of names, which Keras cuts in numbered parts where it is too long for one attribute."""
    if attribute in group.attrs:
        values = list(group.attrs[attribute])
    else:
        values, part = [], 0
        while f"{attribute}{part}" in group.attrs:
            values += list(group.attrs[f"{attribute}{part}"])
            part += 1
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _arrays(group: Any) -> list[npt.NDArray[Any]]:
    return [np.asarray(group[name]) for name in _names(group, "weight_names")]


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return " ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
