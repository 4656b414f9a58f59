"""Workers of a search: processes that begin trials until there are enough, watched by the launch.

They are spawned, not forked, and not a pool: a worker that is killed takes one trial with it, and another takes its
place. Each has a pipe of its own, so that no lock dies with it.
"""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any, Final

from asc_study.base.contract import Tag
from asc_study.base.errors import InputError, failure_reason
from asc_study.base.progress import Say
from asc_study.search.claims import one_more, settle_trials, trials_lock, try_again, worker_lock
from asc_study.search.job import DEATHS, FAILURES, Job, SearchEnded, Tell, all_failed
from asc_study.search.sampler import make_pruner, make_sampler
from asc_study.search.storage import open_storage, quiet_optuna, storage_errors
from asc_study.search.trial import Setting, State, TrialOutcome, TrialRun
from asc_study.store.addresses import scrubbed
from asc_study.store.claims import run_lock, settle_abandoned
from asc_study.store.failures import is_outer
from asc_study.store.tracking import Tracker
from asc_study.study.launch import Launch

if TYPE_CHECKING:
    import filelock
    from optuna import Study, Trial

_STOP_SECONDS: Final = 60


def run_workers(job: Job, study: "Study", tracker: Tracker, jobs: int, tell: Tell, say: Say) -> None:
    """Begin trials in ``jobs`` processes (one: in this process) until there are enough, and tell how each ended.

    Raises
    ------
    InputError
        If the storage is lost.
    SearchEnded
        If trial after trial fails, worker after worker dies, or the store fails.
    """
    if jobs == 1:
        work(job, tell)
        return
    watch = _Watch(job, study, tracker, tell, say)
    try:
        watch.run(jobs)
    finally:
        watch.stop()


def work(job: Job, tell: Tell, *, most: float = float("inf")) -> None:
    """Begin trials one after the other until there are enough, or ``most`` of them are over.

    Raises
    ------
    InputError
        If the storage cannot be used (any more).
    SearchEnded
        If trial after trial fails.
    """
    import optuna

    search, worker = job.search, uuid.uuid4().hex
    with ExitStack() as stack:
        stack.enter_context(worker_lock(worker))
        tracker = Tracker(job.launch.tracking_uri)
        stack.enter_context(run_lock(tracker, search.name, worker))
        stack.enter_context(quiet_optuna())
        stack.enter_context(storage_errors(job.url))
        study = optuna.load_study(
            storage=open_storage(job.url),
            study_name=search.name,
            sampler=make_sampler(search.sampler, search.space),
            pruner=make_pruner(search.pruner, search.epochs()),
        )
        setting = job.setting(tracker, worker)
        failures = done = 0
        while done < most and time.time() < job.deadline and not _orphaned(job.launch):
            outcome = _begin_trial(job, setting, study)
            if outcome is None:
                return
            tell(outcome)
            done += 1
            failures = failures + 1 if outcome.state == "failed" else 0
            if failures == FAILURES:
                raise all_failed(outcome)


def _begin_trial(job: Job, setting: Setting, study: "Study") -> TrialOutcome | None:
    """Count the trials and run one more if it is wanted; None if not."""
    lock = trials_lock(study)
    attempt = _Attempt(setting, lock)
    with lock:
        settle_trials(study)
        if not one_more(study, job.total):
            return None
        try:
            study.optimize(attempt, n_trials=1, catch=(Exception,))
        except (ValueError, AssertionError) as error:  # Optuna's, of a trial that is not RUNNING any more
            if attempt.is_interrupted:
                raise KeyboardInterrupt from None
            if attempt.outer_error:
                raise attempt.outer_error from None
            if not attempt.was_taken(study):
                raise
            attempt.lose(str(error))
        if attempt.outer_error:
            raise attempt.outer_error
    return attempt.outcome


class _Attempt:
    """What Optuna calls for one trial; remembers how it ended."""

    def __init__(self, setting: Setting, lock: "filelock.BaseFileLock") -> None:
        self._setting, self._lock = setting, lock
        self._run: TrialRun | None = None
        self._number = -1
        self.is_interrupted = False
        self.outer_error: Exception | None = None
        self.outcome: TrialOutcome | None = None

    def __call__(self, trial: "Trial") -> tuple[float, ...]:
        from optuna import TrialPruned

        self._number = trial.number
        try:
            try:
                self._run = TrialRun(self._setting, trial)
            finally:
                self._lock.release()  # from here on other processes see the trial and its point
            values = self._run.run()
        except TrialPruned:
            self._end("pruned")
            raise
        except KeyboardInterrupt:
            self.is_interrupted = True
            self._give_back(trial)
            raise
        except Exception as error:  # of the sampler or the training: told, and left to Optuna
            if is_outer(error):  # nothing is wrong with the point: it is tried again, when the store works again
                self.outer_error = error
                self._give_back(trial)
                raise
            self._end("failed", reason=scrubbed(failure_reason(error), self._setting.tracker.uri))
            raise
        self._end("complete", values)
        return values

    def was_taken(self, study: "Study") -> bool:
        """Whether another process ended the trial, because this one was stopped for longer than a heartbeat."""
        return any(trial.number == self._number and trial.state.is_finished() for trial in study.get_trials(False))

    def lose(self, reason: str) -> None:
        """Note that the trial was taken; whatever this process found of it does not count."""
        reason = f"taken for dead by another process ({' '.join(reason.split())}): its point is tried again"
        self._end("failed", reason=reason)
        if self._run:
            self._run.disown(reason)

    def _end(self, state: State, values: Sequence[float] = (), reason: str = "") -> None:
        if self._run:
            self.outcome = self._run.outcome(state, values, reason)
        else:
            self.outcome = TrialOutcome(self._number, state, 0, {}, reason=reason)

    def _give_back(self, trial: "Trial") -> None:
        """Queue the point of a trial that was cut off, before another process can count that it is missing."""
        study = trial.study
        with self._lock:
            (frozen,) = (one for one in study.get_trials(deepcopy=False) if one.number == trial.number)
            if not frozen.state.is_finished():
                trial.set_user_attr(Tag.INTERRUPTED, True)
                try_again(study, frozen)


class _Watch:
    """The launch's view of its workers: starts them, passes on what they tell, replaces those that die."""

    def __init__(self, job: Job, study: "Study", tracker: Tracker, tell: Tell, say: Say) -> None:
        self._job, self._study, self._tracker, self._tell, self._say = job, study, tracker, tell, say
        self._workers: dict[connection.Connection, SpawnProcess] = {}
        self._deaths = self._failures = 0
        self._error: Exception | None = None

    def run(self, jobs: int) -> None:
        for _ in range(jobs):
            self._start()
        while self._workers and self._error is None:
            ready = connection.wait(list(self._workers))
            for pipe in [pipe for pipe in self._workers if pipe in ready]:
                try:
                    self._receive(pipe.recv())
                except EOFError:
                    self._bury(pipe)
            if not self._workers and self._error is None and self._is_wanted():
                self._start()  # a trial of a worker that died waits for its second try
        if self._error is not None:
            raise self._error

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
            self._failures = self._failures + 1 if message.state == "failed" else 0
            if self._failures == FAILURES:  # of all workers together
                self._error = all_failed(message)
        else:
            self._error = message

    def _bury(self, pipe: connection.Connection) -> None:
        process = self._workers.pop(pipe)
        process.join()
        pipe.close()
        if process.exitcode == 0 or self._error is not None:
            return
        with trials_lock(self._study):
            settle_trials(self._study)
        settle_abandoned(self._tracker, self._study.study_name)
        self._deaths += 1
        cause = f"signal {-process.exitcode}" if process.exitcode and process.exitcode < 0 else "an error"
        if self._deaths > DEATHS:
            text = f"{self._deaths} workers died ({cause}) and ended no trial: --jobs 1 shows the reason"
            self._error = SearchEnded(text)
            return
        self._say(f"note: a worker was ended by {cause}: the trial that it had is tried once more")
        if self._is_wanted():
            self._start()

    def _is_wanted(self) -> bool:
        return time.time() < self._job.deadline and one_more(self._study, self._job.total)


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
        pipe.send(InputError(str(error)))
    except SearchEnded as error:
        pipe.send(error)
    except Exception as error:
        if not is_outer(error):
            raise
        text = scrubbed(f"the store or the disk failed: {failure_reason(error)}", job.launch.tracking_uri)
        pipe.send(SearchEnded(text))
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
    """Whether the launch that started this process is gone; of a cluster's processes nobody can tell."""
    return launch.process_id not in (0, os.getpid(), os.getppid())
