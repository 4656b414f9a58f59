"""A search as pages read it: from the storage without writing, or from what was logged."""

import pytest
from made_search import make_search

from asc_study.base.errors import InputError
from asc_study.search.stored import stored_search
from asc_study.store.queries import Reader
from asc_study.store.tracking import Tracker


def read(tracker: Tracker):
    reader = Reader(tracker.uri)
    return stored_search(reader, "looked-at", reader.runs("looked-at"))


def test_trials_come_from_the_storage_which_is_not_written(tracker, tmp_path):
    file = tmp_path / "a {folder} of 100 %" / "optuna.db"
    file.parent.mkdir()
    make_search(tracker, file)
    before = file.read_bytes()
    found = read(tracker)
    assert found.live
    assert [trial.state.name for trial in found.study.trials] == ["COMPLETE"] * 4 + ["FAIL", "RUNNING"]
    assert found.study.trials[0].intermediate_values == {0: 0.4}
    assert found.metrics == ["holdout/acc"]
    assert sorted(found.runs) == [0, 1, 2, 3, 4]
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == ["optuna.db"]


def test_the_storage_beside_the_store_counts_where_the_one_that_was_told_is_gone(tracker, isolated):
    told = isolated / "elsewhere.db"
    make_search(tracker, told)
    told.rename(isolated / "optuna.db")
    assert read(tracker).live


def test_without_a_storage_trials_are_what_was_logged(tracker):
    study = make_search(tracker, None)
    found = read(tracker)
    assert not found.live
    assert found.metrics == ["holdout/acc"]
    for ours, theirs in zip(found.study.trials, study.trials, strict=True):
        assert ours.number == theirs.number
        assert ours.state == theirs.state
        assert ours.values == theirs.values
        assert ours.params == theirs.params
        assert ours.distributions == theirs.distributions
        assert ours.datetime_start == theirs.datetime_start


def test_a_search_file_that_cannot_be_read_costs_the_distributions_alone(tracker, monkeypatch):
    study = make_search(tracker, None)

    def broken(*_, **__):
        raise InputError("it extends another file")

    monkeypatch.setattr("asc_study.search.stored.load_search", broken)
    found = read(tracker)
    assert [trial.params for trial in found.study.trials] == [trial.params for trial in study.trials]
    assert found.base is None


def test_a_base_that_was_measured_beside_the_trials_is_known(tracker):
    make_search(tracker, None)
    tags = {"asc.study": "looked-at", "asc.kind": "base", "asc.row": "base"}
    run = tracker.create_run("looked-at", "base", tags, {})
    tracker.log_metrics(run, {"holdout/acc": 0.51})
    tracker.finish(run)
    found = read(tracker)
    assert found.reached == (0.51,)
    assert found.base.lead == pytest.approx(0.02)


def test_nothing_to_read_is_said(tracker):
    make_search(tracker, None, log_trials=False)
    with pytest.raises(InputError, match=r"trials\.csv"):
        read(tracker)
    with pytest.raises(InputError, match="no search"):
        stored_search(Reader(tracker.uri), "other", [])
