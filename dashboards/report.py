"""The pages of a study as one HTML file that opens without a network, as they are without any choice.

A block becomes HTML here as `dashboards.show` makes components of it; the file is `asc_study.figures.page.document`.
"""

import html
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from asc_study.base.errors import InputError
from asc_study.base.schema import did_you_mean
from asc_study.figures.page import Passage, Section, document
from asc_study.store.addresses import scrubbed
from dashboards.blocks import MOST_ROWS, Block, Cell, Column, Figure, Grid, Note, Table, text_of
from dashboards.links import study_link
from dashboards.pages import PAGES
from dashboards.registry import Page
from dashboards.source import Source

log = logging.getLogger(__name__)

#: Symbol of plotly -> a letter of the same form.
_LETTERS: Final[Mapping[str, str]] = {
    "circle": "\N{BLACK CIRCLE}",
    "square": "\N{BLACK SQUARE}",
    "diamond": "\N{BLACK DIAMOND}",
    "triangle-up": "\N{BLACK UP-POINTING TRIANGLE}",
    "triangle-down": "\N{BLACK DOWN-POINTING TRIANGLE}",
    "star": "\N{BLACK STAR}",
    "cross": "\N{HEAVY GREEK CROSS}",
}

#: A longer word of a table, such as a digest, may be broken anywhere.
_WORD: Final = 24

#: A table of more rows may be broken across printed pages.
_ON_A_PAGE: Final = 25


@dataclass(frozen=True)
class Report:
    """A study as one HTML page, and what it lacks because something could not be read, each in one line."""

    page: str
    missing: Sequence[str]


def report(source: Source, study: str, reference: str = "") -> Report:
    """All pages of a study that need no server, as one HTML page.

    Parameters
    ----------
    source, study
        What is read.
    reference
        The row that the others are compared with; by default the study's own.

    Raises
    ------
    InputError
        If the study has no finished runs, or no such row.
    """
    board = source.board((study,), reference)
    if reference and reference not in board.names:
        line = f"--reference {reference}: study {study!r} has no finished row of that name"
        raise InputError(f"{line}: {did_you_mean(reference, board.names)}")
    missing = [board.lacking] if board.lacking else []
    sections = [_section(source, page, study, reference, missing) for page in PAGES if page.in_report]
    read = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(board.read_at))
    lead = f"{board.about} · read {read}"
    return Report(document(f"Study {study}", lead, [*sections, _more(source, study)]), missing)


def _section(source: Source, page: Page[Any], study: str, reference: str, missing: list[str]) -> Section:
    try:
        blocks = page.blocks(source, page.state(study=(study,), reference=reference))
    except InputError as error:
        blocks = [Note(str(error), kind="empty")]
    except Exception as error:  # a server that ends meanwhile, a damaged file: the other parts are worth having
        log.exception("%s could not be made", page.label)
        why = scrubbed(" ".join(str(error).split()), source.reader.uri)
        missing.append(f"the part {page.label} ({why or type(error).__name__})")
        blocks = [Note(f"This part is missing: it could not be read ({why}).", kind="error")]
    return Section(page.label, [part for block in blocks for part in _parts(block)])


def _more(source: Source, study: str) -> Section:
    """What a file cannot do, and where it is done."""
    left = [page.label for page in PAGES if not page.in_report]
    line = "Every choice of systems, devices and runs, and what plays or draws recordings, needs the server"
    line += f" (also the page{'s' * (len(left) > 1)} {', '.join(left)}):" if left else ":"
    board = source.board((study,))
    links = {"All runs in MLflow": address} if (address := study_link(source, board, study)) else {}
    return Section("More", list(_parts(Note(line, f"asc-study dashboard {study}", links=links))))


def _parts(block: Block) -> Sequence[go.Figure | Passage]:
    match block:
        case Figure():
            return [block.figure] if block.table is None else [block.figure, _folded(block.table)]
        case Table():
            body = _table(block.frame, block.digits, block.numbered, block.links)
            return [Passage(body, block.title, long=len(block.frame) > _ON_A_PAGE)]
        case Grid():
            return [Passage(_grid(block), block.title, long=len(block.rows) > _ON_A_PAGE, wide=True)]
        case Note():
            return [Passage(_note(block))]
    return []  # what needs the server


def _note(block: Note) -> str:
    parts = [html.escape(block.text)]
    parts += [f"<code>{html.escape(block.command)}</code>"] if block.command else []
    parts += [_linked(html.escape(name), address) for name, address in block.links.items()]
    return f'<p class="note">{" ".join(parts)}</p>'


def _linked(content: str, address: str) -> str:
    """A link to another site; an address of the dashboards leads nowhere from a file."""
    if not address.startswith(("http://", "https://")):
        return content
    return f'<a href="{html.escape(address)}" rel="noreferrer">{content}</a>'


def _folded(frame: pd.DataFrame) -> Passage:
    more = f" (the first {MOST_ROWS} of {len(frame)} rows)" if len(frame) > MOST_ROWS else ""
    return Passage(f"<details><summary>The numbers{more}</summary>{_table(frame.head(MOST_ROWS), 3)}</details>")


def _table(
    frame: pd.DataFrame, digits: int, numbered: Mapping[str, int] = {}, links: Mapping[str, Sequence[str]] = {}
) -> str:
    numbers = {column: pd.api.types.is_numeric_dtype(frame[column]) for column in frame}
    head = "".join(f"<th{_right(numbers[one])} scope='col'>{html.escape(str(one))}</th>" for one in frame)
    rows = []
    for place, row in enumerate(frame.to_dict("records")):
        cells = []
        for column, value in row.items():
            text = html.escape(text_of(value, numbered.get(str(column), digits)))
            address = links[str(column)][place] if str(column) in links else ""
            long = max(map(len, text.split()), default=0) > _WORD
            kind = _right(numbers[column]) or " class='long'" * long
            cells.append(f"<td{kind}>{_linked(text, address)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return _scroll(f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>")


def _scroll(rows: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="table"><table>{rows}</table></div>'


def _right(number: object) -> str:
    return " class='number'" if number else ""


def _grid(block: Grid) -> str:
    """Intervals stand below figures, and marks below names: paper is narrow, and shows nothing where a mouse is."""
    columns = [one for one in block.columns if one.field != "mark"]
    groups: list[list[Column]] = []
    for column in columns:
        if groups and column.group and groups[-1][0].group == column.group:
            groups[-1].append(column)
        else:
            groups.append([column])
    above = "".join(
        f"<th colspan='{len(group)}' scope='colgroup'>{html.escape(group[0].group)}</th>"
        if group[0].group
        else "<td></td>"
        for group in groups
    )
    heads = "".join(
        f"<th{_right(one.kind in ('figure', 'difference'))} scope='col'>{html.escape(one.heading)}</th>"
        for one in columns
    )
    rows = "".join(f"<tr>{''.join(_cell(one, row) for one in columns)}</tr>" for row in block.rows)
    table = _scroll(f"<thead><tr>{above}</tr><tr>{heads}</tr></thead><tbody>{rows}</tbody>")
    return f"{table}<p>{html.escape(block.sentence)} Below a figure: its 95 % interval over locations.</p>"


def _cell(column: Column, row: Mapping[str, Any]) -> str:
    value = row.get(column.field)
    if column.kind == "name":
        letter = _LETTERS.get(str(row.get("symbol")), _LETTERS["circle"])
        swatch = f'<span style="color:{html.escape(str(row.get("colour")))}" aria-hidden="true">{letter}</span>'
        about = row.get("about") or ""
        said = [one for one in (about, row.get("mark")) if one and one != value]
        below = "".join(f"<small>{html.escape(one)}</small>" for one in said)
        return f'<th scope="row">{swatch} {html.escape(str(value))}{below}</th>'
    if not isinstance(value, Cell):
        return f"<td>{html.escape(str(value or ''))}</td>"
    text = html.escape(value.text) + (" ~" if value.rank == "even" else "")
    if value.rank in ("best", "sure"):
        text = f"<strong>{text}</strong>"
    if value.value is not None:
        text = f'<data value="{value.value!r}">{text}</data>'
    if value.low is not None and value.high is not None:
        digits = len(value.text.split()[0].rpartition(".")[2]) if "." in value.text else 0
        sign = "+" if column.kind == "difference" else ""
        text += f"<small>{value.low:{sign}.{digits}f} to {value.high:{sign}.{digits}f}</small>"
    return f"<td class='number'>{text}</td>"
