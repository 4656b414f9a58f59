"""Batches that the device makes are those of the host, and so is what is trained on them."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import keras
import numpy as np
import pytest

from asc_study.augmentation import batch_augmentations, compose
from asc_study.augmentation.batch.freq_mixstyle import FreqMixStyle
from asc_study.base.errors import InputError
from asc_study.features.store import FeatureStore
from asc_study.settings.run_config import resolve
from asc_study.training import device_batches
from asc_study.training.batches import TrainingBatches
from asc_study.training.device_batches import on_device
from asc_study.training.fused import require_fusable

CLIPS, BANDS, FRAMES, CLASSES = 13, 9, 30, 4

MASKS = [None, {}, {"per_channel": False, "mask_value": -2.5}]
CROPS = [None, {"frames": 7}]
MIXUPS = [None, {"alpha": 0.4}]


def batches_of(settings: dict, channels: int = 1, dtype: type = np.float16) -> TrainingBatches:
    values = np.random.default_rng(0).normal(size=(CLIPS, BANDS, FRAMES, channels)).astype(dtype)
    store = FeatureStore([values[5:], values[:5]], [(1, i) for i in range(5)] + [(0, i) for i in range(8)])
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(CLIPS - 1) % CLASSES]
    chosen = np.random.default_rng(1).permutation(CLIPS)[1:]  # not all clips, and not in the store's order
    augmentation = compose(batch_augmentations({name: s for name, s in settings.items() if s is not None}))
    return TrainingBatches(store, chosen, labels, batch_size=5, augmentation=augmentation, seed=3)


def passed_on(batches: TrainingBatches) -> keras.Model:
    """A network that gives what it is given."""
    frames = batches[0][0].shape[2]
    inputs = keras.Input((BANDS, frames, batches.input_shape[2]))
    return keras.Model(inputs, keras.layers.Identity()(inputs))


@pytest.mark.parametrize(
    ("masks", "crop", "mixup", "swap"),
    [pytest.param(*case, id=f"case{i}") for i, case in enumerate(product(MASKS, CROPS, MIXUPS, [None, {}]))],
)
def test_the_device_makes_the_batches_of_the_host(masks, crop, mixup, swap) -> None:
    settings = {"spec_augment": masks, "random_crop": crop, "mixup": mixup, "channel_confusion": swap}
    batches = batches_of(settings, channels=1 if swap is None else 2)
    made = on_device(batches, passed_on(batches))
    assert made is not None
    model, drawn = made
    batches.set_epoch(1)
    for step in range(len(batches)):
        inputs, labels = drawn[step]
        features, expected = batches[step]
        np.testing.assert_allclose(np.asarray(model(inputs)), features, rtol=0, atol=2e-6, strict=True)
        np.testing.assert_array_equal(labels, expected, strict=True)


def test_features_in_float32_stay_what_they_are() -> None:
    batches = batches_of({"mixup": {}}, dtype=np.float32)
    made = on_device(batches, passed_on(batches))
    assert made is not None
    np.testing.assert_allclose(np.asarray(made[0](made[1][0][0])), batches[0][0], rtol=0, atol=2e-6)


def test_features_that_are_too_large_are_left_to_the_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = batches_of({})
    monkeypatch.setattr(device_batches, "free_memory", lambda: 2 * batches.stored_bytes - 1)
    assert on_device(batches, passed_on(batches)) is None
    assert "of features do not fit into the device's memory beside a network" in capsys.readouterr().err


def test_other_pipelines_are_refused() -> None:
    with pytest.raises(InputError, match="training.batches: device makes batches .* got FreqMixStyle: set"):
        require_fusable(compose({"freq_mixstyle": FreqMixStyle()}), deltas=True)
    with pytest.raises(InputError, match="got features without deltas: set training.batches to host"):
        require_fusable(compose({}), deltas=False)


def test_where_batches_are_made_is_in_the_identity_only_where_the_device_makes_them() -> None:
    base = {"architecture": "fcnn"}
    host, device = (resolve(base | {"training": {"batches": where}}) for where in ("host", "device"))
    assert host.identity() == resolve(base).identity()
    assert device.identity()["training"]["batches"] == "device"


TRAIN = """
import sys
from pathlib import Path
import numpy as np
from asc_study.settings.run_config import resolve
from asc_study.training.fit import Training, train
from small_clips import small_clips

clips, store = small_clips()
augmentation = {"mixup": {}, "spec_augment": {}, "random_crop": {"frames": 28}}


def config(where, epochs=2):
    settings = {"epochs": epochs, "batch_size": 10, "threads": 1, "batches": where, "lr_max": 0.01}
    return resolve({
        "architecture": "tiny_network:TINY", "batch_augmentation": augmentation, "features": {"n_mels": 32},
        "training": settings,
    })


def outcome(result):
    table = result.predictions["test"]
    return table.select_dtypes("float").to_numpy(), [epoch["train_loss"] for epoch in result.history]


host, losses = outcome(train(config("host"), clips, store, 0, checkpoint=Path("host.npz")))
whole, on_device = outcome(train(config("device"), clips, store, 0, checkpoint=Path("device.npz")))
np.testing.assert_allclose(on_device, losses, rtol=1e-4)
np.testing.assert_allclose(whole, host, atol=2e-4)

if sys.argv[1:] == ["jax"]:
    print("equal")
    sys.exit()
first = Training(config("device"), clips, store, 0)  # goes on from a checkpoint as it would have without
first.train_epoch()
first.save(Path("cut.npz"))
again, _ = outcome(train(config("device"), clips, store, 0, checkpoint=Path("cut.npz")))
np.testing.assert_array_equal(again, whole)
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.soak)])
def test_what_is_trained_is_what_the_host_would_have_trained(backend: str, isolated: Path) -> None:
    pytest.importorskip(backend)
    places = os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONPATH": places}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, backend], capture_output=True, text=True, env=environment, timeout=250
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["equal"]
