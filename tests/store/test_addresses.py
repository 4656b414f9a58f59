"""Nothing that is said about an address holds a secret of it, wherever the secret stands and whoever speaks."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from asc_study.base.errors import InputError
from asc_study.search.storage import open_storage, storage_url
from asc_study.store.addresses import address_line, cannot_open, masked, parse_address, scrubbed
from asc_study.store.tracking import Tracker

SECRET = "hunter2-S3cret"

#: An address with the secret in some place -> how it is shown.
ADDRESSES = {
    f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/x": "postgresql+psycopg://u:***@127.0.0.1:1/x",
    f"http://u:{SECRET}@127.0.0.1:1": "http://***@127.0.0.1:1",
    f"http://{SECRET}@127.0.0.1:1/": "http://***@127.0.0.1:1/",
    f"http://{SECRET}:x-oauth-basic@127.0.0.1:1/": "http://***@127.0.0.1:1/",
    f"postgresql+psycopg://u:a@{SECRET}@127.0.0.1:1/x": "postgresql+psycopg://u:***@127.0.0.1:1/x",
    f"postgresql+psycopg://u:a/{SECRET}@127.0.0.1:1/x": "postgresql+psycopg://u:***@127.0.0.1:1/x",
    f"http://u:a/{SECRET}@127.0.0.1:1/x": "http://***@127.0.0.1:1/x",
    f"http://u:a?{SECRET}@127.0.0.1:1/x": "http://***@127.0.0.1:1/x",
    f"http://u:a#{SECRET}@127.0.0.1:1/x": "http://***@127.0.0.1:1/x",
    f"postgresql+psycopg://127.0.0.1:1/x?user=u&password={SECRET}": (
        "postgresql+psycopg://127.0.0.1:1/x?user=u&password=***"
    ),
    f"postgresql+psycopg://127.0.0.1:1/x?sslpassword={SECRET}&sslmode=require": (
        "postgresql+psycopg://127.0.0.1:1/x?sslpassword=***&sslmode=require"
    ),
    f"http://u:?{SECRET}=@127.0.0.1:1/x": "http://***@",
    f"http://u:1/{SECRET}?=@127.0.0.1:1/x": "http://***@",
    f"http://127.0.0.1:1/x?token=a@{SECRET}": "http://***@",
    f"http://127.0.0.1:1/?token={SECRET}": "http://127.0.0.1:1/?token=***",
    f"http://127.0.0.1:1/?{SECRET}": "http://127.0.0.1:1/?***",
    f"http://127.0.0.1:1/#{SECRET}": "http://127.0.0.1:1/#***",
    f"postgres//u:{SECRET}@127.0.0.1:1/x": "postgres//***@127.0.0.1:1/x",
    f"http:/u:{SECRET}@127.0.0.1:1": "http:/***@127.0.0.1:1",
    f"http//u:{SECRET}@127.0.0.1:1": "http//***@127.0.0.1:1",
    f"{SECRET}@127.0.0.1:1/x": "***@127.0.0.1:1/x",
    f"postgresql+psycopg://u:{SECRET}@127.0.0.1:port/x": "postgresql+psycopg://u:***@127.0.0.1:port/x",
    f"postgresql+psycopg://u:{SECRET}/127.0.0.1/x": "postgresql+psycopg://u:***/127.0.0.1/x",
    f"http://u:{SECRET}": "http://u:***",
    f"mysql+pymysql://u:{SECRET}@127.0.0.1:1/x?charset=utf8": "mysql+pymysql://u:***@127.0.0.1:1/x?charset=utf8",
    f"sqlite:////nowhere/x.db?password={SECRET}": "sqlite:////nowhere/x.db?password=***",
    f"bogus://u:{SECRET}@127.0.0.1:1": "bogus://u:***@127.0.0.1:1",
}


@pytest.mark.parametrize(("uri", "shown"), ADDRESSES.items())
def test_no_secret_is_shown(uri: str, shown: str):
    assert masked(uri) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////home/me@work/x: y/mlflow.db",
        "file:/home/me@work/mlruns",
        "http://127.0.0.1:5000/some/path",
        "http://[::1]:5000",
        "postgresql+psycopg://user.name@host/db",
        "postgresql://host/db?user=u&connect_timeout=3",
        "databricks",
        "./mlruns",
    ],
)
def test_what_is_no_secret_is_shown_as_it_is(uri: str):
    assert parse_address(uri).secrets in ((), ("",))
    assert masked(uri) == uri


@pytest.mark.parametrize(
    "spelled",
    [
        "a@b/c d%",
        "a%40b%2Fc%20d%25",
        "a%40b%2Fc+d%25",
        "a%40b/c%20d%25",
        "A@B/C D%",
        "YUBiL2MgZCU=",
    ],
)
@pytest.mark.parametrize("given", ["a@b/c d%", quote("a@b/c d%", safe="")])
def test_a_secret_is_found_however_a_library_spells_it(given: str, spelled: str):
    line = address_line(f"postgresql://u:{given}@host/db", "{address}: {reason}", f"no way to <{spelled}> at host")
    assert line == "postgresql://u:***@host/db: no way to <***> at host"


def test_a_piece_of_a_password_that_was_taken_for_a_host_is_hidden():
    assert scrubbed("failed to resolve host 'hunter2@127.0.0.1'", "http://u:half@hunter2@127.0.0.1") == (
        "failed to resolve host '***@127.0.0.1'"
    )


def test_a_secret_with_quotes_is_hidden_however_they_are_escaped():
    secret = f"\"?{SECRET}'="
    line = scrubbed(f"no way to {{'password': '{secret!r}'}}", f"http://u:{secret}@host:1/x")
    assert "hunter2" not in line


def test_a_short_secret_is_hidden_as_a_word_only():
    line = scrubbed("port 1 of p failed: password 'p' refused, p=p_", "postgresql://u:p@h/d")
    assert line == "port 1 of *** failed: password '***' refused, ***=***_"


def test_secrets_of_the_environment_are_hidden(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert scrubbed(f"Bearer {SECRET} refused", "http://h") == "Bearer *** refused"


def test_a_reason_is_one_line_that_is_not_too_long():
    error = OSError("first\n  second " + "x" * 1000)
    assert str(cannot_open("http://u:pass@h", error)).startswith(
        "the tracking store http://***@h cannot be opened: first second xxx"
    )
    assert len(str(cannot_open("http://u:pass@h", error))) < 420
    assert "TimeoutError" in str(cannot_open("http://h", TimeoutError()))
    assert address_line("http://h", "{address} {reason}", "see {address}") == "http://h see {address}"


@pytest.mark.parametrize("uri", [uri for uri in ADDRESSES if not uri.startswith("mysql")])
def test_a_tracking_store_that_cannot_be_opened_keeps_its_secret(uri: str, isolated: Path):
    with pytest.raises(InputError) as caught:
        Tracker(uri)
    line = str(caught.value)
    assert "hunter2" not in line.lower()
    assert "\n" not in line
    assert masked(uri).partition("?")[0].removeprefix("http://") in line
    assert not [path for path in isolated.rglob("*") if "hunter2" in str(path)]


@pytest.mark.parametrize("uri", list(ADDRESSES))
def test_a_storage_that_cannot_be_used_keeps_its_secret(uri: str):
    with pytest.raises(InputError) as caught:
        open_storage(storage_url(uri))
    assert "hunter2" not in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("leaderboard", "s"),
        ("compare", "s/a", "s/b"),
        ("export", "0" * 32, "--format", "csv", "--out", "x"),
        ("ensemble", "s"),
    ],
)
@pytest.mark.parametrize(
    "uri", [f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/x", f"http://u:{SECRET}@127.0.0.1:1", f"http:/u:{SECRET}@h"]
)
def test_the_command_line_keeps_the_secret(monkeypatch, capsys, arguments: tuple[str, ...], uri: str):
    from asc_study.cli import main

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(sys, "argv", ["asc-study", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert "cannot be opened" in err
    assert "hunter2" not in err.lower()


def test_what_has_no_run_keeps_the_secret(tracker: Tracker, monkeypatch: pytest.MonkeyPatch):
    """The server answers, but has nothing: the lines of the references name it."""
    from asc_study.store.references import find_runs

    tracker.create_run("s", "r", {"asc.kind": "train"}, {})
    tracker.uri = f"http://u:{SECRET}@127.0.0.1:5000"
    for reference, said in (
        ("0" * 32, "there is no run"),
        ("s/r", "has no finished runs in http://***@127.0.0.1:5000"),
    ):
        with pytest.raises(InputError, match=said.replace("*", r"\*")) as caught:
            find_runs(tracker, reference)
        assert "hunter2" not in str(caught.value)
    tracker.client.delete_experiment(tracker.experiment_id("s"))
    with pytest.raises(InputError, match=r"was deleted in http://\*\*\*@127") as caught:
        tracker.runs("s")
    assert "hunter2" not in str(caught.value)


def test_a_traceback_of_the_command_line_keeps_the_secret():
    code = f"""
import os, sys
os.environ["MLFLOW_TRACKING_URI"] = "http://u:{SECRET}@127.0.0.1:1"
import asc_study.cli as command_line
def fail(**_):
    uri = os.environ["MLFLOW_TRACKING_URI"]
    raise RuntimeError("API request to " + uri + " failed, --storage http://v:other99@h too")
command_line.cli.main = fail
sys.argv = ["asc-study", "search", "--storage=http://v:other99@h"]
command_line.main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "RuntimeError: API request to http://***@127.0.0.1:1 failed, --storage http://***@h too" in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "other99" not in ended.stderr
