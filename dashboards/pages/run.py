"""One run: on which devices it holds, what it takes for what, how it was trained, what it is and is made of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, full_name, unseen_among
from asc_study.evaluation.calibration import reliability_curve
from asc_study.evaluation.metrics import confusion
from asc_study.figures.decisions import confusion_figure, reliability_figure
from asc_study.figures.devices import device_figure
from asc_study.figures.run import lead_of, learning_figure, task_of
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of
from dashboards.blocks import Block, Figure, Note, Table
from dashboards.links import link, record_link, runs_link
from dashboards.pages.choices import baseline_row, first_rows, reference_of, study_control
from dashboards.registry import Control, Page
from dashboards.source import Board, Source
from dashboards.state import State

#: Digits of what is long only to be unique.
_DIGITS: Final = 12

#: Tags of a run that say where it comes from -> what they are called.
_ORIGIN: Final[Mapping[str, str]] = {
    MlflowTag.SOURCE_NAME: "made by",
    Tag.GIT_COMMIT: "commit of the code",
    Tag.STRETCHES: "stretches of the training",
    Tag.FINGERPRINT: "fingerprint of what computed it",
    Tag.FINGERPRINT_FACTS: "versions",
    Tag.HOST: "machine",
    Tag.DATASET: "data set",
    Tag.DATASET_DIGEST: "digest of the data set",
    Tag.SIGNATURE: "signature",
    Tag.COMBINATION: "combination (without the seed)",
    Tag.BASIS: "fitted on",
    Tag.MARK_REASON: "marked, because",
}


@dataclass(frozen=True)
class Run(State):
    """Which row, and which of its seeds; empty: the first."""

    row: str = ""
    seed: str = ""


def controls(source: Source, state: Run) -> Sequence[Control]:
    """What can be chosen."""
    board = source.board(state.study, state.reference)
    name, record = _chosen(board, state)
    seeds = {one.seed: one.seed or "none" for one in board.records[name]}
    return [
        study_control(source, state),
        Control("row", "System", name, {row: row for row in board.names}),
        Control("seed", "Seed", record.seed, seeds),
    ]


def blocks(source: Source, state: Run) -> Sequence[Block]:
    """What it is, the figures of its predictions and its training, settings, origin, parts."""
    board = source.board(state.study, state.reference)
    name, record = _chosen(board, state)
    found: list[Block] = []
    if state.row and state.row != name:
        found.append(Note(f"There is no finished run of {state.row!r}: {name} is shown.", kind="empty"))
    elif state.seed and state.seed != record.seed:
        found.append(Note(f"{name} has no finished seed {state.seed}: seed {record.seed} is shown.", kind="empty"))
    tables = {
        split: table
        for split in ("test", "validation")
        if (table := source.predictions(record, split)) is not None and len(table)
    }
    measured = {split: source.by_device(record, split) for split in tables}
    accuracies = {split: one for split, one in measured.items() if one is not None}
    lead = (
        lead_of(accuracies, record.metrics)
        if "test" in tables
        else "It has no test predictions: trained on all data, or deleted."
    )
    links = {"This run in MLflow": record_link(source, record)}
    if len(board.records[name]) > 1:
        links["all its seeds in MLflow"] = runs_link(source, board, name)
    first = "" if state.row else "Until one is chosen, the best on devices never heard: "
    found.append(Note(f"{first}{record.label}. {lead}", links=links))
    if "test" in tables:
        found += _decided(board, name, tables, accuracies)
    if history := source.kept(("history", record.run_id), lambda: source.reader.history(record)):
        figure = learning_figure(history, _chosen_epochs(source, record))
        behind = pd.DataFrame(history).rename_axis("epoch").reset_index().assign(epoch=range(1, len(history) + 1))
        found.append(Figure(figure, "training", behind))
    parts = _parts(source, board, record, state)
    return [*found, *([parts] if parts else []), *_settings(record), _origin(source, record)]


def _chosen(board: Board, state: Run) -> tuple[str, RunRecord]:
    """The run of the link; without one, the best other than the reference on devices never heard."""
    names = board.names
    if not names:
        raise InputError("the study has no finished runs: run it, or choose another one")
    name = state.row
    if name not in names:
        reference = reference_of(board, state)
        name = next((one for one in first_rows(board, reference, 2) if one != reference), reference)
    records = board.records[name]
    return name, next((one for one in records if one.seed == state.seed), records[0])


def _decided(
    board: Board, name: str, tables: Mapping[str, pd.DataFrame], accuracies: Mapping[str, pd.DataFrame]
) -> list[Block]:
    """The figures of its predictions, each with the numbers behind it."""
    test = tables["test"]
    floor = baseline_row(board, name)
    rival = None if floor is None or floor["name"] == name else board.records[floor["name"]][0].metrics
    devices = device_figure(accuracies, task=task_of(test), baseline=rival)
    by_device = pd.concat([one.reset_index().assign(split=split) for split, one in accuracies.items()])
    counts = confusion(test)
    return [
        Figure(devices, "devices", by_device[["split", *(one for one in by_device if one != "split")]]),
        Figure(confusion_figure(test), "confusion", counts.rename_axis("true scene").reset_index()),
        Figure(reliability_figure(tables), "reliability", reliability_curve(test)),
    ]


def _chosen_epochs(source: Source, record: RunRecord) -> list[int]:
    """The epochs that were kept, of the run's artifact, or of its metric, which holds the last of them."""
    told = source.kept(
        ("training", record.run_id), lambda: source.reader.json_artifact(record.run_id, Artifact.TRAINING)
    ).get("chosen_epochs")
    if isinstance(told, list) and told:
        return [int(epoch) for epoch in told if isinstance(epoch, int)]
    last = record.metrics.get(BY_NAME["epoch/chosen"].name)
    return [] if last is None else [int(last)]


def _parts(source: Source, board: Board, record: RunRecord, state: Run) -> Table | None:
    """The runs that it was made of, each with the way to its page, or to MLflow where no page shows it."""
    members = members_of(record)
    if not members:
        return None
    places = {one.run_id: (name, one) for name, records in board.records.items() for one in records}
    rows: list[dict[str, Any]] = []
    links = []
    for member in members:
        name, part = places.get(member, ("", source.reader.run(member)))
        if part is None:
            rows.append({"part": f"{member} (deleted)"})
            links.append("")
            continue
        own = {"study": state.study, "reference": state.reference, "row": name, "seed": part.seed}
        links.append(link("/run", **own) if name else record_link(source, part))
        shown = [one for one in (ALL_CLIPS, unseen_among(record.metrics)) if one]
        accuracies = {
            f"{subset.title} (%)": 100 * part.metrics.get(full_name(subset.metric, "test"), float("nan"))
            for subset in shown
        }
        rows.append({"part": part.label, "kind": part.tags.get(Tag.KIND, ""), **accuracies})
    return Table("What is it made of?", "parts", pd.DataFrame(rows), links={"part": links})


def _settings(record: RunRecord) -> list[Block]:
    if not record.params:
        return []
    frame = pd.DataFrame(sorted(record.params.items()), columns=["setting", "value"])
    return [Table("With which settings?", "settings", frame)]


def _origin(source: Source, record: RunRecord) -> Table:
    """Where it comes from: code, versions, data, identity."""
    rows = {"kind": record.tags.get(Tag.KIND, ""), "status": record.status}
    rows |= {"began": pd.Timestamp(record.start_seconds, unit="s").strftime("%Y-%m-%d %H:%M UTC")}
    rows |= {said: told for tag, said in _ORIGIN.items() if (told := _told(tag, record.tags.get(tag, "")))}
    links = dict.fromkeys(rows, "")
    artifacts = f"{record_link(source, record)}/artifacts"
    if record.tags.get(Tag.KIND) != Kind.IMPORTED:
        rows["everything else"], links["everything else"] = "environment", f"{artifacts}/{Artifact.ENVIRONMENT}"
    rows["MLflow run"], links["MLflow run"] = record.run_id, record_link(source, record)
    frame = pd.DataFrame(rows.items(), columns=["what", "value"])
    return Table("Where does it come from?", "origin", frame, links={"value": list(links.values())})


def _told(tag: str, text: str) -> str:
    """A tag for people: what it holds as JSON in words; the only stretch of a training is no news."""
    try:
        told: Any = json.loads(text) if tag in (Tag.FINGERPRINT_FACTS, Tag.STRETCHES) else None
    except ValueError:
        return text
    if isinstance(told, dict):
        return ", ".join(f"{name} {version}" for name, version in told.items())
    if isinstance(told, list):
        told = told if len(told) > 1 else []
        return ", ".join(
            f"from epoch {one.get('epoch')}: {str(one.get('commit'))[:_DIGITS]}"
            for one in told
            if isinstance(one, dict)
        )
    return text


PAGE: Final = Page("/run", "Run", Run, controls, blocks, depends=("study", "row"))
