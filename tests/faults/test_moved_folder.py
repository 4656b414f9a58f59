"""A working folder that was moved or renamed: said with the remedy, and nothing is written to where it was."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.cli import main
from asc_study.store.queries import Reader
from asc_study.store.tracking import Tracker


def command(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["asc-study", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_store_whose_folder_was_moved_is_told_where_it_is(
    isolated: Path,
    empty_store: Path,
    make_table: Callable[..., pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from logged_runs import log

    old, new = isolated / "old place", isolated / "new"
    old.mkdir()
    shutil.copy(empty_store, old / "mlflow.db")
    monkeypatch.chdir(old)
    table = make_table(0, clips=20)
    run_id = log(Tracker(), "one", {"test": table})
    monkeypatch.chdir(isolated)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow leaves the store that it opened there
    old.rename(new)
    monkeypatch.chdir(new)

    remedy = f"asc-study runs relocate '{old}' '{new}'"
    with pytest.raises(InputError, match=f"was moved from {old} to {new}, and its .* not found: run `{remedy}"):
        Tracker()
    assert command("export", "s/one", "--out", "scores.csv", "--format", "csv", monkeypatch=monkeypatch) == 2
    assert remedy in capfd.readouterr().err
    for said in (1, 0):
        assert [record.run_id for record in Reader().runs("s")] == [run_id]
        assert capfd.readouterr().err.count(remedy) == said
    assert not old.exists()

    assert command("runs", "relocate", str(isolated / "other"), str(new), monkeypatch=monkeypatch) == 2
    assert "must hold artifacts below the old folder" in capfd.readouterr().err
    assert command("runs", "relocate", str(old), str(new), monkeypatch=monkeypatch) == 0
    assert capfd.readouterr().out == f"2 places of artifacts are now below {new}\n"
    tracker = Tracker()
    assert len(tracker.predictions(run_id)["test"]) == len(table)
    log(tracker, "two", {"test": table}, seed=1)
    assert not old.exists()
    assert len(list((new / "mlruns").rglob("test.parquet"))) == 2


def test_only_a_file_can_be_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host")
    assert command("runs", "relocate", "/old", ".", monkeypatch=monkeypatch) == 2
    said = capfd.readouterr().err
    assert "runs relocate is for a SQLite store that is there, got http://***@host: set" in said
