"""Addresses: of a page in a state, of a table to save, of a run in MLflow's page."""

from typing import Any
from urllib.parse import urlencode

from asc_study.base.contract import Tag
from asc_study.store.views import page_address, run_link
from dashboards.source import Board, Source
from dashboards.state import State, encode


def link(path: str, **chosen: Any) -> str:
    """The address of a page with these fields of its state; what is empty is not said."""
    pairs = [(name, one) for name, value in chosen.items() for one in (value if isinstance(value, tuple) else (value,))]
    query = urlencode([(name, one) for name, one in pairs if one])
    return f"{path}?{query}" if query else path


def export_link(name: str, ending: str, state: State, *, path: str = "") -> str:
    """The address of a table of a page (`dashboards.export`) in a form."""
    query = encode(state)
    return f"/export{path}/{name}.{ending}" + (f"?{query}" if query else "")


def runs_link(source: Source, board: Board, name: str) -> str:
    """Where MLflow's page shows a row: the run itself, or the runs of its seeds side by side."""
    records = board.records[name]
    page = page_address(source.reader.uri)
    first = records[0]
    if len(records) == 1:
        return f"{page}/{run_link(first.experiment_id, first.run_id)}"
    wanted = f"tags.`{Tag.COMBINATION}` = '{first.tags.get(Tag.COMBINATION, '')}'"
    return f"{page}/#/experiments/{first.experiment_id}/runs?{urlencode({'searchFilter': wanted})}"
