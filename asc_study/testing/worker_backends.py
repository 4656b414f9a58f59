"""The contract of a worker back end: what runs calls in other processes."""

import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from asc_study.base.errors import InputError
from asc_study.testing.rules import require
from asc_study.workers.calls import ATTEMPTS

#: A call waits as long for another one at most: workers that start may take a while.
_PATIENCE_SECONDS: Final = 60

Run = Callable[..., Iterator[Any]]


def check_worker_backend(run: Run, *, elsewhere: bool = False) -> None:
    """Check that a worker back end keeps its contract; starts processes, which takes seconds.

    Parameters
    ----------
    run
        ``run(function, calls, jobs=N)`` yields the results of ``function(*call)``, as `run_parallel` of
        `asc_study.workers.pool` does, whose ``lost`` it takes too.
    elsewhere
        Whether a single job runs in another process too, as one of a cluster does.

    Raises
    ------
    AssertionError
        At the first rule that it breaks.
    """
    for jobs in (1, 2):
        _check_results(run, jobs)
        _check_exceptions(run, jobs)
    require(
        [place for place, _ in run(_placed, [(i,) for i in range(5)], jobs=1)] == list(range(5)),
        "one job must run the calls in their order",
    )
    require(
        all((process == os.getpid()) != elsewhere for _, process in run(_placed, [(0,), (1,)], jobs=1)),
        "one job must run in the process that asks" if not elsewhere else "one job must run in another process",
    )
    require(
        all(process != os.getpid() for _, process in run(_placed, [(0,), (1,)], jobs=2)),
        "several jobs must run in processes of their own: TensorFlow keeps the threads that it starts with",
    )
    _check_they_come_as_they_are_done(run)
    _check_deaths(run)
    _check_modules(run)
    try:
        list(run(_placed, [(0,)], jobs=0))
    except InputError:
        return
    raise AssertionError("jobs below 1 must be an InputError")


def _check_results(run: Run, jobs: int) -> None:
    require(list(run(_placed, [], jobs=jobs)) == [], "no calls must give no results")
    given = [(i, "x" * i) for i in range(9)]
    found = sorted(run(_echo, given, jobs=jobs))
    require(found == given, f"each call must give its result once, got {found!r:.200} for {given!r:.200}")


def _check_exceptions(run: Run, jobs: int) -> None:
    try:
        list(run(_refuse, [("ratio must be below 1, got 3",)], jobs=jobs))
    except InputError as error:
        require("got 3" in str(error), f"the message of a call's exception must arrive, got {error}")
    except Exception as error:
        raise AssertionError(f"a call's InputError must arrive as such, got {type(error).__name__}") from error
    else:
        raise AssertionError("the exception of a call must be raised where results are asked for")
    require(list(run(_echo, [(1,)], jobs=jobs)) == [(1,)], "after a call's exception new calls must run")


def _check_they_come_as_they_are_done(run: Run) -> None:
    with tempfile.TemporaryDirectory() as folder:
        received = Path(folder) / "received"
        results = []
        for result in run(_wait_for, [(str(received), _PATIENCE_SECONDS), ("", 0)], jobs=2):
            results.append(result)
            received.touch()
    require(results == ["nothing", "received"], "a result must be given as soon as it is there, while other calls run")


def _check_deaths(run: Run) -> None:
    """Check that a process that is killed takes one call with it, which is tried once more."""
    with tempfile.TemporaryDirectory() as folder:
        once, always = Path(folder) / "once", Path(folder) / "always"
        calls = [(str(once), 1), (str(always), 9), *((str(number), 0) for number in range(4))]
        results = list(run(_die, calls, jobs=2, lost=lambda call: f"lost {Path(call.args[0]).name}: {call.reason}"))
        tried = len(always.read_text(encoding="utf-8"))
    rest = sorted(result for result in results if not result.startswith("lost"))
    require(rest == ["0", "1", "2", "3", "once"], f"a death may cost its own call alone, got the results {rest}")
    (lost,) = [result for result in results if result.startswith("lost")]
    require(lost.startswith("lost always: its process"), f"what is lost must be told with its reason, got {lost!r}")
    require(tried == ATTEMPTS, f"a call whose process dies must be tried {ATTEMPTS} times in all, got {tried}")


def _check_modules(run: Run) -> None:
    """Check that workers find the modules that this process finds: parts of one's own lie beside a study file."""
    name = "asc_study_own_module"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{name}.py").write_text("def double(x):\n    return 2 * x\n", encoding="utf-8")
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        try:
            double = importlib.import_module(name).double
            doubled = sorted(run(double, [(1,), (2,)], jobs=2))
        except Exception as error:
            raise AssertionError(f"workers must find modules where this process finds them, got: {error}") from error
        finally:
            sys.path.remove(folder)
            sys.modules.pop(name, None)
    require(doubled == [2, 4], f"workers must run functions of any module, got {doubled}")


def _echo(*values: Any) -> tuple[Any, ...]:
    return values


def _placed(place: int) -> tuple[int, int]:
    return place, os.getpid()


def _die(path: str, deaths: int) -> str:
    """End this process the first ``deaths`` times, counted by the length of a file."""
    file = Path(path)
    before = len(file.read_text(encoding="utf-8")) if deaths and file.exists() else 0
    if before < deaths:
        file.write_text("x" * (before + 1), encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
    return file.name


def _refuse(message: str) -> None:
    raise InputError(message)


def _wait_for(path: str, seconds: float) -> str:
    """Say which file has come, or that none has."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if Path(path).exists():
            return Path(path).name
        time.sleep(0.02)
    return "nothing"
