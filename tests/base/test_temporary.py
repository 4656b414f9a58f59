"""Folders for a moment: gone with their block, or a day after the process that was killed in it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from asc_study.base import temporary
from asc_study.base.temporary import momentary_folder

#: What a library does that knows nothing of our folders.
KILLED = """
import os, tempfile
from pathlib import Path
from asc_study.base.temporary import momentary_folder
with momentary_folder(of_libraries=True):
    Path(tempfile.mkdtemp(), "model").touch()
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_what_a_killed_process_left_goes_a_day_later_and_nothing_of_others(place: Path) -> None:
    (place / "theirs").mkdir()
    path = os.pathsep.join(filter(None, sys.path))
    killed = subprocess.run([sys.executable, "-c", KILLED], env=os.environ | {"PYTHONPATH": path})
    assert killed.returncode == -signal.SIGKILL
    (left,) = place.glob(".asc-tmp-*")
    assert [file.name for file in left.rglob("*") if file.is_file()] == ["model"]
    os.utime(place / "theirs", (time.time() - 90_000,) * 2)
    for age, names in ((3_600, {left.name, "theirs"}), (90_000, {"theirs"})):
        os.utime(left, (time.time() - age,) * 2)
        temporary._tidy.cache_clear()
        with momentary_folder() as folder:
            assert folder.parent == place
            assert tempfile.gettempdir() == str(place)
            (folder / "file").touch()
        assert {path.name for path in place.iterdir()} == names


def test_libraries_put_theirs_into_ours_and_only_meanwhile(place: Path) -> None:
    def fail() -> None:
        with momentary_folder(of_libraries=True) as folder:
            assert Path(tempfile.mkdtemp()).parent == folder
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert tempfile.gettempdir() == str(place)
    assert not list(place.iterdir())
