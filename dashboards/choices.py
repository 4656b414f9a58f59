"""What is chosen, or clicked, becomes the address; what there is to choose follows the address."""

import json
from collections.abc import Sequence
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, no_update
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate

from dashboards import show
from dashboards.pages import PAGES
from dashboards.registry import Control, Page
from dashboards.source import Source
from dashboards.state import State as PageState
from dashboards.state import decode, encode, state_of


def add_choices(app: Dash, source: Source) -> None:
    """Add the callbacks of an app that do so."""

    @app.callback(
        Output("controls-for", "data"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("moved", "data"),
        State("controls-for", "data"),
        State({show.CONTROL: ALL}, "value"),
    )
    def what_for(path: str, search: str | None, moved: float | None, known: Any, _: Any) -> Any:
        page, state = asked(path, search)
        wanted = [page.path if page else "", moved, *(getattr(state, name) for name in (page.depends if page else ()))]
        wanted = json.loads(json.dumps(wanted))
        if page is None or not known or wanted != known[:-1]:
            return [*wanted, 0]
        told = {one["id"][show.CONTROL]: one.get("value") for one in ctx.states_list[-1]}
        stale = any(one.name in told and not _same(told[one.name], one.value) for one in _controls(page, source, state))
        return [*wanted, known[-1] + 1] if stale else no_update  # a click or a link of the page chose something

    @app.callback(
        Output("controls", "children"), Input("controls-for", "data"), State("url", "pathname"), State("url", "search")
    )
    def controls(_: Any, path: str, search: str | None) -> list[Component]:
        page, state = asked(path, search)
        return [show.control(one) for one in _controls(page, source, state)] if page else []

    @app.callback(
        Output("url", "search"),
        Input({show.CONTROL: ALL}, "value"),
        State("url", "pathname"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def chosen(_: list[Any], path: str, search: str | None) -> Any:
        page, state = asked(path, search)
        if page is None:
            raise PreventUpdate
        told = {one["id"][show.CONTROL]: one.get("value") for one in ctx.inputs_list[0]}
        before = {one.name: one.value for one in _controls(page, source, state)}
        known = {name: getattr(state, name) for name in state.__dataclass_fields__}
        for name, value in told.items():
            shown = bool(value) if isinstance(before.get(name), bool) else value
            if shown != before.get(name):
                known[name] = shown
        query = encode(
            state_of(page.state, {name: list(v) if isinstance(v, tuple) else v for name, v in known.items()})
        )
        if query == encode(state):
            raise PreventUpdate
        return f"?{query}" if query else ""

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input({show.CLICK: ALL}, "clickData"),
        State("url", "pathname"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def clicked(_: list[Any], path: str, search: str | None) -> Any:
        page, state = asked(path, search)
        if page is None or page.clicked is None or not ctx.triggered or not ctx.triggered[0]["value"]:
            raise PreventUpdate
        points = ctx.triggered[0]["value"].get("points") or []
        name = ctx.triggered_id[show.CLICK]
        after = page.clicked(state, name, points[0]) if points else state
        if after == state:
            raise PreventUpdate
        return f"?{encode(after)}"


def asked(path: str, search: str | None) -> tuple[Page[Any] | None, PageState]:
    """The page and the state that an address asks for; no page if there is none."""
    page = next((one for one in PAGES if one.path == (path.rstrip("/") or "/")), None)
    return page, decode(page.state if page else PageState, search or "")


def _controls(page: Page[Any], source: Source, state: PageState) -> Sequence[Control]:
    """The choices of a page; none where there is nothing to choose from: the page says why."""
    try:
        return page.controls(source, state)
    except Exception:  # the page itself says what failed
        return []


def _same(told: Any, value: Any) -> bool:
    """Whether a control shows a value; several of them in any order."""
    if isinstance(value, bool):
        return bool(told) is value
    return set(told or ()) == set(value) if isinstance(value, list) else told == value
