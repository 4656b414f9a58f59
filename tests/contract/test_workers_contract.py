"""Every worker back end keeps the contract."""

from asc_study.testing import check_worker_backend
from asc_study.workers.pool import run_parallel


def test_local_processes() -> None:
    check_worker_backend(run_parallel)
