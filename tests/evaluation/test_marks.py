"""Marks by hand: 12 clips of three classes at 4 locations, one clip of each class at each."""

import pandas as pd
import pytest

from asc_study.base.taxonomy import CLASSES
from asc_study.evaluation.marks import find_mark, marks

INDOOR, OUTDOOR, TRANSPORT = CLASSES["three_class"]


def table(decisions: list[str], locations: int = 4) -> pd.DataFrame:
    """A predictions table with the given decision for each clip, the classes of the clips in turn."""
    classes = CLASSES["three_class"]
    rows = []
    for number, decision in enumerate(decisions):
        context = {
            "clip_id": f"clip-{number}",
            "scene": classes[number % 3],
            "device": "a",
            "city": "milan",
            "location": str(number // 3 % locations),
            "split": "test",
        }
        rows.append(context | {name: float(name == decision) for name in classes})
    return pd.DataFrame(rows)


RIGHT = [INDOOR, OUTDOOR, TRANSPORT]


def test_who_answers_with_fewer_than_half_of_the_classes_is_collapsed():
    mark = find_mark(table([INDOOR] * 12))
    assert mark is not None
    assert str(mark) == "collapsed: answers with 1 of 3 classes"
    # Two thirds are right, at every location: one class that is never answered is no collapse.
    assert find_mark(table([INDOOR, OUTDOOR, INDOOR] * 4)) is None


def test_who_is_not_better_than_the_most_frequent_class_is_at_chance():
    mark = find_mark(table([INDOOR, TRANSPORT, OUTDOOR] * 4))  # one of three is right, at every location
    assert mark is not None
    assert mark.name == "not surely above chance"
    assert mark.reason == "33.3 %, +0.0 points [+0.0, +0.0] to the most frequent class (33.3 %)"


def test_a_lead_of_a_single_location_is_not_more_than_its_interval():
    """A draw of four that misses the location (0.75^4 = 32 % of them) has no lead."""
    mark = find_mark(table([*RIGHT, *[INDOOR, TRANSPORT, OUTDOOR] * 3]))
    assert mark is not None
    assert mark.name == "not surely above chance"
    assert mark.reason.startswith("50.0 %, +16.7 points [+0.0, ")
    assert mark.reason.endswith("] to the most frequent class (33.3 %)")


def test_who_is_right_is_not_marked():
    assert find_mark(table(RIGHT * 4)) is None


def test_classes_that_no_clip_is_of_need_no_decision():
    two = table([INDOOR, OUTDOOR, TRANSPORT] * 4)
    assert find_mark(two[two["scene"] != TRANSPORT]) is None


def test_who_is_not_better_than_the_baseline_is_not_above_it():
    system = table([*RIGHT * 3, INDOOR, OUTDOOR, INDOOR])  # 11 of 12
    mark = find_mark(system, table(RIGHT * 4))
    assert mark is not None
    assert mark.name == "not surely above baseline"
    assert mark.reason.startswith("91.7 %, -8.3 points [")
    assert mark.reason.endswith("] to the baseline (100.0 %)")
    # Two thirds ahead at every location: no draw is without the lead.
    assert find_mark(table(RIGHT * 4), table([INDOOR, TRANSPORT, OUTDOOR] * 4)) is None
    # As good as the baseline is not better.
    assert find_mark(system, system.iloc[::-1]).name == "not surely above baseline"


def test_at_a_single_location_the_difference_counts():
    mark = find_mark(table([INDOOR, TRANSPORT, OUTDOOR] * 4, locations=1))
    assert mark is not None
    assert mark.reason == "33.3 %, +0.0 points to the most frequent class (33.3 %)"
    assert find_mark(table([*RIGHT * 3, INDOOR, TRANSPORT, OUTDOOR], locations=1)) is None


def test_a_baseline_of_other_clips_is_not_looked_at():
    assert find_mark(table(RIGHT * 4), table(RIGHT * 3)) is None


@pytest.mark.parametrize(
    ("names", "columns", "text"),
    [
        (["none", "none"], set(), ""),
        (["collapsed", "collapsed"], {"collapsed"}, "collapsed"),
        (
            ["collapsed", "none", "not surely above baseline"],
            {"collapsed", "not_surely_above_baseline"},
            "collapsed 1/3, not surely above baseline 1/3",
        ),
        (["", "not surely above chance"], {"not_surely_above_chance"}, "not surely above chance 1/2"),
        (["", "an old tag"], set(), ""),
    ],
)
def test_the_marks_of_a_row_count_its_seeds(names: list[str], columns: set[str], text: str):
    found = marks(names)
    assert found.pop("mark") == text
    assert set(found) == {"collapsed", "not_surely_above_chance", "not_surely_above_baseline"}
    assert {column for column, true in found.items() if true} == columns
