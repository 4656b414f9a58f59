"""Searches: what was found, what each parameter does, the run of each trial; what is noise is drawn as a band."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from asc_study.base.contract import Tag
from asc_study.base.metric_table import find_metric
from asc_study.figures.search import search_figures
from asc_study.search.storage import quiet_optuna
from asc_study.search.stored import StoredSearch, stored_search
from asc_study.store.records import RunRecord
from asc_study.store.views import page_address, run_link
from dashboards.blocks import Block, Figure, Note, Table
from dashboards.registry import Control, Page
from dashboards.source import Source, fresh
from dashboards.state import State


@dataclass(frozen=True)
class SearchState(State):
    """Which search is looked at; the newest if none is named."""

    search: str = ""


def controls(source: Source, state: SearchState) -> Sequence[Control]:
    """What can be chosen."""
    names = _searches(source)
    options = {name: name for name in names} or {"": "none yet"}
    return [Control("search", "Search", _chosen(names, state) if names else "", options)]


def blocks(source: Source, state: SearchState) -> Sequence[Block]:
    """The figures of a search, and its trials with their runs."""
    names = _searches(source)
    if not names:
        line = "The store has no search yet. `asc-study demo` makes one; a file of your own is run by"
        return [Note(line, "asc-study search SEARCH.yaml --data DIR", "empty")]
    name = _chosen(names, state)
    found: list[Block] = []
    if state.search and state.search != name:
        found.append(Note(f"There is no search {state.search!r} any more: this is the newest one."))
    records = _records(source, name)
    stamp = tuple(sorted((record.run_id, record.status, len(record.metrics)) for record in records))
    search, figures = source.kept(("search", name, stamp), lambda: _read(source, name, records))
    if not search.live:
        line = (
            "The storage of Optuna is not within reach: the trials are those that the newest launch logged at its end, "
            "without their values by epoch."
        )
        found.append(Note(line))
    if not search.study.get_trials(deepcopy=False):
        return [*found, Note("No trial was begun yet: wait, or start the search again.", kind="empty")]
    found.append(_base_note(search))
    found += [Figure(figure, f"{name}-{number}") for number, figure in enumerate(figures, 1)]
    return [*found, _trials(source, name, search)]


def _searches(source: Source) -> list[str]:
    return source.kept(("searches", fresh()), source.reader.searches)


def _chosen(names: Sequence[str], state: SearchState) -> str:
    return state.search if state.search in names else names[0]


def _records(source: Source, name: str) -> list[RunRecord]:
    return source.kept(("runs of a search", name, fresh()), lambda: source.reader.runs(name))


def _read(source: Source, name: str, records: Sequence[RunRecord]) -> tuple[StoredSearch, list[go.Figure]]:
    search = stored_search(source.reader, name, records)
    noise = search.base.noise if search.base else None
    with quiet_optuna():
        return search, search_figures(search.study, search.metrics, base=search.reached, noise=noise)


def _base_note(search: StoredSearch) -> Note:
    if search.base is None:
        return Note("What is noise is told beside the base, which was not measured: no band is drawn.")
    return Note(f"What is noise: {search.base.render()}.")


def _trials(source: Source, name: str, search: StoredSearch) -> Table:
    """The trials, the best first, each with its parameters; a number opens its run."""
    known = [find_metric(metric) for metric in search.metrics]
    headings = [
        f"{metric} (%)" if one is not None and one.factor == 100 else metric
        for metric, one in zip(search.metrics, known, strict=True)
    ]
    factors = [one.factor if one is not None else 1 for one in known]
    rows: list[dict[str, Any]] = []
    for trial in search.study.get_trials(deepcopy=False):
        run = search.runs.get(trial.number)
        values = trial.values or [float("nan")] * len(headings)
        row: dict[str, Any] = {"trial": trial.number, "state": trial.state.name.lower()}
        row |= {heading: factor * one for heading, factor, one in zip(headings, factors, values, strict=True)}
        row |= trial.params
        row["why it failed"] = run.tags.get(Tag.FAILURE, "") if run else ""
        rows.append(row)
    frame = pd.DataFrame(rows)
    if not frame["why it failed"].any():
        frame = frame.drop(columns="why it failed")
    falling = search.study.directions[0].name == "MINIMIZE"
    frame = frame.sort_values(headings[0], ascending=falling, kind="stable", ignore_index=True)
    page = page_address(source.reader.uri)
    links = []
    for number in frame["trial"]:
        run = search.runs.get(int(number))
        links.append(f"{page}/{run_link(run.experiment_id, run.run_id)}" if run else "")
    numbered = dict.fromkeys(headings, 1) if factors[0] == 100 else {}
    return Table("Which trials were there?", f"{name}-trials", frame, 4, numbered, {"trial": links})


PAGE: Final = Page("/search", "Search", SearchState, controls, blocks, depends=("search",), of_study=False)
