"""One run from start to end, in whatever process it is given: claim, train, evaluate, log."""

import json
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import filelock

from asc_study.acoustics.recordings import sound_info
from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag, predictions_path
from asc_study.base.errors import failure_reason
from asc_study.base.files import shown_path, write_file
from asc_study.base.paths import checkpoints_dir
from asc_study.base.progress import EpochProgress
from asc_study.base.provenance import MIXED, environment, fact_tags
from asc_study.settings.migrations import written_config
from asc_study.settings.run_config import RunConfig, flatten, in_words
from asc_study.store.addresses import scrubbed
from asc_study.store.claims import heard_of_lately, is_alive, run_lock, shares_locks, signs_of_life
from asc_study.store.failures import is_outer, patiently
from asc_study.store.leases import Lease, TakenOver
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.store.views import markdown_table
from asc_study.study.epoch_log import EpochLog
from asc_study.study.launch import Launch
from asc_study.study.teachers import teacher_table
from asc_study.systems.marking import find_baseline
from asc_study.systems.rows import outcome_dict
from asc_study.training.run_data import RunData, run_data
from asc_study.training.runtime import start_keras

if TYPE_CHECKING:
    import keras

    from asc_study.training.fit import EpochReport, TrainingResult


#: How long a run is waited for whose lock is held by a process that does not train it.
_LOCK_SECONDS: Final = 30.0


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
    #: Id of the run that it learns from, if any.
    teacher: str = ""

    @property
    def label(self) -> str:
        """Row and seed, as shown to people and as the run's name."""
        return f"{self.row} seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    ``interrupted``: what failed was not the training (the store, the disk); it goes on from its last epoch.
    ``elsewhere``: another process works on it. ``waits``: its teacher is not there.
    ``taken over``: this process was silent for so long that another one goes on with it.
    """

    spec: RunSpec
    status: Literal["done", "failed", "interrupted", "elsewhere", "taken over", "waits"]
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
    root = launch.data.dataset.root
    if not root.is_dir():
        reason = f"{socket.gethostname()} does not see {shown_path(root)}: mount the data there under the same path"
        return Outcome(spec, "interrupted", reason=reason)
    try:
        tracker = patiently(launch.tracking_uri, Tracker, launch.tracking_uri)
        lock = run_lock(tracker, spec.study, spec.signature)
    except Exception as error:  # the store's: nothing was begun
        reason = scrubbed(failure_reason(error), launch.tracking_uri)
        status: Literal["failed", "interrupted"] = "interrupted" if is_outer(error) else "failed"
        return Outcome(spec, status, time.perf_counter() - start, reason=reason)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            lock.acquire()
        except filelock.Timeout:
            if any(record.status == "RUNNING" or _counts_as_done(record, spec) for record in _records(tracker, spec)):
                return Outcome(spec, "elsewhere")
            if time.monotonic() > deadline:  # else one that tidies up, or that is about to begin
                reason = f"another process of {socket.gethostname()} keeps it locked and does not train it"
                return Outcome(spec, "interrupted", time.perf_counter() - start, reason=reason)
            continue
        try:
            return _Execution(spec, launch, tracker).execute()
        finally:
            lock.release()


def left_untrained(tracker: Tracker, spec: RunSpec) -> bool:
    """Whether a run that another process had in its hands is neither done nor worked on by now."""
    records = _records(tracker, spec)
    return not any(
        _counts_as_done(record, spec) or (record.status == "RUNNING" and is_alive(tracker, record))
        for record in records
    )


def _records(tracker: Tracker, spec: RunSpec) -> list[RunRecord]:
    records = patiently(tracker.uri, tracker.runs, spec.study, kind=Kind.TRAIN)
    return [record for record in records if record.signature == spec.signature]


class _Execution:
    """A run in the hands of the process that has claimed it."""

    def __init__(self, spec: RunSpec, launch: Launch, tracker: Tracker) -> None:
        self._spec, self._launch, self._tracker = spec, launch, tracker
        self._start = time.perf_counter()
        self._lease = Lease(tracker)
        self._run_id = ""
        self._is_trained = False

    @property
    def _checkpoint(self) -> Path:
        return checkpoints_dir() / f"{self._run_id}.npz"

    def _remove_checkpoint(self) -> None:
        """Also those of the models that a run by folds trains, which are named after it."""
        for file in self._checkpoint.parent.glob(f"{self._run_id}*.npz"):
            file.unlink(missing_ok=True)

    def execute(self) -> Outcome:
        """Train what is not trained yet, and log it; the checkpoint goes when its result is in the store."""
        spec, launch, tracker = self._spec, self._launch, self._tracker
        try:
            if not patiently(tracker.uri, self._begin):
                return Outcome(spec, "elsewhere")
            with signs_of_life(tracker, self._run_id, launch.process_id, self._lease.renew):
                metrics = self._train_and_log()
        except KeyboardInterrupt:
            self._end("KILLED")  # its checkpoint stays: the next launch goes on from it
            raise
        except Exception as error:  # Keras', MLflow's or the disk's: no run's failure may end the others
            return self._fail(error)
        self._remove_checkpoint()
        return self._outcome("done", metrics=metrics, run_id=self._run_id)

    def _outcome(self, status: Literal["done", "failed", "interrupted", "taken over"], **about: Any) -> Outcome:
        return Outcome(self._spec, status, time.perf_counter() - self._start, **about)

    def _begin(self) -> bool:
        """Take up the run if there is one that is not done, else create it; false if it is another process's."""
        spec, launch, tracker = self._spec, self._launch, self._tracker
        earlier = [record for record in tracker.runs(spec.study, kind=Kind.TRAIN) if record.signature == spec.signature]
        if any(_counts_as_done(record, spec) for record in earlier):  # finished elsewhere since the plan was made
            return False
        cut = next((record for record in earlier if record.status != "FINISHED"), None)
        if cut and cut.status == "RUNNING" and not shares_locks(cut) and heard_of_lately(cut):
            return False
        if cut:
            self._run_id = cut.run_id
            tags = {key: tag for key, tag in _tags(spec, launch).items() if key != Tag.GIT_COMMIT}
            self._lease.take(cut.run_id, tags)
        else:
            known = [record.run_id for record in earlier]
            self._run_id = self._lease.create(spec.study, spec.label, _tags(spec, launch), _params(spec), known=known)
        return bool(self._run_id)

    def _train_and_log(self) -> Mapping[str, float]:
        spec, launch, tracker, config = self._spec, self._launch, self._tracker, self._spec.config
        data = [
            run_data(config, launch.data.dataset, launch.data.audio_digests, fold=fold)
            for fold in range(config.trainings)
        ]
        start_keras(config.training.threads)
        if spec.teacher:
            data = [
                replace(part, teacher=teacher_table(tracker, spec.teacher, config, launch.data, part, fold))
                for fold, part in enumerate(data)
            ]

        epochs, lease = EpochLog(tracker, self._run_id), self._lease

        def on_start(history: Sequence[dict[str, float]]) -> None:
            lease.write(log_environment, tracker, self._run_id, len(history) + 1)
            epochs.begin(history)

        def on_epoch(epoch: int, measured: dict[str, float]) -> None:
            lease.require()  # the epoch's checkpoint follows too
            epochs.add(epoch, measured)
            progress(epoch, measured)

        clips = int((data[0].clips["split"] == "validation").sum())
        epochs_in_all = config.trainings * config.training.epochs
        bar = EpochProgress(spec.label, epochs_in_all, alone=launch.jobs == 1, validation_clips=clips)
        with bar as progress:
            result = _train(config, data, spec.seed, self._checkpoint, on_start, on_epoch)
        self._is_trained = True
        lease.write(epochs.flush)
        return _log_result(spec, launch, tracker, self._run_id, lease, result, data)

    def _fail(self, error: Exception) -> Outcome:
        """What failed the training is kept as its failure; after anything else the next launch goes on."""
        if isinstance(error, TakenOver) or self._lease.is_lost():
            return self._outcome("taken over")  # nothing of it is touched any more, nor a checkpoint that others share
        reason = scrubbed(failure_reason(error), self._tracker.uri)
        if self._run_id and self._is_deleted():
            self._remove_checkpoint()
            gone = f"run {self._run_id} was deleted while it trained: start the study again to train it anew"
            return self._outcome("failed", reason=gone)
        if is_outer(error):
            self._end("KILLED")
            return self._outcome("interrupted", reason=reason)
        if told := self._end("FAILED", reason):
            reason = f"{reason} (and the store could not be told: {told})"
        elif not self._is_trained:
            self._remove_checkpoint()
        return self._outcome("failed", reason=reason)

    def _is_deleted(self) -> bool:
        """Whether a person deleted the run meanwhile; no if the store does not say so."""
        try:
            return bool(self._tracker.client.get_run(self._run_id).info.lifecycle_stage == "deleted")
        except Exception as error:
            return not is_outer(error)  # the store itself fails, or it knows no such run

    def _end(self, status: Literal["KILLED", "FAILED"], failure: str = "") -> str:
        """End the run in the store; says why that cannot be: then it stays as it is, and the next launch settles it."""
        try:
            self._lease.require()
            if self._run_id:
                self._tracker.finish(self._run_id, status, failure=failure)
        except Exception as error:  # the store's
            return scrubbed(failure_reason(error), self._tracker.uri)
        return ""


def _train(
    config: RunConfig,
    data: Sequence[RunData],
    seed: int,
    checkpoint: Path,
    on_start: Callable[[Sequence[dict[str, float]]], None],
    on_epoch: "EpochReport",
) -> "TrainingResult":
    from asc_study.training.fit import train
    from asc_study.training.folds import train_folds

    told: dict[str, Any] = {"checkpoint": checkpoint, "on_start": on_start, "on_epoch": on_epoch}
    if config.folds:
        return train_folds(config, data, seed, **told)
    return train(config, data[0].clips, data[0].store, seed, teacher=data[0].teacher, **told)


def _counts_as_done(record: RunRecord, spec: RunSpec) -> bool:
    same = not spec.fingerprint or record.tags.get(Tag.FINGERPRINT) == spec.fingerprint
    return record.status == "FINISHED" and same


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
    spec: RunSpec,
    launch: Launch,
    tracker: Tracker,
    run_id: str,
    lease: Lease,
    result: "TrainingResult",
    data: Sequence[RunData],
) -> Mapping[str, float]:
    from asc_study.evaluation.predictions import write_predictions
    from asc_study.figures.run import summary_page

    metrics = metrics_of(result)
    baselines = patiently(tracker.uri, tracker.runs, spec.study, kind=Kind.BASELINE)
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
        clips = data[-1].clips["split"].value_counts().to_dict()  # by folds: of the one on all clips if there is one
        if "validation" in result.predictions:
            clips["validation"] = len(result.predictions["validation"])
        facts: dict[str, Any] = {
            "clips": clips,
            "augmented_copies_left_out": sorted({line for part in data for line in part.left_out}),
            "chosen_epochs": [epoch + 1 for epoch in result.chosen_epochs],
        }
        write_file(folder / Artifact.TRAINING, json.dumps(facts, indent=2))
        lease.require()
    root = launch.data.dataset.root
    name, digest = root.name, launch.data.digest
    lease.write(tracker.log_datasets, run_id, name, digest, facts["clips"], source=str(root))
    lease.write(tracker.set_tags, run_id, {MlflowTag.NOTE: _note(spec, metrics)})
    model_id = lease.write(tracker.log_keras_model, run_id, result.model)
    lease.write(tracker.log_metrics, run_id, metrics, model_id=model_id)
    lease.write(tracker.finish, run_id)
    return metrics


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
