import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.models import ARCHITECTURES, build_model
from asc_study.models.import_weights import infer_options, load_weights_by_layer_order, read_hdf5_weights

#: Those that have a layout of Keras 2; the others were made elsewhere.
OF_THE_PAPER = [name for name, architecture in ARCHITECTURES.items() if architecture.stem_filters]

SHAPE, CLASSES = (32, None, 6), 3


@lru_cache
def build(architecture: str) -> keras.Model:
    """Build a small model that tests share; they leave its weights as they are."""
    return build_with(architecture, **({} if architecture == "small_fcnn" else {"width": 0.1}))


def build_with(architecture: str, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = build_model(architecture, input_shape=SHAPE, num_classes=CLASSES, **options)
    model.set_weights(scattered(model.get_weights(), seed=1))
    return model


def scattered(weights: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Move every weight, running statistics included, far from its value."""
    rng = np.random.default_rng(seed)
    return [w * rng.uniform(0.5, 1.5, w.shape) + rng.uniform(0, 0.02, w.shape) for w in weights]


def outputs(model: keras.Model) -> np.ndarray:
    """Return what goes into the softmax, which random weights saturate."""
    logits = keras.Model(model.input, model.get_layer("probabilities").input)
    return np.asarray(logits(np.random.default_rng(9).random((3, 32, 40, 6), np.float32)))


def keras_2_order(model: keras.Model) -> list[keras.Layer]:
    """Sort the layers as `_map_graph_network` of Keras 2.2 does: by depth, then by the walk back from the output."""
    traversal: dict[keras.Layer, int] = {}
    finished: list[Any] = []

    def visit(tensor: Any) -> None:
        layer, index, _ = tensor._keras_history
        node = layer._inbound_nodes[index]
        if node in finished:
            return
        traversal.setdefault(layer, len(traversal))
        for received in node.input_tensors:
            visit(received)
        finished.append(node)

    visit(model.output)
    node_depths: dict[Any, int] = {}
    layer_depths: dict[keras.Layer, int] = {}
    for node in reversed(finished):
        depth = max(node_depths.get(node, 0), layer_depths.get(node.operation, 0))
        layer_depths[node.operation] = depth
        for received in node.input_tensors:
            layer, index, _ = received._keras_history
            parent = layer._inbound_nodes[index]
            node_depths[parent] = max(node_depths.get(parent, 0), depth + 1)
    return sorted(traversal, key=lambda layer: (-layer_depths[layer], traversal[layer]))


def write_keras_2(
    path: Path, layers: list[tuple[str, list[np.ndarray]]], *, whole: bool = True, as_bytes: bool = True
) -> Path:
    """Write a file as Keras 2.2 lays it out: a whole model, or its weights alone."""

    def names(values: list[str]) -> Any:
        return np.array([value.encode() for value in values]) if as_bytes else values

    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if whole else file
        group.attrs["layer_names"] = names([name for name, _ in layers])
        group.attrs["backend"] = b"tensorflow"
        for name, arrays in layers:
            layer = group.create_group(name)
            weights = [f"{name}/weight_{i}:0" for i in range(len(arrays))]
            layer.attrs["weight_names"] = names(weights) if weights else np.array([], "S1")
            for weight, array in zip(weights, arrays, strict=True):
                layer.create_dataset(weight, data=array)
        if whole:
            file.create_group("optimizer_weights").create_dataset("momentum", data=np.zeros(3))
    return path


def keras_2_layers(model: keras.Model) -> list[tuple[str, list[np.ndarray]]]:
    """Name the layers as Keras 2 would, counting each kind, with their arrays."""
    counts: dict[str, int] = {}
    layers = []
    for layer in keras_2_order(model):
        kind = keras.utils.get_registered_name(type(layer))
        kind = {"ZeroPadding2D": "zero_padding2d", "Conv2D": "conv2d"}.get(kind, kind.lower())
        counts[kind] = counts.get(kind, 0) + 1
        layers.append((f"{kind}_{counts[kind]}", [np.asarray(weight) for weight in layer.weights]))
    return layers


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=pytest.mark.slow) if name == "mobnet" else name for name in OF_THE_PAPER],
)
def test_a_file_of_keras_2_gives_the_outputs_of_its_model(architecture: str, tmp_path: Path) -> None:
    model = build(architecture)
    expected, weights = outputs(model), model.get_weights()
    file = write_keras_2(tmp_path / "model.hdf5", keras_2_layers(model))
    model.set_weights(scattered(weights, seed=2))
    try:
        assert not np.allclose(outputs(model), expected, atol=1e-4)
        load_weights_by_layer_order(model, file)
        np.testing.assert_array_equal(outputs(model), expected)
    finally:
        model.set_weights(weights)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_whole_models_and_weights_alone_are_read_with_names_of_either_kind(
    whole: bool, as_bytes: bool, tmp_path: Path
) -> None:
    written = [("input_1", []), ("conv2d_1", [np.ones((1, 1, 2, 3)), np.arange(3.0)]), ("dropout_1", [])]
    read = read_hdf5_weights(write_keras_2(tmp_path / "a.h5", written, whole=whole, as_bytes=as_bytes))
    assert [(name, len(arrays)) for name, arrays in read] == [("input_1", 0), ("conv2d_1", 2), ("dropout_1", 0)]
    np.testing.assert_array_equal(read[1][1][1], [0, 1, 2])


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_the_hdf5_that_keras_itself_writes_gives_the_same_outputs(tmp_path: Path) -> None:
    model = build_with("small_fcnn", block_filters=[4, 5, 6])
    model.save(tmp_path / "model.h5")
    expected = outputs(model)
    model.set_weights(scattered(model.get_weights(), seed=2))
    assert not np.allclose(outputs(model), expected, atol=1e-4)
    load_weights_by_layer_order(model, tmp_path / "model.h5")
    np.testing.assert_array_equal(outputs(model), expected)


def test_weights_of_a_network_that_is_not_the_paper_s_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"of the paper \(fcnn, .*, mobnet\), got 'cp_mobile'"):
        infer_options("cp_mobile", [])


def test_names_cut_in_parts_are_joined(tmp_path: Path) -> None:
    file = write_keras_2(tmp_path / "a.h5", [("a", [np.ones(1)]), ("b", [np.zeros(2)])])
    with h5py.File(file, "r+") as opened:
        names = opened["model_weights"].attrs
        del names["layer_names"]
        names["layer_names0"], names["layer_names1"] = np.array([b"a"]), np.array([b"b"])
    assert [name for name, _ in read_hdf5_weights(file)] == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["mobnet", "resnet", "fsfcnn_s"])
def test_the_lower_bands_come_first_at_each_depth(architecture: str) -> None:
    layers = [layer for layer in build(architecture).layers if layer.weights]

    def origin(layer: keras.Layer) -> str:
        node = layer._inbound_nodes[0]
        while not node.operation.name.endswith("_bands"):
            node = node.parent_nodes[0]
        return str(node.operation.name)

    joined = {"mobnet": 5, "resnet": 5, "fsfcnn_s": 7}[architecture]  # layers with weights after the join
    origins = [origin(layer) for layer in layers[:-joined]]
    assert origins == ["lower_bands", "upper_bands"] * (len(origins) // 2)
    assert len(origins) == {"mobnet": 2 * 58, "resnet": 2 * 34, "fsfcnn_s": 2 * 21}[architecture]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("fcnn", {"width": 0.25, "attention": True}),
        ("fcnn", {"width": 0.05, "attention": False}),
        ("fsfcnn", {"width": 0.1, "attention": True}),
        ("fsfcnn_s", {"width": 0.1, "attention": True}),
        ("resnet", {"width": 0.5, "attention": False}),
        ("resnet_d", {"width": 0.25, "attention": True}),
        ("mobnet", {"width": 0.1}),
        ("small_fcnn", {"block_filters": [36, 72, 96], "doubled_padding": False, "attention": True}),
    ],
)
def test_options_are_told_from_the_layers(architecture: str, options: dict) -> None:
    model = build(architecture) if options.get("width") == 0.1 else build_with(architecture, **options)
    layers = keras_2_layers(model)
    assert infer_options(architecture, layers) == options


def test_a_second_zero_padding_in_a_row_is_told_from_the_layers() -> None:
    layers = keras_2_layers(build_with("small_fcnn", block_filters=[4, 5, 6]))
    last = max(i for i, (name, _) in enumerate(layers) if name.startswith("zero_padding2d"))
    layers.insert(last, ("zero_padding2d_7", []))
    assert infer_options("small_fcnn", layers) == {
        "block_filters": [4, 5, 6],
        "doubled_padding": True,
        "attention": True,
    }


def test_options_of_an_unknown_architecture_or_of_too_few_layers_are_refused() -> None:
    with pytest.raises(InputError, match="unknown architecture 'mobnett': did you mean 'mobnet'?"):
        infer_options("mobnett", [])
    with pytest.raises(InputError, match=r"small_fcnn needs at least 6 convolution\(s\), got 1 in the file: name"):
        infer_options("small_fcnn", [("conv2d_1", [np.ones((3, 3, 1, 4))])])
    with pytest.raises(InputError, match=r"fcnn needs at least 1 convolution\(s\), got 0 in the file: name"):
        infer_options("fcnn", [("dense_1", [np.ones((3, 3))])])


class TestBadFiles:
    @pytest.fixture
    def model(self) -> keras.Model:
        inputs = keras.Input((4,), name="features")
        return keras.Model(inputs, keras.layers.Dense(2, name="second")(keras.layers.Dense(3, name="first")(inputs)))

    @pytest.fixture
    def layers(self) -> list[tuple[str, list[np.ndarray]]]:
        return [("dense_1", [np.ones((4, 3)), np.ones(3)]), ("dense_2", [np.ones((3, 2)), np.ones(2)])]

    def load(self, model: keras.Model, path: Path) -> None:
        """Load the file; a refusal must be one line and leave the model as it was."""
        before = model.get_weights()
        try:
            load_weights_by_layer_order(model, path)
        except InputError as error:
            if "\n" in str(error):
                pytest.fail(f"the refusal takes more than one line: {error}")
            if not all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)):
                pytest.fail("the refused file has changed the model")
            raise

    def test_a_good_file_is_taken(self, model, layers, tmp_path: Path) -> None:
        self.load(model, write_keras_2(tmp_path / "a.h5", layers))
        assert all((weight == 1).all() for weight in model.get_weights())

    def test_missing(self, model, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"the file of weights .*a\.h5 does not exist: name an HDF5 file"):
            self.load(model, tmp_path / "a.h5")

    def test_not_hdf5(self, model, tmp_path: Path) -> None:
        file = tmp_path / "a.h5"
        file.write_text("weights")
        with pytest.raises(
            InputError, match=r"a.h5 is not a readable HDF5 file of Keras 2 \(.*\): give one that Keras'"
        ):
            self.load(model, file)

    def test_cut_off(self, model, layers, tmp_path: Path) -> None:
        file = write_keras_2(tmp_path / "a.h5", layers)
        file.write_bytes(file.read_bytes()[:1500])
        with pytest.raises(InputError, match="a.h5 is not a readable HDF5 file of Keras 2"):
            self.load(model, file)

    def test_a_named_layer_is_missing(self, model, layers, tmp_path: Path) -> None:
        file = write_keras_2(tmp_path / "a.h5", layers)
        with h5py.File(file, "r+") as opened:
            del opened["model_weights/dense_2"]
        with pytest.raises(InputError, match="a.h5 is not a readable HDF5 file of Keras 2 .*dense_2"):
            self.load(model, file)

    def test_no_weights(self, model, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["x"] = np.ones(3)
        with pytest.raises(InputError, match="must hold the weights of at least one layer, got none"):
            self.load(model, tmp_path / "a.h5")
        write_keras_2(tmp_path / "b.h5", [("input_1", []), ("dropout_1", [])])
        with pytest.raises(InputError, match="must hold the weights of at least one layer, got none"):
            self.load(model, tmp_path / "b.h5")

    def test_another_number_of_layers(self, model, layers, tmp_path: Path) -> None:
        file = write_keras_2(tmp_path / "a.h5", layers[:1])
        with pytest.raises(
            InputError, match="has 2 layers with weights, got 1 in .*a.h5: build the architecture and options"
        ):
            self.load(model, file)

    def test_another_shape(self, model, layers, tmp_path: Path) -> None:
        layers[1][1][0] = np.ones((3, 5))
        file = write_keras_2(tmp_path / "a.h5", layers)
        with pytest.raises(
            InputError, match="layer 2 with weights, 'second', needs the shapes 3x2 2, got 3x5 2 in 'dense_2' of .*a.h5"
        ):
            self.load(model, file)

    def test_a_weight_less(self, model, layers, tmp_path: Path) -> None:
        del layers[0][1][1]
        file = write_keras_2(tmp_path / "a.h5", layers)
        with pytest.raises(
            InputError, match="layer 1 with weights, 'first', needs the shapes 4x3 3, got 4x3 in 'dense_1' of"
        ):
            self.load(model, file)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_a_number(self, model, layers, value: float, tmp_path: Path) -> None:
        layers[1][1][1][0] = value
        file = write_keras_2(tmp_path / "a.h5", layers)
        with pytest.raises(InputError, match="weights must be finite numbers, got others in layer 'dense_2' of .*a.h5"):
            self.load(model, file)

    def test_text(self, model, layers, tmp_path: Path) -> None:
        layers[1][1][1] = np.array([b"a", b"b"])
        file = write_keras_2(tmp_path / "a.h5", layers)
        with pytest.raises(InputError, match="weights must be finite numbers, got others in layer 'dense_2'"):
            self.load(model, file)
