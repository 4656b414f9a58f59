import numpy as np
from made_up import sentence

from asc_study.features.logmel import LogMelSettings, band_centres, mel_filters
from asc_study.figures.sounds import Drawn, beliefs, clip_figure

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
