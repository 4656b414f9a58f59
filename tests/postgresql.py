"""A PostgreSQL of the tests' own, which can be stopped and started."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    """A program of PostgreSQL; Debian keeps them out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


@dataclass(frozen=True)
class PostgreSQL:
    """A cluster in a folder, and how its programs are called."""

    folder: Path
    port: int
    as_user: tuple[str, ...]

    @property
    def server(self) -> str:
        """The start of its URLs."""
        return f"postgresql+psycopg://asc:secret@127.0.0.1:{self.port}"

    def create(self, name: str) -> str:
        """The URL of a new database."""
        from sqlalchemy import create_engine, text

        engine = create_engine(f"{self.server}/postgres", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return f"{self.server}/{name}"

    def call(self, program: str, *arguments: str) -> None:
        """Call a program of it on its data."""
        found = _program(program)
        assert found
        command = [*self.as_user, found, "--pgdata", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self.call("pg_ctl", "--options", options, "--log", str(self.folder / "log"), "--wait", "start")

    def stop(self) -> None:
        """Stop it without waiting for those who are connected."""
        self.call("pg_ctl", "--mode", "immediate", "stop")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    """A running cluster."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install asc-study[postgresql]")
    if _program("initdb") is None or _program("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="asc-study-postgresql-"))  # pytest's folders are closed to other users
    as_user: tuple[str, ...] = ()
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and runuser is not installed")
        as_user = ("runuser", "-u", "postgres", "--")
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = PostgreSQL(folder, port, as_user)
    made.call("initdb", "--username", "asc", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)
