"""Which trials of a search count, which are wanted, and which were cut off.

Trials that a dead process left RUNNING are told by their worker's lock, and by Optuna's heartbeat if it is out of reach
(on another machine, with another state folder). Such a trial is marked FAIL and its point is tried once more.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import filelock

from asc_study.base.contract import Tag
from asc_study.base.locks import file_lock, lock_domain
from asc_study.store.claims import HEARTBEAT_LIMIT_SECONDS

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

#: Optuna's own name for the numbers of the trials that had the same point and died.
_HISTORY: Final = "retry_history"

#: System attributes by which Hyperband remembers how far a trial got.
_OF_PRUNERS: Final = "completed_rung_"


def trials_lock(study: "Study") -> filelock.BaseFileLock:
    """Held while a trial is counted and begun, so that processes of this machine begin no more than are wanted."""
    return file_lock(f"optuna-trials {study.user_attrs.get(Tag.STORE, study.study_name)}")


def worker_lock(worker: str) -> filelock.BaseFileLock:
    """Held by a worker as long as it lives; ``worker`` is an identifier that no other has."""
    return file_lock(f"search-worker {worker}", timeout_seconds=0)


def claim_trial(trial: "Trial", worker: str) -> None:
    """Note which worker works on a trial."""
    trial.set_user_attr(Tag.WORKER, [worker, lock_domain()])


def counted(trials: Sequence["FrozenTrial"]) -> list["FrozenTrial"]:
    """The trials that count to the total: those that ended or will end, without those whose point is tried again."""
    retried = {trial.system_attrs[_HISTORY][-1] for trial in trials if trial.system_attrs.get(_HISTORY)}
    return [trial for trial in trials if trial.number not in retried and Tag.INTERRUPTED not in trial.user_attrs]


def waiting(trials: Sequence["FrozenTrial"]) -> bool:
    """Whether a trial that was cut off is to be tried again."""
    from optuna.trial import TrialState

    return any(trial.state is TrialState.WAITING for trial in trials)


def one_more(study: "Study", total: int | None) -> bool:
    """Whether one more trial is to be begun; ``total`` None is without limit."""
    trials = study.get_trials(deepcopy=False)
    return total is None or waiting(trials) or len(counted(trials)) < total


def settle_trials(study: "Study") -> int:
    """Mark trials whose worker is gone as FAIL and have each tried once more; returns how many there were.

    The caller holds `trials_lock`: a trial that is about to begin does not have its worker's name yet.
    """
    from optuna.trial import TrialState

    settled = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_dead(trial) and fail_trial(study, trial.number):
            settled += 1
            try_once_more(study, trial)
    return settled


def fail_trial(study: "Study", number: int) -> bool:
    """Mark a trial that is RUNNING as FAIL; false if another process ended it first."""
    import optuna

    try:
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    return True


def try_once_more(study: "Study", trial: "FrozenTrial") -> None:
    """Queue the point of a trial whose worker died, unless it is that of a trial that died before."""
    history = [*trial.system_attrs.get(_HISTORY, []), trial.number]
    if len(history) == 1:
        try_again(study, trial, {"failed_trial": trial.number, _HISTORY: history})


def try_again(study: "Study", trial: "FrozenTrial", marks: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Queue the point of a trial that was cut off; ``marks`` are system attributes of the new one."""
    from optuna.trial import TrialState, create_trial

    # Not its user attributes: they name the worker that had it.
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs={
                **{key: value for key, value in trial.system_attrs.items() if not key.startswith(_OF_PRUNERS)},
                **marks,
            },
        )
    )


def _is_dead(trial: "FrozenTrial") -> bool:
    if Tag.WORKER not in trial.user_attrs:  # killed before it could tell who it is
        age = (datetime.now() - (trial.datetime_start or datetime.now())).total_seconds()
        return age > HEARTBEAT_LIMIT_SECONDS
    worker, domain = trial.user_attrs[Tag.WORKER]
    if domain != lock_domain():  # its heartbeat tells Optuna
        return False
    try:
        with worker_lock(worker):
            return True
    except filelock.Timeout:
        return False
