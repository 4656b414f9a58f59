import numpy as np
import pandas as pd
import pytest
from made_up import sentence

from asc_study.evaluation.overlap import Overlap
from asc_study.figures.ensemble import change_figure, overlap_figure, path_figure
from asc_study.figures.theme import REFERENCE


def test_overlap_is_drawn_in_per_cent_with_the_names():
    found = Overlap(np.array([[1.0, 0.7], [0.7, 1.0]]), np.array([[0.2, 0.1], [0.1, 0.3]]))
    figure = overlap_figure(found, ["x", "y"], "validation")
    np.testing.assert_allclose(figure.data[0].z, [[100, 70], [70, 100]])
    np.testing.assert_allclose(figure.data[1].z, [[20, 10], [10, 30]])
    assert list(figure.data[0].x) == ["x", "y"]
    assert "validation" in figure.layout.title.text
    assert sentence(figure).endswith("error rate: most alike are x and y (70.0 %).")


def test_many_systems_have_no_figures_in_their_cells():
    names = [str(i) for i in range(30)]
    figure = overlap_figure(Overlap(np.eye(30), np.zeros((30, 30))), names, "test")
    assert figure.data[0].texttemplate is None


def test_path_has_a_line_for_each_subset_and_the_objective():
    path = pd.DataFrame({"added": ["x", "y"], "score": [0.5, 0.6], "acc_avg": [0.55, 0.65], "acc_s4-s6": [0.4, 0.5]})
    figure = path_figure(path, "acc_avg (validation)")
    lines = {trace.name: list(trace.y) for trace in figure.data}
    assert lines["test, all clips"] == pytest.approx([55, 65])
    assert lines["test, s4-s6 (unseen)"] == pytest.approx([40, 50])
    assert lines["objective: acc_avg (validation)"] == [0.5, 0.6]
    assert list(figure.data[0].x) == ["1. x", "2. y"]


def test_parts_are_grey_and_the_result_is_not():
    accuracies = {"x": (0.7, 0.5), "y": (0.6, 0.52), "both": (0.8, 0.51)}
    parts = {name: {"test/acc_avg": every, "test/acc_s4-s6": unseen} for name, (every, unseen) in accuracies.items()}
    figure = change_figure(parts)
    assert [(trace.name, list(trace.x), list(trace.y)) for trace in figure.data] == [
        ("part", ["s4-s6", "all clips"], pytest.approx([50, 70])),
        ("part", ["s4-s6", "all clips"], pytest.approx([52, 60])),
        ("both", ["s4-s6", "all clips"], pytest.approx([51, 80])),
    ]
    assert {trace.marker.color for trace in figure.data[:2]} == {REFERENCE}
    assert figure.data[2].marker.color != REFERENCE
    assert sentence(figure) == (
        "both against the best part there: on all clips 80.0 % (+10.0 points), on the devices never heard 51.0 % (-1.0 "
        "points)."
    )
