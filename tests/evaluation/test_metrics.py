import math

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.metric_table import direction
from asc_study.base.taxonomy import SCENE_GROUPS, SCENES, Taxonomy, know
from asc_study.evaluation.metrics import confusion, evaluate, paired_difference


def three_class_table(split: str = "test") -> pd.DataFrame:
    """Six clips, worked out by hand: right are 1, 2, 4 and 6."""
    rows = [
        # scene, device, location, indoor, outdoor, transportation
        ("indoor", "a", "1", 0.8, 0.1, 0.1),
        ("outdoor", "a", "1", 0.2, 0.5, 0.3),
        ("indoor", "b", "2", 0.3, 0.6, 0.1),
        ("transportation", "c", "2", 0.0, 0.0, 1.0),
        ("outdoor", "s1", "3", 0.4, 0.3, 0.3),
        ("indoor", "s4", "3", 0.5, 0.25, 0.25),
    ]
    table = pd.DataFrame(rows, columns=["scene", "device", "location", *SCENE_GROUPS])
    table.insert(0, "clip_id", [f"clip{i}" for i in range(6)])
    return table.assign(city="lisbon", split=split)[
        ["clip_id", "scene", "device", "city", "location", "split", *SCENE_GROUPS]
    ]


def test_metrics_by_hand():
    metrics = evaluate(three_class_table())
    assert metrics["test/acc_avg"] == pytest.approx(4 / 6)
    assert metrics["test/acc_A"] == 1.0
    assert metrics["test/acc_BC"] == 0.5
    assert metrics["test/acc_s1-s3"] == 0.0
    assert metrics["test/acc_s4-s6"] == 1.0
    assert metrics["test/gap_A_to_unseen"] == 0.0
    # recalls: indoor 2 of 3, outdoor 1 of 2, transportation 1 of 1
    assert metrics["test/acc_macro"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert metrics["test/log_loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.5, 0.3, 1.0, 0.3, 0.5))) / 6)
    assert metrics["test/device_acc_c"] == 1.0
    assert metrics["test/scene_acc_outdoor"] == 0.5
    assert "test/device_acc_s6" not in metrics


def test_log_loss_of_an_impossible_class_is_finite():
    table = three_class_table()
    table.loc[0, list(SCENE_GROUPS)] = (0.0, 1.0, 0.0)
    expected = -sum(map(math.log, (1e-7, 0.5, 0.3, 1.0, 0.3, 0.5))) / 6
    assert evaluate(table)["test/log_loss"] == pytest.approx(expected)


def test_validation_has_a_prefix_of_its_own():
    metrics = evaluate(three_class_table("validation"), intervals=False)
    assert metrics["validation/acc_avg"] == pytest.approx(4 / 6)
    assert metrics["validation/device_acc_c"] == 1.0
    assert metrics["validation/gap_A_to_unseen"] == 0.0
    assert all(name.startswith("validation/") for name in metrics)


def test_intervals_resample_locations():
    rng = np.random.default_rng(0)
    clips = 2000
    scene = rng.choice(SCENE_GROUPS, clips)
    probabilities = np.full((clips, 3), 0.2)
    location = rng.integers(0, 20, clips)
    # All clips of a location are right or wrong together: the interval must be that of 20 trials, not of 2,000.
    right = location < 10
    column = np.array([SCENE_GROUPS.index(name) for name in scene])
    probabilities[np.arange(clips), np.where(right, column, (column + 1) % 3)] = 0.6
    table = pd.DataFrame(probabilities, columns=list(SCENE_GROUPS))
    table = table.assign(clip_id=range(clips), scene=scene, device="a", city="x", location=location.astype(str))
    metrics = evaluate(table.assign(split="test"))
    width = metrics["test/acc_avg_hi"] - metrics["test/acc_avg_lo"]
    assert 0.3 < width < 0.55  # 2 * 1.96 * sqrt(.25 / 20) = .44; with independent clips it would be .044
    assert metrics["test/acc_avg_lo"] < metrics["test/acc_avg"] < metrics["test/acc_avg_hi"]


def test_one_location_gives_no_interval():
    assert not [name for name in evaluate(three_class_table().assign(location="1")) if name.endswith(("_lo", "_hi"))]


def test_splits_are_not_mixed():
    table = three_class_table()
    table.loc[0, "split"] = "train"
    with pytest.raises(InputError, match="one split, test or validation"):
        evaluate(table)


def test_confusion_has_true_classes_as_rows():
    table = confusion(three_class_table())
    assert table.to_numpy().tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert list(table.index) == list(table.columns) == list(SCENE_GROUPS)


def test_every_metric_is_in_the_table():
    for split in ("test", "validation"):
        for name in evaluate(three_class_table(split)):
            assert direction(name) in ("maximize", "minimize")


def test_ten_classes_are_in_alphabetical_order():
    assert list(SCENES) == sorted(SCENES)


def test_a_difference_is_paired_by_clip_and_drawn_by_location():
    """Two locations with two clips each: the second system is right on one clip more at each, on every draw."""
    table = three_class_table()
    table = table.iloc[:4].assign(city="milan", location=["1", "1", "2", "2"], clip_id=list("abcd"))
    classes = list(SCENE_GROUPS)
    right = (table["scene"].to_numpy()[:, None] == np.asarray(sorted(classes))).astype(float)
    ordered = sorted(classes)

    def system(wrong: list[int]) -> pd.DataFrame:
        values = right.copy()
        values[wrong] = np.roll(values[wrong], 1, axis=1)
        return table.assign(**{name: values[:, k] for k, name in enumerate(ordered)})

    half, whole = system([0, 2]), system([])
    assert paired_difference(half, whole.iloc[::-1], "acc_avg") == (0.5, 0.5)
    assert paired_difference(whole, half, "acc_avg") == (-0.5, -0.5)
    low, high = paired_difference(system([0, 1]), whole, "acc_avg")  # all of the lead is at one location
    assert (low, high) == (0.0, 1.0)
    assert paired_difference(half, whole.iloc[:3], "acc_avg") is None
    one = [side.assign(location="1") for side in (half, whole)]
    assert paired_difference(*one, "acc_avg") is None


def test_a_data_set_of_one_s_own_has_its_subsets_devices_and_gap():
    classes = ("hall", "yard")
    know(
        Taxonomy(
            tasks=(("rooms", classes),),
            groups=(),
            devices=("phone1", "phone2", "mic"),
            seen_devices=("phone1", "phone2"),
            reference_device="phone1",
            subsets=(("phones", ("phone1", "phone2")), ("mic", ("mic",))),
        )
    )
    device = ["phone1", "phone1", "phone2", "mic", "mic", "mic"]
    right = [True, True, False, True, False, False]
    table = pd.DataFrame(
        {
            "clip_id": [str(number) for number in range(6)],
            "scene": ["hall", "yard"] * 3,
            "device": device,
            "city": "here",
            "location": [str(number % 3) for number in range(6)],
            "split": "test",
        }
    )
    sure = [0.9 if (scene == "hall") == one else 0.1 for scene, one in zip(table["scene"], right, strict=True)]
    table = table.assign(hall=np.float32(sure), yard=1 - np.float32(sure))
    metrics = evaluate(table, intervals=False)
    assert {name: round(value, 6) for name, value in metrics.items() if "log_loss" not in name} == {
        "test/acc_avg": 0.5,
        "test/acc_phones": round(2 / 3, 6),
        "test/acc_mic": round(1 / 3, 6),
        "test/acc_macro": 0.5,
        "test/acc_device_macro": round((1 + 0 + 1 / 3) / 3, 6),
        "test/gap_to_unseen": round(1 - 1 / 3, 6),
        "test/device_acc_phone1": 1.0,
        "test/device_acc_phone2": 0.0,
        "test/device_acc_mic": round(1 / 3, 6),
        "test/scene_acc_hall": round(1 / 3, 6),
        "test/scene_acc_yard": round(2 / 3, 6),
    }
