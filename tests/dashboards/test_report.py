"""A study's pages as one file."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
import pytest

from asc_study.base.contract import Artifact, Kind, MlflowTag
from asc_study.base.errors import InputError
from asc_study.study.launch import summary_run
from asc_study.study.leaderboard import study_leaderboard
from asc_study.study.leaderboard_forms import render
from asc_study.study.summary import log_report
from dashboards import report as module
from dashboards.blocks import Live, Note, Table
from dashboards.pages import PAGES
from dashboards.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Rows(HTMLParser):
    """The first table of a page: texts of cells, and values where a cell has one."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = self._done = self._small = False

    def handle_starttag(self, tag, attributes):
        if tag == "tr" and not self._done:
            self.rows.append([])
        elif tag in ("td", "th") and not self._done:
            self._in_cell = True
            self.rows[-1].append("")
        elif tag == "data" and not self._done:
            self.rows[-1][-1] = dict(attributes)["value"]
            self._in_cell = False
        self._small = self._small or tag == "small"

    def handle_endtag(self, tag):
        self._done = self._done or tag == "table"
        self._in_cell = self._in_cell and tag not in ("td", "th")
        self._small = self._small and tag != "small"

    def handle_data(self, text):
        if self._in_cell and not self._done and not self._small:
            self.rows[-1][-1] += text


@pytest.fixture(scope="module")
def page(dashboard_store):
    from asc_study.store.queries import Reader
    from dashboards.source import Source

    return report(Source(Reader(dashboard_store), ("s",), patience=120), "s", "mixup").page


def test_the_leaderboard_has_the_numbers_of_the_command(page, dashboard_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dashboard_store)
    name, board = study_leaderboard("s", reference="mixup")
    rows = {row["row"]: row for row in json.loads(render(board, name, "json"))["rows"]}
    parser = Rows()
    parser.feed(page)
    heads = parser.rows[1]
    shown = {re.sub(r"^\W ", "", row[0]): dict(zip(heads, row, strict=True)) for row in parser.rows[2:]}
    assert set(shown) == set(rows)
    columns = {"A": "acc_A", "s4-s6": "acc_s4-s6", "Avg acc.": "acc_avg", "log loss": "log_loss"}
    for row, cells in shown.items():
        for head, column in columns.items():
            assert float(cells[head]) == rows[row][column]
        change = cells["Difference in Avg acc."]
        assert rows[row]["acc_avg_change"] is None or float(change) == rows[row]["acc_avg_change"]
    assert shown["mixup"]["Difference in Avg acc."] == "reference"


def test_a_report_opens_without_a_network_and_is_small(page):
    assert len(page.encode()) < 8e6
    assert not re.search(r"""\ssrc=|@import|url\(|<link""", page.split('<script type="text/plain"')[0])
    assert page.count('id="plotly"') == 1


def test_names_are_escaped(page):
    shown = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "mixup &lt;b&gt;masks&lt;/b&gt;" in shown
    assert "<b>masks" not in shown


def test_its_contents_lead_to_every_page_and_figure(page):
    marks = re.findall(r'href="#([\w-]+)"', page)
    assert marks
    assert all(page.count(f'id="{mark}"') + page.count(f"id='{mark}'") == 1 for mark in marks)
    for one in PAGES:
        assert not one.in_report or re.search(rf'<section id="s\d+"><h2>{one.label}</h2>', page)


def test_no_link_of_the_dashboards_is_in_it(page):
    assert set(re.findall(r'<a href="(.)', page)) == {"#", "h"}


def test_what_needs_the_server_is_left_out_and_said(source, monkeypatch):
    from dashboards.registry import Page
    from dashboards.state import State

    def failing(source, state):
        raise InputError("nothing is <chosen>")

    pages = [
        Page("/a", "Heard", State, lambda *_: [], lambda *_: [Live(object()), Note("text <x>", "asc-study a")]),
        Page("/b", "Failing", State, lambda *_: [], failing),
        Page("/c", "Listen", State, lambda *_: [], lambda *_: [], in_report=False),
    ]
    monkeypatch.setattr(module, "PAGES", pages)
    text = report(source, "s").page
    assert "text &lt;x&gt; <code>asc-study a</code>" in text
    assert "nothing is &lt;chosen&gt;" in text
    assert "(also the page Listen): <code>asc-study dashboard s</code>" in text


def test_links_to_other_sites_stay_and_others_do_not():
    frame = pd.DataFrame({"a": ["x<", "y", "z"]})
    links = {"a": ["https://one.example/?a&b", "/run?row=y", "javascript:alert(1)"]}
    (passage,) = module._parts(Table("t", "t", frame, links=links))
    assert '<a href="https://one.example/?a&amp;b" rel="noreferrer">x&lt;</a>' in passage.html
    assert passage.html.count("<a ") == 1


def test_an_unknown_reference_is_refused(source):
    with pytest.raises(InputError, match="did you mean 'mixup'"):
        report(source, "s", "mixupp")


def test_a_report_is_kept_with_its_study_and_named_once(tracker, log_run, make_table):
    log_run("plain", {"test": make_table(0)})
    assert "no run of its own" in log_report(tracker, "s", "<html>")
    run_id = summary_run(tracker, "s", Kind.STUDY, {})
    experiment = tracker.experiment_id("s")
    tracker.client.set_experiment_tag(experiment, MlflowTag.NOTE, "**s**\n\nmore")
    assert log_report(tracker, "s", "<html>1") == log_report(tracker, "s", "<html>2") == ""
    assert tracker.artifact(run_id, Artifact.REPORT).read_text() == "<html>2"
    note = tracker.client.get_experiment(experiment).tags[MlflowTag.NOTE]
    assert note.count("report.html](#/experiments/") == 1
    assert note.startswith("**s**\n\nmore\n")


def test_a_store_that_refuses_it_is_told(tracker, log_run, make_table, monkeypatch):
    log_run("plain", {"test": make_table(0)})
    summary_run(tracker, "s", Kind.STUDY, {})

    def refused(*_):
        raise PermissionError("read only")

    monkeypatch.setattr(tracker, "client", SimpleNamespace(**{"get_experiment": refused}), raising=True)
    monkeypatch.setattr(tracker, "runs", lambda *_, **__: [SimpleNamespace(run_id="r", experiment_id="1")])
    assert "does not take the report" in log_report(tracker, "s", "<html>")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_and_prints_it(page, tmp_path):
    path, printed = tmp_path / "report.html", tmp_path / "report.pdf"
    path.write_text(page, encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=30000",
    ]  # fmt: skip
    run = {"capture_output": True, "timeout": 180, "check": True}
    dom = subprocess.run([*command, "--dump-dom", path.as_uri()], text=True, **run).stdout
    assert dom.count('class="js-plotly-plot"') == page.count('<div class="plot">')
    assert "cannot be drawn" not in re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
    subprocess.run([*command, f"--print-to-pdf={printed}", path.as_uri()], **run)
    assert printed.read_bytes()[:5] == b"%PDF-"
    assert printed.stat().st_size > 50_000
