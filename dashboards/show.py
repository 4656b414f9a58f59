"""Blocks as components of Dash."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
from dash import dcc, html
from dash.development.base_component import Component
from dash_ag_grid import AgGrid

from asc_study.figures.page import drawn, file_name
from asc_study.figures.theme import DARK, LIGHT
from dashboards.blocks import MOST_ROWS, Block, Cell, Column, Figure, Grid, Live, Note, Table, text_of
from dashboards.links import export_link
from dashboards.registry import Control, Page
from dashboards.state import State

_FORMS: Final = {"CSV": "csv", "Markdown": "md", "LaTeX": "tex"}

#: What a click on a figure, and a choice, are told apart by.
CLICK, CONTROL = "figure", "control"


def shown(blocks: Sequence[Block], page: Page[Any], state: State, theme: str) -> list[Component]:
    """The blocks of a page, figures on a light or a dark ground."""
    found = []
    for block in blocks:
        match block:
            case Figure():
                found.append(_figure(block, page, state, theme))
            case Table():
                found.append(_table(block, page, state))
            case Grid():
                found.append(_grid(block))
            case Note():
                found.append(note(block))
            case Live():
                found.append(block.component)
    return found


def note(one: Note) -> Component:
    """A line, with the command that makes what is missing."""
    parts: list[Any] = [one.text]
    if one.command:
        parts += [" ", html.Code(one.command)]
    for name, address in one.links.items():
        away = {"target": "_blank", "rel": "noreferrer"}
        parts += [" ", dcc.Link(name, href=address) if address.startswith("/") else html.A(name, href=address, **away)]
    return html.P(parts, className=f"note {one.kind}", role="alert" if one.kind == "error" else None)


def _figure(block: Figure, page: Page[Any], state: State, theme: str) -> Component:
    one = drawn(block.figure)
    one.content["layout"]["template"] = DARK if theme == "dark" else LIGHT
    style = {"height": f"{one.height}px"} | ({"minWidth": f"{one.least_width}px"} if one.least_width else {})
    graph = dcc.Graph(
        id={CLICK: block.name},
        figure=one.content,
        style=style,
        responsive=True,
        config={"displaylogo": False, "modeBarButtonsToRemove": ["toImage", "select2d", "lasso2d"]},
    )
    saved = [
        html.Button(
            kind.upper(), type="button", className="save", **{"data-save": kind, "aria-label": f"Save as {kind}"}
        )
        for kind in ("svg", "png", "csv")
    ]
    title = one.title or block.name
    parts = [
        html.H2(title),
        html.Div(
            graph, className="plot clickable" if block.clickable else "plot", **{"data-name": file_name(block.name)}
        ),
        html.P(one.sentence, className="answer"),
        html.Div([html.Span("Save the figure: "), *saved], className="saves"),
    ]
    if block.table is not None:
        parts.append(_folded(block.table, block.name, page, state))
    return html.Section(parts, className="figure", **{"aria-label": title})


def _folded(frame: pd.DataFrame, name: str, page: Page[Any], state: State) -> Component:
    note = f" (the first {MOST_ROWS} of {len(frame)} rows)" if len(frame) > MOST_ROWS else ""
    body = _html_table(frame.head(MOST_ROWS), digits=3)
    return html.Details([html.Summary(f"The numbers{note}"), _exports(name, page, state), body])


def _exports(name: str, page: Page[Any], state: State) -> Component:
    links = [
        html.A(form, href=export_link(name, ending, state, path=page.path.rstrip("/")), className="export")
        for form, ending in _FORMS.items()
    ]
    return html.Div([html.Span("Save the table: "), *links], className="saves")


def _table(block: Table, page: Page[Any], state: State) -> Component:
    shown = block.frame.head(MOST_ROWS)
    body = _html_table(shown, block.digits, block.numbered, block.links, block.sounds)
    parts = [html.H2(block.title), body, _exports(block.name, page, state)]
    if len(shown) < len(block.frame):
        parts.insert(1, html.P(f"The first {len(shown)} of {len(block.frame)} rows.", className="answer"))
    return html.Section(parts, className="figure", **{"aria-label": block.title})


def _html_table(
    frame: pd.DataFrame,
    digits: int,
    numbered: Mapping[str, int] = {},
    links: Mapping[str, Sequence[str]] = {},
    sounds: Sequence[str] = (),
) -> Component:
    numbers = {column: pd.api.types.is_numeric_dtype(frame[column]) for column in frame}
    heads = [html.Th(str(column), scope="col", className="number" * numbers[column]) for column in frame]
    head = html.Tr([*heads, *([html.Th("recording", scope="col")] if sounds else [])])
    rows = []
    for place, row in enumerate(frame.to_dict("records")):
        cells = []
        for column, value in row.items():
            text = text_of(value, numbered.get(str(column), digits))
            address = links[str(column)][place] if str(column) in links else ""
            content = (dcc.Link if address.startswith("/") else html.A)(text, href=address) if address else text
            cells.append(html.Td(content, className="number" * numbers[column]))
        if sounds:
            cells.append(html.Td(player(sounds[place], f"recording {next(iter(row.values()), '')}")))
        rows.append(html.Tr(cells))
    table = html.Table([html.Thead(head), html.Tbody(rows)])
    return html.Div(table, className="scroll", tabIndex=0, role="region", **{"aria-label": "table"})


def player(address: str, name: str) -> Component:
    """What plays a recording, which is not loaded before."""
    return html.Audio(src=address, controls=True, preload="none", **{"aria-label": name})


def _grid(block: Grid) -> Component:
    columns: list[dict[str, Any]] = []
    groups: dict[str, dict[str, Any]] = {}
    for one in block.columns:
        if not one.group:
            columns.append(_column(one))
        elif one.group in groups:
            groups[one.group]["children"].append(_column(one))
        else:
            groups[one.group] = {"headerName": one.group, "children": [_column(one)], "marryChildren": True}
            columns.append(groups[one.group])
    reach = max(
        (max(abs(c.low or 0), abs(c.high or 0)) for row in block.rows for c in _cells(row, "difference")), default=1
    )
    rows = [{field: _plain(value, reach) for field, value in row.items()} for row in block.rows]
    grid = AgGrid(
        id="grid",
        columnDefs=columns,
        rowData=rows,
        defaultColDef={"sortable": True, "resizable": True, "suppressHeaderMenuButton": True, "wrapHeaderText": True},
        dashGridOptions={
            "theme": {"function": "themeQuartz"},
            "domLayout": "autoHeight",
            "rowHeight": 46,
            "headerHeight": 44,
            "suppressColumnVirtualisation": True,
            "tooltipShowDelay": 200,
            "enableCellTextSelection": True,
            "ensureDomOrder": True,
        },
        dangerously_allow_code=False,
        eventListeners={"cellKeyDown": ["openCell(params)"]},
        style={"height": None, "width": "100%"},
    )
    search = html.Label(
        ["Search ", dcc.Input(id="grid-search", type="search", debounce=False, placeholder="mixup, fcnn, ...")]
    )
    picker = html.Details(
        [
            html.Summary("Columns"),
            dcc.Checklist(
                id="grid-columns",
                options=[
                    {"label": " " + one.heading + (f" ({one.group})" if one.group else ""), "value": one.field}
                    for one in block.columns[1:]
                ],
                value=[one.field for one in block.columns[1:]],
            ),
        ],
        className="picker",
    )
    links = [html.A(form, href=address, className="export") for form, address in block.exports.items()]
    copied = html.Button("Copy LaTeX", type="button", className="copy", **{"data-copy": block.exports.get("LaTeX", "")})
    saves = html.Div([html.Span("Save the table: "), *links, copied], className="saves")
    return html.Section(
        [
            html.H2(block.title),
            html.Div([search, picker], className="grid-tools"),
            grid,
            html.P(f"{block.sentence} {block.hint}", className="answer"),
            saves,
        ],
        className="figure",
        **{"aria-label": block.title},
    )


def _cells(row: Mapping[str, Any], field: str) -> list[Cell]:
    value = row.get(field)
    return [value] if isinstance(value, Cell) and value.value is not None else []


def _plain(value: Any, reach: float) -> Any:
    if not isinstance(value, Cell):
        return value
    tip = value.text if value.low is None else f"{value.text} (95 % interval {value.low:.1f} to {value.high:.1f})"
    return vars(value) | {"tip": tip, "reach": reach}


def _column(one: Column) -> dict[str, Any]:
    column: dict[str, Any] = {"field": one.field, "colId": one.field, "headerName": one.heading, "width": one.width}
    if one.kind == "name":
        return column | {"cellRenderer": "SystemName", "pinned": "left", "tooltipField": "about", "autoHeight": True}
    if one.kind == "text":
        return column | {"wrapText": True, "autoHeight": True, "cellClass": "words"}
    renderer = "Difference" if one.kind == "difference" else "Figure"
    value = {"function": f"params.data[{one.field!r}] && params.data[{one.field!r}].value"}
    tip = {"function": f"params.data[{one.field!r}] && params.data[{one.field!r}].tip"}
    return column | {
        "cellRenderer": renderer,
        "valueGetter": value,
        "tooltipValueGetter": tip,
        "sortingOrder": ["desc", "asc", None],
        "type": "rightAligned",
    }


def control(one: Control) -> Component:
    """A choice with its label."""
    known = {"id": {CONTROL: one.name}}
    options = [{"label": label, "value": value} for value, label in (one.options or {}).items()]
    field: Component
    if one.kind == "switch":
        field = dcc.Checklist(
            **known, options=[{"label": f" {one.label}", "value": "1"}], value=["1"] if one.value else []
        )
        return html.Div(field, className="control switch")
    if one.kind == "slider":
        field = dcc.Slider(
            **known,
            min=one.low,
            max=one.high,
            step=one.step,
            value=one.value,
            marks=None,
            tooltip={"placement": "bottom", "always_visible": True},
        )
    else:
        field = dcc.Dropdown(
            **known, options=options, value=one.value, multi=one.kind == "many", clearable=False, maxHeight=400
        )
    return html.Div(
        [html.Label(one.label, htmlFor=json.dumps(known["id"], separators=(",", ":"))), field],
        className=f"control {one.kind}",
    )
