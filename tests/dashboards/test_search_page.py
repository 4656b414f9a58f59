"""The page of searches: figures, trials with their runs, and what is said without a storage or a search."""

import pytest
from asked import page_at
from made_search import make_search

from asc_study.store.queries import Reader
from dashboards.app import create_app
from dashboards.blocks import Figure, Note, Table
from dashboards.pages import PAGES
from dashboards.pages.search import PAGE, SearchState
from dashboards.source import Source


@pytest.fixture
def opened(tracker):
    return lambda: Source(Reader(tracker.uri), ("looked-at",))


def parts(source: Source, **state):
    found = PAGE.blocks(source, SearchState(**state))
    return [[one for one in found if isinstance(one, kind)] for kind in (Figure, Table, Note)]


@pytest.mark.parametrize("stored", [True, False])
def test_a_search_has_its_figures_and_its_trials_open_their_runs(tracker, opened, isolated, stored):
    make_search(tracker, isolated / "optuna.db" if stored else None)
    source = opened()
    figures, (table,), notes = parts(source)
    titles = [one.figure.layout.title.text.partition("?")[0] for one in figures]
    assert titles[:2] == ["Did the search find anything", "What does each parameter do"]
    assert ("How did the trials learn" in titles) is stored
    assert any("not within reach" in note.text for note in notes) is not stored
    assert list(table.frame["trial"][:4]) == [3, 2, 1, 0]
    assert table.frame["holdout/acc (%)"][0] == pytest.approx(53)
    assert "out of memory" in set(table.frame["why it failed"])
    runs = {run.tags.get("asc.trial"): run.run_id for run in source.reader.runs("looked-at", kind="trial")}
    assert table.links["trial"][0].endswith(runs["3"])
    (control,) = PAGE.controls(source, SearchState())
    assert (control.value, control.options) == ("looked-at", {"looked-at": "looked-at"})


@pytest.mark.filterwarnings("ignore")
def test_enough_trials_have_importances_and_contours(tracker, opened):
    make_search(tracker, None, trials=30)
    titles = [one.figure.layout.title.text.partition("?")[0] for one in parts(opened())[0]]
    assert {"Which parameters matter", "Where are good values"} <= set(titles)


def test_noise_is_a_band_where_the_base_was_measured(tracker, opened, monkeypatch):
    from asc_study.search.base import BaseResult

    make_search(tracker, None)
    base = BaseResult(None, {"holdout": 0.5}, 0.03, -0.01, 0.07)
    monkeypatch.setattr("asc_study.search.stored.compare_base", lambda *_: base)
    figures, _, notes = parts(opened())
    (band,) = [one for one in figures[0].figure.layout.shapes if one.type == "rect"]
    assert (band.y0, band.y1) == pytest.approx((46, 54))
    assert "within the noise" in notes[-1].text


def test_without_a_search_the_command_is_told(source):
    assert parts(source)[2][0].command == "asc-study search SEARCH.yaml --data DIR"
    assert PAGE.controls(source, SearchState())[0].options == {"": "none yet"}


def test_a_search_that_is_gone_gives_the_newest(tracker, opened):
    make_search(tracker, None)
    _, _, notes = parts(opened(), search="gone")
    assert "no search 'gone'" in notes[0].text


def test_in_a_store_of_searches_alone_every_page_leads_to_them(tracker):
    make_search(tracker, None)
    client = create_app(Source(Reader(tracker.uri))).server.test_client()
    for one in PAGES:
        said = page_at(client, one.path)
        assert ("Which trials were there?" in said) is (one is PAGE)
        assert ("the store has searches and no study yet" in said) is (one is not PAGE)
        assert said.count('"href": "/search"') == (1 if one is PAGE else 2)  # of the navigation, and of the note
