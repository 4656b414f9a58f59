"""Batches that an accelerator makes: the features stay in its memory, and a step gets what was drawn for it.

The samples are those of `asc_study.training.fused`, made from the same drawn values, by a layer in front of the
network: gathering, deltas, masks, channel swap, crop and mixup are compiled together with the step, and nothing but
some numbers a sample passes from the host to the device. The arithmetic is the same; a compiler that joins operations
can change the last digit.
"""

import os
import sys
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from asc_study.training.batches import FloatArray, TrainingBatches
from asc_study.training.fused import FusedAugmentation

#: Share of the device's free memory that features may take: the network, its gradients and activations need the rest.
_LARGEST_SHARE: Final = 0.5

#: Frames that deltas and delta-deltas cost at each end of a clip.
_MARGIN: Final = 4


class DrawnBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """What is drawn for the samples of `TrainingBatches`, and their labels, in place of the samples themselves.

    A batch is ``(inputs, labels)``: ``clips``, ``starts`` and ``swapped`` (B, passes) int32, ``masks`` (B, passes, 4,
    columns) int32, ``shares`` (B,) float32; see `asc_study.training.fused.Drawn`.
    """

    def __init__(self, batches: TrainingBatches) -> None:
        super().__init__(workers=2, use_multiprocessing=False)
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, step: int) -> tuple[dict[str, npt.NDArray[Any]], FloatArray]:
        positions, drawn, labels = self._batches.drawn(step)
        inputs = {
            "clips": positions.T.astype(np.int32),
            "starts": drawn.starts.T.astype(np.int32),
            "swapped": drawn.swapped.T.astype(np.int32),
            "masks": np.moveaxis(drawn.masks, 0, 2).swapaxes(0, 1).astype(np.int32),
            "shares": drawn.shares,
        }
        return inputs, labels


class Samples(keras.layers.Layer):  # type: ignore[misc]
    """Makes (B, bands, frames, channels) float32 samples of what was drawn, from features that it holds.

    Parameters
    ----------
    features
        (clips, frames, bands, channels), as stored: of the clips that are trained on, in their order.
    fused
        The pipeline.
    """

    def __init__(self, features: npt.NDArray[Any], fused: FusedAugmentation) -> None:
        super().__init__(name="samples", dtype="float32", trainable=False)
        clips, self._frames, self._bands, self._channels = features.shape
        self._sample_frames = fused.sample_shape[1]
        self._masks, self._swaps, self._mixes = fused.masks_value, fused.swaps, fused.mixes
        rows = features.reshape(clips * self._frames, self._bands * self._channels)
        # Not cast with the layer's other inputs: that would make a float32 copy of all features in every step.
        self._features = self.add_weight(
            name="features",
            shape=rows.shape,
            dtype=str(features.dtype),
            initializer=lambda *_, **__: ops.convert_to_tensor(rows),
            trainable=False,
            autocast=False,
        )

    def call(self, inputs: dict[str, Any]) -> Any:
        """Make the samples of a batch of `DrawnBatches`."""
        passes = [self._pass(inputs, number) for number in range(2 if self._mixes else 1)]
        if not self._mixes:
            return passes[0]
        first, second = passes
        return (first - second) * ops.reshape(inputs["shares"], (-1, 1, 1, 1)) + second

    def _pass(self, inputs: dict[str, Any], number: int) -> Any:
        starts = inputs["starts"][:, number]
        read = self._sample_frames + 2 * _MARGIN
        frames = starts[:, None] + ops.arange(read, dtype="int32")[None]
        rows = inputs["clips"][:, number][:, None] * self._frames + frames
        wide = ops.cast(ops.take(self._features, rows, axis=0), "float32")
        wide = ops.reshape(wide, (-1, read, self._bands, self._channels))
        slopes = _ten_slopes(wide)
        statics, deltas = wide[:, _MARGIN:-_MARGIN], slopes[:, 2:-2] * 0.1
        features = ops.concatenate([statics, deltas, _ten_slopes(slopes) * 0.01], axis=-1)
        if self._masks is not None:
            features = self._masked(features, inputs["masks"][:, number], frames[:, : self._sample_frames])
        if self._swaps:
            swapped = ops.reshape(inputs["swapped"][:, number], (-1, 1, 1, 1)) == 1
            sides = ops.reshape(features, (-1, self._sample_frames, self._bands, 3, self._channels))
            features = ops.where(swapped, ops.reshape(ops.flip(sides, axis=-1), ops.shape(features)), features)
        return ops.transpose(features, (0, 2, 1, 3))

    def _masked(self, features: Any, masks: Any, frames: Any) -> Any:
        first_band, end_band, first_frame, end_frame = (masks[:, place, None] for place in range(4))
        bands = ops.arange(self._bands, dtype="int32")[None, :, None]
        in_bands = ops.logical_and(first_band <= bands, bands < end_band)
        in_frames = ops.logical_and(first_frame <= frames[:, :, None], frames[:, :, None] < end_frame)
        masked = ops.logical_or(in_bands[:, None], in_frames[:, :, None])
        return ops.where(masked, self._masks, features)


def on_device(batches: TrainingBatches, network: keras.Model) -> tuple[keras.Model, DrawnBatches] | None:
    """A model that makes the samples of batches itself and gives them to a network, and what it is to be fed.

    Returns
    -------
    The model, whose trainable variables are the network's, and its batches; None if the device's memory cannot hold the
    features, which is said on standard error.
    """
    fused = batches.fused
    assert fused is not None, "the caller has asked `fusable`"
    needed, free = batches.stored_bytes, free_memory()
    if free is not None and needed > _LARGEST_SHARE * free:
        _say_too_large(needed, f"{free / 1e9:.1f} GB of it are free")
        return None
    try:
        samples = Samples(batches.stored_features(), fused)
    except Exception as error:  # each back end has an error of its own for a memory that is full
        if "RESOURCE_EXHAUSTED" not in str(error) and type(error).__name__ != "ResourceExhaustedError":
            raise
        _say_too_large(needed, "it is full")
        return None
    drawn = DrawnBatches(batches)
    inputs = {
        name: keras.Input(array.shape[1:], dtype=str(array.dtype), name=name) for name, array in drawn[0][0].items()
    }
    return keras.Model(inputs, network(samples(inputs)), name=f"{network.name}_on_device"), drawn


def free_memory() -> int | None:
    """Bytes that are free where the back end keeps its variables; None if it does not say."""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.local_devices()[0]
        if device.platform != "cpu":
            known = device.memory_stats() or {}
            return known["bytes_limit"] - known["bytes_in_use"] if "bytes_limit" in known else None
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            return None
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _say_too_large(needed: int, why: str) -> None:
    said = f"note: {needed / 1e9:.1f} GB of features do not fit into the device's memory beside a network ({why})"
    print(f"{said}: the host makes the batches", file=sys.stderr)


def _ten_slopes(values: Any) -> Any:
    """Ten times the slope along axis 1, as `asc_study.features.front_end.ten_slopes` has it."""
    far = values[:, 4:] - values[:, :-4]
    return far + far + values[:, 3:-1] - values[:, 1:-3]
