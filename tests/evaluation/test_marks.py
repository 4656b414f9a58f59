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


def test_who_decides_for_fewer_classes_than_there_are_is_collapsed():
    mark = find_mark(table([INDOOR, OUTDOOR, INDOOR] * 4))  # two thirds are right, and yet
    assert mark is not None
    assert str(mark) == "collapsed: decides for 2 of 3 classes"


def test_who_is_not_better_than_the_most_frequent_class_is_collapsed():
    mark = find_mark(table([INDOOR, TRANSPORT, OUTDOOR] * 4))  # one of three is right, at every location
    assert mark is not None
    assert mark.name == "collapsed"
    assert mark.reason == "33.3 %, against the most frequent class (33.3 %) +0.0 points [+0.0, +0.0]"


def test_a_lead_of_a_single_location_is_not_more_than_its_interval():
    """A draw of four that misses the location (0.75^4 = 32 % of them) has no lead."""
    mark = find_mark(table([*RIGHT, *[INDOOR, TRANSPORT, OUTDOOR] * 3]))
    assert mark is not None
    assert mark.reason.startswith("50.0 %, against the most frequent class (33.3 %) +16.7 points [+0.0, ")


def test_who_is_right_is_not_marked():
    assert find_mark(table(RIGHT * 4)) is None


def test_classes_that_no_clip_is_of_need_no_decision():
    two = table([INDOOR, OUTDOOR, TRANSPORT] * 4)
    assert find_mark(two[two["scene"] != TRANSPORT]) is None


def test_who_is_not_better_than_the_baseline_is_below_it():
    system = table([*RIGHT * 3, INDOOR, OUTDOOR, INDOOR])  # 11 of 12
    mark = find_mark(system, table(RIGHT * 4))
    assert mark is not None
    assert mark.name == "below baseline"
    assert mark.reason.startswith("91.7 %, against the baseline (100.0 %) -8.3 points [")
    # Two thirds ahead at every location: no draw is without the lead.
    assert find_mark(table(RIGHT * 4), table([INDOOR, TRANSPORT, OUTDOOR] * 4)) is None
    # As good as the baseline is not better.
    assert find_mark(system, system.iloc[::-1]).name == "below baseline"


def test_at_a_single_location_the_difference_counts():
    mark = find_mark(table([INDOOR, TRANSPORT, OUTDOOR] * 4, locations=1))
    assert mark is not None
    assert mark.reason == "33.3 %, against the most frequent class (33.3 %) +0.0 points"
    assert find_mark(table([*RIGHT * 3, INDOOR, TRANSPORT, OUTDOOR], locations=1)) is None


def test_a_baseline_of_other_clips_is_not_looked_at():
    assert find_mark(table(RIGHT * 4), table(RIGHT * 3)) is None


@pytest.mark.parametrize(
    ("names", "collapsed", "below", "text"),
    [
        (["none", "none"], False, False, ""),
        (["collapsed", "collapsed"], True, False, "collapsed"),
        (["collapsed", "none", "below baseline"], True, True, "collapsed 1/3, below baseline 1/3"),
        (["", "an old tag"], False, False, ""),
    ],
)
def test_the_marks_of_a_row_count_its_seeds(names: list[str], collapsed: bool, below: bool, text: str):
    assert marks(names) == {"collapsed": collapsed, "below_baseline": below, "mark": text}
