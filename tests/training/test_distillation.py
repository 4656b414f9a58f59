"""The loss of a student, against the formula."""

import keras
import numpy as np
import pandas as pd
import pytest

from asc_study.settings.distillation import DistillationConfig
from asc_study.training.distillation import DistillationLoss, targets


@pytest.fixture
def drawn() -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Labels (6, 4), the teacher's probabilities of 8 clips, the 6 clips in another order, and the student's output."""
    rng = np.random.default_rng(3)
    teacher = pd.DataFrame(rng.dirichlet(np.ones(4), 8), index=np.arange(8) * 10, columns=list("abcd"))
    clips = pd.DataFrame(index=[70, 0, 20, 50, 30, 10])
    one_hot = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 6)]
    return one_hot, teacher, clips, rng.dirichlet(np.ones(4), 6).astype(np.float32)


def softened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("temperature", "weight"), [(2.0, 0.98), (1.0, 0.5), (5.0, 1.0)])
def test_the_loss_is_that_of_the_formula(drawn, temperature: float, weight: float):
    one_hot, teacher, clips, student = drawn
    both = targets(one_hot, teacher, clips, temperature)
    loss = DistillationLoss(DistillationConfig(teacher="t", temperature=temperature, weight=weight))
    soft, own = softened(teacher.loc[clips.index].to_numpy(), temperature), softened(student, temperature)
    divergence = (soft * np.log(soft / own)).sum(axis=1)
    entropy = -np.log(student[one_hot.astype(bool)])
    expected = (weight * temperature**2 * divergence + (1 - weight) * entropy).mean()
    assert float(keras.ops.convert_to_numpy(loss(both, student))) == pytest.approx(expected, rel=1e-4)


def test_labels_and_soft_labels_stand_side_by_side_in_the_order_of_the_clips(drawn):
    one_hot, teacher, clips, _ = drawn
    both = targets(one_hot, teacher, clips, 1.0)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[:, :4], one_hot)
    np.testing.assert_allclose(both[:, 4:], teacher.loc[clips.index], rtol=1e-6)


def test_a_sure_teacher_and_a_sure_student_have_a_finite_loss():
    sure = np.eye(3, dtype=np.float32)
    frame = pd.DataFrame(sure)
    both = targets(sure, frame, frame, 2.0)
    loss = DistillationLoss(DistillationConfig(teacher="t"))
    assert np.isfinite(float(keras.ops.convert_to_numpy(loss(both, sure[::-1]))))
