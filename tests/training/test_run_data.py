"""What a run is trained on: splits, augmented copies and their features."""

import json

import numpy as np
import pytest

from asc_study.augmentation.waveform.noise import Noise
from asc_study.base.errors import InputError, TrainingFailure
from asc_study.data.identified import identify
from asc_study.settings.run_config import resolve
from asc_study.study.launch import prepare_features
from asc_study.training.run_data import data_key, describe_left_out, run_data, split_clips

FEATURES = {"n_mels": 16, "hop_length": 4096, "n_fft": 4096}


def config(**settings):
    return resolve({"features": FEATURES, **settings})


@pytest.fixture
def data(simulated):
    return identify(simulated)


def test_every_training_clip_is_copied_and_no_other_one(data):
    made = run_data(config(waveform_augmentation={"noise": {}, "mix": {"copies": 2}}), data.dataset, data.audio_digests)
    copies = made.clips[made.clips["clip_id"].str.contains("+", regex=False)]
    originals = made.clips.drop(copies.index)
    train = set(originals.loc[originals["split"] == "train", "clip_id"])
    assert set(copies["clip_id"]) == {f"{clip}+{kind}" for clip in train for kind in ("noise", "mix-1", "mix-2")}
    assert set(copies["split"]) == {"train"}
    assert made.clips.index.is_unique
    assert len(made.store) == len(data.dataset.clips) + len(copies)
    label = dict(zip(originals["clip_id"], originals["scene"], strict=True))
    assert all(row.scene == label[row.clip_id.split("+")[0]] for row in copies.itertuples())
    first = copies[copies["clip_id"].str.endswith("+noise")].index[0]
    clip = copies.loc[first, "clip_id"].split("+")[0]
    original = originals.index[originals["clip_id"] == clip][0]
    assert np.abs(made.store[first].astype(float) - made.store[original]).max() > 0.01


def test_copies_depend_on_their_seed_and_not_on_what_else_is_made(data):
    alone = run_data(config(waveform_augmentation={"noise": {}}), data.dataset, data.audio_digests)
    both = run_data(config(waveform_augmentation={"noise": {}, "mix": {}}), data.dataset, data.audio_digests)
    other = run_data(config(waveform_augmentation={"noise": {"seed": 1}}), data.dataset, data.audio_digests)

    def features(made):
        rows = made.clips[made.clips["clip_id"].str.endswith("+noise")]
        return {row.clip_id: np.array(made.store[index]) for index, row in zip(rows.index, rows.itertuples())}  # noqa: B905

    for clip, values in features(alone).items():
        np.testing.assert_array_equal(values, features(both)[clip])
    assert any(not np.array_equal(values, features(other)[clip]) for clip, values in features(alone).items())


def test_a_copy_that_cannot_be_made_is_left_out_and_reported(data, monkeypatch):
    victim = next(iter(data.dataset.clips.loc[data.dataset.clips["split"] == "train", "path"]))
    before = Noise.__call__

    def fail_once(self, waveform, sample_rate, rng, **rest):
        from asc_study.features.audio import read_audio

        if np.array_equal(waveform, read_audio(victim, sample_rate)):
            raise ValueError("no noise\ntoday")
        return before(self, waveform, sample_rate, rng, **rest)

    monkeypatch.setattr(Noise, "__call__", fail_once)
    whole = config(waveform_augmentation={"noise": {}}, validation={"share": 0})
    made = run_data(whole, data.dataset, data.audio_digests)
    assert made.left_out == (f"noise of {victim}: no noise today",)
    assert describe_left_out(made.left_out).startswith("note: 1 augmented copies could not be made")
    trained = (data.dataset.clips["split"] == "train").sum()
    assert made.clips["clip_id"].str.endswith("+noise").sum() == trained - 1


def test_a_run_does_not_do_without_more_than_a_few_copies(data, monkeypatch):
    """Nor does a launch end for it: the run says it, and only that run."""

    def fail(self, waveform, sample_rate, rng, **rest):
        raise ValueError("no noise today")

    monkeypatch.setattr(Noise, "__call__", fail)
    noisy, said = config(waveform_augmentation={"noise": {}}), []
    prepare_features([noisy], data, 1, said.append)
    assert said == []
    trained = (split_clips(data.dataset, noisy)["split"] == "train").sum()
    with pytest.raises(
        TrainingFailure,
        match=f"at most 5% of the copies of noise may be left out, got {trained} of {trained} .*: no noise today",
    ):
        run_data(noisy, data.dataset, data.audio_digests)


def test_development_mode_trains_on_everything(data):
    clips = split_clips(data.dataset, config(training={"data": "development"}))
    assert set(clips["split"]) == {"train"}
    assert len(clips) == len(data.dataset.clips)


def test_without_a_share_there_is_no_validation(data):
    clips = split_clips(data.dataset, config(validation={"share": 0}))
    assert set(clips["split"]) == {"train", "test"}


def test_holding_out_needs_validation():
    with pytest.raises(InputError, match="holdout_devices needs a validation split"):
        config(training={"data": "development"}, validation={"holdout_devices": ["b"]})


def test_the_treatment_tells_all_that_decides_a_copy(data):
    from asc_study.augmentation.copies import plan_copies
    from asc_study.augmentation.waveform import TrainingSound
    from asc_study.augmentation.waveform.mix import Mix
    from asc_study.base.paths import cache_dir

    sound = TrainingSound(data.dataset.clips, data.audio_digests, data.dataset.sample_rate, cache_dir())
    ((name, copies),) = plan_copies({"mix": Mix(low_weight=0.7)}, sound)
    assert name == "mix"
    told = json.loads(copies[0].treatment)
    assert told["settings"] == {"seed": 0, "low_weight": 0.7, "high_weight": 1.0}
    assert told["partner"] in data.audio_digests
    assert told["partner"] != copies[0].digest


def test_a_run_of_some_devices_is_trained_on_theirs_and_measured_on_all(data):
    whole, alone = (split_clips(data.dataset, config(training=part)) for part in ({}, {"devices": ["b"]}))
    assert set(alone.loc[alone["split"] == "train", "device"]) == {"b"}
    for split in ("validation", "test"):
        assert alone[alone["split"] == split].equals(whole[whole["split"] == split])
    assert data_key(config(training={"devices": ["b"]})) != data_key(config())
    copied = config(training={"devices": ["b"]}, waveform_augmentation={"noise": {}})
    made = run_data(copied, data.dataset, data.audio_digests)
    assert made.clips["clip_id"].str.endswith("+noise").sum() == (alone["split"] == "train").sum()


def test_devices_that_train_lacks_are_told(data):
    with pytest.raises(InputError, match=r"training.devices must be devices of the train clips \(a, .*got 's4'"):
        split_clips(data.dataset, config(training={"devices": ["s4"]}))
