"""The batch augmentations of the systems after 2020, against their formulas in plain NumPy."""

import numpy as np
import pytest

from asc_study.augmentation import Pipeline, batch_augmentations, compose
from asc_study.augmentation.batch.cutmix import CutMix
from asc_study.augmentation.batch.freq_mixstyle import FreqMixStyle
from asc_study.augmentation.batch.frequency_jitter import FrequencyJitter
from asc_study.augmentation.batch.time_roll import TimeRoll

Batch = tuple[np.ndarray, np.ndarray]


def batch(clips: int = 6, bands: int = 5, frames: int = 12, channels: int = 2) -> Batch:
    rng = np.random.default_rng(0)
    level = rng.normal(size=(clips, bands, 1, channels))
    features = (level + rng.random((clips, bands, frames, channels))).astype(np.float32)
    return features, np.eye(3, dtype=np.float32)[np.arange(clips) % 3]


def test_freq_mixstyle_is_the_formula_of_the_paper() -> None:
    features, one_hot = batch(channels=1)
    augmentation = FreqMixStyle(probability=1.0)
    is_mixed, weight, other = augmentation.draw(6, np.random.default_rng(3))
    assert is_mixed
    assert sorted(other) == list(range(6))
    x = features.astype(np.float64)
    mu, sigma = x.mean(axis=(2, 3), keepdims=True), np.sqrt(x.var(axis=(2, 3), ddof=1, keepdims=True) + 1e-6)
    share = weight[:, None, None, None]
    expected = (x - mu) / sigma * (share * sigma + (1 - share) * sigma[other]) + share * mu + (1 - share) * mu[other]
    mixed, labels = augmentation(features.copy(), one_hot, np.random.default_rng(3))
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    np.testing.assert_array_equal(labels, one_hot)


def test_freq_mixstyle_mixes_a_share_of_the_batches_and_each_channel_by_itself() -> None:
    features, one_hot = batch()
    augmentation = FreqMixStyle(probability=0.4)
    changed = [
        not np.array_equal(augmentation(features.copy(), one_hot, np.random.default_rng(seed))[0], features)
        for seed in range(300)
    ]
    assert np.mean(changed) == pytest.approx(0.4, abs=0.09)
    certain = FreqMixStyle(probability=1.0)
    both = certain(features.copy(), one_hot, np.random.default_rng(1))[0]
    left = certain(features[..., :1].copy(), one_hot, np.random.default_rng(1))[0]
    np.testing.assert_array_equal(both[..., :1], left)
    assert Pipeline((certain,)).samples_at_a_time(64) == 64


def test_time_roll_shifts_all_bands_and_channels_alike_and_by_every_number_of_frames() -> None:
    features, one_hot = batch(clips=200)
    shifts = TimeRoll(frames=3).draw(200, np.random.default_rng(2))
    assert set(shifts) == set(range(-3, 4))
    rolled, _ = TimeRoll(frames=3)(features.copy(), one_hot, np.random.default_rng(2))
    for before, after, shift in zip(features, rolled, shifts, strict=True):
        np.testing.assert_array_equal(after, np.concatenate([before[:, -shift:], before[:, :-shift]], axis=1))


def test_frequency_jitter_reads_bands_between_its_neighbours() -> None:
    features, one_hot = batch(clips=40)
    augmentation = FrequencyJitter(low_bands=0.5, high_bands=1.5)
    moved = augmentation.draw(40, np.random.default_rng(4))
    assert (np.abs(moved) <= [0.5, 1.5]).all()
    assert np.abs(moved).max(axis=0) == pytest.approx([0.5, 1.5], rel=0.1)
    jittered, _ = augmentation(features.copy(), one_hot, np.random.default_rng(4))
    for clip, (low, high) in enumerate(moved):
        place = np.linspace(low, 4 + high, 5)
        for frame in range(12):
            expected = np.interp(place, np.arange(5), features[clip, :, frame, 1])  # beyond the ends: the ends
            np.testing.assert_allclose(jittered[clip, :, frame, 1], expected, atol=1e-5)
    unmoved, _ = FrequencyJitter(high_bands=0.0)(features.copy(), one_hot, np.random.default_rng(4))
    np.testing.assert_allclose(unmoved, features, atol=1e-6)


@pytest.mark.parametrize("whole_bands", [True, False])
def test_cutmix_weighs_labels_by_what_is_really_cut(whole_bands: bool) -> None:
    features = np.concatenate([np.zeros((50, 8, 20, 1)), np.ones((50, 8, 20, 1))]).astype(np.float32)
    one_hot = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    augmentation = CutMix(probability=0.8, whole_bands=whole_bands)
    cut, labels = augmentation(features.copy(), one_hot, np.random.default_rng(5))
    assert cut.shape == (50, 8, 20, 1)
    np.testing.assert_allclose(labels[:, 1], cut.mean(axis=(1, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    shares = labels[:, 1]
    assert 0.1 < (shares == 0).mean() < 0.4
    assert shares.max() > 0.5
    if whole_bands:
        np.testing.assert_array_equal(cut, np.broadcast_to(cut[:, :1], cut.shape))


def test_cutmix_and_mixup_together_make_a_sample_of_four_clips() -> None:
    pipeline = compose(batch_augmentations({"cutmix": {"probability": 1.0}, "mixup": {}}))
    assert pipeline.clips_per_sample == 4
    clips = np.ones((8, 4, 6, 1), np.float32)
    features, one_hot = pipeline(clips, np.eye(8, dtype=np.float32), np.random.default_rng(0))
    assert features.shape == (2, 4, 6, 1)
    np.testing.assert_allclose(one_hot.sum(axis=1), 1, atol=1e-6)
