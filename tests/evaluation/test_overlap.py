import numpy as np
import pytest

from asc_study.evaluation.overlap import Overlap, alike_order, double_fault, overlap


def one_hot(decisions: list[list[int]]) -> np.ndarray:
    return np.eye(3)[np.array(decisions)]


def test_overlap_by_hand():
    label = np.array([0, 1, 2, 0, 1])
    first = [0, 1, 2, 1, 2]  # errors on clips 3 and 4
    second = [0, 1, 0, 1, 0]  # errors on 2, 3 and 4; clip 3 alike
    found = overlap(one_hot([first, second]), label)
    np.testing.assert_allclose(found.decisions, [[1, 3 / 5], [3 / 5, 1]])
    np.testing.assert_allclose(found.errors, [[2 / 5, 1 / 5], [1 / 5, 3 / 5]])
    frame = found.to_frame(["a", "b"])
    assert frame.to_dict("records") == [
        {"first": "a", "second": "b", "equal_decisions": pytest.approx(0.6), "equal_errors": pytest.approx(0.2)}
    ]


def test_double_fault_by_hand():
    first, second = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], [[0.4, 0.6], [0.3, 0.7], [0.6, 0.4]]
    both = double_fault(np.array([first, second]), np.array([0, 0, 0]))  # the first errs on 1, the second on 0 and 1
    np.testing.assert_allclose(both, [[1 / 3, 1 / 3], [1 / 3, 2 / 3]])


def test_the_alike_stand_together_in_order():
    decisions = np.array(
        [[1.0, 0.2, 0.9, 0.3], [0.2, 1.0, 0.3, 0.8], [0.9, 0.3, 1.0, 0.4], [0.3, 0.8, 0.4, 1.0]],
    )
    order = alike_order(decisions)
    assert order in ([0, 2, 3, 1], [1, 3, 2, 0])
    assert alike_order(np.eye(2)) == [0, 1]
    ordered = Overlap(decisions, decisions / 2).ordered(order)
    np.testing.assert_array_equal(ordered.decisions, decisions[np.ix_(order, order)])
    np.testing.assert_array_equal(ordered.errors, ordered.decisions / 2)
