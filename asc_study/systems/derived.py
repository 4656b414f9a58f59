"""Runs made of predictions instead of training: imported systems, ensembles, fusions. One way to log them all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import filelock
import pandas as pd
import yaml

from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag, evaluation_path, predictions_path
from asc_study.base.errors import InputError
from asc_study.base.files import write_file
from asc_study.base.provenance import environment, fact_tags, fingerprint, git_commit
from asc_study.base.schema import require_row_name
from asc_study.base.taxonomy import taxonomy_tag
from asc_study.evaluation.measure import measure
from asc_study.evaluation.metrics import taxonomy_of
from asc_study.evaluation.predictions import check_predictions, write_predictions
from asc_study.settings.run_config import canonical_json, flatten
from asc_study.settings.settings_file import require_name
from asc_study.store.claims import run_lock, whereabouts
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.spool import Step, now_ms
from asc_study.store.stale import lost_member
from asc_study.store.tracking import Tracker, source_tags
from asc_study.store.views import markdown_table, publish, run_link, study_views

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Part of every identity: raise it when the code behind derived runs changes their results.
_VERSION: Final = 2


#: Kind of a derived run -> the command that makes it.
_COMMANDS: Final = {Kind.IMPORTED: "import", Kind.ENSEMBLE: "ensemble", Kind.FUSION: "fuse"}


@dataclass(frozen=True)
class Identity:
    """What makes a derived run the same run.

    Attributes
    ----------
    kind
        ``imported``, ``ensemble``, ``fusion``, ``baseline``, ``quantised`` or ``system``.
    settings
        How it is made, in the types of JSON.
    sources
        The runs it is made of, or those that its members are chosen from.
    ordered
        Whether their order counts.
    """

    kind: str
    settings: Mapping[str, Any]
    sources: Sequence[RunRecord] = ()
    ordered: bool = True

    @property
    def seed(self) -> str:
        """The seed that all sources share; empty if they share none."""
        seeds = {record.seed for record in self.sources}
        return seeds.pop() if len(seeds) == 1 else ""

    @property
    def evaluated(self) -> str:
        """What unlabelled clips all sources have predicted; empty if there are none."""
        digests = {record.tags.get(Tag.EVALUATION_DIGEST, "") for record in self.sources}
        return digests.pop() if len(digests) == 1 else ""

    def signature(self, *, with_seeds: bool = True) -> str:
        """SHA-256 (64 hex digits) of it all; without seeds, what repeats are grouped by."""
        sources = [_source(record) if with_seeds else record.tags.get(Tag.COMBINATION, "") for record in self.sources]
        identity = {
            "version": _VERSION,
            "kind": self.kind,
            "settings": self.settings,
            "inputs": sources if self.ordered else sorted(sources),
        }
        if with_seeds and self.evaluated:
            identity["evaluation"] = self.evaluated  # sources that have predicted more make another result
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


def _source(record: RunRecord) -> str:
    """What a source is: its signature, and what computed it, for the same signature may give other predictions."""
    return " ".join(filter(None, (record.signature, record.tags.get(Tag.FINGERPRINT, ""))))


def find_derived(tracker: Reader, study: str, identity: Identity) -> RunRecord | None:
    """The finished run of that identity, if it is there with all that it is made of.

    Members that were deleted and trained again have the same signature, but what was made of the deleted ones is stale.
    """
    records = tracker.runs(study, kind=identity.kind, signature=identity.signature(), status="FINISHED")
    return records[0] if records and not lost_member(tracker, records[0]) else None


@dataclass(frozen=True)
class Derived:
    """A run to be logged.

    Attributes
    ----------
    identity
        What it is.
    study, name, task
        The experiment; the row's name; ``ten_class`` or ``three_class``.
    system
        What it is in a few words, for tables: ``mean of 3``.
    members
        The runs it is made of.
    tables
        Its predictions by split.
    tags
        Tags besides the usual ones.
    metrics
        Metrics besides those of the predictions.
    path
        Metrics that change from step to step.
    files
        Path of an artifact -> its content.
    figures
        Figures besides the usual ones, shown after the accuracy by device.
    """

    identity: Identity
    study: str
    name: str
    task: str
    system: str
    members: Sequence[RunRecord]
    tables: Mapping[str, pd.DataFrame]
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    path: Sequence[Mapping[str, float]] = ()
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    figures: "Sequence[go.Figure]" = ()

    @property
    def run_name(self) -> str:
        """The name that MLflow shows."""
        return f"{self.name} seed {self.identity.seed}" if self.identity.seed else self.name


@dataclass(frozen=True)
class Logged:
    """A derived run in the store and the name of its row; ``existed`` if it was there before."""

    run_id: str
    name: str
    metrics: Mapping[str, float]
    existed: bool


def log_derived(tracker: Tracker, run: Derived) -> Logged:
    """Log a run with its metrics, predictions and figures; one that is there already is left as it is.

    Raises
    ------
    InputError
        If the study cannot have its name or a predictions table breaks the contract (nothing is logged then), or
        another process logs the same run.
    """
    require_name("study", run.study)
    require_row_name(run.name, "the result")
    for table in run.tables.values():
        check_predictions(table)
    signature = run.identity.signature()
    try:
        with run_lock(tracker, run.study, signature):
            done = find_derived(tracker, run.study, run.identity)
            if done:
                return existing(done)
            # What was cut off or failed while it was logged is logged anew in the same run: none stays beside it.
            same = tracker.runs(run.study, kind=run.identity.kind, signature=signature)
            return _log(tracker, run, next((one.run_id for one in same if one.status != "FINISHED"), ""))
    except filelock.Timeout:
        raise InputError(f"{run.name!r} is being made by another process: run the command again then") from None


def existing(record: RunRecord) -> Logged:
    """A run that was there before."""
    return Logged(record.run_id, record.tags.get(Tag.ROW, ""), record.metrics, existed=True)


def _log(tracker: Tracker, run: Derived, run_id: str) -> Logged:
    """Log a run, into the one of this id if there is one."""
    from asc_study.figures.run import summary_page

    metrics = measure(run.tables) | dict(run.metrics)
    if run_id:
        tracker.reopen(run_id)
        tracker.set_tags(run_id, _tags(run) | {Tag.FAILURE: ""})
    else:
        run_id = tracker.create_run(run.study, run.run_name, _tags(run), flatten(run.identity.settings))
    status, failure = "FAILED", "interrupted while it was logged"
    try:
        with tracker.artifacts(run_id) as folder:
            for split, table in run.tables.items():
                unlabelled = split == "evaluation" and run.identity.evaluated
                path = evaluation_path(run.identity.evaluated) if unlabelled else predictions_path(split)
                write_predictions(table, folder / path)
            about = {"stretches": [environment()]}
            write_file(folder / Artifact.ENVIRONMENT, json.dumps(about, indent=2))
            write_file(folder / Artifact.CONFIG, yaml.safe_dump(dict(run.identity.settings), sort_keys=False))
            for name, content in run.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write_file(folder / name, content)
            (folder / Artifact.FIGURES).mkdir()
            page = summary_page(run.name, run.tables, metrics, more=run.figures)
            write_file(folder / Artifact.SUMMARY, page)
        tracker.log_steps(run_id, [Step(number, now_ms(), measured) for number, measured in enumerate(run.path, 1)])
        _log_page(tracker, run, run_id, metrics)
        tracker.log_metrics(run_id, metrics)
        status, failure = "FINISHED", ""
    finally:
        tracker.finish(run_id, status, failure=failure)
    return Logged(run_id, run.name, metrics, existed=False)


def _tags(run: Derived) -> dict[str, str]:
    identity = run.identity
    signature, combination = identity.signature(), identity.signature(with_seeds=False)
    tags = {
        Tag.STUDY: run.study,
        Tag.ROW: run.name,
        Tag.KIND: identity.kind,
        Tag.SYSTEM: run.system,
        Tag.SIGNATURE: signature,
        Tag.SIGNATURE_SHORT: signature[:10],
        Tag.COMBINATION: combination,
        Tag.COMBINATION_SHORT: combination[:10],
        Tag.TASK: run.task,
        Tag.GIT_COMMIT: git_commit(),
        **source_tags(f"asc-study {_COMMANDS.get(identity.kind, '')}".strip(), git_commit()),
        **fact_tags(fingerprint()),
        **whereabouts(),
    }
    if identity.seed:
        tags[Tag.SEED] = identity.seed
    if "evaluation" in run.tables and identity.evaluated:
        tags[Tag.EVALUATION_DIGEST] = identity.evaluated
    if run.tables:
        tags |= taxonomy_tag(taxonomy_of(next(iter(run.tables.values()))))
    for shared in (Tag.DATASET, Tag.DATASET_DIGEST):
        values = {record.tags.get(shared, "") for record in run.members}
        if len(values) == 1:
            tags[shared] = values.pop()
    if run.members:
        tags[Tag.MEMBERS] = json.dumps([record.run_id for record in run.members])
    return tags | dict(run.tags)


def _log_page(tracker: Tracker, run: Derived, run_id: str, metrics: Mapping[str, float]) -> None:
    """What MLflow's page says of the run: what it is and was made of, its accuracy per device subset, its data."""
    lines = [f"**{run.system}**, row *{run.name}* of study *{run.study}*", "", markdown_table(metrics)]
    if run.members:
        lines += ["", "Made of:", ""]
        lines += [f"- [{one.label}]({run_link(one.experiment_id, one.run_id)})" for one in run.members]
    tags = _tags(run)
    tracker.set_tags(run_id, {MlflowTag.NOTE: "\n".join(lines)})
    if digest := tags.get(Tag.DATASET_DIGEST):
        clips = {split: len(table) for split, table in run.tables.items()}
        tracker.log_datasets(run_id, tags.get(Tag.DATASET, ""), digest, clips)
    experiment_id = tracker.experiment_id(run.study)
    known = tracker.experiment_tags(experiment_id)
    if MlflowTag.EXPERIMENT_KIND not in known:  # no study of this name has made its page
        publish(
            tracker, experiment_id, study_views([run.task]), f"**{run.study}**: systems that were imported or combined."
        )
