import os
import threading

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from asc_study.augmentation import compose
from asc_study.errors import InputError
from asc_study.features.logmel import with_deltas
from asc_study.features.store import FeatureStore
from asc_study.training.batches import EvaluationBatches, TrainingBatches

CLIPS, BANDS, FRAMES, CLASSES = 20, 4, 12, 3
FULL = {"spec_augment": {}, "random_crop": {"frames": 3}, "mixup": {}}


def make_store() -> FeatureStore:
    """Each clip is constant, so a batch tells which clips it holds; the store's order is not that of the arrays."""
    values = np.arange(1, CLIPS + 1, dtype=np.float16)[:, None, None, None]
    arrays = np.broadcast_to(values, (CLIPS, BANDS, FRAMES, 1)).copy()
    return FeatureStore([arrays[10:], arrays[:10]], [(1, i) for i in range(10)] + [(0, i) for i in range(10)])


def labels(count: int = CLIPS) -> np.ndarray:
    return np.eye(CLASSES, dtype=np.float32)[np.arange(count) % CLASSES]


def clips_in(features: np.ndarray) -> list[int]:
    return [int(clip) - 1 for clip in features[:, 0, 0, 0]]


def make(augmentation: dict | None = None, **options: object) -> TrainingBatches:
    options = {"batch_size": 6, "seed": 1, **options}
    return TrainingBatches(make_store(), range(CLIPS), labels(), augmentation=compose(augmentation or {}), **options)  # type: ignore[arg-type]


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

    def test_an_epoch_is_a_shuffle_without_the_left_over_clips(self) -> None:
        batches = make()
        assert len(batches) == 3
        seen = [clip for step in range(3) for clip in clips_in(batches[step][0])]
        assert len(seen) == len(set(seen)) == 18
        assert seen != sorted(seen)

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
        batches = TrainingBatches(store, range(CLIPS), labels(), batch_size=6, augmentation=compose(FULL))
        before = [store[index].copy() for index in range(CLIPS)]
        for step in range(3):
            batches[step]
        for index, clip in enumerate(before):
            np.testing.assert_array_equal(store[index], clip)

    def test_mixup_passes_twice_over_the_data(self) -> None:
        one_hot = np.eye(CLIPS, dtype=np.float32)
        batches = TrainingBatches(
            make_store(), range(CLIPS), one_hot, batch_size=5, augmentation=compose({"mixup": {"alpha": 5}}), seed=3
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
        batches = TrainingBatches(make_store(), [4, 7], labels(2), batch_size=32, augmentation=compose({"mixup": {}}))
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
