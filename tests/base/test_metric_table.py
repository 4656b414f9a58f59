import pytest

from asc_study.base.errors import InputError
from asc_study.base.metric_table import COLUMNS, METRICS, SUBSETS, direction, full_name, require_objective, today
from asc_study.base.taxonomy import DEVICE_SUBSETS
from asc_study.search.objective import OBJECTIVES


def test_no_metric_is_declared_twice():
    names = [name for metric in METRICS for name in {metric.test_name, metric.validation_name}]
    assert len(set(names)) == len(names)


def test_columns_are_those_of_table_1():
    assert [column.heading for column in COLUMNS] == ["A", "B&C", "s1-s3", "s4-s6", "log loss", "Avg acc."]
    assert [column.test_name for column in COLUMNS][-2:] == ["test/log_loss", "test/acc_avg"]


def test_subsets_are_those_of_the_taxonomy():
    assert {subset.name: subset.devices for subset in SUBSETS} == dict(DEVICE_SUBSETS)
    assert [subset.title for subset in SUBSETS] == ["A", "B&C", "s1-s3 (seen)", "s4-s6 (unseen)"]


def test_a_search_optimises_what_the_table_says():
    assert {"validation/acc_s4-s6", "validation/gap_A_to_unseen", "validation/device_acc_s3", "cost/macs"} <= set(
        OBJECTIVES
    )
    assert not {"validation/ece", "cost/trial_seconds", "validation/temperature"} & set(OBJECTIVES)
    assert not any(name.startswith("test/") for name in OBJECTIVES)


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("acc_avg", "test", "test/acc_avg"),
        ("acc_avg", "validation", "validation/acc_avg"),
        ("device_acc_s3", "test", "test/device_acc_s3"),
        ("device_acc_s3", "validation", "validation/device_acc_s3"),
    ],
)
def test_full_name(name, split, expected):
    assert full_name(name, split) == expected


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("test/acc_s4-s6", "maximize"),
        ("validation/acc_macro", "maximize"),
        ("test/scene_acc_bus", "maximize"),
        ("test/device_acc_s3_lo", "maximize"),
        ("holdout/acc_s3", "maximize"),
        ("test/log_loss", "minimize"),
        ("test/log_loss_hi", "minimize"),
        ("test/gap_A_to_unseen", "minimize"),
        ("validation/gap_A_to_unseen", "minimize"),
        ("test/calibrated_ece", "minimize"),
        ("cost/macs", "minimize"),
    ],
)
def test_direction(metric, expected):
    assert direction(metric) == expected


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("device/acc_s3", "test/device_acc_s3"),
        ("scene/acc_bus", "test/scene_acc_bus"),
        ("gap/A_to_unseen", "test/gap_A_to_unseen"),
        ("change/acc_s4-s6", "test/change_acc_s4-s6"),
        ("calibration/test_ece", "test/calibrated_ece"),
        ("calibration/temperature", "validation/temperature"),
        ("test/acc_avg", "test/acc_avg"),
        ("validation/device_acc_a", "validation/device_acc_a"),
    ],
)
def test_former_names_are_read_as_those_of_today(former, present):
    assert today(former) == present


@pytest.mark.parametrize("metric", ["epoch/seconds", "epoch/chosen", "validation/temperature", "test/acc_of_nobody"])
def test_without_a_direction(metric):
    with pytest.raises(InputError, match=f"'{metric}' has no declared direction"):
        direction(metric)


def test_objectives_are_known_with_and_without_their_split():
    assert require_objective("validation/gap_A_to_unseen") == "gap_A_to_unseen"
    assert require_objective("log_loss") == "log_loss"
    with pytest.raises(InputError, match="nothing is chosen on the test split"):
        require_objective("test/acc_avg")
    with pytest.raises(InputError, match="did you mean 'acc_avg'"):
        require_objective("acc_avgg")
