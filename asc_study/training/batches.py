"""Batches for training and for prediction, made from the feature store in background threads.

A batch depends on nothing but the seed, the epoch and the step: not on the number of threads, not on what was made
before it, so a resumed run goes on exactly as the uninterrupted one.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from asc_study.augmentation import Pipeline
from asc_study.base.errors import InputError
from asc_study.features.store import FeatureStore
from asc_study.training.fused import Drawn, FusedAugmentation, fused
from asc_study.training.reused_memory import ReusedMemory
from asc_study.training.run_data import steps_of_epoch

FloatArray = npt.NDArray[np.float32]

#: First word of the spawn keys below: the order of the clips, the augmentation and the order of the clips within a
#: class draw from streams of their own.
_ORDER, _AUGMENTATION, _ORDER_IN_CLASS = 0, 1, 2

#: Batches that wait for the training step at most: enough to never starve it, little memory.
_QUEUED_BATCHES: Final = 8


class _StoreBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """What both kinds of batches share: a store, which of its clips to use, and the making of deltas."""

    def __init__(
        self,
        store: FeatureStore,
        indices: Sequence[int] | npt.NDArray[np.integer[Any]],
        batch_size: int,
        workers: int,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=_QUEUED_BATCHES)
        if len(indices) == 0:
            raise InputError("batches need at least one clip, got none: check the data set's splits")
        if batch_size < 1:
            raise InputError(f"`batch_size` must be at least 1, got {batch_size}: give a positive whole number")
        self._store = store
        self._indices = np.asarray(indices)
        self._batch_size = batch_size
        self._room = ReusedMemory()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Frequency bands, frames and channels of a whole clip."""
        return self._store.input_shape

    def _load(self, positions: npt.NDArray[np.integer[Any]], out: FloatArray) -> None:
        for position, clip in zip(positions, out, strict=True):
            self._store.network_input(self._indices[position], out=clip)


class TrainingBatches(_StoreBatches):
    """Shuffled, augmented batches of equal size: ``(features (B, F, T, C), one_hot (B, K))``, both float32.

    Parameters
    ----------
    store
        Static features.
    indices
        Which clips of the store to train on.
    one_hot
        (len(indices), classes) labels; a teacher's soft ones may follow in further columns.
    batch_size
        Samples that come out, after augmentation. A data set smaller than that gives one batch of all its clips.
    augmentation
        The run's pipeline. If it mixes several clips to one sample, each of them comes from a shuffle of its own, so an
        epoch passes over the data that many times.
    balance_classes
        Give every class equally many samples an epoch, up to one, and as many in all as without (Task 1b's balancing by
        resampling). A class goes on in the next epoch where it stopped in its shuffled clips, and is shuffled anew when
        all were heard: after any number of epochs the clips of a class were heard equally often, up to one.
    seed
        The run's stream for this purpose.
    workers
        Threads that make batches ahead of time.

    Notes
    -----
    Without balancing, what is left over at the end of a shuffle, less than a batch, is dropped; another shuffle drops
    others.
    """

    def __init__(
        self,
        store: FeatureStore,
        indices: Sequence[int] | npt.NDArray[np.integer[Any]],
        one_hot: FloatArray,
        *,
        batch_size: int = 32,
        augmentation: Pipeline | None = None,
        balance_classes: bool = False,
        seed: int | np.random.SeedSequence = 0,
        workers: int = 2,
    ) -> None:
        super().__init__(store, indices, batch_size, workers)
        self._one_hot = _one_row_a_clip(one_hot, self._indices)
        self._batch_size = min(batch_size, len(self._indices))
        self._augmentation = augmentation or Pipeline()
        self._at_a_time = self._augmentation.samples_at_a_time(self._batch_size)
        self._fused = fused(self._augmentation, store)
        self._seed = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        self._clips_of_class = _clips_of_class(self._one_hot) if balance_classes else None
        self._epoch = 0
        self._known_order: tuple[int, npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return steps_of_epoch(len(self._indices), self._batch_size)

    @property
    def epoch(self) -> int:
        """The epoch, from 0, whose batches are being given."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Give the batches of that epoch from now on; to be called before each ``fit`` of one epoch.

        The hooks of PyDataset would not do: ``fit`` calls ``on_epoch_end`` once before the first epoch too, and
        ``on_epoch_begin`` when its threads are at work already. It also needs ``shuffle=False``, or Keras takes the
        steps in an order of its own.
        """
        self._epoch = epoch

    def __getitem__(self, step: int) -> tuple[FloatArray, FloatArray]:
        positions, rng = self._of_step(step)
        if self._fused:
            return self._fused(self._indices[positions], self._one_hot[positions], rng, self._at_a_time)
        return self._step_by_step(positions, rng)

    def _of_step(self, step: int) -> tuple[npt.NDArray[np.int64], np.random.Generator]:
        """Positions in the list of clips, (passes, samples), and the generator of a step."""
        epoch = self._epoch
        chosen = self._order(epoch)[:, step * self._batch_size : (step + 1) * self._batch_size]
        return chosen, self._generator(_AUGMENTATION, epoch, step)

    @property
    def fused(self) -> FusedAugmentation | None:
        """The one pass that makes the samples, if the pipeline has one."""
        return self._fused

    def drawn(self, step: int) -> tuple[npt.NDArray[np.int64], Drawn, FloatArray]:
        """What is drawn for a step that `fused` makes: positions in the list of clips, random values, and labels."""
        assert self._fused is not None
        positions, rng = self._of_step(step)
        drawn = self._fused.draw(positions.shape, rng, self._at_a_time)
        return positions, drawn, self._fused.labels(self._one_hot[positions], drawn)

    @property
    def stored_bytes(self) -> int:
        """Memory that the stored features of the clips take."""
        return len(self._indices) * math.prod(self._store.shape) * self._store.dtype.itemsize

    def stored_features(self) -> npt.NDArray[Any]:
        """The stored features of the clips in their order, (clips, frames, bands, channels)."""
        bands, frames, channels = self._store.shape
        features = np.empty((len(self._indices), frames, bands, channels), self._store.dtype)
        for place, index in enumerate(self._indices):
            features[place] = self._store[index].swapaxes(0, 1)
        return features

    def _step_by_step(
        self, positions: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """The samples of some clips, (passes, samples), one augmentation after the other."""
        one_hot = np.empty((self._batch_size, self._one_hot.shape[1]), np.float32)
        # Clips are loaded into the memory of the batch itself, from where their samples belong onwards: augmentations
        # that work in place leave the samples there. What lies behind them is overwritten by the next clips.
        clip_size = sample_size = math.prod(self.input_shape)
        memory = self._memory(clip_size)
        batch = np.empty(0, np.float32)
        for start in range(0, self._batch_size, self._at_a_time):
            samples = slice(start, start + self._at_a_time)
            chosen = positions[:, samples].ravel()
            clips = memory[start * sample_size :][: len(chosen) * clip_size].reshape(len(chosen), *self.input_shape)
            self._load(chosen, clips)
            augmented, one_hot[samples] = self._augmentation(clips, self._one_hot[chosen], rng)
            if start == 0:  # only now is it known how long augmented clips are
                sample_shape = augmented.shape[1:]
                sample_size = math.prod(sample_shape)
                if sample_size > clip_size:
                    memory = self._memory(sample_size)
                batch = memory[: self._batch_size * sample_size].reshape(self._batch_size, *sample_shape)
            place = batch[samples]
            if (augmented.ctypes.data, augmented.strides) != (place.ctypes.data, place.strides):
                place[...] = augmented
        return batch, one_hot

    def _memory(self, size: int) -> FloatArray:
        """Room for the samples of a batch, and behind them for the other clips that the last of them are made from."""
        others = self._augmentation.clips_per_sample - 1
        return self._room.take(((self._batch_size + self._at_a_time * others) * size,))

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Positions in the list of clips, (passes, samples): the same for all steps of an epoch, so it is kept."""
        known = self._known_order
        if known is None or known[0] != epoch:
            passes = range(self._augmentation.clips_per_sample)
            known = epoch, np.stack([self._order_of_pass(epoch, number) for number in passes])
            self._known_order = known
        return known[1]

    def _order_of_pass(self, epoch: int, pass_: int) -> npt.NDArray[np.int64]:
        rng = self._generator(_ORDER, epoch, pass_)
        if self._clips_of_class is None:
            return rng.permutation(len(self._indices))
        # Sample i of all samples since the first epoch belongs to class i % classes.
        samples, classes = len(self) * self._batch_size, len(self._clips_of_class)
        chosen = []
        for number, clips in enumerate(self._clips_of_class):
            start, stop = (math.ceil((first - number) / classes) for first in (epoch * samples, (epoch + 1) * samples))
            if start == stop:
                continue
            shuffles = range(start // len(clips), math.ceil(stop / len(clips)))
            endless = [
                self._generator(_ORDER_IN_CLASS, pass_, number, shuffle).permutation(clips) for shuffle in shuffles
            ]
            skipped = start - shuffles.start * len(clips)
            chosen.append(np.concatenate(endless)[skipped : skipped + stop - start])
        return rng.permutation(np.concatenate(chosen))

    def _generator(self, *key: int) -> np.random.Generator:
        # Not SeedSequence((seed, epoch, step)): that pads with zeros, so (seed, epoch) would equal (seed, epoch, 0).
        parent = self._seed
        return np.random.default_rng(np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, *key)))


class EvaluationBatches(_StoreBatches):
    """All clips in order, whole and not augmented: ``(features, one_hot)``, or ``(features,)`` without labels.

    The last batch holds what is left. Parameters as for `TrainingBatches`.
    """

    def __init__(
        self,
        store: FeatureStore,
        indices: Sequence[int] | npt.NDArray[np.integer[Any]],
        one_hot: FloatArray | None = None,
        *,
        batch_size: int = 32,
        workers: int = 2,
    ) -> None:
        super().__init__(store, indices, batch_size, workers)
        self._one_hot = None if one_hot is None else _one_row_a_clip(one_hot, self._indices)

    def __len__(self) -> int:
        return math.ceil(len(self._indices) / self._batch_size)

    def __getitem__(self, step: int) -> tuple[FloatArray, ...]:
        positions = np.arange(step * self._batch_size, min((step + 1) * self._batch_size, len(self._indices)))
        features = self._room.take((len(positions), *self.input_shape))
        self._load(positions, features)
        return (features,) if self._one_hot is None else (features, self._one_hot[positions])


def _one_row_a_clip(one_hot: npt.ArrayLike, indices: npt.NDArray[np.integer[Any]]) -> FloatArray:
    labels = np.asarray(one_hot, np.float32)
    if len(labels) != len(indices):
        raise InputError(f"labels must have one row a clip, got {len(labels)} rows for {len(indices)} clips")
    return labels


def _clips_of_class(one_hot: FloatArray) -> list[npt.NDArray[np.int64]]:
    """Positions of the clips of each class that has any."""
    number = one_hot.argmax(axis=1)
    return [np.flatnonzero(number == present) for present in np.unique(number)]
