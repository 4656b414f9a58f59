"""One run from start to end, in whatever process it is given: claim, train, evaluate, log."""

import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import filelock

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError, failure_reason
from asc_study.base.files import shown_path
from asc_study.base.paths import checkpoints_dir, remove_checkpoints
from asc_study.base.progress import EpochProgress
from asc_study.store.addresses import scrubbed
from asc_study.store.claims import heard_of_lately, is_alive, run_lock, shares_locks, signs_of_life
from asc_study.store.delivery import EpochDelivery, deliver_result, is_anothers
from asc_study.store.failures import is_outer, patiently
from asc_study.store.leases import Lease, TakenOver
from asc_study.store.records import RunRecord
from asc_study.store.spool import Head, Spool
from asc_study.store.tracking import Tracker
from asc_study.study.epoch_log import EpochLog
from asc_study.study.launch import Launch
from asc_study.study.run_log import log_environment, run_params, run_tags, write_result
from asc_study.study.spec import Outcome, RunSpec
from asc_study.study.sync import TAKEN_OVER
from asc_study.study.teachers import teacher_table
from asc_study.systems.marking import find_baseline
from asc_study.training.run_data import RunData, run_data
from asc_study.training.runtime import start_keras

if TYPE_CHECKING:
    from asc_study.training.checkpoint import Arrays
    from asc_study.training.fit import EpochReport, TrainingResult


#: How a run ended that was in our hands.
Ended = Literal["done", "failed", "interrupted", "undelivered", "taken over"]

#: How long a run is waited for whose lock is held by a process that does not train it.
_LOCK_SECONDS: Final = 30.0


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

    def is_cared_for(record: RunRecord) -> bool:
        return _counts_as_done(record, spec) or (record.status == "RUNNING" and is_alive(tracker, record))

    # Read twice: the process that let go of it after the first time may have ended it well.
    return not any(is_cared_for(record) for _ in range(2) for record in _records(tracker, spec))


def _records(tracker: Tracker, spec: RunSpec) -> list[RunRecord]:
    return patiently(tracker.uri, tracker.runs, spec.study, kind=Kind.TRAIN, signature=spec.signature)


class _Execution:
    """A run in the hands of the process that has claimed it."""

    def __init__(self, spec: RunSpec, launch: Launch, tracker: Tracker) -> None:
        self._spec, self._launch, self._tracker = spec, launch, tracker
        self._start = time.perf_counter()
        self._lease = Lease(tracker)
        self._spool: Spool | None = None
        self._is_trained = False

    @property
    def _run_id(self) -> str:
        return self._spool.run_id if self._spool else ""

    def execute(self) -> Outcome:
        """Train what is not trained yet, and deliver it; checkpoint and spool go when the result is in the store."""
        spec, launch, tracker = self._spec, self._launch, self._tracker
        try:
            spool = patiently(tracker.uri, self._begin)
            if spool is None:
                return Outcome(spec, "elsewhere")
            with signs_of_life(tracker, spool.run_id, launch.process_id, self._lease.renew):
                if spool.result.read() is None:
                    self._train(spool)
                result = deliver_result(tracker, spool, self._lease.write)
            # After the last sign of life, which would make the run RUNNING again.
            self._lease.write(tracker.finish, spool.run_id, time_ms=result.time_ms)
        except KeyboardInterrupt:
            self._end("KILLED")  # its checkpoint stays: the next launch goes on from it
            raise
        except Exception as error:  # Keras', MLflow's or the disk's: no run's failure may end the others
            return self._fail(error)
        spool.remove()
        remove_checkpoints(spool.run_id)
        return self._outcome("done", metrics=result.metrics, run_id=spool.run_id)

    def _outcome(self, status: Ended, **about: Any) -> Outcome:
        return Outcome(self._spec, status, time.perf_counter() - self._start, **about)

    def _begin(self) -> Spool | None:
        """Take up the run if there is one that is not done, else create it; None if it is another process's."""
        spec, launch, tracker = self._spec, self._launch, self._tracker
        earlier = tracker.runs(spec.study, kind=Kind.TRAIN, signature=spec.signature)
        if any(_counts_as_done(record, spec) for record in earlier):  # finished elsewhere since the plan was made
            return None
        cut = next((record for record in earlier if record.status != "FINISHED"), None)
        if cut and cut.status == "RUNNING" and not shares_locks(cut) and heard_of_lately(cut):
            return None
        head = Head(spec.study, spec.label, tracker.identity(spec.study), spec.signature, owners=(self._lease.owner,))
        if cut:
            self._spool = Spool(cut.run_id)
            if is_anothers(self._spool, cut.tags):
                self._spool.remove()
                print(f"note: {spec.label}: what waited on this disk is dropped: {TAKEN_OVER}", file=sys.stderr)
            self._spool.open(head)
            tags = {key: tag for key, tag in run_tags(spec, launch).items() if key != Tag.GIT_COMMIT}
            self._lease.take(cut.run_id, tags)
        else:
            known = [record.run_id for record in earlier]
            run_id = self._lease.create(spec.study, spec.label, run_tags(spec, launch), run_params(spec), known=known)
            if not run_id:
                return None
            self._spool = Spool(run_id)
            self._spool.open(head)
        return self._spool

    def _train(self, spool: Spool) -> None:
        """Train the run to its end; epochs are delivered meanwhile, its result is in the spool then."""
        spec, launch, tracker, config = self._spec, self._launch, self._tracker, self._spec.config
        data = [
            run_data(config, launch.data.dataset, launch.data.audio_digests, fold=fold, study=spec.study)
            for fold in range(config.trainings)
        ]
        start_keras(config.training.threads)
        if spec.teacher:
            data = [
                replace(part, teacher=teacher_table(tracker, spec.teacher, config, launch.data, part, fold))
                for fold, part in enumerate(data)
            ]
        origin = _weights(tracker, spec) if spec.origin else None
        # Now, for the store may be away when the training is over.
        baselines = patiently(tracker.uri, tracker.runs, spec.study, kind=Kind.BASELINE)
        rival = find_baseline(baselines, config.task, launch.data.digest)
        clips = int((data[0].clips["split"] == "validation").sum())
        epochs_in_all = config.trainings * config.training.epochs
        bar = EpochProgress(spec.label, epochs_in_all, alone=launch.jobs == 1, validation_clips=clips)
        with bar as progress, EpochLog(tracker, spool, is_ours=self._lease.renew) as epochs:

            def on_start(history: Sequence[dict[str, float]]) -> None:
                self._lease.write(log_environment, tracker, spool.run_id, len(history) + 1)
                epochs.begin(history)

            def on_epoch(epoch: int, measured: dict[str, float]) -> None:
                epochs.add(epoch, measured)  # first: no checkpoint is written of a run that is another process's
                progress(epoch, measured)

            result = _train(spec, data, checkpoints_dir() / f"{spool.run_id}.npz", origin, on_start, on_epoch)
        self._is_trained = True
        write_result(spec, launch, spool, result, data, rival)

    def _fail(self, error: Exception) -> Outcome:
        """What failed the training is kept as its failure; after anything else the next launch goes on."""
        reason = scrubbed(failure_reason(error), self._tracker.uri)
        if is_outer(error) and self._spool and self._spool.result.read():  # the store has had its time to answer
            return self._outcome("undelivered", reason=reason)
        if isinstance(error, TakenOver) or self._lease.is_lost():
            self._forget()  # but no checkpoint, which others share
            return self._outcome("taken over")
        if self._run_id and self._is_deleted():
            self._forget()
            remove_checkpoints(self._run_id)
            gone = f"run {self._run_id} was deleted while it trained: start the study again to train it anew"
            return self._outcome("failed", reason=gone)
        if is_outer(error):
            self._end("KILLED")
            return self._outcome("interrupted", reason=reason)
        if told := self._end("FAILED", reason):
            reason = f"{reason} (and the store could not be told: {told})"
        elif self._run_id and not self._is_trained:
            remove_checkpoints(self._run_id)
        return self._outcome("failed", reason=reason)

    def _forget(self) -> None:
        if self._spool:
            self._spool.remove()

    def _is_deleted(self) -> bool:
        """Whether a person deleted the run meanwhile; no if the store does not say so."""
        try:
            return bool(self._tracker.client.get_run(self._run_id).info.lifecycle_stage == "deleted")
        except Exception as error:
            return not is_outer(error)  # the store itself fails, or it knows no such run

    def _end(self, status: Literal["KILLED", "FAILED"], failure: str = "") -> str:
        """End the run in the store; says why that cannot be: then it stays as it is, and the next launch settles it.

        Epochs that wait are delivered first. A result that was not taken waits on.
        """
        spool = self._spool
        if spool is None:
            return ""
        try:
            self._lease.require()
            EpochDelivery(self._tracker, spool)()
            self._tracker.finish(spool.run_id, status, failure=failure)
        except Exception as error:  # the store's
            return scrubbed(failure_reason(error), self._tracker.uri)
        if spool.result.read() is None:
            spool.remove()
        return ""


def _train(
    spec: RunSpec,
    data: Sequence[RunData],
    checkpoint: Path,
    origin: "Arrays | None",
    on_start: Callable[[Sequence[dict[str, float]]], None],
    on_epoch: "EpochReport",
) -> "TrainingResult":
    from asc_study.training.fit import train
    from asc_study.training.folds import train_folds

    told: dict[str, Any] = {"checkpoint": checkpoint, "on_start": on_start, "on_epoch": on_epoch}
    told["signature"] = spec.signature
    if spec.config.folds:
        return train_folds(spec.config, data, spec.seed, **told)
    return train(spec.config, data[0].clips, data[0].store, spec.seed, teacher=data[0].teacher, origin=origin, **told)


def _weights(tracker: Tracker, spec: RunSpec) -> "Arrays":
    """The weights of the run that a run goes on from; raises `InputError` if that was deleted."""
    if tracker.run(spec.origin) is None:
        raise InputError(f"its origin, run {spec.origin}, was deleted: start the study again to make it anew")
    weights: Arrays = tracker.load_keras_model(spec.origin).get_weights()
    return weights


def _counts_as_done(record: RunRecord, spec: RunSpec) -> bool:
    same = not spec.fingerprint or record.tags.get(Tag.FINGERPRINT) == spec.fingerprint
    return record.status == "FINISHED" and same
