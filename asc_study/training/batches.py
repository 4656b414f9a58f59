"""Batches for training and for prediction, made from the feature store in background threads.

A batch depends on nothing but the seed, the epoch and the step: not on the number of threads, not on what was made
before it, so a resumed run goes on exactly as the uninterrupted one.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from asc_study.augmentation import Pipeline
from asc_study.errors import InputError
from asc_study.features.logmel import FRAMES_LOST_TO_DELTAS, with_deltas
from asc_study.features.store import FeatureStore

FloatArray = npt.NDArray[np.float32]

#: First word of the spawn keys below: the order of the clips and the augmentation draw from streams of their own.
_ORDER, _AUGMENTATION = 0, 1

#: Batches that wait for the training step at most: enough to never starve it, little memory.
_QUEUED_BATCHES: Final = 8


#: Samples that are loaded and augmented together: their clips stay in the processor's cache from the first step to the
#: last, which a whole batch would not. Part of what the random values of a batch mean.
_SAMPLES_AT_A_TIME: Final = 2


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

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Frequency bands, frames and channels of a whole clip with its deltas."""
        bands, frames, channels = self._store.shape
        return bands, frames - FRAMES_LOST_TO_DELTAS, 3 * channels

    def _load(self, positions: npt.NDArray[np.integer[Any]], out: FloatArray) -> None:
        for position, clip in zip(positions, out, strict=True):
            with_deltas(self._store[self._indices[position]], out=clip)


class TrainingBatches(_StoreBatches):
    """Shuffled, augmented batches of equal size: ``(features (B, F, T, C), one_hot (B, K))``, both float32.

    Parameters
    ----------
    store
        Static features.
    indices
        Which clips of the store to train on.
    one_hot
        (len(indices), classes) labels.
    batch_size
        Samples that come out, after augmentation. A data set smaller than that gives one batch of all its clips.
    augmentation
        The run's pipeline. If it mixes several clips to one sample, each of them comes from a shuffle of its own, so an
        epoch passes over the data that many times.
    seed
        The run's stream for this purpose.
    workers
        Threads that make batches ahead of time.

    Notes
    -----
    What is left over at the end of a shuffle, less than a batch, is dropped; another shuffle drops others.
    """

    def __init__(
        self,
        store: FeatureStore,
        indices: Sequence[int] | npt.NDArray[np.integer[Any]],
        one_hot: FloatArray,
        *,
        batch_size: int = 32,
        augmentation: Pipeline | None = None,
        seed: int | np.random.SeedSequence = 0,
        workers: int = 2,
    ) -> None:
        super().__init__(store, indices, batch_size, workers)
        self._one_hot = _one_row_a_clip(one_hot, self._indices)
        self._batch_size = min(batch_size, len(self._indices))
        self._augmentation = augmentation or Pipeline()
        self._seed = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        self._epoch = 0
        self._of_thread = threading.local()

    def __len__(self) -> int:
        return len(self._indices) // self._batch_size

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
        epoch = self._epoch
        batch = slice(step * self._batch_size, (step + 1) * self._batch_size)
        passes = range(self._augmentation.clips_per_sample)
        positions = np.stack([self._order(epoch, number)[batch] for number in passes])
        rng = self._generator(_AUGMENTATION, epoch, step)
        features = np.empty(0, np.float32)
        one_hot = np.empty((self._batch_size, self._one_hot.shape[1]), np.float32)
        for start in range(0, self._batch_size, _SAMPLES_AT_A_TIME):
            samples = slice(start, start + _SAMPLES_AT_A_TIME)
            chosen = positions[:, samples].ravel()
            clips = self._scratch(len(chosen))
            self._load(chosen, clips)
            augmented, one_hot[samples] = self._augmentation(clips, self._one_hot[chosen], rng)
            if start == 0:  # only now is it known how long augmented clips are
                features = np.empty((self._batch_size, *augmented.shape[1:]), np.float32)
            features[samples] = augmented
        return features, one_hot

    def _order(self, epoch: int, pass_: int) -> npt.NDArray[np.int64]:
        return self._generator(_ORDER, epoch, pass_).permutation(len(self._indices))

    def _generator(self, *key: int) -> np.random.Generator:
        # Not SeedSequence((seed, epoch, step)): that pads with zeros, so (seed, epoch) would equal (seed, epoch, 0).
        parent = self._seed
        return np.random.default_rng(np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, *key)))

    def _scratch(self, clips: int) -> FloatArray:
        """Memory of this thread for whole clips on their way to a batch."""
        if not hasattr(self._of_thread, "clips"):
            most = _SAMPLES_AT_A_TIME * self._augmentation.clips_per_sample
            self._of_thread.clips = np.empty((most, *self.input_shape), np.float32)
        scratch: FloatArray = self._of_thread.clips[:clips]
        return scratch


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
        features = np.empty((len(positions), *self.input_shape), np.float32)
        self._load(positions, features)
        return (features,) if self._one_hot is None else (features, self._one_hot[positions])


def _one_row_a_clip(one_hot: npt.ArrayLike, indices: npt.NDArray[np.integer[Any]]) -> FloatArray:
    labels = np.asarray(one_hot, np.float32)
    if len(labels) != len(indices):
        raise InputError(f"labels must have one row a clip, got {len(labels)} rows for {len(indices)} clips")
    return labels
