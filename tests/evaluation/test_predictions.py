from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENE_GROUPS, SCENES
from asc_study.evaluation.predictions import (
    CONTEXT_COLUMNS,
    SUM_TOLERANCE,
    check_predictions,
    predictions_table,
    read_predictions,
    write_predictions,
)

CLIPS = pd.DataFrame(
    {
        "clip_id": ["x", "y"],
        "path": ["/x.wav", "/y.wav"],
        "scene": ["bus", "park"],
        "scene_group": ["transportation", "outdoor"],
        "city": ["lisbon", "lisbon"],
        "location": ["1", "2"],
        "device": ["a", "s4"],
        "split": ["test", "test"],
    }
)


def uniform(classes: int) -> np.ndarray:
    return np.full((2, classes), 1 / classes, np.float32)


def test_columns_are_context_then_classes():
    table = predictions_table(CLIPS, uniform(10), "ten_class")
    assert list(table.columns) == [*CONTEXT_COLUMNS, *SCENES]
    assert list(table["scene"]) == ["bus", "park"]


def test_three_class_truth_is_the_group():
    table = predictions_table(CLIPS, uniform(3), "three_class")
    assert list(table.columns) == [*CONTEXT_COLUMNS, *SCENE_GROUPS]
    assert list(table["scene"]) == ["transportation", "outdoor"]


def test_parquet_round_trip():
    table = predictions_table(CLIPS, uniform(10), "ten_class")
    write_predictions(table, Path("predictions/test.parquet"))
    pd.testing.assert_frame_equal(read_predictions(Path("predictions/test.parquet")), table)


def test_what_half_precision_rounds_off_is_put_right():
    import ml_dtypes

    values = [0.125, 0.1289, 0.1133, 0.126, 0.0967, 0.0713, 0.0625, 0.0933, 0.0732, 0.1079]  # what a network gave
    exact = np.array([values, values], np.float32)
    rounded = exact.astype(ml_dtypes.bfloat16)
    assert abs(rounded.astype(np.float32).sum(axis=1) - 1).max() > SUM_TOLERANCE
    table = predictions_table(CLIPS, rounded, "ten_class")
    np.testing.assert_allclose(table[list(SCENES)].sum(axis=1), 1, atol=1e-6)
    with pytest.raises(InputError, match="sum to 1"):
        predictions_table(CLIPS, (0.9 * exact).astype(ml_dtypes.bfloat16), "ten_class")
    with pytest.raises(InputError, match="sum to 1"):  # float32 rounds less: something else is wrong
        predictions_table(CLIPS, rounded.astype(np.float32), "ten_class")


def test_wrong_shape():
    with pytest.raises(InputError, match=r"\(2, 10\), got \(2, 3\)"):
        predictions_table(CLIPS, uniform(3), "ten_class")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="city"), "missing: \\['city'\\]"),
        (lambda t: t.drop(columns="bus"), "class columns must be those of a task"),
        (lambda t: t.assign(clip_id="x"), "clip 'x' stands twice"),
        (lambda t: t.assign(scene="beach"), "must be one of the classes, got \\['beach'\\]"),
        (lambda t: t.assign(bus=float("nan")), "must be finite"),
        (lambda t: t.assign(bus=-0.1), "at least 0"),
        (lambda t: t.assign(bus=0.5), "sum to 1"),
    ],
)
def test_broken_tables(change, message):
    table = change(predictions_table(CLIPS, uniform(10), "ten_class"))
    with pytest.raises(InputError, match=message):
        check_predictions(table)


def test_unreadable_file():
    Path("x.parquet").write_text("no")
    with pytest.raises(InputError, match="not a readable parquet file"):
        read_predictions(Path("x.parquet"))
