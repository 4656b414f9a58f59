"""The server without a browser: what it answers, refuses, and never does."""

import socket
import threading
import time

import pandas as pd
import pytest
from asked import page_at
from dash.development.base_component import Component

from asc_study.base.contract import Tag
from asc_study.base.errors import InputError
from asc_study.store.queries import Reader
from asc_study.study.leaderboard import study_leaderboard
from asc_study.study.leaderboard_forms import render
from dashboards import show
from dashboards.app import create_app, is_local, open_server, source_of
from dashboards.blocks import Figure, Grid
from dashboards.pages import PAGES
from dashboards.source import Source
from dashboards.state import decode


@pytest.fixture
def client(source: Source):
    return create_app(source).server.test_client()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_drawn_in_both_themes(source, page, theme):
    state = page.state()
    shown = show.shown(page.blocks(source, state), page, state, theme)
    assert shown
    assert all(isinstance(one, Component) for one in shown)
    assert [show.control(one) for one in page.controls(source, state)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_a_page_of_several_studies(source, page):
    state = decode(page.state, "study=s&study=other")
    assert page.blocks(source, state)
    assert "other/alone" in source.board(("s", "other")).names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_a_link_to_what_is_gone_still_opens(source, page):
    state = decode(page.state, "reference=nobody&rows=gone&rows=plain&scenes=gone&one=gone&other=gone&row=gone")
    assert page.blocks(source, state)


def test_the_leaderboard_is_that_of_the_command(dashboard_store, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dashboard_store)
    name, board = study_leaderboard("s", reference="mixup", sort="acc_s4-s6")
    for ending, form in {"json": "json", "csv": "csv", "md": "markdown", "tex": "latex"}.items():
        saved = client.get(f"/export/leaderboard.{ending}?study=s&reference=mixup&sort=acc_s4-s6")
        assert saved.status_code == 200
        assert saved.text == render(board, name, form, metric="acc_s4-s6") + "\n"


def test_the_grid_has_the_figures_of_the_board(source):
    page = PAGES[0]
    (grid,) = [one for one in page.blocks(source, page.state()) if isinstance(one, Grid)]
    board = source.board(("s",)).frame.set_index("name")
    for row in grid.rows:
        assert row["acc_avg"].value == board.loc[row["name"], "acc_avg"]
        assert row["difference"].value is None or row["difference"].value == board.loc[row["name"], "acc_avg_change"]


def test_tables_behind_figures_are_saved_with_all_digits(source, client):
    page = next(one for one in PAGES if one.path == "/devices")
    figure = next(one for one in page.blocks(source, page.state()) if isinstance(one, Figure) and one.name == "devices")
    saved = client.get("/export/devices/devices.csv")
    assert saved.headers["Content-Disposition"] == 'attachment; filename="devices.csv"'
    assert saved.text == figure.table.to_csv(index=False)
    assert client.get("/export/devices/devices.tex").text.count(r"\midrule") == 1
    assert r"mixup <b>masks</b>" in client.get("/export/devices/devices.md").text


@pytest.mark.parametrize(
    "path",
    [
        "/export/devices/nothing.csv",
        "/export/nowhere/devices.csv",
        "/export/leaderboard.exe",
        "/export/leaderboard.csv?study=none",
    ],
)
def test_what_is_not_there_is_refused_in_one_line(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.text.count("\n") == 1


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8050", "127.0.0.1.evil.example", "[::2]:8050"])
def test_other_hosts_are_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8050"}).status_code == 200


@pytest.mark.parametrize("path", ["/../pyproject.toml", "/assets/../app.py", "/assets/%2e%2e/app.py", "/mlflow.db"])
def test_no_file_is_served(client, path):
    answer = client.get(path)
    assert b"sqlite" not in answer.data.lower()
    assert b"create_app" not in answer.data


def test_names_with_markup_are_text(client):
    text = page_at(client, "/")
    assert "mixup <b>masks</b>" in text
    assert "dangerously_allow_html" not in text


def test_a_study_that_is_deleted_meanwhile_leaves_a_message(client, source):
    assert "no finished runs" in page_at(client, "/devices", "?study=gone")


def test_a_store_that_cannot_be_read_leaves_a_message(client, source, monkeypatch):
    def broken(*_):
        raise ConnectionError("postgresql://user:secret@host refused")

    monkeypatch.setattr(source.reader, "runs", broken)
    assert "cannot be read since" in page_at(client, "/")


def test_a_run_that_lost_its_predictions_is_left_out(source, monkeypatch):
    lost = next(record.run_id for record in source.reader.runs("s") if record.tags[Tag.ROW] == "mixup")
    predictions_of = source.reader.predictions_of

    def gone(record, split):
        if record.run_id == lost:
            raise InputError("gone")
        return predictions_of(record, split)

    monkeypatch.setattr(source.reader, "predictions_of", gone)
    page = next(one for one in PAGES if one.path == "/devices")
    text = str(page.blocks(source, decode(page.state, "rows=plain&rows=mixup")))
    assert "mixup has no predictions of the test split" in text


@pytest.mark.parametrize(("query", "drawn"), [("", False), ("reference=mixup&rows=mixup+%3Cb%3Emasks%3C%2Fb%3E", True)])
def test_lines_of_the_baseline_are_drawn_where_its_dots_are_not(source, monkeypatch, query, drawn):
    monkeypatch.setattr("dashboards.pages.devices.baseline_row", lambda board, name: board.row("plain"))
    page = next(one for one in PAGES if one.path == "/devices")
    figure = next(one.figure for one in page.blocks(source, decode(page.state, query)) if isinstance(one, Figure))
    assert ("statistics baseline" in {trace.name for trace in figure.data}) is drawn
    assert ("plain" in {trace.name for trace in figure.data}) is not drawn


def test_a_page_waits_once_for_predictions_and_not_for_more_than_can_be_read(dashboard_store, monkeypatch):
    source, go_on = Source(Reader(dashboard_store), ("s",), patience=0.2), threading.Event()
    predictions_of = source.reader.predictions_of
    monkeypatch.setattr(source.reader, "predictions_of", lambda *asked: go_on.wait(10) and predictions_of(*asked))
    assert source.board(()).pending == (0, 7)
    (joint,) = source._joints.values()
    waited = []
    monkeypatch.setattr(joint.done, "wait", waited.append)
    source.board(())  # the same page asks again
    assert waited == [0.0]
    source.patience = 0.05  # seven runs take longer
    source.board(())
    assert waited == [0.0]
    go_on.set()


def test_predictions_in_memory_are_bounded(source, monkeypatch):
    monkeypatch.setattr(source._tables, "most", 1)
    board = source.board(())
    assert not len(source._tables)  # the board keeps sums alone
    assert len(source.tables(board, "mixup")) == 2
    assert len(source._tables) == 1
    assert all(isinstance(table, pd.DataFrame) for table in source.tables(board, "plain"))


def test_a_taken_port_is_said(source):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be listened on"):
            open_server(create_app(source), "127.0.0.1", taken.getsockname()[1])


def test_only_this_machine_is_local():
    assert all(map(is_local, ("127.0.0.1", "localhost", "::1", "127.0.0.9")))
    assert not any(map(is_local, ("0.0.0.0", "::", "192.168.0.1", "host.example")))


def test_an_unknown_study_is_refused_with_a_hint(dashboard_store):
    with pytest.raises(InputError, match="other"):
        source_of(dashboard_store, ("othr",), None)


def test_a_board_whose_predictions_are_being_read_is_shown_without_them(dashboard_store, monkeypatch):
    source, go_on = Source(Reader(dashboard_store), ("s",), patience=0.0), threading.Event()
    predictions_of = source.reader.predictions_of

    def slow(record, split):
        go_on.wait()
        return predictions_of(record, split)

    monkeypatch.setattr(source.reader, "predictions_of", slow)
    board = source.board(())
    assert board.pending == (0, 7)
    assert "acc_avg_change" not in board.frame
    assert board.frame["acc_avg"].notna().all()
    go_on.set()
    source.patience = 60.0
    board = source.board(())
    assert board.pending is None
    assert board.frame["acc_avg_change"].notna().any()


def test_a_run_that_is_new_appears_without_waiting_for_it(dashboard_store, monkeypatch):
    monkeypatch.setattr("dashboards.source.FRESH_SECONDS", -1.0)
    source = Source(Reader(dashboard_store), ("s",))
    runs = source.reader.runs
    before = len(source.board(()).names)
    monkeypatch.setattr(source.reader, "runs", lambda study, **options: runs(study, **options)[1:])
    for _ in range(200):
        if len(source.board(()).names) == before - 1:
            break
        time.sleep(0.02)
    assert len(source.board(()).names) == before - 1
