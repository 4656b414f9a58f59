"""Two worker processes on a real PostgreSQL, for Optuna's storage and for MLflow's own."""

from pathlib import Path

import optuna
import pytest
from postgresql import PostgreSQL, postgresql
from test_search import ALPHA, FakeTraining, launch, light_workers, load

from asc_study.base.errors import InputError
from asc_study.data.identified import identify
from asc_study.search.run_search import run_search
from asc_study.search.storage import open_storage, storage_url
from asc_study.store.tracking import Tracker

__all__ = ["light_workers", "postgresql"]  # fixtures


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.usefixtures("light_workers")
def test_twenty_trials_on_two_workers(postgresql: PostgreSQL, simulated: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql.create("mlflow"))
    url = storage_url(postgresql.create("optuna"))
    data = identify(simulated)
    result = run_search(load(), data, url=url, trials=20, jobs=2, train=FakeTraining)
    assert result.counts == {"complete": 20, "pruned": 0, "failed": 0, "running": 0, "waiting": 0, "cut_off": 0}

    trials = optuna.load_study(storage=open_storage(url), study_name="s").get_trials()
    assert [trial.number for trial in trials] == list(range(20))
    assert len({trial.params[ALPHA] for trial in trials}) == 20
    assert len({trial.user_attrs["asc.worker"][0] for trial in trials}) == 2
    for trial in trials:
        value = 1 - abs(trial.params[ALPHA] - 0.5)
        assert trial.value == pytest.approx(value)
        assert trial.intermediate_values == pytest.approx({0: value, 1: value})

    runs = Tracker().runs("s", kind="trial")
    assert sorted(int(run.tags["asc.trial"]) for run in runs) == list(range(20))
    assert {run.status for run in runs} == {"FINISHED"}
    for run in runs:
        assert run.metrics["holdout/acc"] == pytest.approx(trials[int(run.tags["asc.trial"])].value)
        assert "secret" not in str(run.tags)
        assert ":***@" in run.tags["asc.optuna_storage"]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.usefixtures("light_workers")
def test_two_machines_share_a_search(
    postgresql: PostgreSQL, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Launches that share no lock, as on two machines: only the databases are common."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql.create("mlflow2"))
    url = storage_url(postgresql.create("optuna2"))
    Tracker(), open_storage(url)  # MLflow's tables cannot be created by two at once
    processes = [
        launch(simulated, 10, 1, "slow", TEST_STORAGE=url, ASC_STUDY_STATE=str(tmp_path / name)) for name in ("a", "b")
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=200)
        assert process.returncode == 0, stderr
    trials = optuna.load_study(storage=open_storage(url), study_name="s").get_trials()
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len(trials) in (10, 11)  # both may begin the last one
    assert len({tuple(trial.user_attrs["asc.worker"]) for trial in trials}) == 2
    assert len({trial.params[ALPHA] for trial in trials}) == len(trials)
    assert {run.status for run in Tracker().runs("s")} == {"FINISHED"}


@pytest.mark.slow
def test_a_database_that_is_not_there_is_one_line(postgresql: PostgreSQL):
    with pytest.raises(InputError, match=r'/nowhere cannot be used: .*database "nowhere" does not exist.*--storage'):
        open_storage(storage_url(f"{postgresql.server}/nowhere"))
