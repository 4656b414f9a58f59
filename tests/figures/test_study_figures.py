import numpy as np
import pandas as pd
import pytest
from made_up import sentence

from asc_study.figures.study import study_figure, study_figures

BOARD = pd.DataFrame(
    {
        "row": ["plain", "best", "statistics", "guessing"],
        "task": "ten_class",
        "seeds": [3, 3, 1, 3],
        "acc_A": [80.0, 81.0, 40.0, 10.0],
        "acc_s4-s6": [60.0, 65.0, 30.0, 11.0],
        "acc_avg": [70.0, 73.0, 35.0, 10.5],
        "acc_avg_sd": [1.0, 2.0, np.nan, 0.5],
    }
)


def test_rows_stand_best_first_with_their_values_as_text():
    figure = study_figure(BOARD)
    assert list(figure.layout.yaxis.ticktext) == ["best", "plain", "statistics", "guessing"]
    assert [list(trace.x) for trace in figure.data] == [[81, 80, 40, 10], [65, 60, 30, 11], [73, 70, 35, 10.5]]
    assert list(figure.data[0].text) == ["81.0", "80.0", "40.0", "10.0"]
    assert figure.layout.xaxis.range[0] == 0
    assert sentence(figure).startswith(
        "best is best on all clips with 73.0 %; on the devices never heard with 65.0 %. Lines: one "
    )


def test_tasks_have_a_figure_each_and_unfinished_rows_are_left_out():
    other = BOARD.assign(task="three_class", row=[f"{name} 3" for name in BOARD["row"]])
    waiting = pd.DataFrame({"row": ["waiting"], "seeds": [0], "task": ["ten_class"]})
    ten, three = study_figures(pd.concat([BOARD, other, waiting], ignore_index=True))
    assert "waiting" not in ten.layout.yaxis.ticktext
    assert set(three.layout.yaxis.ticktext) == set(other["row"])
    assert "chance (10.0 %)" in sentence(ten)
    assert "chance (33.3 %)" in sentence(three)
    assert 10.0 in {shape.x0 for shape in ten.layout.shapes}
    assert pytest.approx(100 / 3) in [shape.x0 for shape in three.layout.shapes]


def test_intervals_come_before_deviations_over_seeds():
    deviations = study_figure(BOARD).data[2]
    assert list(deviations.error_x.array) == [2.0, 1.0, 0.0, 0.5]
    assert "one standard deviation over seeds" in sentence(study_figure(BOARD))
    board = BOARD.assign(**{"acc_avg_lo": BOARD["acc_avg"] - 3, "acc_avg_hi": BOARD["acc_avg"] + 4})
    ends = study_figure(board).data[2].error_x
    assert (list(ends.arrayminus), list(ends.array)) == ([3.0] * 4, [4.0] * 4)
    assert "95 % intervals over locations" in sentence(study_figure(board))


def test_the_baseline_is_a_line_and_rows_that_tell_nothing_are_crossed():
    board = BOARD.assign(
        baseline=[False, False, True, False],
        not_surely_above_baseline=[False, False, False, True],
        collapsed=[None, False, False, True],  # null where it is not known
    )
    figure = study_figure(board)
    assert {40.0, 30.0, 35.0} <= {shape.x0 for shape in figure.layout.shapes}
    symbols = {trace.customdata[0][0]: trace.marker.symbol for trace in figure.data[:3]}
    assert symbols == {"guessing": "x", "statistics": "square", "best": "circle"}
    assert "collapsed" in figure.layout.yaxis.ticktext[3]
    assert "dashed: the baseline; crosses: 1 collapsed" in sentence(figure)


def test_long_names_are_cut_in_the_figure_and_whole_where_the_mouse_is():
    name = "mixup + channel confusion + spectrum correction"
    figure = study_figure(BOARD.replace({"row": {"plain": name}}))
    assert figure.layout.yaxis.ticktext[1] == "mixup + channel confusion +…"
    assert figure.data[0].customdata[1][0] == name


def with_changes(board: pd.DataFrame) -> pd.DataFrame:
    """The board as it stands against the row ``plain``."""
    known = board["row"] != "plain"
    for metric in ("acc_A", "acc_s4-s6", "acc_avg"):
        change = board[metric].where(known) - board[metric][0]
        ends = {f"{metric}_change_lo": change - 4, f"{metric}_change_hi": change + 4}
        board = board.assign(
            **{f"{metric}_change": change, **ends, f"{metric}_change_significant": (change.abs() > 4).where(known)}
        )
    return board.assign(reference=board["row"].map(lambda name: None if name == "plain" else "plain"))


def test_a_reference_gets_a_figure_of_differences_filled_where_they_are_more_than_noise():
    _, figure = study_figures(with_changes(BOARD))
    assert list(figure.layout.yaxis.ticktext) == ["best", "statistics", "guessing"]
    assert [list(trace.x) for trace in figure.data] == [[1, -40, -70], [5, -30, -49], [3, -35, -59.5]]
    assert list(figure.data[0].marker.symbol) == ["circle-open", "circle", "circle"]
    assert list(figure.data[0].text) == ["+1.0", "-40.0", "-70.0"]
    assert figure.layout.title.text == "What does each system change against plain? (ten scenes)"
    assert sentence(figure) == (
        "best gains most on the devices never heard: +5.0 points (95 % interval +1.0 to +9.0), more than noise; 3 of 3 "
        "differ from plain there by more than noise. Filled: more than noise, open: not."
    )


def test_a_gain_that_may_be_noise_is_called_so():
    board = with_changes(BOARD).assign(**{"acc_s4-s6_change_significant": False})
    said = sentence(study_figures(board)[1])
    assert "(95 % interval +1.0 to +9.0), which may be noise; none of 3 differ from plain there by more" in said


def test_collapsed_rows_do_not_squeeze_the_differences_of_others():
    board = with_changes(BOARD).assign(
        collapsed=[False, False, False, True],
        not_surely_above_baseline=[False, True, False, True],  # what may be noise is what the figure is about
    )
    figure = study_figures(board)[1]
    assert [text.partition("<br>")[0] for text in figure.layout.yaxis.ticktext] == ["best", "statistics"]
    assert "left out: 1 collapsed" in sentence(figure)


def test_rows_that_cannot_be_told_from_the_best_are_named():
    board = BOARD.assign(**{"acc_avg_rank": ["even", "best", "", ""], "acc_s4-s6_rank": ["", "best", "", ""]})
    expected = (
        "best is best on all clips with 73.0 % (not to be told apart from it: plain); on the devices never heard "
    )
    assert sentence(study_figure(board)).startswith(expected + "with 65.0 %. Lines: ")
