"""The storage of a search: where it is, what counts, what is refused, and trials that a death cut off."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from asc_study.base.errors import InputError
from asc_study.search.claims import (
    claim_trial,
    counted,
    one_more,
    settle_trials,
    try_again,
    worker_lock,
)
from asc_study.search.storage import open_storage, open_study, storage_url
from asc_study.store.addresses import masked

SPACE = {
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "settings": {"training.epochs": 2},
    "profile": {"batch_augmentation.mixup.alpha": 0.2},
    "schema": 2,
    "versions": {"features": 1},
    "code": {"batch_augmentation mixup": "a" * 64},
    "data": "e" * 64,
}


@pytest.fixture
def study() -> optuna.Study:
    return open_study(storage_url(), "s", {"holdout/acc": "maximize"}, SPACE)


def begin(study: optuna.Study, worker: str) -> optuna.Trial:
    trial = study.ask()
    claim_trial(trial, worker)
    trial.suggest_float("x", 0, 1)
    return trial


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials()]


def test_the_default_is_beside_the_tracking_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert storage_url() == f"sqlite:///{Path.cwd() / 'optuna.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert storage_url() == f"sqlite:///{tmp_path / 'optuna.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert storage_url() == f"sqlite:///{Path.cwd() / 'optuna.db'}"


def test_one_storage_has_one_name():
    assert storage_url("sqlite:///a.db") == f"sqlite:///{Path.cwd() / 'a.db'}"
    assert storage_url("mysql://h/d") == "mysql://h/d"


def test_a_password_is_masked():
    assert masked("postgresql+psycopg://me:secret@host/db") == "postgresql+psycopg://me:***@host/db"


def test_a_study_is_opened_again_and_shows_its_metric(study: optuna.Study):
    again = open_study(storage_url(), "s", {"holdout/acc": "maximize"}, SPACE)
    assert again._study_id == study._study_id
    assert again.metric_names == ["holdout/acc"]
    assert again.direction.name == "MAXIMIZE"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"space": {"x": {"type": "float", "low": 0.0, "high": 2.0}}},
            r"other parameters: space\.x\.high was 1\.0, is 2\.0",
        ),
        ({"space": {}}, r"other parameters: space\.x was .*, is not there"),
        ({"settings": {"training.epochs": 3}}, r"other settings: settings\.training\.epochs was 2, is 3"),
        (
            {"profile": {"batch_augmentation.mixup.alpha": 0.3}},
            r"other profile: profile\.batch_augmentation\.mixup\.alpha was 0\.2, is 0\.3",
        ),
        ({"schema": 3}, r"other schema: schema was 2, is 3"),
        ({"versions": {"features": 2}}, r"other versions: versions\.features was 1, is 2"),
        (
            {"code": {"batch_augmentation mixup": "b" * 64}},
            r"other code: code\.batch_augmentation mixup was aaaaaaaaaaaa, is bbbbbbbbbbbb",
        ),
        ({"data": "f" * 64}, r"other data: data was eeeeeeeeeeee, is ffffffffffff: rename"),
        ({"objectives": {"holdout": "minimize"}}, r"other objectives: objectives was None, is \{'holdout': 'minim"),
    ],
)
def test_another_search_of_the_same_name_is_refused(study: optuna.Study, change: dict, message: str):
    with pytest.raises(InputError, match=rf"the search 's' in sqlite:.* was begun with {message}"):
        open_study(storage_url(), "s", {"holdout/acc": "maximize"}, SPACE | change)


def test_a_study_that_was_only_created_is_taken_over():
    """As a death between creating it and noting what it is of leaves it."""
    optuna.create_study(storage=open_storage(storage_url()), study_name="s", direction="maximize")
    study = open_study(storage_url(), "s", {"holdout/acc": "maximize"}, SPACE)
    assert study.metric_names == ["holdout/acc"]


def test_a_study_of_somebody_else_is_refused():
    optuna.create_study(storage=open_storage(storage_url()), study_name="s")
    with pytest.raises(InputError, match=r"has a study 's' that no search made: rename the search"):
        open_study(storage_url(), "s", {"holdout/acc": "maximize"}, SPACE)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////proc/optuna.db", r"sqlite:////proc/optuna\.db cannot be used: unable to open database file"),
        ("sqlite:///missing/optuna.db", r"cannot be used: unable to open database file: check --storage"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", r"me:\*\*\*@127\.0\.0\.1:1/db cannot be used: .*refused"),
        ("nonsense", r"--storage must be the URL of a database, got 'nonsense'"),
        ("sqlite:///a?mode=ro", r"must be a file without '\?' in its path"),
        ("oracle+nothing://h/d", r"oracle\+nothing://h/d cannot be used: Can't load plugin"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line(url: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        open_storage(storage_url(url))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_folder_with_braces_is_a_folder():
    Path("a{b}").mkdir()
    open_storage(storage_url("sqlite:///a{b}/optuna.db"))
    assert Path("a{b}/optuna.db").exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:abc/d", "postgresql://u:***@h:abc/d"),
        ("postgresql://u:se@cret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?user=u&password=secret&sslmode=off", "postgresql://h/d?user=u&password=***&sslmode=off"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("sqlite:////x/ä b/a#.db", "sqlite:////x/ä b/a#.db"),
    ],
)
def test_no_password_is_shown(url: str, shown: str):
    assert masked(url) == shown


def test_a_database_of_something_else_is_left_alone():
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect("other.db")) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    with pytest.raises(InputError, match="it is a database of something else"):
        open_storage(storage_url("sqlite:///other.db"))


def test_a_trial_of_a_dead_worker_is_tried_once_more(study: optuna.Study):
    first = begin(study, "gone")
    alive = begin(study, "here")
    with worker_lock("here"):
        assert settle_trials(study) == 1
    assert states(study) == ["FAIL", "RUNNING", "WAITING"]
    retried = study.get_trials()[2]
    assert retried.params == first.params
    assert "asc.worker" not in retried.user_attrs  # else it would be taken for dead when it begins
    assert [trial.number for trial in counted(study.get_trials())] == [1, 2]
    assert one_more(study, 2)  # it waits
    again = begin(study, "gone too")
    assert again.number == 2
    assert again.suggest_float("x", 0, 1) == first.params["x"]
    study.tell(alive, 0.5)
    assert not one_more(study, 2)
    assert settle_trials(study) == 1
    assert states(study) == ["FAIL", "COMPLETE", "FAIL"]  # no third try
    assert [trial.number for trial in counted(study.get_trials())] == [1, 2]
    assert one_more(study, 3)


def test_a_trial_whose_lock_is_out_of_reach_is_left_to_its_heartbeat(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another cache folder on the same machine has other locks: a living worker must not be taken for dead."""
    begin(study, "there")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("ASC_STUDY_STATE", str(tmp_path / "other"))
        assert settle_trials(study) == 0
        assert states(study) == ["RUNNING"]
    assert settle_trials(study) == 1


def test_a_trial_that_was_killed_before_it_had_a_name_is_left_alone_for_a_while(study: optuna.Study):
    study.ask()
    assert settle_trials(study) == 0


def test_a_trial_that_is_tried_again_has_not_passed_the_rungs_of_its_pruner(study: optuna.Study):
    trial = begin(study, "gone")
    storage = study._storage
    storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.7)
    storage.set_trial_system_attr(trial._trial_id, "grid_id", 3)
    assert settle_trials(study) == 1
    assert study.get_trials()[1].system_attrs == {"grid_id": 3, "failed_trial": 0, "retry_history": [0]}


def test_what_ctrl_c_cut_off_does_not_count_but_its_point_does(study: optuna.Study):
    trial = begin(study, "here")
    trial.set_user_attr("asc.interrupted", True)
    try_again(study, study.get_trials()[0])
    study.tell(trial, state=TrialState.FAIL)
    assert states(study) == ["FAIL", "WAITING"]
    assert [trial.number for trial in counted(study.get_trials())] == [1]
    assert study.get_trials()[1].params == trial.params
