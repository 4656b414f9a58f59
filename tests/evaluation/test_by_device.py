import numpy as np
import pandas as pd
import pytest

from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.evaluation.by_device import accuracy_by_device
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import CONTEXT_COLUMNS


def predictions(devices=DEVICES, locations: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (f"{scene}{device}{place}", scene, device, "lisbon", f"{scene}{place}", "test")
        for scene in SCENES
        for device in devices
        for place in range(locations)
    ]
    frame = pd.DataFrame(rows, columns=list(CONTEXT_COLUMNS))
    drawn = rng.dirichlet([1] * len(SCENES), len(rows))
    return pd.concat([frame, pd.DataFrame(drawn, columns=list(SCENES))], axis=1)


def test_values_and_ends_are_those_of_the_metrics_in_per_cent():
    table = predictions()
    found, metrics = accuracy_by_device(table), evaluate(table)
    assert list(found.index) == ["avg", "A", "BC", "s1-s3", "s4-s6", *DEVICES]
    for name in ("avg", "A", "BC", "s1-s3", "s4-s6"):
        assert found.loc[name, "accuracy"] == pytest.approx(100 * metrics[f"test/acc_{name}"])
        assert found.loc[name, "low"] == pytest.approx(100 * metrics[f"test/acc_{name}_lo"])
        assert found.loc[name, "high"] == pytest.approx(100 * metrics[f"test/acc_{name}_hi"])
    for device in DEVICES:
        assert found.loc[device, "accuracy"] == pytest.approx(100 * metrics[f"test/device_acc_{device}"])
        assert found.loc[device, "low"] < found.loc[device, "accuracy"] < found.loc[device, "high"]
    assert list(found["clips"]) == [270, 30, 60, 90, 90, *[30] * 9]
    assert set(found["locations"]) == {30}


def test_devices_without_clips_have_no_row_and_one_location_has_no_interval():
    found = accuracy_by_device(predictions(("a", "s4")).assign(city="lisbon", location="1"))
    assert list(found.index) == ["avg", "A", "s4-s6", "a", "s4"]
    assert found[["low", "high"]].isna().all(axis=None)
    assert set(found["locations"]) == {1}
