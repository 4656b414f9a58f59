"""Learning from a teacher: hard and soft labels side by side, and the loss of both."""

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import label_column
from asc_study.settings.distillation import DistillationConfig
from asc_study.settings.run_config import RunConfig

FloatArray = npt.NDArray[np.float32]

#: Probabilities below this count as this: their logarithm is finite in float32.
_LEAST = 1e-7


def targets(one_hot: FloatArray, teacher: pd.DataFrame, clips: pd.DataFrame, temperature: float) -> FloatArray:
    """What a student is trained towards: (n, 2 classes), the labels and beside them the teacher's softened outputs.

    Side by side, what mixes clips mixes both by the same shares.

    Parameters
    ----------
    one_hot
        (n, classes) labels.
    teacher
        The teacher's probabilities, a column a class, by the index of ``clips``.
    clips
        The n clips.
    temperature
        What the teacher's logits are divided by.
    """
    logits = np.log(np.maximum(teacher.loc[clips.index].to_numpy(np.float64), _LEAST)) / temperature
    soft = np.exp(logits - logits.max(axis=1, keepdims=True))
    soft /= soft.sum(axis=1, keepdims=True)
    return np.concatenate([one_hot, soft.astype(np.float32)], axis=1)


class DistillationLoss(keras.losses.Loss):  # type: ignore[misc]
    """weight * T^2 * KL(teacher || student) + (1 - weight) * cross entropy, of `targets` and the student's output."""

    def __init__(self, settings: DistillationConfig) -> None:
        super().__init__(name="distillation")
        self._temperature, self._weight = settings.temperature, settings.weight

    def call(self, y_true: "keras.KerasTensor", y_pred: "keras.KerasTensor") -> "keras.KerasTensor":
        """The loss of each sample, (batch,)."""
        ops = keras.ops
        hard, soft = ops.split(ops.cast(y_true, "float32"), 2, axis=-1)
        log_student = ops.log(ops.maximum(ops.cast(y_pred, "float32"), _LEAST))
        softened = ops.log_softmax(log_student / self._temperature, axis=-1)
        divergence = ops.sum(soft * (ops.log(ops.maximum(soft, _LEAST)) - softened), axis=-1)
        entropy = -ops.sum(hard * log_student, axis=-1)
        return self._weight * self._temperature**2 * divergence + (1 - self._weight) * entropy


def labels_and_loss(
    config: RunConfig, clips: pd.DataFrame, teacher: pd.DataFrame | None
) -> tuple[npt.NDArray[np.float32], str | keras.losses.Loss]:
    """Labels of the train clips, (clips, classes, or twice as many with a teacher), and the loss that takes them."""
    labels = _one_hot(clips, config)
    if config.distillation is None:
        return labels, "categorical_crossentropy"
    if teacher is None:
        raise InputError("distillation needs what its teacher says of the training clips, got none: run it in a study")
    return targets(labels, teacher, clips, config.distillation.temperature), DistillationLoss(config.distillation)


def _one_hot(clips: pd.DataFrame, config: RunConfig) -> npt.NDArray[np.float32]:
    label = clips[label_column(config.task)]
    one_hot: npt.NDArray[np.float32] = (label.to_numpy()[:, None] == np.asarray(config.classes)).astype(np.float32)
    return one_hot
