import numpy as np
import pandas as pd
import pytest

from asc_study.evaluation.overlap import Overlap
from asc_study.figures.ensemble import change_figure, overlap_figure, path_figure


def test_overlap_is_drawn_in_per_cent_with_the_names():
    found = Overlap(np.array([[1.0, 0.7], [0.7, 1.0]]), np.array([[0.2, 0.1], [0.1, 0.3]]))
    figure = overlap_figure(found, ["x", "y"], "validation")
    np.testing.assert_allclose(figure.data[0].z, [[100, 70], [70, 100]])
    np.testing.assert_allclose(figure.data[1].z, [[20, 10], [10, 30]])
    assert list(figure.data[0].x) == ["x", "y"]
    assert "validation" in figure.layout.title.text


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
    figure = change_figure({"x": {"test/acc_avg": 0.7}, "y": {"test/acc_avg": 0.6}, "both": {"test/acc_avg": 0.8}})
    assert [(trace.name, list(trace.y)) for trace in figure.data] == [
        ("x", pytest.approx([70])),
        ("y", pytest.approx([60])),
        ("both", pytest.approx([80])),
    ]
    assert figure.data[2].marker.color == "#1f4e79"
