"""A secret of an address is nowhere: not in outputs, logs, tags, artifacts or files, whoever fails or works."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from asc_study.base.taxonomy import SCENES

#: No part of it occurs in anything else.
SECRET = "Qx7ZsecretZ7xQ"

#: Ten places of a secret in an address; what a tracking server and a storage are called differs.
PLACES = {
    "password": "{scheme}://u:{secret}@{host}",
    "token as user": "{scheme}://{secret}@{host}",
    "user of a token": "{scheme}://{secret}:x-oauth-basic@{host}",
    "password with @": "{scheme}://u:a@{secret}@{host}",
    "password with /": "{scheme}://u:a/{secret}@{host}",
    "password with ?": "{scheme}://u:?{secret}=@{host}",
    "query": "{scheme}://{host}/x?token={secret}",
    "missing slash": "{scheme}:/u:{secret}@{host}",
    "missing colon": "{scheme}//u:{secret}@{host}",
    "no host": "{scheme}://u:{secret}",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[tuple[str, Path]]:
    """A tracking server without users, which takes any: its host and port, and its folder."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "m.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder / "artifacts")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"127.0.0.1:{port}", folder
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def asc(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    from asc_study.cli import main

    monkeypatch.setattr(sys, "argv", ["asc-study", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def write_scores() -> None:
    names = [f"audio/{scene}-lyon-{number}-1-a.wav" for number, scene in enumerate(SCENES)]
    lines = ["filename\tscene_label", *(f"{name}\t{scene}" for name, scene in zip(names, SCENES, strict=True))]
    Path("labels.csv").write_text("\n".join(lines))
    rows = [[f"{1 + (i == j)}" for j in range(10)] for i in range(10)]
    Path("scores.csv").write_text("\n".join(",".join(row) for row in rows))


def write_search() -> None:
    space = {"batch_augmentation.mixup.alpha": {"type": "float", "low": 0.1, "high": 1.0}}
    Path("x.yaml").write_text(yaml.safe_dump({"search": "x", "space": space}))


def require_nowhere(folders: list[Path], *texts: str) -> None:
    for text in texts:
        assert SECRET.lower() not in text.lower(), text
    for folder in folders:
        for file in folder.rglob("*"):
            assert SECRET.lower() not in str(file).lower()
            if file.is_file() and file.name != "log.txt":  # what the server itself logs of requests is not ours
                assert SECRET.encode().lower() not in file.read_bytes().lower(), file


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("of", ["tracking", "storage"])
def test_a_secret_is_nowhere(server, isolated, tmp_path, monkeypatch, capfd, caplog, simulated, place, up, of):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "temporary").mkdir()
    host, folder = server
    scheme = "http" if of == "tracking" else "postgresql+psycopg"
    uri = PLACES[place].format(scheme=scheme, secret=SECRET, host=host if up else "127.0.0.1:9")
    if of == "tracking":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        ended = {asc(monkeypatch, "leaderboard", "s")}
        if place == "password":
            write_scores()
            imported = ("import", "scores.csv", "--labels", "labels.csv", "--study", "s", "--name", "theirs")
            ended = {asc(monkeypatch, *imported), asc(monkeypatch, "leaderboard", "s")}
            assert ended == ({0} if up else {2})
    else:
        write_search()
        ended = {asc(monkeypatch, "search", "x.yaml", "--data", str(simulated), "--storage", uri)}
    assert ended <= {0, 2} if up else ended == {2}
    out, err = capfd.readouterr()
    assert err or ended == {0}
    assert "Traceback" not in err
    require_nowhere([isolated, tmp_path / "cache", tmp_path / "temporary", folder], out, err, caplog.text)
    if of == "tracking":
        # Nor is a copy of an artifact left behind.
        assert not list((tmp_path / "temporary").iterdir())
