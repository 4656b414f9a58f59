from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from fuzzing import CHANGES, changed, examples
from hypothesis import given

from asc_study.models.import_weights import read_hdf5_weights
from asc_study.models.stored import load_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "w.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"c", b"d"])
        for name in "cd":
            file.create_group(name).attrs["weight_names"] = np.array([b"k"])
            file[name]["k"] = np.ones((3, 3), np.float32)
    return path.read_bytes()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> bytes:
    from asc_study.models import build_model

    path = tmp_path_factory.mktemp("model") / "m.keras"
    build_model("fcnn", input_shape=(16, None, 3), num_classes=3, width=0.02).save(path)
    return path.read_bytes()


@examples(150)
@given(CHANGES)
def test_damaged_weights_are_finite_or_one_line(value_or_line: Callable, weights: bytes, changes):
    Path("w.hdf5").write_bytes(changed(weights, changes))
    for _, arrays in value_or_line(read_hdf5_weights, Path("w.hdf5")) or ():
        assert all(np.isfinite(array).all() and array.nbytes < 1_000_000 for array in arrays)


@examples(8)
@given(CHANGES)
def test_a_damaged_model_is_one_or_one_line(value_or_line: Callable, model: bytes, changes):
    Path("m.keras").write_bytes(changed(model, changes))
    loaded = value_or_line(load_model, Path("m.keras"))
    assert loaded is None or loaded.count_params() > 0
