import pandas as pd
from made_up import sentence

from asc_study.figures.hardest import hardest_figure


def clips(*right: int, runs: int = 8, devices: tuple[str, ...] = ("a", "s4")) -> pd.DataFrame:
    count = len(right)
    return pd.DataFrame(
        {
            "right": right,
            "runs": runs,
            "device": [devices[i % len(devices)] for i in range(count)],
            "scene": [("bus", "street_traffic")[i // 2 % 2] for i in range(count)],
        }
    )


def test_clips_are_counted_by_the_share_of_runs_that_get_them_right():
    figure = hardest_figure(clips(0, 0, 1, 2, 3, 4, 5, 7, 8, 8), systems=8)
    others, unseen = figure.data
    assert list(others.x) == ["none", "up to 25 %", "26-50 %", "51-75 %", "76-99 %", "all"]
    assert list(others.y) == [1, 1, 1, 1, 0, 1]
    assert list(unseen.y) == [1, 1, 1, 0, 1, 1]
    assert (others.name, unseen.name) == ("other devices", "s4-s6, never heard")


def test_of_few_runs_each_number_has_its_bar():
    figure = hardest_figure(clips(0, 1, 2, 2, runs=2, devices=("a",)), systems=1)
    (bars,) = figure.data
    assert (list(bars.x), list(bars.y)) == (["none", "1", "all"], [1, 1, 2])
    assert not figure.layout.showlegend
    assert list(hardest_figure(clips(0, 1, runs=1), systems=1).data[0].x) == ["none", "the only one"]


def test_the_sentence_counts_who_is_wrong_and_on_what():
    said = sentence(hardest_figure(clips(0, 0, 8, 8, 0, 1, 8, 0), systems=8))
    assert said == (
        "4 of 8 clips (50.0 %) are wrong in all 8 systems: 50.0 % of those of s4-s6, 50.0 % of the others. "
        "Most of them are of bus (3) and street traffic (1)."
    )
    said = sentence(hardest_figure(clips(0, 8), systems=4))
    assert said.startswith("1 of 2 clips (50.0 %) is wrong in all 8 runs of 4 systems")
    assert sentence(hardest_figure(clips(1, 1, runs=1), systems=1)) == "None of 2 clips is wrong in the only run."
