"""The training loop on tiny random features: what it returns, that it repeats, that it resumes."""

import gc
import re
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError, TrainingFailure
from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENES
from asc_study.evaluation.predictions import predictions_table
from asc_study.features.store import FeatureStore
from asc_study.settings.run_config import resolve
from asc_study.training.checkpoint import TrainingState, save_checkpoint
from asc_study.training.fit import Training, train

pytestmark = pytest.mark.slow

CLIPS_PER_SCENE = 8


@pytest.fixture(scope="module")
def clips() -> pd.DataFrame:
    rows = []
    for scene in SCENES:
        for i in range(CLIPS_PER_SCENE):
            split = ("train", "train", "train", "train", "train", "validation", "test", "test")[i]
            rows.append((f"{scene}{i}", "", scene, GROUP_OF_SCENE[scene], "lisbon", f"{i}", "a", split))
    columns = ["clip_id", "path", "scene", "scene_group", "city", "location", "device", "split"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def store(clips: pd.DataFrame) -> FeatureStore:
    """Each scene has a band of its own, so that a network learns them quickly."""
    rng = np.random.default_rng(0)
    features = rng.random((len(clips), 32, 40, 1)) * 0.5
    for i, scene in enumerate(clips["scene"]):
        features[i, 3 * SCENES.index(scene) : 3 * SCENES.index(scene) + 3] += 0.5
    return FeatureStore([features.astype(np.float16)], [(0, i) for i in range(len(clips))])


def config(**training):
    return resolve(
        {
            "architecture": "tiny_network:TINY",
            "batch_augmentation": {"mixup": {"alpha": 0.4}, "random_crop": {"frames": 28}},
            "training": {"epochs": 3, "batch_size": 10, "threads": 2, **training},
        }
    )


def probabilities(result) -> np.ndarray:
    return result.predictions["test"][list(SCENES)].to_numpy()


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def uninterrupted(clips, store, tmp_path_factory):
    """Train with the seed 5; what was told of each epoch comes with the result."""
    seen = []
    checkpoint = tmp_path_factory.mktemp("uninterrupted") / "c.npz"
    return train(config(), clips, store, 5, checkpoint=checkpoint, on_epoch=lambda e, m: seen.append((e, m))), seen


def test_result_has_predictions_of_validation_and_test(uninterrupted):
    result, seen = uninterrupted
    assert {name: len(table) for name, table in result.predictions.items()} == {"validation": 10, "test": 20}
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert set(seen[0][1]) >= {"train_loss", "validation_acc", "validation_loss", "learning_rate", "seconds"}
    assert result.input_shape == (32, 32, 3)
    assert not result.model.compiled
    assert all(metrics["selection"] == metrics["validation_acc_device_macro"] for _, metrics in seen)
    best = max(metrics["selection"] for _, metrics in seen)
    assert result.history[result.chosen_epochs[0]]["selection"] == best


def test_same_seed_repeats_and_another_differs(clips, store, uninterrupted):
    one, _ = uninterrupted
    two, other = (train(config(), clips, store, seed, checkpoint=Path(f"{seed}.npz")) for seed in (5, 8))
    np.testing.assert_array_equal(probabilities(one), probabilities(two))
    assert np.abs(probabilities(one) - probabilities(other)).max() > 1e-4


def test_interrupted_training_goes_on_to_the_same_result(clips, store, uninterrupted):
    whole, _ = uninterrupted

    def stop(epoch, metrics):
        if epoch == 1:
            raise Killed  # before its checkpoint: this epoch is trained again

    with pytest.raises(Killed):
        train(config(), clips, store, 5, checkpoint=Path("cut.npz"), on_epoch=stop)
    seen = []
    resumed = train(config(), clips, store, 5, checkpoint=Path("cut.npz"), on_epoch=lambda e, m: seen.append(e))
    assert seen == [1, 2]
    assert len(resumed.history) == 3
    np.testing.assert_array_equal(probabilities(resumed), probabilities(whole))


def test_without_validation_the_last_epoch_is_kept(clips, store):
    result = train(config(epochs=2), clips[clips["split"] != "validation"], store, 0, checkpoint=Path("c.npz"))
    assert result.chosen_epochs == (1,)
    assert set(result.predictions) == {"test"}


def test_loss_that_is_not_finite_stops_with_a_reason(clips, store):
    with pytest.raises(TrainingFailure, match=r"the loss became (nan|inf) in epoch 1: lower training\.lr_max"):
        train(config(lr_max=1e38), clips, store, 0, checkpoint=Path("c.npz"))


def test_a_model_that_cannot_be_counted_is_refused_before_the_first_epoch(clips, store, monkeypatch):
    def build(settings, shape):
        inputs = keras.Input(shape)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.SeparableConv2D(10, 3)(inputs))
        return keras.Model(inputs, keras.layers.Softmax()(x))

    monkeypatch.setattr("asc_study.training.fit.build_network", build)
    with pytest.raises(InputError, match=r"the cost of layer .* \(SeparableConv2D\) is not known"):
        train(config(), clips, store, 0, checkpoint=Path("c.npz"), on_epoch=lambda *_: pytest.fail("it was trained"))


def unknown_compression(content: bytes) -> bytes:
    """The first entry says that it is packed by a method that does not exist, here and in the zip's directory."""
    directory = content.rfind(b"PK\1\2", 0, content.rfind(b"PK\1\2"))
    while (earlier := content.rfind(b"PK\1\2", 0, directory)) >= 0:
        directory = earlier
    changed = bytearray(content)
    changed[8] = changed[directory + 10] = 99
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"PK damaged",
        lambda content: content[:-30],
        lambda content: content.replace(b"'descr'", b"'des(r'"),
        unknown_compression,
    ],
    ids=["no zip", "cut", "header", "method"],
)
def test_damaged_checkpoint_is_no_checkpoint(clips, store, capfd, uninterrupted, damage):
    save_checkpoint(Path("c.npz"), Training(config(), clips, store, 8)._parts.model, TrainingState())
    Path("c.npz").write_bytes(damage(Path("c.npz").read_bytes()))
    training = Training(config(), clips, store, 5)
    training.load(Path("c.npz"))
    assert training.finished_epochs == 0
    assert re.fullmatch(r"the checkpoint c\.npz is damaged \(.+\): the run starts again\n", capfd.readouterr().err)
    assert training.train_epoch()["train_loss"] == uninterrupted[1][0][1]["train_loss"]  # nothing of it was taken


def test_a_checkpoint_of_another_model_is_no_checkpoint(clips, store, capfd):
    settings = config().model_dump() | {"task": "three_class"}
    other = Training(resolve(settings), clips, store, 5)
    save_checkpoint(Path("c.npz"), other._parts.model, TrainingState())
    training = Training(config(), clips, store, 5)
    before = [np.array(weight) for weight in training._parts.model.weights]
    training.load(Path("c.npz"))
    assert "c.npz is damaged (it is that of another model): the run starts again" in capfd.readouterr().err
    for weight, was in zip(training._parts.model.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), was)


def test_network_learns_what_there_is_to_learn(clips, store):
    settings = {"epochs": 6, "batch_size": 4, "lr_max": 0.03, "select_epoch": "last"}
    plain = resolve({"architecture": "tiny_network:TINY", "training": settings})
    result = train(plain, clips, store, 0, checkpoint=Path("c.npz"))
    decided = probabilities(result).argmax(axis=1)
    truth = [SCENES.index(scene) for scene in result.predictions["test"]["scene"]]
    assert np.mean(decided == truth) > 0.5  # chance is 0.1


def test_three_class_task_on_ten_scene_clips(clips, store):
    three = resolve(
        {"task": "three_class", "architecture": "tiny_network:TINY", "training": {"epochs": 1, "batch_size": 10}}
    )
    table = train(three, clips, store, 0, checkpoint=Path("c.npz")).predictions["test"]
    assert set(table["scene"]) == {"indoor", "outdoor", "transportation"}


def test_model_is_saved_without_optimiser(clips, store):
    result = train(config(epochs=1), clips, store, 0, checkpoint=Path("c.npz"))
    result.model.save("m.keras")
    again = keras.models.load_model("m.keras")
    assert not again.compiled


def test_adamw_with_warm_up_and_features_without_deltas_resume_as_others_do(clips, store):
    static = np.stack([store[position] for position in range(len(store))])
    plain = FeatureStore([static], [(0, position) for position in range(len(store))], deltas=False)
    settings = resolve(
        {
            "architecture": "tiny_network:TINY",
            "batch_augmentation": {"freq_mixstyle": {"probability": 1.0}, "time_roll": {}, "cutmix": {}},
            "training": {"epochs": 2, "batch_size": 10, "optimizer": "adamw", "lr_max": 0.01, "schedule": "cosine",
                         "warmup_steps": 3, "select_epoch": "last"},
        }
    )  # fmt: skip

    def stop(epoch, metrics):
        raise Killed

    whole = train(settings, clips, plain, 5, checkpoint=Path("whole.npz"))
    with pytest.raises(Killed):
        train(settings, clips, plain, 5, checkpoint=Path("cut.npz"), on_epoch=stop)
    resumed = train(settings, clips, plain, 5, checkpoint=Path("cut.npz"))
    assert whole.input_shape == (32, 40, 1)
    np.testing.assert_array_equal(probabilities(resumed), probabilities(whole))
    of_last_steps = [1e-5 + (0.01 - 1e-5) / 2 * (1 + np.cos(np.pi * step / 7)) for step in (1, 6)]  # 10 less 3 steps
    assert [epoch["learning_rate"] for epoch in whole.history] == pytest.approx(of_last_steps, rel=1e-4)


def test_snapshots_are_averaged_and_survive_an_interruption(clips, store):
    settings = config(epochs=4, first_cycle_epochs=1, cycle_multiplier=1, select_epoch="snapshots", snapshots=2)

    def stop(epoch, metrics):
        if epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        train(settings, clips, store, 5, checkpoint=Path("cut.npz"), on_epoch=stop)
    resumed = train(settings, clips, store, 5, checkpoint=Path("cut.npz"))
    assert resumed.chosen_epochs == (2, 3)
    before, last = (
        train(
            config(epochs=epochs, first_cycle_epochs=1, cycle_multiplier=1, select_epoch="last"),
            *(clips, store, 5),
            checkpoint=Path(f"{epochs}.npz"),
        )
        for epochs in (3, 4)
    )
    assert (before.chosen_epochs, last.chosen_epochs) == ((2,), (3,))
    mean = (probabilities(last) + probabilities(before)) / 2
    np.testing.assert_allclose(probabilities(resumed), mean, atol=1e-6)
    resumed.model.save("snapshots.keras")
    assert keras.models.load_model("snapshots.keras").count_params() == 2 * last.model.count_params()


def test_all_development_data_leaves_nothing_to_predict(clips, store):
    everything = clips.assign(split="train")
    result = train(config(epochs=1, data="development"), everything, store, 0, checkpoint=Path("c.npz"))
    assert result.predictions == {}
    assert result.chosen_epochs == (0,)


@pytest.mark.parametrize("options", [{"precision": "mixed_bfloat16"}, {"xla": True}, {"balance_classes": True}])
def test_options_of_the_training_step(clips, store, options):
    result = train(config(epochs=1, **options), clips, store, 0, checkpoint=Path("c.npz"))
    assert np.isfinite(result.history[0]["train_loss"])
    assert {str(weight.dtype) for weight in result.model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_trainings_that_take_turns_give_what_each_gives_alone(clips, store, uninterrupted):
    both = [Training(config(), clips, store, seed) for seed in (5, 6)]
    for _ in range(3):
        for training in both:
            training.train_epoch()
    np.testing.assert_array_equal(probabilities(both[0].result()), probabilities(uninterrupted[0]))
    assert not np.array_equal(probabilities(both[1].result()), probabilities(uninterrupted[0]))


@pytest.mark.parametrize("of", [{"validation": {"holdout_devices": ["s3"]}}, {"training": {"devices": ["a"]}}])
def test_the_epoch_is_not_chosen_on_devices_that_training_does_not_hear(clips, store, of):
    """Other labels of the held-out clips change their accuracy, but not which epoch is chosen."""
    held_out = clips["clip_id"].str.endswith("5") & clips["scene"].isin(SCENES[:5])
    clips = clips.assign(device=np.where(held_out, "s3", "a"))
    shuffled = clips.assign(scene=np.where(held_out, np.roll(clips["scene"], CLIPS_PER_SCENE), clips["scene"]))
    assert (shuffled["scene"] != clips["scene"]).sum() >= 4

    def trained(table):
        settings = config(epochs=4).model_dump()
        settings |= {group: settings[group] | values for group, values in of.items()}
        training = Training(resolve(settings), table, store, 5)
        measured = [training.train_epoch() for _ in range(4)]
        return measured, training.result().chosen_epochs

    measured, chosen = trained(clips)
    other, chosen_with_other_labels = trained(shuffled)
    assert [epoch["validation_acc"] for epoch in measured] != [epoch["validation_acc"] for epoch in other]
    assert [epoch["selection"] for epoch in measured] == [epoch["selection"] for epoch in other]
    assert chosen == chosen_with_other_labels
    accuracy = [epoch["selection"] for epoch in measured]
    assert chosen == (max(epoch for epoch in range(4) if accuracy[epoch] == max(accuracy)),)


@pytest.mark.parametrize(("by", "chosen"), [("acc_avg", 0), ("acc_device_macro", 1), ("log_loss", 2)])
def test_the_best_epoch_is_told_by_the_metric_wanted(clips, store, monkeypatch, by, chosen):
    """Of the 10 validation clips 8 are of device a and 2 of s1.

    Right on a and s1: 8 and 0 (all 8 of 10, mean over devices .5), 5 and 2 (.7, .8125), 5 and 1 (.6, .5625). The last
    gives its wrong answers less weight: its log loss is (6 x .51 + 4 x .92) / 10, that of the others is above 1.3.
    """
    validation = clips["split"] == "validation"
    clips = clips.assign(device=np.where(validation & clips["scene"].isin(SCENES[:2]), "s1", "a"))
    right = [({"a": 8, "s1": 0}, 0.01), ({"a": 5, "s1": 2}, 0.01), ({"a": 5, "s1": 1}, 0.4)]

    def predicted(model, table, *rest):
        wanted, share_if_wrong = right[min(len(training._state.history), 2)]
        is_right = table.groupby("device").cumcount() < table["device"].map(wanted)
        true = np.where(is_right, 0.6, share_if_wrong)
        label = np.array([SCENES.index(scene) for scene in table["scene"]])
        probabilities = np.zeros((len(table), 10))
        probabilities[np.arange(len(table)), label] = true
        probabilities[np.arange(len(table)), (label + 1) % 10] = 1 - true
        return predictions_table(table, probabilities, "ten_class")

    monkeypatch.setattr("asc_study.training.fit._predict", predicted)
    training = Training(config(select_by=by), clips, store, 5)
    measured = [training.train_epoch() for _ in range(3)]
    assert [epoch["validation_acc"] for epoch in measured] == pytest.approx([0.8, 0.7, 0.6])
    assert [epoch["validation_acc_device_macro"] for epoch in measured] == pytest.approx([0.5, 0.8125, 0.5625])
    assert training.result().chosen_epochs == (chosen,)


def test_a_process_that_trains_one_run_after_the_other_does_not_keep_their_graphs(clips, store, tmp_path):
    def graphs() -> int:
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    config = resolve({"model": {"width": 0.125}, "training": {"epochs": 1, "first_cycle_epochs": 1, "batch_size": 16}})
    counts = []
    for seed in range(3):
        train(config, clips, store, seed, checkpoint=tmp_path / f"{seed}.npz")
        counts.append(graphs())
    assert counts[2] == counts[1]
