import numpy as np
from made_up import sentence

from asc_study.features.logmel import LogMelSettings, band_centres, mel_filters
from asc_study.figures.sounds import Drawn, beliefs, change_of, clip_figure, mean_beliefs, sounds_figure

SETTINGS = LogMelSettings(44_100)
CENTRES = band_centres(SETTINGS)


def drawn(values=None):
    values = np.random.default_rng(0).normal(-40, 10, (128, 50)) if values is None else values
    return Drawn(values, CENTRES, 1024 / 44_100)


def test_centres_are_where_the_filters_are_highest():
    peaks = mel_filters(SETTINGS).argmax(axis=1) * 44_100 / 2048
    assert np.abs(peaks - CENTRES)[10:].max() < 44_100 / 2048


def test_decibels_are_below_the_loudest_and_ticks_stand_at_their_bands():
    figure = clip_figure(drawn(), "one")
    (heat,) = figure.data
    assert heat.z.max() == 0
    assert heat.z.dtype == np.int8
    place = dict(zip(figure.layout.yaxis.ticktext, figure.layout.yaxis.tickvals, strict=True))
    assert abs(CENTRES[round(place["1k"])] - 1000) < 30
    assert heat.x[1] == np.round(1024 / 44_100, 4)


def test_the_sentence_names_the_loudest_band():
    values = np.full((128, 50), -60.0)
    values[int(np.abs(CENTRES - 3000).argmin())] = -10
    assert sentence(clip_figure(drawn(values), "one", "plain: bus 90 %.")) == (
        "plain: bus 90 %. Its loudest band on average is that around 3.0 kHz."
    )


def test_beliefs_are_the_likeliest_classes_over_seeds(make_table):
    tables = [make_table(0), make_table(1)]
    said = beliefs("one", tables, "test-00003")
    mean = sum(table.iloc[3, 6:].astype(float) for table in tables) / 2
    assert said.startswith(f"one: {mean.idxmax().replace('_', ' ')} {100 * mean.max():.1f}\N{NO-BREAK SPACE}%, ")
    assert beliefs("one", tables, "gone") == ""


def test_panels_share_one_scale_of_colours_whose_top_is_the_loudest_of_all():
    values = np.full((128, 50), -60.0)
    figure = sounds_figure({"before": drawn(values), "after": drawn(values + 20)}, "?", ".")
    assert [heat.coloraxis for heat in figure.data] == ["coloraxis", "coloraxis"]
    assert [int(heat.z.max()) for heat in figure.data] == [-20, 0]
    assert [note.text for note in figure.layout.annotations] == ["before", "after"]
    scaled = Drawn(np.full((128, 5), 0.5), CENTRES, 1024 / 44_100, scaled=True)
    axis = sounds_figure({"one": scaled}, "?", ".").layout.coloraxis
    assert (axis.cmin, axis.cmax) == (0, 1)


def test_nine_panels_stand_in_three_rows_and_the_lowest_of_each_column_names_the_time():
    figure = sounds_figure({name: drawn() for name in "abcdefgh"}, "?", ".", columns=3)
    assert len(figure.data) == 8
    assert figure.layout.xaxis8.anchor == "y8"
    named = [figure.layout[f"xaxis{number or ''}"].title.text for number in ("", *range(2, 9))]
    assert named == [None] * 5 + ["s"] * 3


def test_a_change_of_the_spectrum_is_told_where_it_is_greatest():
    values = np.full((128, 50), -60.0)
    after = values.copy()
    after[int(np.abs(CENTRES - 3000).argmin())] -= 12
    assert change_of(drawn(values), drawn(after)) == "-12.0 dB around 3.0 kHz"


def test_beliefs_about_clips_are_means_over_seeds_without_those_that_are_unknown(make_table):
    tables = [make_table(0), make_table(1).iloc[::-1]]
    found = mean_beliefs(tables, ["test-00003", "gone", "test-00001"])
    assert list(found.index) == ["test-00003", "test-00001"]
    expected = (make_table(0).iloc[[3, 1], 6:].to_numpy() + make_table(1).iloc[[3, 1], 6:].to_numpy()) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert mean_beliefs([], ["a"]).empty
