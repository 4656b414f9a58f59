import numpy as np
import pandas as pd
import pytest

from asc_study.base.metric_table import gap_of
from asc_study.base.taxonomy import TAU
from asc_study.evaluation.side_by_side import mean_over_seeds, scenes_by_device, side_by_side
from asc_study.figures.gap import gap_figure
from asc_study.figures.robustness import devices_figure
from asc_study.figures.scenes import scenes_figure
from asc_study.figures.theme import REFERENCE, looks


@pytest.fixture
def systems(make_table):
    return {
        "plain": [make_table(0, skill=0.5)],
        "better": [make_table(1, skill=3.0)],
        "same": [make_table(0, skill=0.5)],
    }


def sentence(figure) -> str:
    return figure.layout.meta["sentence"]


def test_devices_are_drawn_as_they_were_measured(systems):
    measured = side_by_side(systems, "plain")
    figure = devices_figure(measured, "plain", looks(list(systems), "plain"))
    accuracy = next(trace for trace in figure.data if trace.name == "better")
    table = measured[measured["system"] == "better"].set_index("metric")
    assert list(accuracy.ids) == ["a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"]
    np.testing.assert_allclose(accuracy.y, [table.loc[f"device_acc_{one}", "value"] for one in accuracy.ids])
    change = next(trace for trace in figure.data if trace.name == "better, difference")
    sure = [table.loc[f"device_acc_{one}", "significant"] for one in change.ids]
    assert [symbol.endswith("-open") for symbol in change.marker.symbol] == [not one for one in sure]
    reference = next(trace for trace in figure.data if trace.name == "plain")
    assert reference.marker.color == REFERENCE


def test_the_sentence_says_what_can_be_told_apart(systems):
    text = sentence(devices_figure(side_by_side(systems, "plain"), "plain", looks(list(systems), "plain")))
    assert text.startswith("better is better than plain on the devices never heard (+")
    assert "same: not to be told apart from it" in text
    equal = {"plain": systems["plain"], "same": systems["same"]}
    text = sentence(devices_figure(side_by_side(equal, "plain"), "plain", looks(list(equal), "plain")))
    assert text.startswith("same cannot be told apart from plain")


def test_one_system_alone_has_no_differences(systems):
    figure = devices_figure(side_by_side({"plain": systems["plain"]}, "plain"), "plain", looks(["plain"], "plain"))
    assert [trace.name for trace in figure.data] == ["plain"]
    assert sentence(figure).startswith("plain reaches")


def test_the_front_holds_what_nothing_beats():
    board = pd.DataFrame(
        {
            "row": ["good", "steady", "bad"],
            "acc_avg": [80.0, 70.0, 60.0],
            "gap_A_to_unseen": [20.0, 5.0, 10.0],
            "acc_s4-s6": [65.0, 66.0, 55.0],
        }
    )
    figure = gap_figure(board, looks(list(board["row"])), gap_of(TAU))
    front = next(trace for trace in figure.data if trace.name == "Pareto front")
    assert list(front.x) == [5.0, 20.0]
    assert "No other system beats good and steady in both" in sentence(figure)


def test_scenes_and_their_difference(systems):
    one, other = (mean_over_seeds([*map(scenes_by_device, systems[name])]) for name in ("better", "plain"))
    figure = scenes_figure(one, "better", against=other, reference="plain")
    np.testing.assert_allclose(figure.data[0].z, (one - other).to_numpy())
    assert figure.data[0].zmin == -figure.data[0].zmax
    assert "Points against plain" in sentence(figure)
    np.testing.assert_allclose(scenes_figure(one, "better").data[0].z, one.to_numpy())


def test_looks_do_not_depend_on_what_is_shown():
    names = [f"row {number}" for number in range(40)]
    found = looks(names, "row 3")
    assert len(set(found.values())) == 37  # 36 looks and the reference's: the last systems begin again
    assert found["row 3"] == (REFERENCE, "circle")
