import numpy as np
import pytest
from pydantic import ValidationError

from asc_study.augmentation import AUGMENTATIONS, Pipeline, batch_augmentations, compose
from asc_study.augmentation.batch.channel_confusion import ChannelConfusion
from asc_study.augmentation.batch.mixup import Mixup
from asc_study.augmentation.batch.random_crop import RandomCrop
from asc_study.augmentation.batch.spec_augment import SpecAugment
from asc_study.base.errors import InputError


def pipeline_of(settings):
    return compose(batch_augmentations(settings))


def ones(clips: int = 40, bands: int = 20, frames: int = 30, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    one_hot = np.eye(4, dtype=np.float32)[np.arange(clips) % 4]
    return np.ones((clips, bands, frames, channels), np.float32), one_hot


def counting(clips: int, bands: int, frames: int, channels: int) -> np.ndarray:
    return np.arange(clips * bands * frames * channels, dtype=np.float32).reshape(clips, bands, frames, channels)


class TestSpecAugment:
    def test_each_channel_of_each_clip_has_one_band_and_one_span_of_frames_masked(self) -> None:
        features, one_hot = ones(clips=300)
        settings = SpecAugment(frequency_mask_ratio=0.29, time_mask_ratio=0.2, mask_value=-5.0)
        masked, labels = settings(features, one_hot, np.random.default_rng(0))
        assert labels is one_hot
        widths = {"frequency": set(), "time": set()}
        for clip in masked:
            for channel in np.moveaxis(clip, -1, 0):
                hidden = channel == -5
                bands, frames = np.flatnonzero(hidden.all(axis=1)), np.flatnonzero(hidden.all(axis=0))
                assert np.array_equal(hidden, np.isin(np.arange(20), bands)[:, None] | np.isin(np.arange(30), frames))
                assert (channel[~hidden] == 1).all()
                for name, found in (("frequency", bands), ("time", frames)):
                    assert len(found) == 0 or np.ptp(found) == len(found) - 1
                    widths[name].add(len(found))
        # U{0..floor(ratio * size)}: floor(0.29 * 20) = 5, floor(0.2 * 30) = 6, both ends reached
        assert widths == {"frequency": set(range(6)), "time": set(range(7))}

    def test_masks_reach_both_ends_of_the_axis(self) -> None:
        masked, _ = SpecAugment(frequency_mask_ratio=0.3, time_mask_ratio=0)(*ones(clips=200), np.random.default_rng(1))
        assert (masked[:, 0] == 0).any()
        assert (masked[:, -1] == 0).any()

    def test_channels_have_masks_of_their_own_or_share_them(self) -> None:
        own, _ = SpecAugment()(*ones(), np.random.default_rng(2))
        shared, _ = SpecAugment(per_channel=False)(*ones(), np.random.default_rng(2))
        assert not (own[..., 0] == own[..., 1]).all()
        assert (shared[..., :1] == shared).all()
        assert (shared == 0).any()

    def test_ratio_zero_masks_nothing(self) -> None:
        masked, _ = SpecAugment(frequency_mask_ratio=0, time_mask_ratio=0)(*ones(), np.random.default_rng(3))
        assert masked.all()

    def test_fixed_widths_replace_the_ratios(self) -> None:
        settings = SpecAugment(frequency_mask_bands=4, time_mask_frames=7)
        masked, _ = settings(*ones(clips=300), np.random.default_rng(0))
        hidden = masked == 0
        # U{0..4} of 20 bands, U{0..7} of 30 frames, both ends reached
        assert set(np.unique(hidden.all(axis=2).sum(axis=1))) == set(range(5))
        assert set(np.unique(hidden.all(axis=1).sum(axis=1))) == set(range(8))

    def test_a_fixed_width_and_a_ratio_of_the_same_size_give_the_same_masks(self) -> None:
        by_ratio, _ = SpecAugment(frequency_mask_ratio=0.2, time_mask_ratio=0.3)(*ones(), np.random.default_rng(6))
        by_width, _ = SpecAugment(frequency_mask_bands=4, time_mask_frames=9)(*ones(), np.random.default_rng(6))
        mixed, _ = SpecAugment(frequency_mask_bands=4, time_mask_ratio=0.3)(*ones(), np.random.default_rng(6))
        np.testing.assert_array_equal(by_width, by_ratio)
        np.testing.assert_array_equal(mixed, by_ratio)

    def test_a_mask_may_be_as_wide_as_the_axis_and_width_zero_masks_nothing(self) -> None:
        masked, _ = SpecAugment(frequency_mask_bands=20, time_mask_frames=0)(*ones(300), np.random.default_rng(7))
        whole = (masked == 0).all(axis=(1, 2))
        assert whole.any()
        assert not whole.all()

    @pytest.mark.parametrize(
        ("widths", "line"),
        [
            (
                {"frequency_mask_bands": 21},
                r"spec_augment\.frequency_mask_bands must be at most the 20 bands .* got 21",
            ),
            (
                {"time_mask_frames": 31},
                r"spec_augment\.time_mask_frames must be at most the 30 frames .* got 31: lower",
            ),
        ],
    )
    def test_a_width_above_the_axis_is_refused(self, widths: dict, line: str) -> None:
        with pytest.raises(InputError, match=line):
            SpecAugment(**widths)(*ones(), np.random.default_rng(0))

    @pytest.mark.parametrize(
        ("settings", "line"),
        [
            (
                {"frequency_mask_ratio": 0.2, "frequency_mask_bands": 12},
                r"spec_augment\.frequency_mask_bands replaces spec_augment\.frequency_mask_ratio, "
                r"got both, 12 and 0\.2: leave one of them out",
            ),
            (
                {"time_mask_ratio": 0.0, "time_mask_frames": 0},
                r"spec_augment\.time_mask_frames replaces spec_augment\.time_mask_ratio, got both, 0 and 0\.0",
            ),
            ({"time_mask_ratio": None}, "needs one of time_mask_ratio and time_mask_frames, got neither: give"),
            ({"frequency_mask_bands": -1}, "`spec_augment.frequency_mask_bands` must be at least 0, got -1"),
            ({"time_mask_frames": 1.5}, "`spec_augment.time_mask_frames` must be a whole number, got 1.5"),
        ],
    )
    def test_widths_that_contradict_are_refused(self, settings: dict, line: str) -> None:
        with pytest.raises(InputError, match=line):
            pipeline_of({"spec_augment": settings})

    def test_settings_with_all_defaults_written_out_mean_the_same(self) -> None:
        for settings in (SpecAugment(), SpecAugment(frequency_mask_bands=12, time_mask_frames=39)):
            assert pipeline_of({"spec_augment": settings.model_dump()}).steps == (settings,)
        assert SpecAugment(time_mask_frames=39).time_mask_ratio is None

    def test_it_works_in_place(self) -> None:
        features, one_hot = ones()
        masked, _ = SpecAugment()(features, one_hot, np.random.default_rng(4))
        assert masked is features


class TestRandomCrop:
    def test_each_clip_keeps_consecutive_frames_from_a_place_of_its_own(self) -> None:
        features = counting(200, 2, 7, 3)
        whole = features.copy()
        cropped, _ = RandomCrop(frames=5)(features, np.ones((200, 1), np.float32), np.random.default_rng(0))
        assert cropped.shape == (200, 2, 5, 3)
        starts = set()
        for clip, original in zip(cropped, whole, strict=True):
            (start,) = [s for s in range(3) if np.array_equal(clip, original[:, s : s + 5])]
            starts.add(start)
        assert starts == {0, 1, 2}

    def test_a_batch_that_is_not_contiguous_is_cropped_as_well(self) -> None:
        features = np.asfortranarray(counting(6, 2, 7, 3))
        whole = features.copy()
        cropped, _ = RandomCrop(frames=4)(features, np.ones((6, 1), np.float32), np.random.default_rng(0))
        for clip, original in zip(cropped, whole, strict=True):
            assert any(np.array_equal(clip, original[:, start : start + 4]) for start in range(4))

    def test_it_needs_no_memory_and_leaves_no_gaps(self) -> None:
        features = counting(6, 2, 7, 3)
        cropped, _ = RandomCrop(frames=4)(features, np.ones((6, 1), np.float32), np.random.default_rng(0))
        assert cropped.ctypes.data == features.ctypes.data
        assert cropped.flags.c_contiguous

    @pytest.mark.parametrize("frames", [1, 2, 40, 98, 99])
    def test_rows_that_overlap_their_new_place_are_moved_whole(self, frames: int) -> None:
        features = counting(5, 30, 99, 2)
        whole = features.copy()
        cropped, _ = RandomCrop(frames=frames)(features, np.ones((5, 1), np.float32), np.random.default_rng(1))
        for clip, original in zip(cropped, whole, strict=True):
            start = int(clip[0, 0, 0] - original[0, 0, 0]) // 2
            np.testing.assert_array_equal(clip, original[:, start : start + frames])

    def test_all_frames_leave_the_clip_as_it_is(self) -> None:
        features = counting(3, 2, 7, 1)
        cropped, _ = RandomCrop(frames=7)(features.copy(), np.ones((3, 1), np.float32), np.random.default_rng(0))
        np.testing.assert_array_equal(cropped, features)

    def test_more_frames_than_a_clip_has_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"random_crop\.frames must be at most the 30 frames of a clip, got 31"):
            RandomCrop(frames=31)(*ones(), np.random.default_rng(0))


class TestMixup:
    def test_features_and_labels_are_mixed_with_the_same_weight(self) -> None:
        features = np.concatenate([np.full((50, 2, 3, 1), 1.0), np.full((50, 2, 3, 1), 3.0)]).astype(np.float32)
        one_hot = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
        mixed, labels = Mixup(alpha=0.4)(features, one_hot, np.random.default_rng(0))
        assert mixed.shape == (50, 2, 3, 1)
        weight = np.random.default_rng(0).beta(0.4, 0.4, 50).astype(np.float32)
        np.testing.assert_allclose(
            mixed, np.broadcast_to((3 - 2 * weight)[:, None, None, None], mixed.shape), rtol=1e-6
        )
        np.testing.assert_allclose(labels, np.stack([weight, 1 - weight], axis=1), rtol=1e-6)

    def test_a_batch_with_gaps_is_mixed_as_well(self) -> None:
        features = np.random.default_rng(1).random((4, 3, 9, 2), np.float32)
        one_hot = np.eye(4, dtype=np.float32)
        first, second = features[:2, :, 2:7].copy(), features[2:, :, 2:7].copy()
        mixed, labels = Mixup()(features[:, :, 2:7], one_hot, np.random.default_rng(3))
        weight = labels[:, :2].sum(axis=1).reshape(2, 1, 1, 1)
        np.testing.assert_allclose(mixed, weight * first + (1 - weight) * second, rtol=1e-5)

    def test_the_weights_follow_the_beta_distribution(self) -> None:
        features, one_hot = ones(clips=8000, bands=1, frames=1, channels=1)
        features[4000:] = 0  # what comes out is the weight itself
        weights, _ = Mixup(alpha=0.4)(features, one_hot, np.random.default_rng(0))
        assert weights.mean() == pytest.approx(0.5, abs=0.02)
        assert weights.var() == pytest.approx(0.25 / (2 * 0.4 + 1), abs=0.005)

    def test_an_odd_number_of_clips_is_refused(self) -> None:
        with pytest.raises(InputError, match="mixup needs an even number of clips, got 3"):
            Mixup()(*ones(clips=3), np.random.default_rng(0))


class TestChannelConfusion:
    def test_left_and_right_are_swapped_in_statics_deltas_and_delta_deltas(self) -> None:
        features = counting(2, 3, 4, 6)
        swapped, _ = ChannelConfusion(probability=1)(
            features.copy(), np.ones((2, 1), np.float32), np.random.default_rng(0)
        )
        np.testing.assert_array_equal(swapped, features[..., [1, 0, 3, 2, 5, 4]])

    def test_about_the_given_share_of_clips_is_swapped(self) -> None:
        features = counting(4000, 1, 1, 2)
        swapped, _ = ChannelConfusion(probability=0.25)(features.copy(), np.ones((4000, 1)), np.random.default_rng(0))
        assert np.mean(swapped[:, 0, 0, 0] != features[:, 0, 0, 0]) == pytest.approx(0.25, abs=0.03)

    def test_mono_clips_are_refused(self) -> None:
        with pytest.raises(InputError, match="needs stereo clips, got 3 feature channels: leave it out for mono"):
            ChannelConfusion()(*ones(), np.random.default_rng(0))


class TestCompose:
    def test_the_order_is_that_of_the_registry_whatever_the_order_of_the_settings(self) -> None:
        pipeline = pipeline_of({"mixup": {}, "random_crop": {"frames": 10}, "spec_augment": {}})
        assert [type(step) for step in pipeline.steps] == [SpecAugment, RandomCrop, Mixup]
        of_the_paper = ["spec_augment", "channel_confusion", "random_crop", "mixup"]
        assert [name for name in AUGMENTATIONS if name in of_the_paper] == of_the_paper
        assert list(AUGMENTATIONS)[:2] == ["time_roll", "frequency_jitter"]
        assert list(AUGMENTATIONS)[-3:] == ["freq_mixstyle", "cutmix", "mixup"]

    def test_none_switches_an_augmentation_off(self) -> None:
        assert pipeline_of({"mixup": None, "random_crop": {"frames": 10}}).steps == (RandomCrop(frames=10),)

    def test_clips_per_sample_is_two_with_mixup(self) -> None:
        assert pipeline_of({}).clips_per_sample == 1
        assert pipeline_of({"spec_augment": {}, "mixup": {}}).clips_per_sample == 2

    def test_a_pipeline_does_what_its_steps_do(self) -> None:
        pipeline = pipeline_of({"mixup": {"alpha": 1}, "random_crop": {"frames": 10}, "spec_augment": {}})
        by_pipeline = pipeline(*ones(), np.random.default_rng(5))
        rng = np.random.default_rng(5)
        by_hand = Mixup(alpha=1)(*RandomCrop(frames=10)(*SpecAugment()(*ones(), rng), rng), rng)
        np.testing.assert_array_equal(by_pipeline[0], by_hand[0])
        np.testing.assert_array_equal(by_pipeline[1], by_hand[1])

    def test_an_empty_pipeline_passes_batches_on(self) -> None:
        features, one_hot = ones()
        assert Pipeline()(features, one_hot, np.random.default_rng(0)) == (features, one_hot)

    @pytest.mark.parametrize(
        ("settings", "line"),
        [
            ({"mixip": {}}, "unknown batch_augmentation 'mixip': did you mean 'mixup'?"),
            ({"mixup": {"alfa": 1}}, "unknown key 'mixup.alfa'"),
            ({"mixup": {"alpha": 0}}, "`mixup.alpha` must be above .* got 0"),
            ({"mixup": {"alpha": float("nan")}}, "`mixup.alpha` must be a finite number, got nan"),
            ({"random_crop": {"frames": 0}}, "`random_crop.frames` must be at least 1, got 0"),
            ({"random_crop": {"frames": 1.5}}, "`random_crop.frames` must be a whole number, got 1.5"),
            ({"spec_augment": {"time_mask_ratio": 1.2}}, "`spec_augment.time_mask_ratio` must be .* got 1.2"),
            (
                {"spec_augment": {"frequency_mask_ratio": -0.1}},
                "`spec_augment.frequency_mask_ratio` must be .* got -0.1",
            ),
            ({"channel_confusion": {"probability": 1.5}}, "`channel_confusion.probability` must be .* got 1.5"),
        ],
    )
    def test_bad_settings_give_one_line(self, settings: dict, line: str) -> None:
        with pytest.raises(InputError, match=line) as caught:
            pipeline_of(settings)
        assert "\n" not in str(caught.value)


def test_settings_cannot_be_changed_afterwards() -> None:
    mixup = Mixup(alpha=0.3)
    with pytest.raises(ValidationError, match="frozen"):
        mixup.alpha = 2.0  # type: ignore[misc]
