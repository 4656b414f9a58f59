import re
import shutil
from pathlib import Path

import filelock
import pytest

from asc_study.base.errors import InputError
from asc_study.base.locks import file_lock, lock_domain
from asc_study.base.paths import cache_dir, locks_dir


def test_a_lock_is_held_once():
    with file_lock("x"), pytest.raises(filelock.Timeout), file_lock("x", timeout_seconds=0):
        pass
    with file_lock("x", timeout_seconds=0):
        pass


def test_the_domain_is_that_of_the_state_folder_not_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    domain = lock_domain()
    assert re.fullmatch(r"\S+ [0-9a-f]{12}", domain)
    assert lock_domain() == domain
    shutil.rmtree(cache_dir())
    assert lock_domain() == domain
    monkeypatch.setenv("ASC_STUDY_STATE", str(tmp_path / "other"))
    assert lock_domain() != domain


def test_a_state_folder_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ASC_STUDY_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(InputError, match=r"state folder .*file/state cannot be created .*: set ASC_STUDY_STATE"):
        lock_domain()


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"", b"x" * 10_000, None, "link", "loop"])
def test_a_damaged_identifier_is_made_anew(tmp_path: Path, damage: bytes | str | None):
    lock_domain()
    path = locks_dir() / "identifier"
    path.unlink()
    if damage is None:
        (path / "inner").mkdir(parents=True)
    elif isinstance(damage, str):
        (tmp_path / "kept").mkdir()
        path.symlink_to(tmp_path / "kept" if damage == "link" else path)
    else:
        path.write_bytes(damage)
    domain = lock_domain()
    assert lock_domain() == domain
    assert path.is_file()
    assert not path.is_symlink()
