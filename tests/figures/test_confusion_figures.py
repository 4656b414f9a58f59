import numpy as np
import pytest
from made_up import sentence

from asc_study.evaluation.by_clip import confusion_shares, measure_confusion, most_changed, most_frequent
from asc_study.figures.confusions import confusions_figure, in_groups


@pytest.fixture
def system(make_table):
    return [make_table(0), make_table(1)]


def test_scenes_of_a_group_stand_together_with_lines_between_and_its_name_above(system):
    shares = confusion_shares(system)
    figure = confusions_figure(shares, "one", measure_confusion(system, *most_frequent(shares)))
    assert figure.data[0].y[:3] == ("airport", "metro station", "shopping mall")
    assert figure.data[0].y == figure.data[0].x
    order = in_groups(shares.index)
    np.testing.assert_allclose(figure.data[0].z, shares.loc[order, order])
    assert sorted({shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1}) == [2.5, 6.5]
    assert [note.text for note in figure.layout.annotations] == [
        "<b>indoor</b>",
        "<b>outdoor</b>",
        "<b>transportation</b>",
    ]


def test_three_groups_need_no_lines(make_table):
    table = [make_table(0, task="three_class")]
    shares = confusion_shares(table)
    figure = confusions_figure(shares, "one", measure_confusion(table, *most_frequent(shares)))
    assert not figure.layout.shapes
    assert not figure.layout.annotations


def test_the_sentence_names_the_most_frequent_confusion_and_how_sure_it_is(system):
    shares = confusion_shares(system)
    most = measure_confusion(system, *most_frequent(shares))
    figure = confusions_figure(shares, "one", most, where="on s4-s6")
    assert figure.layout.title.text == "Which scenes does one take for which on s4-s6?"
    assert f"{most.share:.1f} % of 20 clips of 20 locations, 95 % interval {most.low:.1f} to" in sentence(figure)
    assert sentence(confusions_figure(shares, "one", None)).endswith("every clip is right.")


def test_a_difference_diverges_around_zero_and_says_whether_it_is_noise(system, make_table):
    other = [make_table(2, skill=4)]
    change = confusion_shares(system) - confusion_shares(other)
    most = measure_confusion(system, *most_changed(change), other)
    figure = confusions_figure(change, "one", most, reference="other")
    assert figure.data[0].zmin == -figure.data[0].zmax
    assert figure.data[0].zmax == pytest.approx(np.abs(change.to_numpy()).max())
    texts = np.asarray(figure.data[0].text)
    assert all(text[0] in "+-" or text == "0" for text in texts.flat)
    assert f"{100 * most.change.value:+.1f} points" in sentence(figure)
    assert ("more than noise" in sentence(figure)) == most.change.significant


def test_few_locations_are_not_called_noise_where_the_interval_excludes_zero(tiny_table):
    def table(*probabilities):
        return [tiny_table(*[("indoor", "a", str(place), *probabilities) for place in range(4)])]

    own, other = table(0.8, 0.1, 0.1), table(0.1, 0.8, 0.1)
    change = confusion_shares(own) - confusion_shares(other)
    figure = confusions_figure(change, "one", measure_confusion(own, "indoor", "indoor", other), reference="other")
    assert "p = 0.125: too few locations to be sure" in sentence(figure)
    assert [text for row in figure.data[0].text[1:] for text in row] == [""] * 6  # no clip, no number


def test_the_chosen_cell_is_framed(system):
    figure = confusions_figure(confusion_shares(system), "one", None, marked=("metro_station", "airport"))
    frame = next(shape for shape in figure.layout.shapes if shape.type == "rect")
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (-0.5, 0.5, 0.5, 1.5)
