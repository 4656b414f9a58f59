"""Models from elsewhere: what is damaged or was made to do harm is one line, at once, and reads nothing else."""

import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.models import build_model
from asc_study.models.import_weights import read_hdf5_weights
from asc_study.models.stored import load_model


def write_weights(path: str = "w.hdf5") -> Path:
    """A file of Keras 2 with one layer, whose array is ``c/k``."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"c"])
        file.create_group("c").attrs["weight_names"] = np.array([b"k"])
        file["c"]["k"] = np.ones((3, 3), np.float32)
    return Path(path)


def external_link(group: Any) -> None:
    group["k"] = h5py.ExternalLink("secret.hdf5", "k")


def soft_link(group: Any) -> None:
    group["k"] = h5py.SoftLink("/c/other")


def external_storage(group: Any) -> None:
    group.create_dataset("k", (4,), np.float32, external=[("secret.bin", 0, 16)])


def virtual(group: Any) -> None:
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource("secret.hdf5", "k", (4,))
    group.create_virtual_dataset("k", layout)


def claims_256_gb(group: Any) -> None:
    group.create_dataset("k", (65536, 65536, 4, 4), np.float32, chunks=(64, 64, 4, 4))


def packs_16_gb(group: Any) -> None:
    dataset = group.create_dataset("k", (2**32,), np.float32, chunks=(2**20,), compression="gzip")
    dataset[: 2**20] = 0


def holds_texts(group: Any) -> None:
    group.create_dataset("k", (2,), h5py.vlen_dtype(np.int32))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (external_link, r"a link leads out of its place at 'k'"),
        (soft_link, r"a link leads out of its place at 'k'"),
        (external_storage, r"the array 'k' lies in another file"),
        (virtual, r"the array 'k' lies in another file"),
        (claims_256_gb, r"the array 'k' claims 256 GB and holds none"),
        (packs_16_gb, r"it has [\d.]+ kB and claims 16 GB"),
        (holds_texts, r"the array 'k' holds no numbers"),
    ],
)
def test_weights_that_point_elsewhere_or_claim_too_much_are_refused_unread(made, message):
    path = write_weights()
    assert read_hdf5_weights(path)[0][1][0].sum() == 9
    Path("secret.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    with h5py.File("secret.hdf5", "w") as file:
        file["k"] = np.arange(4, dtype=np.float32)
    with h5py.File(path, "r+") as file:
        del file["c"]["k"]
        made(file["c"])
    start = time.perf_counter()
    with pytest.raises(InputError, match=rf"w\.hdf5 is not a readable HDF5 file of Keras 2 \({message}\)") as caught:
        read_hdf5_weights(path)
    assert time.perf_counter() - start < 2
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> bytes:
    model = build_model("fcnn", input_shape=(16, None, 3), num_classes=10, width=0.0625)
    path = tmp_path_factory.mktemp("model") / "m.keras"
    model.save(path)
    return path.read_bytes()


def edited(stored: bytes, **members: bytes | None) -> bytes:
    """The archive with members replaced, added or (None) left out; ``config`` stands for ``config.json``."""
    names = {"config": "config.json", "weights": "model.weights.h5", "metadata": "metadata.json"}
    changed = {names.get(name, name): content for name, content in members.items()}
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(stored)) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as new:
        kept = {name: old.read(name) for name in old.namelist()}
        for name, content in (kept | changed).items():
            if content is not None:
                new.writestr(name, content)
    return result.getvalue()


def with_a_lambda() -> bytes:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x)])
    model.save("lambda.keras")
    return Path("lambda.keras").read_bytes()


def pointing_weights() -> bytes:
    with h5py.File("x.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("secret.hdf5", "k")
    return Path("x.h5").read_bytes()


HARMFUL = {
    "a Lambda layer": (lambda stored: with_a_lambda(), "ambda"),
    "no description": (lambda stored: edited(stored, config=None), "it must hold config.json, metadata.json, model"),
    "no JSON": (lambda stored: edited(stored, config=b"{"), "Expecting property name"),
    "damaged UTF-8": (lambda stored: edited(stored, config=b'{"a": "\xff"}'), "codec can't decode"),
    "a list": (lambda stored: edited(stored, config=b"[]"), "its description is no JSON object"),
    "a deep description": (lambda stored: edited(stored, config=b"[" * 200_000), "nested too deeply"),
    "another class": (
        lambda stored: edited(
            stored, config=json.dumps({"module": "os", "class_name": "system", "config": {}}).encode()
        ),
        "Could not locate class 'system'",
    ),
    "a file more": (lambda stored: edited(stored, **{"../evil": b"x"}), "it must hold config.json"),
    "a bomb": (lambda stored: edited(stored, weights=bytes(300 * 1024**2)), r"and unpacks to 300 MB"),
    "other files' weights": (lambda stored: edited(stored, weights=pointing_weights()), "a link leads out"),
    "no weights": (lambda stored: edited(stored, weights=b"x"), "file signature not found"),
    "half of it": (lambda stored: stored[: len(stored) // 2], "File is not a zip file"),
    "nothing": (lambda stored: b"", "File is not a zip file"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_model_that_is_damaged_or_harmful_is_one_line(stored, name):
    make, message = HARMFUL[name]
    Path("m.keras").write_bytes(make(stored))
    start = time.perf_counter()
    with pytest.raises(InputError, match=rf"m\.keras is not a model that can be loaded \(.*{message}") as caught:
        load_model("m.keras")
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - start < 10


def test_a_good_model_is_loaded(stored):
    Path("m.keras").write_bytes(stored)
    assert load_model(Path("m.keras")).output_shape == (None, 10)
    Path("m.keras").write_bytes(edited(stored))  # compressed
    assert load_model(Path("m.keras")).output_shape == (None, 10)
