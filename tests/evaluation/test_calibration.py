import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from asc_study.base.errors import InputError
from asc_study.base.metric_table import direction
from asc_study.base.taxonomy import SCENE_GROUPS, SCENES
from asc_study.evaluation.calibration import (
    calibrated_log_loss,
    calibration_metrics,
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
    with_temperature,
)
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import check_predictions

GROUPS = list(SCENE_GROUPS)


def table(probabilities: np.ndarray | list, label: np.ndarray | list, split: str = "validation") -> pd.DataFrame:
    """Predictions of clips whose true class is the column ``label``."""
    values = np.asarray(probabilities)
    classes = list(SCENES if values.shape[1] == 10 else SCENE_GROUPS)
    context = {
        "clip_id": [f"clip{i}" for i in range(len(values))],
        "scene": [classes[k] for k in label],
        "device": "a",
        "city": "lisbon",
        "location": "1",
        "split": split,
    }
    return pd.concat([pd.DataFrame(context), pd.DataFrame(values, columns=classes)], axis=1)


def six_clips() -> pd.DataFrame:
    """Confidences 0.45 (wrong), 0.5 (right), 0.55 (right), 0.7 (wrong), 0.74 (right), 1 (right)."""
    probabilities = [
        [0.45, 0.3, 0.25],
        [0.25, 0.5, 0.25],
        [0.55, 0.25, 0.2],
        [0.1, 0.2, 0.7],
        [0.74, 0.2, 0.06],
        [0.0, 0.0, 1.0],
    ]
    return table(probabilities, [1, 1, 0, 0, 0, 2])


def sampled(temperature: float, clips: int = 20_000, seed: int = 0, split: str = "validation") -> pd.DataFrame:
    """Labels drawn from softmax(logits / temperature), predictions softmax(logits)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (clips, 10))
    cumulated = softmax(logits / temperature, axis=1).cumsum(axis=1)
    label = np.minimum((rng.random((clips, 1)) > cumulated).sum(axis=1), 9)
    return table(softmax(logits, axis=1), label, split)


def test_reliability_curve_by_hand():
    # Four bins, closed on the right: 0.45 and 0.5 are in (0.25, 0.5], the next three in (0.5, 0.75], 1 in (0.75, 1].
    curve = reliability_curve(six_clips(), bins=4)
    assert list(curve.columns) == ["confidence", "accuracy", "clips", "low", "high"]
    assert curve["low"].tolist() == [0.25, 0.5, 0.75]
    assert curve["high"].tolist() == [0.5, 0.75, 1.0]
    assert curve["clips"].tolist() == [2, 3, 1]
    assert curve["confidence"].tolist() == pytest.approx([0.475, 1.99 / 3, 1.0])
    assert curve["accuracy"].tolist() == pytest.approx([1 / 2, 2 / 3, 1.0])


def test_expected_calibration_error_by_hand():
    # Bins of the test above: |sum of right - sum of confidence| is |1 - 0.95|, |2 - 1.99| and |1 - 1|, over 6 clips.
    assert expected_calibration_error(six_clips(), bins=4) == pytest.approx((0.05 + 0.01 + 0.0) / 6)
    # One bin: accuracy 4/6, mean confidence (0.45 + 0.5 + 0.55 + 0.7 + 0.74 + 1) / 6.
    assert expected_calibration_error(six_clips(), bins=1) == pytest.approx(4 / 6 - 3.94 / 6)


def test_a_tie_is_decided_as_in_the_metrics():
    tie = table([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]], [0, 1])
    assert reliability_curve(tie)["accuracy"].tolist() == [0.5]


def test_confidence_may_round_above_one():
    above = table(np.float32([[1.0000001, 0.0, 0.0]]), [0])
    assert reliability_curve(above)["high"].tolist() == [1.0]
    assert expected_calibration_error(above) == 0.0


def test_always_sure_and_half_wrong():
    assert expected_calibration_error(table([[1.0, 0.0, 0.0]] * 4, [0, 0, 1, 2])) == 0.5


def test_temperature_by_hand():
    # The first class is right on 2 of 4 clips, the others on 1 each: odds of 2 are best, and 8 ** (1/T) = 2 for T = 3.
    validation = table([[0.8, 0.1, 0.1]] * 4, [0, 0, 1, 2])
    assert fit_temperature(validation) == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature):
    assert fit_temperature(sampled(temperature)) == pytest.approx(temperature, rel=0.03)


def test_temperature_is_the_lowest_log_loss():
    validation = sampled(1.7, clips=500)
    probabilities = validation[list(SCENES)].to_numpy()
    label = validation["scene"].map({name: k for k, name in enumerate(SCENES)}).to_numpy()

    def loss(temperature: float) -> float:
        power = probabilities ** (1 / temperature)
        return float(-np.log(power[np.arange(500), label] / power.sum(axis=1)).mean())

    grid = np.geomspace(0.5, 5, 4001)
    assert fit_temperature(validation) == pytest.approx(grid[np.argmin([loss(t) for t in grid])], rel=1e-3)


def test_temperatures_stay_in_range():
    always_right, always_wrong = (table([[0.6, 0.3, 0.1]] * 3, [k] * 3) for k in (0, 2))
    assert fit_temperature(always_right) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(always_wrong) == pytest.approx(20, rel=1e-3)


def test_uniform_predictions_keep_a_temperature_of_one():
    assert fit_temperature(table(np.full((4, 3), 1 / 3), [0, 1, 2, 0])) == 1.0


def test_temperature_is_not_fitted_on_test():
    with pytest.raises(InputError, match="never fitted on the test split"):
        fit_temperature(sampled(1.0, clips=10, split="test"))


def test_with_temperature_by_hand():
    changed = with_temperature(table([[0.64, 0.32, 0.04]], [0]), 2.0)
    roots = [0.8, math.sqrt(0.32), 0.2]
    assert changed.loc[0, GROUPS].tolist() == pytest.approx([root / sum(roots) for root in roots], rel=1e-6)
    assert set(changed[GROUPS].dtypes) == {np.dtype(np.float32)}


def test_a_temperature_of_one_changes_nothing():
    before = sampled(1.0, clips=100)
    after = with_temperature(before, 1.0)
    np.testing.assert_allclose(after[list(SCENES)], before[list(SCENES)], atol=2e-6)
    context = [column for column in before.columns if column not in SCENES]
    pd.testing.assert_frame_equal(after[context], before[context])


@pytest.mark.parametrize("temperature", [0.05, 0.7, 20.0])
def test_decisions_stay(temperature):
    before = sampled(1.0, clips=2000)
    narrow = np.float32([[0.3, 0.35, np.nextafter(np.float32(0.35), np.float32(1))], [0.0, 0.0, 1.0]])
    for predictions in (before, table(narrow, [0, 1])):
        classes = [*predictions.columns[6:]]
        after = with_temperature(predictions, temperature)
        check_predictions(after)
        assert (after[classes].to_numpy().argmax(axis=1) == predictions[classes].to_numpy().argmax(axis=1)).all()
        np.testing.assert_allclose(after[classes].sum(axis=1), 1, atol=1e-5)


def test_the_given_table_stays():
    before = six_clips()
    with_temperature(before, 3.0)
    pd.testing.assert_frame_equal(before, six_clips())


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_impossible_temperatures(temperature):
    with pytest.raises(InputError, match=f"a temperature must be a number above 0, got {temperature}"):
        with_temperature(six_clips(), temperature)


def test_metrics_of_both_splits():
    tables = {"test": sampled(2.0, seed=1, split="test"), "validation": sampled(2.0)}
    metrics = calibration_metrics(tables)
    assert list(metrics) == [
        "test/ece",
        "validation/ece",
        "validation/temperature",
        "test/calibrated_ece",
        "test/calibrated_log_loss",
    ]
    assert metrics["validation/temperature"] == pytest.approx(2.0, rel=0.03)
    assert metrics["test/ece"] > 0.1
    assert metrics["test/calibrated_ece"] < 0.02
    # On well calibrated predictions the log loss is their entropy.
    q = softmax(np.log(tables["test"][list(SCENES)].to_numpy()) / 2, axis=1)
    assert metrics["test/calibrated_log_loss"] == pytest.approx(-(q * np.log(q)).sum(axis=1).mean(), rel=0.02)
    for name in metrics.keys() - {"validation/temperature"}:
        assert direction(name) == "minimize"


def test_test_labels_do_not_touch_the_temperature():
    validation, test = sampled(2.0, clips=500), sampled(1.0, clips=500, seed=1, split="test")
    permuted = test.assign(scene=np.random.default_rng(0).permutation(test["scene"]))
    straight, other = (calibration_metrics({"test": t, "validation": validation}) for t in (test, permuted))
    assert straight["validation/temperature"] == other["validation/temperature"]
    assert straight["test/calibrated_log_loss"] < other["test/calibrated_log_loss"]


def test_metrics_of_one_split():
    validation, test = sampled(2.0, clips=100), sampled(2.0, clips=100, split="test")
    assert list(calibration_metrics({"test": test})) == ["test/ece"]
    assert list(calibration_metrics({"validation": validation})) == ["validation/ece", "validation/temperature"]
    assert calibration_metrics({}) == {}


def test_tables_of_another_split():
    test = sampled(2.0, clips=10, split="test")
    with pytest.raises(InputError, match=r"got \['test'\] as 'validation'"):
        calibration_metrics({"validation": test})
    with pytest.raises(InputError, match=r"got \['train'\] as 'train'"):
        calibration_metrics({"train": test.assign(split="train")})


def test_nothing_to_measure():
    with pytest.raises(InputError, match="at least one clip"):
        expected_calibration_error(six_clips().iloc[:0])
    with pytest.raises(InputError, match="at least one clip"):
        calibration_metrics({"validation": six_clips().iloc[:0]})
    with pytest.raises(InputError, match="bins must be at least 1, got 0"):
        reliability_curve(six_clips(), bins=0)


def test_the_calibrated_loss_is_that_of_the_fitted_temperature(make_table):
    validation = make_table(0, split="validation")
    classes = list(SCENES)
    label = validation["scene"].map({scene: i for i, scene in enumerate(SCENES)}).to_numpy()
    temperature, loss = calibrated_log_loss(validation[classes].to_numpy(np.float64), label)
    assert temperature == fit_temperature(validation)
    calibrated = evaluate(with_temperature(validation, temperature), intervals=False)
    assert loss == pytest.approx(calibrated["validation/log_loss"], abs=1e-6)
