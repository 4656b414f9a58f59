"""Locks are named by what is in the store: whatever its address is spelled like, a run has one of them."""

import re
from pathlib import Path

import filelock
import pytest

from asc_study.store.claims import is_alive, is_launched, launch_claim, run_lock, whereabouts
from asc_study.store.queries import Reader
from asc_study.store.tracking import Tracker


def other_spelling(tracker: Tracker) -> str:
    assert tracker.database
    return f"sqlite:///{tracker.database.parent}/./{tracker.database.name}"


def test_two_spellings_of_a_store_share_its_locks(tracker: Tracker) -> None:
    run_id = tracker.create_run("s", "r", {"asc.study": "s", "asc.signature": "f00", **whereabouts()}, {})
    other = Tracker(other_spelling(tracker))
    assert re.fullmatch("[0-9a-f]{32}", tracker.identity("s"))
    assert other.identity("s") == tracker.identity("s")
    assert other.identity("t") != tracker.identity("s")
    (record,) = tracker.runs("s")
    assert not is_alive(other, record)
    with run_lock(tracker, "s", "f00"):
        assert is_alive(other, record)
        with pytest.raises(filelock.Timeout), run_lock(other, "s", "f00"):
            pass
    with launch_claim(other, "s"):
        assert is_launched(tracker, "s")
    assert record.run_id == run_id


def test_a_store_of_an_earlier_version_is_given_its_identity_by_who_writes(tracker: Tracker) -> None:
    experiment = tracker.client.create_experiment("old")
    reader = Reader()
    assert reader.identity("old") == f"{tracker.uri} old"
    assert "asc.store" not in tracker.client.get_experiment(experiment).tags
    made = tracker.identity("old")
    assert tracker.client.get_experiment(experiment).tags["asc.store"] == made
    assert reader.identity("old") == Tracker(other_spelling(tracker)).identity("old") == made


def test_an_identity_that_was_edited_is_made_anew(tracker: Tracker, isolated: Path) -> None:
    experiment = tracker.experiment_id("s")
    tracker.client.set_experiment_tag(experiment, "asc.store", "mine")
    made = Tracker().identity("s")
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert Reader().identity("s") == made
