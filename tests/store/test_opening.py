"""Opening a store: a start that is cut off locks nobody out, and nothing of somebody else's is touched."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.store.tracking import Tracker

_FIRST_TABLES = "CREATE TABLE experiments (experiment_id INTEGER); CREATE TABLE runs (run_uuid TEXT);"


def _database(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def test_a_half_made_store_is_put_aside_and_made_anew(isolated: Path, capsys: pytest.CaptureFixture):
    half = "CREATE TABLE spans (x TEXT); CREATE TABLE alembic_version (version_num TEXT);"
    _database(isolated / "mlflow.db", _FIRST_TABLES + half)
    tracker = Tracker()
    tracker.create_run("s", "r", {"asc.kind": "train"}, {})
    assert len(tracker.runs("s")) == 1
    said = capsys.readouterr().err
    assert "was left half made" in said
    assert "it is now mlflow.db.half-made-1" in said
    assert len(said.splitlines()) == 1
    assert (isolated / "mlflow.db.half-made-1").exists()


def test_a_damaged_store_with_runs_is_left_alone(isolated: Path):
    script = _FIRST_TABLES + "INSERT INTO runs VALUES ('a'); CREATE TABLE alembic_version (version_num TEXT);"
    _database(isolated / "mlflow.db", script)
    before = (isolated / "mlflow.db").read_bytes()
    with pytest.raises(InputError, match="cannot be opened"):
        Tracker()
    with closing(sqlite3.connect(isolated / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert len((isolated / "mlflow.db").read_bytes()) >= len(before)


def test_what_an_earlier_start_left_under_the_other_name_goes(isolated: Path):
    _database(isolated / ".mlflow.db.new", _FIRST_TABLES)
    Tracker().create_run("s", "r", {}, {})
    assert [path.name for path in isolated.glob(".mlflow.db*")] == []


def test_other_processes_see_what_the_first_one_writes_and_it_sees_theirs(isolated: Path):
    """The one that created the file must share SQLite's memory with the others: two views of one file damage it."""
    tracker = Tracker()
    tracker.create_run("s", "first", {"asc.kind": "train"}, {})
    code = (
        "from asc_study.store.tracking import Tracker; tracker = Tracker()\n"
        "params = {str(n): 'x' * 400 for n in range(40)}\n"
        "for n in range(40): tracker.create_run('s', f'r{n}', {'asc.kind': 'train'}, params)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    tracker.create_run("s", "last", {"asc.kind": "train"}, {})
    assert len(tracker.runs("s")) == 42
    with closing(sqlite3.connect(isolated / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(isolated.glob(".mlflow.db*"))
