from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENE_GROUPS, SCENES
from asc_study.evaluation.predictions import (
    CONTEXT_COLUMNS,
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
