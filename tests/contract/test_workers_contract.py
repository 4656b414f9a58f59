"""Every worker back end keeps the contract."""

import importlib.util
import threading
from functools import partial

import pytest

from asc_study.base.errors import InputError
from asc_study.testing import check_worker_backend
from asc_study.workers.backends import WORKER_BACKENDS, WorkerOptions, open_workers
from asc_study.workers.pool import run_parallel


def test_local_processes() -> None:
    check_worker_backend(run_parallel)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_clusters(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with open_workers(name, WorkerOptions(jobs=2)) as workers:
        assert workers.are_elsewhere
        check_worker_backend(partial(run_parallel, backend=workers.backend), elsewhere=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dusk", WorkerOptions(), "unknown worker_backend 'dusk': did you mean 'dask'"),
        ("local", WorkerOptions(address="tcp://h:1"), "--address, .* are for --backend ray or dask"),
        ("local", WorkerOptions(gpus_per_run=0.5), "--gpus-per-run are for --backend ray or dask"),
        ("ray", WorkerOptions(address="127.0.0.1:1"), "there is no Ray cluster at '127.0.0.1:1'"),
    ],
)
def test_what_cannot_be_opened_is_one_line(name: str, options: WorkerOptions, message: str) -> None:
    if name == "ray" and importlib.util.find_spec("ray") is None:
        message = "which is not installed"
    with pytest.raises(InputError, match=message) as refused, open_workers(name, options):
        pass
    assert "\n" not in str(refused.value)


def test_what_is_built_in_is_announced_like_other_parts() -> None:
    assert list(WORKER_BACKENDS) == ["local", "ray", "dask"]


@pytest.mark.slow
def test_no_worker_of_dask_is_missed_while_its_client_looks_at_the_cluster() -> None:
    """A client looks by itself, every few seconds, at the cluster without its workers: that is no death."""
    distributed = pytest.importorskip("distributed")
    from asc_study.workers.dask_backend import _workers

    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        over = threading.Event()

        def look() -> None:
            while not over.is_set():
                client.sync(client._update_scheduler_info)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            assert {len(_workers(client)) for _ in range(200)} == {1}
        finally:
            over.set()
            looking.join()
