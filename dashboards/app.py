"""The server: one page a path, its state in the query, blocks as `dashboards.show` makes them.

A choice changes the address, and the address alone decides what is shown. The server answers requests that name a host
it was started for: a page of another site cannot ask it for a store's contents by a name of its own that leads here
(DNS rebinding).
"""

import ipaddress
import logging
import socket
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import flask
from dash import Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate
from werkzeug.serving import BaseWSGIServer, make_server

from asc_study.base.errors import InputError
from asc_study.figures.page import save_script
from asc_study.store.addresses import scrubbed
from asc_study.store.queries import Reader
from dashboards import export, show
from dashboards.augmented import add_augmented
from dashboards.blocks import Note
from dashboards.choices import add_choices, asked
from dashboards.links import link, study_link
from dashboards.pages import PAGES
from dashboards.pages.search import PAGE as SEARCH
from dashboards.recordings import add_recordings
from dashboards.registry import Page
from dashboards.source import Source
from dashboards.state import State as PageState

#: How often a page is drawn again while runs are being made.
TICK_MS: Final = 15_000
#: The same while predictions are being read.
PENDING_MS: Final = 2_000

_HEAD: Final = """<!doctype html>
<html lang="en"><head>{%metas%}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{%title%}</title>{%favicon%}{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}<script>SAVE</script>{%renderer%}</footer></body></html>"""


def create_app(source: Source, hosts: Sequence[str] = ("127.0.0.1", "localhost", "::1")) -> Dash:
    """The dashboards of a store as an app of Dash, whose ``server`` is an app of Flask.

    Parameters
    ----------
    source
        What they read.
    hosts
        The names under which it may be asked; empty: any.
    """
    app = Dash(
        __name__,
        title="asc-study",
        update_title=None,
        suppress_callback_exceptions=True,
        assets_folder=str(Path(__file__).parent / "assets"),
        index_string=_HEAD.replace("SAVE", save_script()),
    )
    app.layout = _layout()
    _guard(app.server, hosts)
    _add_exports(app.server, source)
    add_recordings(app.server, source)
    add_augmented(app.server, source)
    add_choices(app, source)
    _add_content(app, source)
    _add_grid(app)
    return app


def open_server(app: Dash, host: str, port: int) -> BaseWSGIServer:
    """A server that is listening; ``serve_forever`` answers.

    Raises
    ------
    InputError
        If the address is taken or cannot be listened on.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise InputError(f"{host} port {port} cannot be listened on ({error}): choose another --port") from None
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # not a line a request
    return make_server(host, port, app.server, threaded=True)


def is_local(host: str) -> bool:
    """Whether only this machine reaches a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _layout() -> Component:
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="theme"),
            dcc.Store(id="moved"),
            dcc.Store(id="controls-for"),
            dcc.Interval(id="tick", interval=TICK_MS, disabled=True),
            html.A("Skip to the figures", href="#content", className="skip"),
            html.Header(
                [
                    html.Div(id="head"),
                    html.Div(
                        [
                            html.Button("Copy link", id="copy-link", type="button"),
                            html.Button("Light or dark", id="theme-switch", type="button"),
                        ],
                        className="tools",
                    ),
                ]
            ),
            html.Nav(id="nav", **{"aria-label": "Pages"}),
            html.Div(id="controls", role="group", **{"aria-label": "Choices"}),
            dcc.Loading(
                html.Main(id="content", tabIndex=-1),
                delay_show=400,
                overlay_style={"visibility": "visible", "opacity": 0.5},
            ),
        ],
        id="page",
    )


def _guard(server: flask.Flask, hosts: Sequence[str]) -> None:
    @server.before_request
    def known_host() -> flask.Response | None:
        asked = flask.request.host.rpartition(":")[0] if flask.request.host[-1:] != "]" else flask.request.host
        name = (asked or flask.request.host).strip("[]").lower()
        if hosts and name not in hosts:
            return flask.Response(f"This server does not answer for the host {name!r}.\n", 403, mimetype="text/plain")
        return None

    @server.after_request
    def careful(response: flask.Response) -> flask.Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def _add_exports(server: flask.Flask, source: Source) -> None:
    @server.get("/export/<name>.<ending>", defaults={"page": ""})
    @server.get("/export/<page>/<name>.<ending>")
    def saved(page: str, name: str, ending: str) -> flask.Response:
        query = flask.request.query_string.decode("ascii", "replace")
        if ending not in export.TYPES:
            return _refused(f"a table is saved as one of {', '.join(export.TYPES)}, got {ending!r}")
        try:
            if not page and name == "leaderboard":
                text = export.leaderboard_text(source, query, ending)
            else:
                text = export.table_text(source, f"/{page}", name, query, ending)
        except InputError as error:
            return _refused(_line(error, source))
        except Exception as error:  # a server that is down, a file that is gone
            return _refused(f"the store cannot be read ({_line(error, source)}): start its server, then reload", 503)
        response = flask.Response(text, mimetype=export.TYPES[ending])
        response.headers["Content-Disposition"] = f'attachment; filename="{name}.{ending}"'
        return response


def _refused(why: str, status: int = 404) -> flask.Response:
    return flask.Response(f"{why}\n", status, mimetype="text/plain")


def _line(text: object, source: Source) -> str:
    """A message without secrets, in one line."""
    return scrubbed(" ".join(str(text).split()), source.reader.uri)


def _add_content(app: Dash, source: Source) -> None:
    """What the address asks for is shown, and again while runs are being made or read."""

    @app.callback(
        Output("content", "children"),
        Output("head", "children"),
        Output("nav", "children"),
        Output("tick", "disabled"),
        Output("tick", "interval"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("theme", "data"),
        Input("tick", "n_intervals"),
    )
    def content(path: str, search: str | None, theme: str | None, _: Any) -> Any:
        if theme is None:
            raise PreventUpdate
        page, state = asked(path, search)
        if page is None:
            return _said(Note(f"There is no page {path!r}.", kind="error"), PAGES[0], source, PageState())
        try:
            head, running, pending = _head(source, page, state)
            with source.drawing():
                blocks = show.shown(page.blocks(source, state), page, state, theme)
        except InputError as error:
            to_search = {} if page.path == SEARCH.path or source.studies() else {SEARCH.label: SEARCH.path}
            return _said(Note(_line(error, source), kind="empty", links=to_search), page, source, state)
        except Exception as error:  # a server that is down, a file that is gone: the page says so and stays
            app.logger.error(_line(traceback.format_exc(), source))
            when = time.strftime("%H:%M:%S")
            line = f"The store cannot be read since {when} ({_line(error, source)}): start its server, then reload."
            return _said(Note(line, kind="error"), page, source, state)
        if pending:
            line = f"Intervals and differences follow: the predictions of {pending[0]} of {pending[1]} runs are read."
            blocks.insert(0, show.note(Note(line)))
        still = running or pending is not None
        return blocks, head, _navigation(page, source, state), not still, PENDING_MS if pending else TICK_MS


def _add_grid(app: Dash) -> None:
    """Search and columns of the leaderboard's table, which are no part of the address."""

    @app.callback(Output("grid", "dashGridOptions"), Input("grid-search", "value"), State("grid", "dashGridOptions"))
    def found(text: str | None, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"quickFilterText": text or ""}

    @app.callback(
        Output("grid", "columnState"),
        Input("grid-columns", "value"),
        State("grid-columns", "options"),
        prevent_initial_call=True,
    )
    def columns(shown: list[str], options: list[dict[str, str]]) -> list[dict[str, Any]]:
        return [{"colId": one["value"], "hide": one["value"] not in shown} for one in options]


def _said(note: Note, page: Page[Any], source: Source, state: PageState) -> Any:
    """A page that can say no more than this; after an error it asks again."""
    return [show.note(note)], [html.H1("asc-study")], _navigation(page, source, state), note.kind != "error", TICK_MS


def _navigation(page: Page[Any], source: Source, state: PageState) -> list[Component]:
    common = {"study": state.study, "reference": state.reference}
    return [
        dcc.Link(one.label, href=link(one.path, **common), className="here" if one is page else "", target="")
        for one in PAGES
        if source.data is not None or not one.needs_data
    ]


def _head(source: Source, page: Page[Any], state: PageState) -> tuple[list[Component], bool, tuple[int, int] | None]:
    """What is looked at, how old it is, and the way to it in MLflow; whether it changes, what is still being read."""
    if not page.of_study and not source.studies():
        return [html.H1("asc-study")], True, None
    board = source.board(state.study, state.reference)
    studies = source.chosen(state.study)
    read = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(board.read_at))
    parts = [board.about, " · read ", html.Time(read, dateTime=read)]
    for name in studies:
        if address := study_link(source, board, name):
            parts += [" · ", html.A(f"{name} in MLflow", href=address, target="_blank", rel="noreferrer")]
    return [html.H1(", ".join(studies)), html.P(parts)], board.running > 0, board.pending


def source_of(uri: str | None, studies: Sequence[str], data: Path | None, *, patience: float = 1.0) -> Source:
    """What the dashboards of a store read; see `Source`.

    Raises
    ------
    InputError
        If the store cannot be opened, or lacks a study that is named.
    """
    source = Source(Reader(uri), studies, data, patience=patience)
    known = source.reader.studies()
    for name in studies:
        if name not in known:
            from asc_study.base.schema import did_you_mean

            raise InputError(f"the store has no study {name!r} with runs: {did_you_mean(name, known)}")
    return source
