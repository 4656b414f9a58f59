import numpy as np
import pandas as pd
import pytest
from made_up import sentence

from asc_study.base.metric_table import BY_NAME
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


PATH = pd.DataFrame(
    {
        "added": ["x", "y"],
        "score": [0.5, 0.6],
        "low": [np.nan, -0.02],
        "high": [np.nan, 0.2],
        "overlap": [np.nan, 0.7],
        "both_wrong": [np.nan, 0.15],
    }
)
CANDIDATES = pd.DataFrame(
    {
        "name": ["x", "y", "z"],
        "score": [0.5, 0.45, 0.2],
        "overlap": [0.7, 0.7, 0.5],
        "both_wrong": [0.15, 0.15, 0.3],
        "taken": [True, True, False],
    }
)


def test_the_path_shows_score_noise_overlap_and_what_was_not_taken_in_per_cent():
    figure = path_figure(PATH, CANDIDATES, BY_NAME["acc_avg"], "validation: 50 clips", "Because.")
    score, decisions, wrong, left, taken = figure.data
    assert list(score.y) == pytest.approx([50, 60])
    assert score.error_y.array[1] == pytest.approx(10)  # 50 + 20 is the upper end
    assert score.error_y.arrayminus[1] == pytest.approx(12)
    assert (decisions.y[1], wrong.y[1]) == pytest.approx((70, 15))
    assert (list(decisions.text), list(wrong.text)) == (["", "70"], ["", "15"])
    assert figure.layout.yaxis.range == pytest.approx((45, 65))
    assert (list(left.text), list(left.x), list(left.y)) == (["z"], pytest.approx([30]), pytest.approx([20]))
    assert (list(taken.text), list(taken.y)) == (["1", "2"], pytest.approx([50, 45]))
    assert list(score.x) == ["1. x", "2. y"]
    assert figure.layout.yaxis.title.text == "acc_avg (%)"
    assert figure.layout.meta["sentence"] == "Because."
    assert "validation: 50 clips" in figure.layout.title.text


def test_the_path_shows_test_accuracy_only_if_it_is_given():
    names = [trace.name for trace in path_figure(PATH, CANDIDATES, BY_NAME["acc_avg"], "", "").data]
    assert not any(name and name.startswith("test") for name in names)
    shown = PATH.assign(**{"test_acc_avg": [0.55, 0.65], "test_acc_s4-s6": [0.4, 0.5], "test_log_loss": [1.2, 1.1]})
    figure = path_figure(shown, CANDIDATES, BY_NAME["acc_avg"], "", "")
    lines = {trace.name: list(trace.y) for trace in figure.data}
    assert figure.layout.yaxis.range == pytest.approx((35, 70))
    assert lines["test, all clips"] == pytest.approx([55, 65])
    assert lines["test, s4-s6 (unseen)"] == pytest.approx([40, 50])


def test_a_log_loss_is_drawn_in_nats():
    figure = path_figure(PATH, CANDIDATES, BY_NAME["log_loss"], "", "")
    assert list(figure.data[0].y) == [0.5, 0.6]
    assert figure.layout.yaxis.title.text == "log_loss (nats)"


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
