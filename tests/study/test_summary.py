"""What MLflow's page says of a study: its data, where to look, and in words who gains on unseen devices."""

import pandas as pd

from asc_study.study.summary import changes_on_unseen

CHANGE = "acc_s4-s6_change"


def board(*rows: tuple) -> pd.DataFrame:
    """A leaderboard of rows: name, reference, change, its interval, whether it is significant, seeds."""
    columns = ["row", "reference", CHANGE, f"{CHANGE}_lo", f"{CHANGE}_hi", f"{CHANGE}_significant", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def test_gains_on_unseen_devices_are_told_best_first_and_what_may_be_noise():
    nan = float("nan")
    said = changes_on_unseen(
        board(
            ("plain", None, nan, nan, nan, None, 3),
            ("masks", "plain", 1.24, -2.0, 4.5, False, 3),
            ("mixup", "plain", 4.0, 1.0, 7.0, True, 3),
            ("three", "plain-three", -2.0, nan, nan, False, 1),
        )
    )
    assert said.split("\n") == [
        "On devices that no training heard (s4-s6), in points of accuracy against *plain* [95 % interval, paired]:",
        "",
        "- mixup: +4.0 [+1.0, +7.0], more than noise",
        "- masks: +1.2 [-2.0, +4.5], may be noise",
        "",
        "On devices that no training heard (s4-s6), in points of accuracy against *plain-three* [95 % interval, "
        "paired; of one training each, another seed can change it]:",
        "",
        "- three: -2.0, may be noise",
    ]


def test_of_many_rows_the_first_are_told():
    said = changes_on_unseen(board(*((f"row{i}", "plain", -float(i), -1.0, 1.0, False, 3) for i in range(18))))
    assert said.endswith("- row14: -14.0 [-1.0, +1.0], may be noise\n- and 3 more, which change less or lose")


def test_nothing_is_said_where_nothing_was_compared():
    assert changes_on_unseen(pd.DataFrame({"row": ["plain"], "seeds": [1]})) == ""
