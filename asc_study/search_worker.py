"""Workers of a search: processes that begin trials until there are enough, watched by the launch.

They are spawned, not forked, and not a pool: a worker that is killed takes one trial with it, and another takes its
place. Each has a pipe of its own, so that no lock dies with it.
"""

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any, Final

from asc_study.addresses import masked
from asc_study.claims import run_lock, settle_abandoned
from asc_study.errors import InputError
from asc_study.execution import Launch, failure_reason
from asc_study.search_claims import (
    INTERRUPTED,
    is_wanted,
    number_worker,
    settle_trials,
    trials_lock,
    try_again,
    worker_lock,
)
from asc_study.search_file import Search
from asc_study.search_sampler import make_pruner, make_sampler
from asc_study.search_storage import cannot_use, open_storage, quiet_optuna
from asc_study.search_trial import Setting, Trainer, TrialOutcome, TrialRun, train_fold
from asc_study.tracking import Tracker

if TYPE_CHECKING:
    import filelock
    from optuna import Study, Trial

Tell = Callable[[TrialOutcome], None]
Say = Callable[[str], None]

#: Workers that may die one after the other without ending a trial.
_DEATHS: Final = 3
_STOP_SECONDS: Final = 60


@dataclass(frozen=True)
class Job:
    """What every worker does: trials of ``search`` until there are ``total`` (None: no limit) or it is ``deadline``.

    ``deadline`` is in seconds since the epoch; infinity for none. ``train`` trains one fold.
    """

    search: Search
    launch: Launch
    url: str
    total: int | None
    deadline: float
    train: Trainer = train_fold


def run_workers(job: Job, study: "Study", tracker: Tracker, jobs: int, tell: Tell, say: Say) -> None:
    """Begin trials in ``jobs`` processes (one: in this process) until there are enough, and tell how each ended.

    Raises
    ------
    InputError
        If the storage is lost, or worker after worker dies.
    """
    if jobs == 1:
        work(job, tell)
        return
    watch = _Watch(job, study, tracker, tell, say)
    try:
        watch.run(jobs)
    finally:
        watch.stop()


def work(job: Job, tell: Tell) -> None:
    """Begin trials one after the other until there are enough.

    Raises
    ------
    InputError
        If the storage cannot be used (any more).
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    search, worker = job.search, uuid.uuid4().hex
    with ExitStack() as stack:
        stack.enter_context(worker_lock(worker))
        stack.enter_context(run_lock(job.launch.tracking_uri, search.name, worker))
        stack.enter_context(quiet_optuna())
        tracker, storage = Tracker(job.launch.tracking_uri), open_storage(job.url)
        epochs = search.epochs()
        steps = epochs * len(search.folds(search.config({})))
        setting = Setting(search, job.launch, tracker, job.train, masked(job.url), worker, epochs)
        try:
            study = optuna.load_study(storage=storage, study_name=search.name, pruner=make_pruner(search.pruner, steps))
            study.sampler = make_sampler(search.sampler, search.space, number_worker(study, job.url))
            while time.time() < job.deadline and not _orphaned(job.launch):
                if not _begin_trial(job, setting, study, tell):
                    return
        except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:
            raise cannot_use(job.url, error) from None


def _begin_trial(job: Job, setting: Setting, study: "Study", tell: Tell) -> bool:
    """Count the trials and run one more if it is wanted; false if not."""
    lock = trials_lock(job.url, study.study_name)
    objective = _Objective(setting, lock)
    with lock:
        settle_trials(study)
        if not is_wanted(study, job.total):
            return False
        try:
            study.optimize(objective, n_trials=1, catch=(Exception,))
        except ValueError as error:
            if not objective.was_taken(study):
                raise
            objective.outcome = TrialOutcome(objective.number, "failed", 0, {}, reason=f"taken for dead ({error})")
    if objective.outcome:
        tell(objective.outcome)
    return True


class _Objective:
    """What Optuna calls for one trial; remembers how it ended."""

    def __init__(self, setting: Setting, lock: "filelock.BaseFileLock") -> None:
        self._setting, self._lock = setting, lock
        self.number = -1
        self.outcome: TrialOutcome | None = None

    def __call__(self, trial: "Trial") -> tuple[float, ...]:
        self.number = trial.number
        try:
            try:
                run = TrialRun(self._setting, trial)
            finally:
                self._lock.release()  # from here on other processes see the trial and its point
            return self._run(run)
        except KeyboardInterrupt:
            trial.set_user_attr(INTERRUPTED, True)
            try_again(trial.study, trial.study._storage.get_trial(trial._trial_id))
            raise

    def was_taken(self, study: "Study") -> bool:
        """Whether another process ended the trial, because this one was stopped for longer than a heartbeat."""
        return any(trial.number == self.number and trial.state.is_finished() for trial in study.get_trials(False))

    def _run(self, run: TrialRun) -> tuple[float, ...]:
        from optuna import TrialPruned

        try:
            values = run.run()
        except TrialPruned:
            self.outcome = run.outcome("pruned")
            raise
        except Exception as error:  # of the training: told, and left to Optuna
            self.outcome = run.outcome("failed", reason=failure_reason(error))
            raise
        self.outcome = run.outcome("complete", values)
        return values


class _Watch:
    """The launch's view of its workers: starts them, passes on what they tell, replaces those that die."""

    def __init__(self, job: Job, study: "Study", tracker: Tracker, tell: Tell, say: Say) -> None:
        self._job, self._study, self._tracker, self._tell, self._say = job, study, tracker, tell, say
        self._workers: dict[connection.Connection, SpawnProcess] = {}
        self._deaths = 0
        self._error = ""

    def run(self, jobs: int) -> None:
        for _ in range(jobs):
            self._start()
        while self._workers:
            ready = connection.wait(list(self._workers))
            for pipe in [pipe for pipe in self._workers if pipe in ready]:
                try:
                    self._receive(pipe.recv())
                except EOFError:
                    self._bury(pipe)
            if not self._workers and self._is_wanted() and not self._error:
                self._start()  # a trial of a worker that died waits for its second try
        if self._error:
            raise InputError(self._error)

    def stop(self) -> None:
        """End the workers that are left: each gives its trial back first."""
        for process in self._workers.values():
            process.terminate()
        for process in self._workers.values():
            process.join(_STOP_SECONDS)
            process.kill()
            process.join()
        self._workers.clear()

    def _start(self) -> None:
        context = get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(self._job, sending), daemon=True)
        with _deaf_to_interrupts():
            process.start()
        sending.close()
        self._workers[receiving] = process

    def _receive(self, message: Any) -> None:
        if isinstance(message, TrialOutcome):
            self._deaths = 0
            self._tell(message)
        else:
            self._error = str(message)

    def _bury(self, pipe: connection.Connection) -> None:
        process = self._workers.pop(pipe)
        process.join()
        pipe.close()
        if process.exitcode == 0 or self._error:
            return
        with trials_lock(self._job.url, self._study.study_name):
            settle_trials(self._study)
        settle_abandoned(self._tracker, self._study.study_name)
        self._deaths += 1
        cause = f"signal {-process.exitcode}" if process.exitcode and process.exitcode < 0 else "an error"
        if self._deaths > _DEATHS:
            self._error = f"{self._deaths} workers died ({cause}) and ended no trial: --jobs 1 shows the reason"
            return
        self._say(f"note: a worker was ended by {cause}: the trial that it had is tried once more")
        if self._is_wanted():
            self._start()

    def _is_wanted(self) -> bool:
        return time.time() < self._job.deadline and is_wanted(self._study, self._job.total)


def _serve(job: Job, pipe: connection.Connection) -> None:
    """The life of a worker process: the launch ends it by SIGTERM; Ctrl-C, which all processes get, is not for it."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows is cleaning up
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        work(job, pipe.send)
    except InputError as error:
        pipe.send(str(error))
    except KeyboardInterrupt:
        pass
    finally:
        pipe.close()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _orphaned(launch: Launch) -> bool:
    return os.getpid() != launch.process_id and os.getppid() != launch.process_id
