"""What a run is in the store: tags and parameters when it begins, its environment, its result once it is trained."""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asc_study.acoustics.recordings import sound_info
from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag, predictions_path
from asc_study.base.files import write_file
from asc_study.base.provenance import MIXED, environment, fact_tags
from asc_study.settings.migrations import written_config
from asc_study.settings.run_config import flatten, in_words
from asc_study.store.records import RunRecord
from asc_study.store.spool import Result, Spool, now_ms
from asc_study.store.tracking import Tracker, save_keras_model
from asc_study.store.views import markdown_table
from asc_study.study.launch import Launch
from asc_study.study.spec import RunSpec
from asc_study.training.run_data import RunData

if TYPE_CHECKING:
    import keras

    from asc_study.training.fit import TrainingResult


def _note(spec: RunSpec, metrics: Mapping[str, float]) -> str:
    """The run's description in MLflow's page: what it is, and how it does on each device subset."""
    lead = f"**{in_words(spec.config)}**, seed {spec.seed}, row *{spec.row}* of study *{spec.study}*"
    return f"{lead}\n\n{markdown_table(metrics)}"


def metrics_of(result: "TrainingResult") -> dict[str, float]:
    """All metrics of a trained model: of the splits that it predicted, its cost and its chosen epoch."""
    from asc_study.evaluation.measure import measure

    metrics = measure(result.predictions) | cost_metrics(result.model, result.input_shape)
    return metrics | {"epoch/chosen": max(result.chosen_epochs) + 1}


def write_result(
    spec: RunSpec,
    launch: Launch,
    spool: Spool,
    result: "TrainingResult",
    data: Sequence[RunData],
    rival: RunRecord | None,
) -> None:
    """Write all that is to be logged of a trained run into its spool; ``rival`` is the study's baseline."""
    from asc_study.evaluation.predictions import write_predictions
    from asc_study.figures.run import summary_page

    metrics = metrics_of(result)
    clips = data[-1].clips["split"].value_counts().to_dict()  # by folds: of the one on all clips if there is one
    if "validation" in result.predictions:
        clips["validation"] = len(result.predictions["validation"])
    with spool.writing_result() as made:
        folder = made.artifacts
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
            "clips": clips,
            "augmented_copies_left_out": sorted({line for part in data for line in part.left_out}),
            "chosen_epochs": [epoch + 1 for epoch in result.chosen_epochs],
        }
        write_file(folder / Artifact.TRAINING, json.dumps(facts, indent=2))
        save_keras_model(result.model, made.model)
        root = launch.data.dataset.root
        datasets = {"name": root.name, "digest": launch.data.digest, "clips": clips, "source": str(root)}
        made.write(Result(metrics, now_ms(), {MlflowTag.NOTE: _note(spec, metrics)}, datasets))


def cost_metrics(model: "keras.Model", input_shape: tuple[int, int, int]) -> dict[str, float]:
    """The ``cost/`` metrics: parameters, kB (1,024 bytes) of float32 weights, MACs by both rules, latency of one clip.

    The latency is the median over single-clip predictions after warming up, features not counted.
    """
    import numpy as np

    from asc_study.models.cost import mac_metrics, model_size

    size = model_size(model)
    clip = np.zeros((1, *input_shape), np.float32)
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        model.predict_on_batch(clip)
        seconds.append(time.perf_counter() - start)
    return {
        "cost/parameters": size.parameters,
        "cost/model_kb": size.weight_bytes / 1024,
        "cost/nonzero_kb": size.nonzero_bytes / 1024,
        **mac_metrics(model, input_shape),
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


def run_tags(spec: RunSpec, launch: Launch) -> dict[str, str]:
    """Tags that a run of a study begins with."""
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


def run_params(spec: RunSpec) -> dict[str, Any]:
    """Parameters that MLflow shows of a run: its settings, flat, and its seed."""
    return flatten(spec.config.model_dump()) | {"seed": spec.seed}
