"""What a store may hold, or lose while pages are open: each page says what is missing and stays."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from asked import page_at
from logged_runs import log

from asc_study.store.queries import Reader
from asc_study.store.tracking import Tracker
from dashboards.app import create_app
from dashboards.pages import PAGES
from dashboards.pages.devices import MOST
from dashboards.source import Source

PATHS = [page.path for page in PAGES]
NAMES = ["<script>alert(1)</script>", "**bold** _it_ [a](javascript:alert(1))", "\"quoted\" & 'so' \\frac{1}{2} %$#"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory, empty_store, make_table) -> str:
    """Studies that are odd, each in its own way; no test changes the store."""
    folder = tmp_path_factory.mktemp("odd")
    shutil.copy(empty_store, folder / "mlflow.db")
    before = Path.cwd()
    os.chdir(folder)
    try:
        tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
        tables = [make_table(seed, clips=60) for seed in range(3)]
        log(tracker, "alone", {"test": tables[0]}, study="one")
        log(tracker, "trained on all", {}, study="bare")
        for name, table in zip(NAMES, tables, strict=True):
            log(tracker, name, {"test": table}, study="markup")
        for number in range(41):
            log(tracker, f"row {number}", {"test": tables[number % 3]}, study="forty")
        for study, devices in {"device": 1, "fifteen": 15}.items():
            names = np.array(["a", *(f"s{number}" for number in range(1, devices))])
            for row, table in enumerate(tables):
                log(tracker, f"row {row}", {"test": table.assign(device=names[np.arange(60) % devices])}, study=study)
    finally:
        os.chdir(before)
    return tracker.uri


def client_of(uri: str):
    return create_app(Source(Reader(uri), patience=30.0)).server.test_client()


@pytest.mark.parametrize("study", ["one", "bare", "device", "fifteen"])
@pytest.mark.parametrize("path", PATHS)
def test_a_study_that_is_odd_is_shown_as_far_as_it_goes(odd, path, study):
    said = page_at(client_of(odd), path, f"?study={study}")
    assert "cannot be read since" not in said
    assert '"className": "figure"' in said or '"className": "note' in said


def test_a_run_without_predictions_keeps_its_figures_and_says_what_it_lacks(odd):
    client = client_of(odd)
    assert "trained on all" in page_at(client, "/", "?study=bare")
    assert "has no predictions of the test split" in page_at(client, "/devices", "?study=bare")
    assert "have no predictions of the test split" in page_at(client, "/confusions", "?study=bare")


@pytest.mark.parametrize("path", PATHS)
def test_forty_rows_that_are_chosen_are_cut_to_what_can_be_told_apart(odd, path):
    chosen = "&".join(f"rows=row+{number}" for number in range(41))
    said = page_at(client_of(odd), path, f"?study=forty&{chosen}")
    assert "cannot be read since" not in said
    assert (f"41 systems are chosen; the figure of devices shows the first {MOST}" in said) is (path == "/devices")


@pytest.mark.parametrize("path", PATHS)
def test_names_with_markup_are_text_everywhere(odd, path):
    answer = json.loads(page_at(client_of(odd), path, "?study=markup"))

    def kinds(tree: object) -> set[str]:
        if isinstance(tree, dict):
            own = {str(tree["type"])} if tree.get("namespace") else set()
            return own.union(*map(kinds, tree.values()))
        return set().union(*map(kinds, tree)) if isinstance(tree, list) else set()

    assert not {"Script", "Iframe", "Markdown", "DangerouslySetInnerHTML"} & kinds(answer)
    addresses = [one for one in strings(answer, "href") if not one.startswith(("/", "http://", "https://", "#"))]
    assert not [one for one in addresses if one.lstrip().lower().startswith(("javascript:", "data:"))]


def strings(tree: object, key: str) -> list[str]:
    """All texts under a key."""
    if isinstance(tree, dict):
        own = [tree[key]] if isinstance(tree.get(key), str) else []
        return own + [one for value in tree.values() for one in strings(value, key)]
    return [one for part in tree for one in strings(part, key)] if isinstance(tree, list) else []


def test_a_server_that_goes_down_while_a_page_is_open_is_said_and_what_was_read_still_shows(odd, monkeypatch):
    source = Source(Reader(odd), ("one",), patience=30.0)
    client = create_app(source).server.test_client()
    assert "alone" in page_at(client, "/")

    def down(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto host")

    for name in ("runs", "studies", "searches", "predictions_of"):
        monkeypatch.setattr(source.reader, name, down)
    assert "alone" in page_at(client, "/")
    for path in PATHS:
        said = page_at(client, path, "?study=one&study=device")
        assert "cannot be read since" in said
        assert "(no route to host)" in said
    saved = client.get("/export/leaderboard.csv?study=device")
    assert (saved.status_code, saved.text.count("\n")) == (503, 1)


def test_a_study_that_is_deleted_while_a_page_is_open_is_said(odd, tmp_path, monkeypatch):
    shutil.copy(odd.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    monkeypatch.setattr("dashboards.source.FRESH_SECONDS", -1.0)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = client_of(uri)
    assert "alone" in page_at(client, "/", "?study=one")
    deleted = Tracker(uri).client
    deleted.delete_experiment(deleted.get_experiment_by_name("one").experiment_id)
    for _ in range(200):
        if "was deleted in" in (said := page_at(client, "/", "?study=one")):
            break
    assert "was deleted in" in said
    assert "restore it with" in said
