import numpy as np
import pandas as pd
import pytest
from made_up import sentence

from asc_study.evaluation.pareto import front
from asc_study.figures.size import COSTS, size_figure
from asc_study.figures.theme import looks

NAN = float("nan")


def systems(**changed) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "row": ["large", "small", "small-int8", "bad"],
            "cost": [800.0, 400.0, 100.0, 900.0],
            "accuracy": [80.0, 78.0, 77.0, 60.0],
            "low": [75.0, 73.0, NAN, 55.0],
            "high": [85.0, 83.0, NAN, 65.0],
            "rank": ["best", "even", "", ""],
            "source": ["", "", "small", ""],
            "change": [NAN, NAN, -1.0, NAN],
            "change_low": [NAN, NAN, -1.8, NAN],
            "change_high": [NAN, NAN, -0.2, NAN],
            "significant": [None, None, True, None],
        }
    )
    return frame.assign(**changed)


def drawn(frame: pd.DataFrame, cost: str = "kb", **options):
    return size_figure(frame, COSTS[cost], "all clips", looks(list(frame["row"])), **options)


def test_the_front_holds_what_nothing_beats_in_both():
    assert front(np.array([8, 4, 1, 9]), np.array([80, 78, 77, 60])) == [0, 1, 2]
    assert front(np.array([1, 1]), np.array([5, 5])) == [0, 1]
    assert front(np.array([1, 1]), np.array([5, 6])) == [1]


def test_systems_stand_at_their_cost_with_intervals_and_the_front_joins_the_best():
    figure = drawn(systems())
    traces = {trace.name: trace for trace in figure.data}
    assert (list(traces["large"].x), list(traces["large"].y)) == ([800], [80])
    assert traces["large"].error_y.array == (5,)
    assert traces["small-int8"].error_y.array == (0,)
    assert list(traces["Pareto front"].x) == [100, 400, 800]


def test_a_quantised_network_is_joined_to_its_source():
    (segment,) = [trace for trace in drawn(systems()).data if trace.name == "small to small-int8"]
    assert (list(segment.x), list(segment.y)) == ([400, 100], [78, 77])
    assert not [trace for trace in drawn(systems(source="gone")).data if "gone" in str(trace.name)]


@pytest.mark.parametrize(
    ("cost", "names"), [("kb", ["128 kB", "500 kB"]), ("macs", ["30 M"]), ("latency", [])], ids=str
)
def test_limits_are_lines_with_their_rule(cost, names):
    figure = drawn(systems(), cost)
    told = [note.text.partition("<br>") for note in figure.layout.annotations]
    assert [limit for limit, _, _ in told] == names
    assert all(rule.startswith("DCASE 202") for _, _, rule in told)
    assert len(figure.layout.shapes) == len(names)
    low, high = figure.layout.xaxis.range
    assert all(low < np.log10(limit.value) < high for limit in COSTS[cost].limits)


def test_the_sentence_says_what_fits_and_whether_quantisation_costs_more_than_noise():
    said = sentence(drawn(systems()))
    assert "No other system is both cheaper and better than small-int8, small and large." in said
    assert (
        "Best within 128 kB (DCASE 2022 Task 1): small-int8 with 77.0 % on all clips at 100 kB, worse than the best of "
        "all by more than noise."
    ) in said
    assert "small with 78.0 % on all clips at 400 kB, which cannot be told apart from the best of all." in said
    assert said.endswith(
        "small-int8 changes from 400 kB to 100 kB and by -1.0 points, 95 % interval -1.8 to -0.2 (more than noise)."
    )
    assert "Nothing stays within 128 kB" in sentence(drawn(systems(cost=[800.0, 400.0, 300.0, 900.0])))


def test_names_leave_the_axis_free():
    frame = systems(cost=[105.0, 400.0, 104.0, 90000.0], accuracy=[77.5, 78.0, 77.0, 60.0])
    sides = {trace.name: trace.textposition for trace in drawn(frame).data if trace.mode == "markers+text"}
    assert sides == {"large": "top right", "small": "top right", "small-int8": "bottom right", "bad": "top left"}


def test_published_figures_are_grey_and_named():
    published = pd.DataFrame({"row": ["theirs"], "cost": [357.0], "accuracy": [96.3]})
    (theirs,) = [trace for trace in drawn(systems(), published=published).data if trace.name == "published, quantised"]
    assert (list(theirs.x), list(theirs.y), list(theirs.text)) == ([357], [96.3], ["theirs"])
    assert drawn(systems(), published=published.iloc[:0]).layout.showlegend is False


def test_forty_systems_are_told_when_pointed_at():
    rows = [f"system {number}" for number in range(40)]
    frame = systems().iloc[[0] * 40].assign(row=rows, cost=np.linspace(1, 4000, 40))
    assert {trace.mode for trace in drawn(frame.reset_index(drop=True)).data} == {"lines", "markers"}


def test_one_system_alone_is_drawn():
    assert "than large." in sentence(drawn(systems().iloc[:1]))
