"""Systems device by device: the same figures as the metrics of one system and the comparison of two."""

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, SUBSETS
from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.side_by_side import comparable, mean_over_seeds, scenes_by_device, side_by_side
from asc_study.evaluation.significance import compare


def rows_of(found: pd.DataFrame, system: str) -> pd.DataFrame:
    return found[found["system"] == system].set_index("metric")


def test_every_accuracy_has_a_row_for_each_system(make_table) -> None:
    found = side_by_side({"plain": [make_table(1)], "mixup": [make_table(2)]}, "plain")
    expected = [ALL_CLIPS.metric, *(one.metric for one in SUBSETS), *(f"device_acc_{name}" for name in DEVICES)]
    assert list(rows_of(found, "plain").index) == expected
    assert list(rows_of(found, "mixup").index) == expected
    assert rows_of(found, "plain")["change"].isna().all()


def test_differences_are_those_of_compare(make_table) -> None:
    first, second = [make_table(1), make_table(2)], [make_table(3, skill=2.0), make_table(4, skill=2.0)]
    found = rows_of(side_by_side({"plain": first, "mixup": second}, "plain"), "mixup")
    for one in compare(first, second).subsets:
        row = found.loc[one.name]
        assert row["change"] == 100 * one.difference
        assert (row["change_low"], row["change_high"]) == (100 * one.low, 100 * one.high)
        assert (row["p_value"], row["significant"]) == (one.p_value, one.significant)
        assert row["clips"] == one.clips
        assert row["locations"] == one.locations


def test_intervals_of_one_seed_are_those_that_its_run_logs(make_table) -> None:
    table = make_table(1)
    found, logged = rows_of(side_by_side({"plain": [table]}, "plain"), "plain"), evaluate(table)
    for subset in (ALL_CLIPS, *SUBSETS):
        name = BY_NAME[subset.metric].test_name
        row = found.loc[subset.metric]
        assert row["value"] == pytest.approx(100 * logged[name])
        assert (row["low"], row["high"]) == (100 * logged[f"{name}_lo"], 100 * logged[f"{name}_hi"])


def test_of_several_seeds_a_device_has_their_mean(make_table) -> None:
    seeds = [make_table(1), make_table(2)]
    found = rows_of(side_by_side({"plain": seeds}, "plain"), "plain")
    logged = [evaluate(table)["test/device_acc_s5"] for table in seeds]
    assert found.loc["device_acc_s5", "value"] == pytest.approx(100 * np.mean(logged))
    assert found.loc["device_acc_s5", "seeds"] == 2


def test_only_systems_of_the_same_clips_are_comparable(make_table) -> None:
    plain, other = [make_table(1)], [make_table(2)]
    fewer, groups = [make_table(2, clips=100)], [make_table(2, task="three_class")]
    found = comparable({"fewer": fewer, "groups": groups, "other": other, "plain": plain}, "plain")
    assert list(found) == ["plain", "other"]
    assert comparable({"plain": [*plain, *fewer], "other": other}, "plain") == {}


def test_a_reference_that_is_no_system_is_refused(make_table) -> None:
    with pytest.raises(InputError, match="the reference must be one of the systems, got 'b'"):
        side_by_side({"a": [make_table(1)]}, "b")


def test_scenes_by_device_is_the_mean_over_seeds_of_the_shares_that_are_right(tiny_table) -> None:
    right, wrong = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)
    one = tiny_table(("indoor", "a", "1", *right), ("indoor", "a", "2", *wrong), ("indoor", "s1", "3", *right))
    two = tiny_table(("indoor", "a", "1", *right), ("indoor", "a", "2", *right), ("indoor", "s1", "3", *wrong))
    found = mean_over_seeds([scenes_by_device(one), scenes_by_device(two)])
    assert list(found.columns) == ["a", "s1"]
    assert found.loc["indoor"].tolist() == [75.0, 50.0]
    assert found.loc["outdoor"].isna().all()


def test_scenes_and_devices_are_in_their_own_order(make_table) -> None:
    found = scenes_by_device(make_table(1))
    assert tuple(found.index) == SCENES
    assert tuple(found.columns) == DEVICES
