"""One run from start to end, in whatever process it is given: claim, train, evaluate, log."""

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import filelock

from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag, predictions_path
from asc_study.base.errors import failure_reason
from asc_study.base.files import write_file
from asc_study.base.paths import cache_dir
from asc_study.base.progress import EpochProgress
from asc_study.base.provenance import MIXED, environment, fact_tags
from asc_study.features.audio import sound_info
from asc_study.settings.migrations import written_config
from asc_study.settings.run_config import RunConfig, flatten, in_words
from asc_study.store.addresses import scrubbed
from asc_study.store.claims import heard_of_lately, run_lock, shares_locks, signs_of_life
from asc_study.store.queries import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.store.views import markdown_table
from asc_study.study.launch import Launch
from asc_study.systems.marking import find_baseline
from asc_study.systems.rows import outcome_dict
from asc_study.training.run_data import RunData, run_data
from asc_study.training.runtime import start_keras

if TYPE_CHECKING:
    import keras

    from asc_study.training.fit import TrainingResult


@dataclass(frozen=True)
class RunSpec:
    """One run of a study: a row, a seed and what identifies them."""

    study: str
    row: str
    seed: int
    config: RunConfig
    signature: str
    combination: str
    identity: Mapping[str, Any] = field(default_factory=dict)
    #: If set, a finished run of another fingerprint does not count as this one.
    fingerprint: str = ""

    @property
    def label(self) -> str:
        """Row and seed, as shown to people and as the run's name."""
        return f"{self.row} seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How a run ended; ``elsewhere``: another process works on it; ``lost``: its process died each time."""

    spec: RunSpec
    status: Literal["done", "failed", "elsewhere", "lost"]
    seconds: float = 0.0
    metrics: Mapping[str, float] | None = None
    reason: str = ""
    run_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The outcome in the types of JSON."""
        return outcome_dict(self.spec.row, self.spec.seed, self.status, self.metrics, self.reason, self.seconds)


def execute_run(spec: RunSpec, launch: Launch) -> Outcome:
    """Train, evaluate and log one run; failures are logged and returned, never raised."""
    start = time.perf_counter()
    try:
        with run_lock(launch.tracking_uri, spec.study, spec.signature):
            return _execute_claimed(spec, launch, start)
    except filelock.Timeout:
        return Outcome(spec, "elsewhere")


def _execute_claimed(spec: RunSpec, launch: Launch, start: float) -> Outcome:
    run_id, tracker = None, None
    try:
        tracker = Tracker(launch.tracking_uri)
        earlier = [record for record in tracker.runs(spec.study, kind=Kind.TRAIN) if record.signature == spec.signature]
        if any(_counts_as_done(record, spec) for record in earlier):  # finished elsewhere since the plan was made
            return Outcome(spec, "elsewhere")
        cut = next((record for record in earlier if record.status in ("RUNNING", "KILLED")), None)
        if cut and cut.status == "RUNNING" and not shares_locks(cut) and heard_of_lately(cut):
            return Outcome(spec, "elsewhere")
        if cut:
            run_id = cut.run_id
            tracker.reopen(run_id)
            tracker.set_tags(run_id, {key: tag for key, tag in _tags(spec, launch).items() if key != Tag.GIT_COMMIT})
        else:
            run_id = tracker.create_run(spec.study, spec.label, _tags(spec, launch), _params(spec))
        checkpoint = cache_dir() / "checkpoints" / f"{run_id}.npz"
        with signs_of_life(tracker, run_id, launch.process_id):
            metrics = _train_and_log(spec, launch, tracker, run_id, checkpoint)
    except KeyboardInterrupt:
        if tracker and run_id:
            tracker.finish(run_id, "KILLED")  # its checkpoint stays: the next launch goes on from it
        raise
    except Exception as error:  # Keras', MLflow's or the disk's: no run's failure may end the others
        reason = scrubbed(failure_reason(error), launch.tracking_uri)
        if tracker and run_id:
            reason = _end_failed(tracker, run_id, reason)
        return Outcome(spec, "failed", time.perf_counter() - start, reason=reason)
    checkpoint.unlink(missing_ok=True)
    return Outcome(spec, "done", time.perf_counter() - start, metrics, run_id=run_id)


def _end_failed(tracker: Tracker, run_id: str, reason: str) -> str:
    """End a run as FAILED and return why; what happens to the run itself meanwhile ends nothing else."""
    checkpoint = cache_dir() / "checkpoints" / f"{run_id}.npz"
    try:
        if tracker.run(run_id) is None:
            checkpoint.unlink(missing_ok=True)
            return f"run {run_id} was deleted while it trained: start the study again to train it anew"
        tracker.finish(run_id, "FAILED", failure=reason)
    except Exception as error:  # the store itself fails: the run stays as it is, and the next launch settles it
        told = scrubbed(failure_reason(error), tracker.uri)
        return f"{reason} (and the store could not be told: {told})"
    checkpoint.unlink(missing_ok=True)
    return reason


def _counts_as_done(record: RunRecord, spec: RunSpec) -> bool:
    same = not spec.fingerprint or record.tags.get(Tag.FINGERPRINT) == spec.fingerprint
    return record.status == "FINISHED" and same


def _train_and_log(
    spec: RunSpec, launch: Launch, tracker: Tracker, run_id: str, checkpoint: Path
) -> Mapping[str, float]:
    config = spec.config
    data = run_data(config, launch.data.dataset, launch.data.audio_digests)
    start_keras(config.training.threads)
    from asc_study.training.fit import train

    def on_start(finished_epochs: int) -> None:
        log_environment(tracker, run_id, finished_epochs + 1)

    def on_epoch(epoch: int, measured: dict[str, float]) -> None:
        tracker.log_metrics(run_id, {f"epoch/{name}": value for name, value in measured.items()}, epoch + 1)
        progress(epoch, measured)

    clips = int((data.clips["split"] == "validation").sum())
    bar = EpochProgress(spec.label, config.training.epochs, alone=launch.jobs == 1, validation_clips=clips)
    with bar as progress:
        result = train(
            config,
            data.clips,
            data.store,
            spec.seed,
            checkpoint=checkpoint,
            on_start=on_start,
            on_epoch=on_epoch,
        )
    return _log_result(spec, launch, tracker, run_id, result, data)


def _note(spec: RunSpec, metrics: Mapping[str, float]) -> str:
    """The run's description in MLflow's page: what it is, and how it does on each device subset."""
    lead = f"**{in_words(spec.config)}**, seed {spec.seed}, row *{spec.row}* of study *{spec.study}*"
    return f"{lead}\n\n{markdown_table(metrics)}"


def metrics_of(result: "TrainingResult") -> dict[str, float]:
    """All metrics of a trained model: of the splits that it predicted, its cost and its chosen epoch."""
    from asc_study.evaluation.measure import measure

    metrics = measure(result.predictions) | cost_metrics(result.model, result.input_shape)
    return metrics | {"epoch/chosen": max(result.chosen_epochs) + 1}


def _log_result(
    spec: RunSpec, launch: Launch, tracker: Tracker, run_id: str, result: "TrainingResult", data: RunData
) -> Mapping[str, float]:
    from asc_study.evaluation.predictions import write_predictions
    from asc_study.figures.run import summary_page

    metrics = metrics_of(result)
    baselines = tracker.runs(spec.study, kind=Kind.BASELINE)
    rival = find_baseline(baselines, spec.config.task, launch.data.digest)
    with tracker.artifacts(run_id) as folder:
        for split, predictions in result.predictions.items():
            write_predictions(predictions, folder / predictions_path(split))
        page = summary_page(
            spec.label,
            result.predictions,
            metrics,
            result.history,
            baseline=rival.metrics if rival else None,
            chosen_epochs=[epoch + 1 for epoch in result.chosen_epochs],
            plotlyjs=launch.figures,
        )
        (folder / Artifact.FIGURES).mkdir()
        write_file(folder / Artifact.SUMMARY, page)
        write_file(folder / Artifact.CONFIG, written_config(spec.config, row=spec.row, seed=spec.seed))
        write_file(folder / Artifact.IDENTITY, json.dumps(spec.identity, indent=2))
        facts: dict[str, Any] = {
            "clips": data.clips["split"].value_counts().to_dict(),
            "augmented_copies_left_out": data.left_out,
            "chosen_epochs": [epoch + 1 for epoch in result.chosen_epochs],
        }
        write_file(folder / Artifact.TRAINING, json.dumps(facts, indent=2))
    tracker.log_datasets(
        run_id, launch.data.dataset.root.name, launch.data.digest, facts["clips"], source=str(launch.data.dataset.root)
    )
    tracker.set_tags(run_id, {MlflowTag.NOTE: _note(spec, metrics)})
    model_id = tracker.log_keras_model(run_id, result.model)
    tracker.log_metrics(run_id, metrics, model_id=model_id)
    tracker.finish(run_id)
    return metrics


def cost_metrics(model: "keras.Model", input_shape: tuple[int, int, int]) -> dict[str, float]:
    """The ``cost/`` metrics: parameters, kB (1,024 bytes) of float32 weights, MACs and latency of one clip.

    The latency is the median over single-clip predictions after warming up, features not counted.
    """
    import numpy as np

    from asc_study.models.cost import model_cost

    cost = model_cost(model, input_shape)
    clip = np.zeros((1, *input_shape), np.float32)
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        model.predict_on_batch(clip)
        seconds.append(time.perf_counter() - start)
    return {
        "cost/parameters": cost.parameters,
        "cost/model_kb": cost.weight_bytes / 1024,
        "cost/nonzero_kb": cost.nonzero_bytes / 1024,
        "cost/macs": cost.macs,
        "cost/latency_ms": 1000 * statistics.median(seconds[2:]),
    }


def log_environment(tracker: Tracker, run_id: str, first_epoch: int = 1) -> None:
    """Say what computes a run from an epoch on: ``environment.json`` lists every stretch of it, tags the key facts.

    A run that goes on under another fingerprint than it began with has the fingerprint ``mixed``; its tags and its
    commit stay those of the beginning.
    """
    stretches = tracker.json_artifact(run_id, Artifact.ENVIRONMENT).get("stretches", [])
    here = {"first_epoch": first_epoch, "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **environment()}
    tags = fact_tags(here["fingerprint"]) if not stretches else {}
    if any(stretch.get("fingerprint") != here["fingerprint"] for stretch in stretches):
        tags[Tag.FINGERPRINT] = MIXED
    stretches.append(here)
    with tracker.artifacts(run_id) as folder:
        write_file(folder / Artifact.ENVIRONMENT, json.dumps({"stretches": stretches}, indent=2))
    short = [{"epoch": one["first_epoch"], "commit": one["commit"]} for one in stretches]
    tracker.set_tags(run_id, tags | {Tag.STRETCHES: json.dumps(short)[:5000]})


def _tags(spec: RunSpec, launch: Launch) -> dict[str, str]:
    return {
        Tag.STUDY: spec.study,
        Tag.ROW: spec.row,
        Tag.KIND: Kind.TRAIN,
        Tag.SEED: str(spec.seed),
        Tag.SIGNATURE: spec.signature,
        Tag.SIGNATURE_SHORT: spec.signature[:10],
        Tag.COMBINATION: spec.combination,
        Tag.COMBINATION_SHORT: spec.combination[:10],
        Tag.TASK: spec.config.task,
        Tag.SAMPLE_RATE: str(launch.data.dataset.sample_rate),
        Tag.CHANNELS: str(launch.data.dataset.channels),
        Tag.CLIP_SAMPLES: str(sound_info(Path(launch.data.dataset.clips["path"].iloc[0])).frames),
        **launch.tags(),
    }


def _params(spec: RunSpec) -> dict[str, Any]:
    return flatten(spec.config.model_dump()) | {"seed": spec.seed}
