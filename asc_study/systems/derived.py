"""Runs made of predictions instead of training: imported systems, ensembles, fusions. One way to log them all."""

import hashlib
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import filelock
import pandas as pd
import yaml

from asc_study.claims import run_lock
from asc_study.config import canonical_json, flatten
from asc_study.errors import InputError
from asc_study.evaluation.measure import measure
from asc_study.evaluation.predictions import check_predictions, write_predictions
from asc_study.tracking import RunRecord, Tracker
from asc_study.versions import git_commit

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Part of every identity: raise it when the code behind a derived run changes its results.
_VERSION: Final = 1


@dataclass(frozen=True)
class Derived:
    """A run to be logged.

    Attributes
    ----------
    study, name, kind, task
        The experiment; the row's name; ``imported``, ``ensemble`` or ``fusion``; ``ten_class`` or ``three_class``.
    system
        What it is in a few words, for tables: ``mean of 3``.
    settings
        What made it, in the types of JSON: with the inputs it is the run's identity.
    inputs
        The runs it is made of.
    candidates
        The runs that the inputs were chosen from, if they were; they, and not the choice, are the run's identity.
    tables
        Its predictions by split.
    tags
        Tags besides the usual ones.
    metrics
        Metrics besides those of the predictions.
    path
        Metrics that change from step to step.
    files
        Name of an artifact -> its text.
    figures
        Figures besides the usual ones, shown after the accuracy by device.
    """

    study: str
    name: str
    kind: str
    task: str
    system: str
    settings: Mapping[str, Any]
    inputs: Sequence[RunRecord]
    tables: Mapping[str, pd.DataFrame]
    candidates: Sequence[RunRecord] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    path: Sequence[Mapping[str, float]] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    figures: "Sequence[go.Figure]" = ()

    @property
    def seed(self) -> str:
        """The seed that all inputs share; empty if they share none."""
        seeds = {record.seed for record in self.inputs}
        return seeds.pop() if len(seeds) == 1 else ""

    def signature(self, *, with_seeds: bool = True) -> str:
        """SHA-256 (64 hex digits) of settings and inputs; without seeds, what repeats are grouped by."""
        of_input = "asc.signature" if with_seeds else "asc.combination"
        inputs = [record.tags.get(of_input, "") for record in self.candidates or self.inputs]
        identity = {
            "version": _VERSION,
            "kind": self.kind,
            "settings": self.settings,
            "inputs": sorted(inputs) if self.candidates else inputs,
        }
        predicted = {record.tags.get("asc.evaluation_digest", "") for record in self.inputs} - {""}
        if with_seeds and predicted:
            identity["evaluation"] = sorted(predicted)  # inputs that have predicted more since make another result
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


@dataclass(frozen=True)
class Logged:
    """A derived run in the store; ``existed`` if it was there before."""

    run_id: str
    metrics: Mapping[str, float]
    existed: bool


def log_derived(tracker: Tracker, run: Derived) -> Logged:
    """Log a run with its metrics, predictions and figures; one that is there already is left as it is.

    Raises
    ------
    InputError
        If a predictions table breaks the contract (nothing is logged then), or another process logs the same run.
    """
    for table in run.tables.values():
        check_predictions(table)
    signature = run.signature()
    try:
        with run_lock(tracker.uri, run.study, signature):
            earlier = [record for record in tracker.runs(run.study, kind=run.kind) if record.signature == signature]
            done = next((record for record in earlier if record.status == "FINISHED"), None)
            if done:
                if done.tags.get("asc.row") != run.name:
                    tracker.set_tags(done.run_id, {"asc.row": run.name, "mlflow.runName": _run_name(run)})
                return Logged(done.run_id, done.metrics, existed=True)
            return _log(tracker, run, signature)
    except filelock.Timeout:
        raise InputError(f"{run.name!r} is being made by another process: run the command again then") from None


def _log(tracker: Tracker, run: Derived, signature: str) -> Logged:
    from asc_study.evaluation.figures import summary_page

    metrics = measure(run.tables) | dict(run.metrics)
    run_id = tracker.create_run(run.study, _run_name(run), _tags(run, signature), flatten(run.settings))
    status, failure = "FAILED", "interrupted while it was logged"
    try:
        with tracker.artifacts(run_id) as folder:
            for split, table in run.tables.items():
                write_predictions(table, folder / "predictions" / f"{split}.parquet")
            (folder / "config.yaml").write_text(yaml.safe_dump(dict(run.settings), sort_keys=False), encoding="utf-8")
            for name, text in run.files.items():
                (folder / name).write_text(text, encoding="utf-8")
            (folder / "figures").mkdir()
            page = summary_page(run.name, run.tables, metrics, more=run.figures)
            (folder / "figures" / "summary.html").write_text(page, encoding="utf-8")
        tracker.log_path(run_id, run.path)
        tracker.log_metrics(run_id, metrics, len(run.path))
        status, failure = "FINISHED", ""
    finally:
        tracker.finish(run_id, status, failure=failure)
    return Logged(run_id, metrics, existed=False)


def _run_name(run: Derived) -> str:
    return f"{run.name} seed {run.seed}" if run.seed else run.name


def _tags(run: Derived, signature: str) -> dict[str, str]:
    combination = run.signature(with_seeds=False)
    tags = {
        "asc.study": run.study,
        "asc.row": run.name,
        "asc.kind": run.kind,
        "asc.system": run.system,
        "asc.signature": signature,
        "asc.signature_short": signature[:10],
        "asc.combination": combination,
        "asc.combination_short": combination[:10],
        "asc.task": run.task,
        "asc.git_commit": git_commit(),
        "asc.host": socket.gethostname(),
    }
    if run.seed:
        tags["asc.seed"] = run.seed
    for shared in ("asc.dataset", "asc.dataset_digest"):
        values = {record.tags.get(shared, "") for record in run.inputs}
        if len(values) == 1:
            tags[shared] = values.pop()
    if run.inputs:
        tags["asc.members"] = json.dumps([record.run_id for record in run.inputs])
        tags["mlflow.note.content"] = _links(run.inputs)
    return tags | dict(run.tags)


def _links(records: Sequence[RunRecord]) -> str:
    """A description in Markdown that links to the inputs in MLflow's user interface."""
    lines = [f"- [{record.label}](#/experiments/{record.experiment_id}/runs/{record.run_id})" for record in records]
    return "\n".join(["Made of:", "", *lines])
