"""Addresses: of a page in a state, of a table to save, of a run in MLflow's page."""

from typing import Any
from urllib.parse import urlencode

from asc_study.base.contract import Tag
from asc_study.store.records import RunRecord
from asc_study.store.views import DEVICES, page_address, run_link, view_link
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


def record_link(source: Source, record: RunRecord) -> str:
    """Where MLflow's page shows a run."""
    return f"{page_address(source.reader.uri)}/{run_link(record.experiment_id, record.run_id)}"


def study_link(source: Source, board: Board, study: str) -> str:
    """Where MLflow's page shows all runs of a study, the best first; empty if the study has no runs here."""
    rows = board.frame["name"][(board.frame["study"] == study) & (board.frame["seeds"] > 0)]
    if not len(rows):
        return ""
    first = board.records[rows.iloc[0]][0]
    return view_link(first.experiment_id, DEVICES.key, page=page_address(source.reader.uri))


def runs_link(source: Source, board: Board, name: str) -> str:
    """Where MLflow's page shows a row: the run itself, or the runs of its seeds side by side."""
    records = board.records[name]
    first = records[0]
    if len(records) == 1:
        return record_link(source, first)
    wanted = f"tags.`{Tag.COMBINATION}` = '{first.tags.get(Tag.COMBINATION, '')}'"
    page = page_address(source.reader.uri)
    return f"{page}/#/experiments/{first.experiment_id}/runs?{urlencode({'searchFilter': wanted})}"
