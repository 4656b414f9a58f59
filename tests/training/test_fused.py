from itertools import product

import numpy as np
import pytest

from asc_study.augmentation import Pipeline, batch_augmentations, compose
from asc_study.augmentation.batch import BatchAugmentation
from asc_study.augmentation.batch.mixup import Mixup
from asc_study.augmentation.batch.random_crop import RandomCrop
from asc_study.augmentation.batch.spec_augment import SpecAugment
from asc_study.base.errors import InputError
from asc_study.features.store import FeatureStore
from asc_study.training.batches import TrainingBatches
from asc_study.training.fused import fused

CLIPS, BANDS, FRAMES, CLASSES = 13, 9, 30, 4

MASKS = [
    None,
    {},
    {"per_channel": False, "time_mask_ratio": 0},
    {"frequency_mask_bands": 9, "time_mask_frames": 22, "mask_value": -2.5},
]
CROPS = [None, {"frames": 22}, {"frames": 7}]
MIXUPS = [None, {"alpha": 0.4}]


def store_of(channels: int, dtype: type) -> FeatureStore:
    values = np.random.default_rng(0).normal(size=(CLIPS, BANDS, FRAMES, channels)).astype(dtype)
    return FeatureStore([values[5:], values[:5]], [(1, i) for i in range(5)] + [(0, i) for i in range(8)])


def batches_of(store: FeatureStore, pipeline: Pipeline, batch_size: int = 5) -> TrainingBatches:
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(CLIPS - 1) % CLASSES]
    chosen = np.random.default_rng(1).permutation(CLIPS)[1:]  # not all clips, and not in the store's order
    return TrainingBatches(store, chosen, labels, batch_size=batch_size, augmentation=pipeline, seed=3)


@pytest.mark.parametrize(
    ("masks", "crop", "mixup", "swap", "dtype"),
    [
        pytest.param(*case, id=f"case{number}")
        for number, case in enumerate(
            product(MASKS, CROPS, MIXUPS, [None, {}, {"probability": 0.0}], [np.float16, np.float32])
        )
    ],
)
def test_one_pass_gives_what_the_steps_give_to_the_last_bit(masks, crop, mixup, swap, dtype) -> None:
    names = ("spec_augment", "random_crop", "mixup", "channel_confusion")
    settings = {name: s for name, s in zip(names, (masks, crop, mixup, swap), strict=True) if s is not None}
    for channels in (2,) if swap is not None else (1, 2):
        store = store_of(channels, dtype)
        batches = batches_of(store, compose(batch_augmentations(settings)))
        assert batches._fused is not None
        quick = [batches[step] for step in range(len(batches))]
        batches._fused = None
        for step, (features, one_hot) in enumerate(quick):
            expected = batches[step]
            np.testing.assert_array_equal(features, expected[0], strict=True)
            np.testing.assert_array_equal(one_hot, expected[1], strict=True)


class Own(SpecAugment):
    """A part of someone's own, that may do anything."""


@pytest.mark.parametrize(
    "steps", [(Own(),), (RandomCrop(frames=9), SpecAugment()), (Mixup(), Mixup()), (BatchAugmentation(),)]
)
def test_own_parts_and_other_orders_go_step_by_step(steps: tuple[BatchAugmentation, ...]) -> None:
    assert fused(Pipeline(steps), store_of(1, np.float16)) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random_crop": {"frames": 23}}, "random_crop.frames must be at most the 22 frames"),
        ({"channel_confusion": {}}, "channel_confusion needs stereo clips, got 3 feature channels"),
        ({"spec_augment": {"time_mask_frames": 23}}, "spec_augment.time_mask_frames must be at most the 22 frames"),
    ],
)
def test_settings_that_do_not_fit_the_clips_are_told(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        batches_of(store_of(1, np.float16), compose(batch_augmentations(settings)))[0]
