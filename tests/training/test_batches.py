import os
import threading
from typing import ClassVar

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from asc_study.augmentation import Pipeline, batch_augmentations, compose
from asc_study.augmentation.batch import BatchAugmentation
from asc_study.base.errors import InputError
from asc_study.features.deltas import with_deltas
from asc_study.features.store import FeatureStore
from asc_study.training.batches import EvaluationBatches, TrainingBatches

CLIPS, BANDS, FRAMES, CLASSES = 20, 4, 12, 3
FULL = {"spec_augment": {}, "random_crop": {"frames": 3}, "mixup": {}}


def pipeline_of(settings):
    return compose(batch_augmentations(settings))


def make_store() -> FeatureStore:
    """Each clip is constant, so a batch tells which clips it holds; the store's order is not that of the arrays."""
    values = np.arange(1, CLIPS + 1, dtype=np.float16)[:, None, None, None]
    arrays = np.broadcast_to(values, (CLIPS, BANDS, FRAMES, 1)).copy()
    return FeatureStore([arrays[10:], arrays[:10]], [(1, i) for i in range(10)] + [(0, i) for i in range(10)])


def labels(count: int = CLIPS) -> np.ndarray:
    return np.eye(CLASSES, dtype=np.float32)[np.arange(count) % CLASSES]


def clips_in(features: np.ndarray) -> list[int]:
    return [int(clip) - 1 for clip in features[:, 0, 0, 0]]


def make(
    augmentation: dict | None = None, steps: tuple[BatchAugmentation, ...] = (), **options: object
) -> TrainingBatches:
    options = {"batch_size": 6, "seed": 1, **options}
    pipeline = Pipeline(steps) if steps else pipeline_of(augmentation or {})
    return TrainingBatches(make_store(), range(CLIPS), labels(), augmentation=pipeline, **options)  # type: ignore[arg-type]


def assert_equal_batches(first: tuple[np.ndarray, ...], second: tuple[np.ndarray, ...]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


class TestTrainingBatches:
    def test_features_carry_deltas_and_labels_go_with_their_clips(self) -> None:
        rng = np.random.default_rng(0)
        stored = rng.random((CLIPS, BANDS, FRAMES, 2)).astype(np.float16)
        one_hot = np.eye(CLIPS, dtype=np.float32)
        batches = TrainingBatches(
            FeatureStore([stored], [(0, i) for i in range(CLIPS)]), range(CLIPS), one_hot, batch_size=8
        )
        features, answers = batches[0]
        assert features.shape == (8, BANDS, FRAMES - 8, 6) == (8, *batches.input_shape)
        assert features.dtype == answers.dtype == np.float32
        for clip, answer in zip(features, answers, strict=True):
            np.testing.assert_array_equal(clip, with_deltas(stored[answer.argmax()]))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_without_deltas_features_are_those_of_the_store(self, dtype: type) -> None:
        stored = np.random.default_rng(0).random((CLIPS, BANDS, FRAMES, 1)).astype(dtype)
        store = FeatureStore([stored], [(0, i) for i in range(CLIPS)], deltas=False)
        batches = TrainingBatches(store, range(CLIPS), np.eye(CLIPS, dtype=np.float32), batch_size=8)
        features, answers = batches[0]
        assert features.shape == (8, BANDS, FRAMES, 1) == (8, *batches.input_shape)
        np.testing.assert_array_equal(features, stored[answers.argmax(axis=1)].astype(np.float32), strict=True)
        whole = EvaluationBatches(store, range(CLIPS), batch_size=CLIPS)
        np.testing.assert_array_equal(whole[0][0], stored.astype(np.float32), strict=True)
        with_them = FeatureStore([stored], [(0, i) for i in range(CLIPS)])
        with pytest.raises(InputError, match="if shape, type and deltas are the same"):
            _ = store + with_them

    def test_an_epoch_is_a_shuffle_without_the_left_over_clips(self) -> None:
        batches = make()
        assert len(batches) == 3
        seen = [clip for step in range(3) for clip in clips_in(batches[step][0])]
        assert len(seen) == len(set(seen)) == 18
        assert seen != sorted(seen)

    def test_the_order_of_an_epoch_is_a_stream_of_the_seed_the_epoch_and_the_pass(self) -> None:
        batches = TrainingBatches(make_store(), range(CLIPS), labels(), batch_size=20, seed=8)
        for epoch in range(2):
            batches.set_epoch(epoch)
            stream = np.random.default_rng(np.random.SeedSequence(8, spawn_key=(0, epoch, 0)))
            assert clips_in(batches[0][0]) == stream.permutation(CLIPS).tolist()

    @pytest.mark.parametrize(("whole", "seen"), [(False, [4, 4, 2]), (True, [10])])
    def test_an_augmentation_gets_the_clips_that_it_asks_for(self, whole: bool, seen: list[int]) -> None:
        class Rank(BatchAugmentation):
            """Put the rank of each clip among all that it sees in place of its values."""

            needs_whole_batch: ClassVar[bool] = whole
            calls: ClassVar[list[int]] = []

            def __call__(self, features, one_hot, rng):
                self.calls.append(len(features))
                features[...] = features[:, 0, 0, 0].argsort().argsort()[:, None, None, None]
                return features, one_hot

        mixup = batch_augmentations({"mixup": {}})["mixup"]
        batches = make(steps=(Rank(), mixup), batch_size=5)
        features, answers = batches[0]
        assert Rank.calls == seen
        assert features.shape[0] == answers.shape[0] == 5
        assert features.max() > 3 if whole else features.max() <= 3

    @pytest.mark.parametrize("augmentation", [{"spec_augment": {"mask_value": -1.0}}, FULL])
    def test_a_batch_is_what_its_pipeline_makes_of_two_samples_at_a_time(self, augmentation: dict) -> None:
        store, pipeline = make_store(), pipeline_of(augmentation)
        passes = pipeline.clips_per_sample
        batches = TrainingBatches(store, range(CLIPS), labels(), batch_size=5, augmentation=pipeline, seed=8)
        batches.set_epoch(3)
        seed = np.random.SeedSequence
        orders = [np.random.default_rng(seed(8, spawn_key=(0, 3, i))).permutation(CLIPS) for i in range(passes)]
        for step in range(4):
            rng = np.random.default_rng(seed(8, spawn_key=(1, 3, step)))
            parts = []
            for start in (0, 2, 4):  # the last sample is alone
                within = slice(5 * step + start, 5 * step + min(start + 2, 5))
                chosen = np.concatenate([order[within] for order in orders])
                parts.append(pipeline(np.stack([with_deltas(store[i]) for i in chosen]), labels()[chosen], rng))
            assert_equal_batches(batches[step], tuple(np.concatenate(part) for part in zip(*parts, strict=True)))

    def test_augmentations_need_not_work_in_place_and_may_lengthen_clips(self) -> None:
        class Doubled(BatchAugmentation):
            def __call__(
                self, features: np.ndarray, one_hot: np.ndarray, rng: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray]:
                return np.concatenate([features, -features], axis=2).astype(np.float64), one_hot

        class Shortened(Doubled):
            def __call__(
                self, features: np.ndarray, one_hot: np.ndarray, rng: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray]:
                return features[:, 1:, 1:3, ::-1], one_hot

        plain = make()[1][0]
        doubled, shortened = (make(steps=(kind(),))[1][0] for kind in (Doubled, Shortened))
        np.testing.assert_array_equal(doubled, np.concatenate([plain, -plain], axis=2))
        np.testing.assert_array_equal(shortened, plain[:, 1:, 1:3, ::-1])
        assert doubled.dtype == np.float32

    def test_augmentations_whose_samples_differ_in_shape_are_refused(self) -> None:
        class Ragged(BatchAugmentation):
            def __call__(
                self, features: np.ndarray, one_hot: np.ndarray, rng: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray]:
                return features[:, :, : 2 + int(features[0, 0, 0, 0]) % 2], one_hot

        batches = make(steps=(Ragged(),), batch_size=20)
        with pytest.raises(ValueError, match="shape"):
            batches[0]

    def test_epochs_differ_and_can_be_returned_to(self) -> None:
        batches = make(FULL)
        epochs = []
        for epoch in range(3):
            batches.set_epoch(epoch)
            epochs.append(batches[1][0])
        assert not np.array_equal(epochs[0], epochs[1])
        resumed = make(FULL)
        resumed.set_epoch(2)
        np.testing.assert_array_equal(resumed[1][0], epochs[2])

    def test_a_batch_depends_on_the_seed_epoch_and_step_only(self) -> None:
        batches = make(FULL)
        in_order = [batches[step] for step in range(3)]
        shuffled = make(FULL)
        for step in (2, 0, 1, 2):
            assert_equal_batches(shuffled[step], in_order[step])
        assert not np.array_equal(make(FULL, seed=2)[0][0], in_order[0][0])

    def test_batches_made_by_several_threads_at_once_are_the_same(self) -> None:
        one, several = make(FULL), make(FULL)
        expected = [one[step] for step in range(3)]
        found: dict[tuple[int, int], tuple[np.ndarray, ...]] = {}
        start = threading.Barrier(4)

        def work(thread: int) -> None:
            start.wait()
            for repeat in range(50):
                step = (thread + repeat) % 3
                found[thread, repeat] = several[step]

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 200
        for (thread, repeat), batch in found.items():
            assert_equal_batches(batch, expected[(thread + repeat) % 3])

    @pytest.mark.parametrize("augmentation", [{}, {"spec_augment": {}}, {"random_crop": {"frames": 3}}, FULL])
    def test_a_batch_is_not_overwritten_by_the_next(self, augmentation: dict) -> None:
        batches = make(augmentation)
        first = batches[0]
        kept = [array.copy() for array in first]
        batches[1]
        assert_equal_batches(first, tuple(kept))
        assert first[0].flags.c_contiguous

    def test_the_stored_features_are_left_as_they_are(self) -> None:
        store = make_store()
        batches = TrainingBatches(store, range(CLIPS), labels(), batch_size=6, augmentation=pipeline_of(FULL))
        before = [store[index].copy() for index in range(CLIPS)]
        for step in range(3):
            batches[step]
        for index, clip in enumerate(before):
            np.testing.assert_array_equal(store[index], clip)

    def test_mixup_passes_twice_over_the_data(self) -> None:
        one_hot = np.eye(CLIPS, dtype=np.float32)
        batches = TrainingBatches(
            make_store(),
            range(CLIPS),
            one_hot,
            batch_size=5,
            augmentation=pipeline_of({"mixup": {"alpha": 5}}),
            seed=3,
        )
        assert len(batches) == 4
        mixed = np.concatenate([batches[step][1] for step in range(4)])
        assert mixed.shape == (20, 20)
        # Every clip is once in a first half and once in a second, so 40 places are shared out evenly.
        np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
        partners = np.count_nonzero(mixed, axis=1)
        meets_itself = int((partners == 1).sum())
        assert np.count_nonzero(mixed) == 40 - meets_itself
        assert meets_itself < 5
        assert (np.count_nonzero(mixed, axis=0) >= 1).all()

    def test_fewer_clips_than_a_batch_still_give_one(self) -> None:
        batches = TrainingBatches(
            make_store(), [4, 7], labels(2), batch_size=32, augmentation=pipeline_of({"mixup": {}})
        )
        assert len(batches) == 1
        features, one_hot = batches[0]
        assert (len(features), len(one_hot)) == (2, 2)

    def test_only_the_chosen_clips_are_used(self) -> None:
        batches = TrainingBatches(make_store(), [3, 11, 17], labels(3), batch_size=3)
        assert sorted(clips_in(batches[0][0])) == [3, 11, 17]

    def test_a_seed_sequence_keeps_streams_apart(self) -> None:
        first, second = np.random.SeedSequence(0).spawn(2)
        assert_equal_batches(make(FULL, seed=first)[0], make(FULL, seed=np.random.SeedSequence(0).spawn(1)[0])[0])
        assert not np.array_equal(make(FULL, seed=first)[0][0], make(FULL, seed=second)[0][0])

    @pytest.mark.parametrize("workers", [1, 3])
    def test_fit_gets_the_batches_of_the_epoch_that_was_set(self, workers: int) -> None:
        class Numbered(TrainingBatches):
            def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
                features, one_hot = super().__getitem__(step)
                return np.full_like(features, 100 * self.epoch + step), one_hot

        batches = Numbered(make_store(), range(CLIPS), labels(), batch_size=6, workers=workers)
        inputs = keras.Input((BANDS, None, 3))
        model = keras.Model(inputs, keras.layers.Rescaling(1.0)(keras.layers.GlobalAveragePooling2D()(inputs)))
        model.compile("sgd", loss=lambda _, output: output)  # the loss of an epoch is the mean of what was fed
        losses = []
        for epoch in range(5, 8):
            batches.set_epoch(epoch)
            losses += model.fit(batches, shuffle=False, verbose=0).history["loss"]
        np.testing.assert_allclose(losses, [501, 601, 701])


#: Clips 0..11 are of class 0, 12..16 of class 1, 17..19 of class 2; class 3 has none.
UNEVEN = np.eye(4, dtype=np.float32)[np.repeat([0, 1, 2], [12, 5, 3])]


def balanced(batch_size: int = 5, **options: object) -> TrainingBatches:
    options = {"seed": 1, "balance_classes": True, **options}
    return TrainingBatches(make_store(), range(CLIPS), UNEVEN, batch_size=batch_size, **options)  # type: ignore[arg-type]


def heard(batches: TrainingBatches, epoch: int) -> np.ndarray:
    """How often each clip is in the batches of an epoch."""
    batches.set_epoch(epoch)
    clips = [clip for step in range(len(batches)) for clip in clips_in(batches[step][0])]
    return np.bincount(clips, minlength=CLIPS)


def by_class(counts: np.ndarray) -> list[int]:
    return [int(part.sum()) for part in np.split(counts, [12, 17])]


class TestBalancedClasses:
    def test_every_class_is_equally_often_in_every_epoch(self) -> None:
        batches = balanced(batch_size=6)
        assert len(batches) == 3
        for epoch in range(4):
            assert by_class(heard(batches, epoch)) == [6, 6, 6]

    def test_what_cannot_be_shared_evenly_goes_round(self) -> None:
        batches = balanced()
        # 20 samples an epoch go to classes 0, 1, 2, 0, 1, 2, ...: two more after six for each.
        assert [by_class(heard(batches, epoch)) for epoch in range(4)] == [[7, 7, 6], [7, 6, 7], [6, 7, 7], [7, 7, 6]]

    def test_labels_go_with_their_clips(self) -> None:
        features, one_hot = balanced(batch_size=20)[0]
        np.testing.assert_array_equal(one_hot, UNEVEN[clips_in(features)])

    def test_clips_of_a_class_are_heard_equally_often_after_any_number_of_epochs(self) -> None:
        batches = balanced()
        total = np.zeros(CLIPS, int)
        for epoch in range(9):
            total += heard(batches, epoch)
            for part in np.split(total, [12, 17]):
                assert np.ptp(part) <= 1
        # Nine epochs have 60 samples of each class: 5 for each of 12 clips, 12 for each of 5, 20 for each of 3.
        assert total.tolist() == [5] * 12 + [12] * 5 + [20] * 3

    def test_classes_are_mixed_and_epochs_differ(self) -> None:
        batches = balanced(batch_size=20)
        clips = clips_in(batches[0][0])
        classes = UNEVEN[clips].argmax(axis=1)
        assert (np.diff(classes) != 0).sum() > 5
        batches.set_epoch(1)
        assert clips_in(batches[0][0]) != clips

    def test_a_resumed_run_gets_the_same_batches(self) -> None:
        augmentation = pipeline_of(FULL)
        uninterrupted = balanced(augmentation=augmentation)
        epochs = []
        for epoch in range(4):
            uninterrupted.set_epoch(epoch)
            epochs.append([uninterrupted[step] for step in range(4)])
        for epoch in (3, 1):
            resumed = balanced(augmentation=augmentation)
            resumed.set_epoch(epoch)
            for step in (2, 0, 3, 1):
                assert_equal_batches(resumed[step], epochs[epoch][step])
        assert not np.array_equal(balanced(augmentation=augmentation, seed=2)[0][0], epochs[0][0][0])

    def test_each_pass_is_balanced_and_has_an_order_of_its_own(self) -> None:
        class Both(BatchAugmentation):
            clips_per_sample: ClassVar[int] = 2

            def __call__(
                self, features: np.ndarray, one_hot: np.ndarray, rng: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray]:
                half = len(features) // 2
                return np.concatenate([features[:half], features[half:]], axis=2), one_hot[:half]

        features, _ = balanced(batch_size=20, augmentation=Pipeline((Both(),)))[0]
        first, second = clips_in(features), clips_in(features[:, :, 4:])
        for clips in (first, second):
            assert by_class(np.bincount(clips, minlength=CLIPS)) == [7, 7, 6]
        assert first != second
        assert sorted(first) != sorted(second)

    def test_more_classes_than_samples_take_turns(self) -> None:
        one_hot = np.eye(3, dtype=np.float32)
        batches = TrainingBatches(make_store(), range(3), one_hot, batch_size=2, balance_classes=True)
        seen = []
        for epoch in range(3):
            batches.set_epoch(epoch)
            seen.append(sorted(clips_in(batches[0][0])))
        assert seen == [[0, 1], [0, 2], [1, 2]]

    def test_classes_of_equal_size_are_still_passed_over_whole(self) -> None:
        even = np.eye(4, dtype=np.float32)[np.arange(CLIPS) % 4]
        batches = TrainingBatches(make_store(), range(CLIPS), even, batch_size=5, balance_classes=True)
        assert heard(batches, 0).tolist() == [1] * CLIPS


class TestEvaluationBatches:
    def test_all_clips_come_in_order_and_whole(self) -> None:
        order = np.arange(CLIPS)[::-1]
        batches = EvaluationBatches(make_store(), order, labels(), batch_size=6)
        assert len(batches) == 4
        assert [len(batches[step][0]) for step in range(4)] == [6, 6, 6, 2]
        seen = [clip for step in range(4) for clip in clips_in(batches[step][0])]
        assert seen == order.tolist()
        np.testing.assert_array_equal(np.concatenate([batches[step][1] for step in range(4)]), labels())
        assert batches[0][0].shape[1:] == (BANDS, FRAMES - 8, 3)

    def test_labels_are_optional(self) -> None:
        (features,) = EvaluationBatches(make_store(), [0, 1])[0]
        assert clips_in(features) == [0, 1]

    def test_keras_predicts_every_clip_once_in_order(self) -> None:
        inputs = keras.Input((BANDS, None, 3))
        model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(inputs))
        predicted = model.predict(EvaluationBatches(make_store(), range(CLIPS), batch_size=6, workers=3), verbose=0)
        np.testing.assert_array_equal(predicted[:, 0], np.arange(1, CLIPS + 1))


@pytest.mark.parametrize("kind", [TrainingBatches, EvaluationBatches])
def test_bad_input_is_refused(kind: type) -> None:
    with pytest.raises(InputError, match="at least one clip, got none"):
        kind(make_store(), [], labels(0))
    with pytest.raises(InputError, match="one row a clip, got 19 rows for 20 clips"):
        kind(make_store(), range(CLIPS), labels(19))
    with pytest.raises(InputError, match="`batch_size` must be at least 1, got 0"):
        kind(make_store(), range(CLIPS), labels(), batch_size=0)
