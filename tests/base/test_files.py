import errno
import os
import socket
import stat
import time
from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.base.files import (
    INPUT_KINDS,
    is_recording,
    open_input,
    read_input,
    read_input_text,
    remove_left_over,
    replacing,
    require_writable,
    write_file,
    writing,
)

MEGABYTE = 1024**2


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_a_file_is_read_through_links():
    Path("a.yaml").write_bytes(b"\xef\xbb\xbfstudy: x\r\n")
    Path("b.yaml").symlink_to("a.yaml")
    assert read_input("b.yaml", "study") == b"\xef\xbb\xbfstudy: x\r\n"
    assert read_input_text(Path("b.yaml"), "study") == "study: x\r\n"
    with open_input("a.yaml", "study") as file:
        file.seek(3)
        assert file.read(5) == b"study"


def test_what_is_no_regular_file_is_one_line_at_once():
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("zeros").symlink_to("/dev/zero")
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        start = time.perf_counter()
        for name, what in {
            "folder": "must be a regular file, got a folder under folder",
            "pipe": "must be a regular file, got a pipe under pipe",
            "zeros": "must be a regular file, got a device under zeros",
            "socket": "must be a regular file, got a socket under socket",
            "loop": r"loop cannot be read \(.*symbolic links",
            "gone": "the study file gone does not exist: give the path of a YAML file",
            "n\0l": r"may hold no NUL character, got n\\x00l",
            "x" * 5000: r"cannot be read \(File name too long",
        }.items():
            with pytest.raises(InputError, match=what) as caught:
                read_input(name, "study")
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 400
        assert time.perf_counter() - start < 1


def test_a_pipe_that_takes_the_place_of_a_file_in_between_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    os.mkfifo("pipe")
    Path("file").touch()
    regular = os.stat("file")
    monkeypatch.setattr("asc_study.base.files.os.stat", lambda path: regular)
    with pytest.raises(InputError, match="got a pipe under pipe"):
        open_input("pipe", "study")


def test_a_size_above_that_of_the_kind_is_refused_before_it_is_read():
    with Path("large.yaml").open("wb") as file:
        file.truncate(3 * MEGABYTE)
    with pytest.raises(InputError, match=r"a study file may have at most 1 MB, got 3 MB in large\.yaml: give the path"):
        open_input("large.yaml", "study")
    with Path("large.yaml").open("wb") as file:
        file.truncate(MEGABYTE)
    assert len(read_input("large.yaml", "study")) == MEGABYTE


def test_a_file_that_grows_beyond_its_limit_is_not_read_on(monkeypatch: pytest.MonkeyPatch):
    Path("file").write_bytes(bytes(MEGABYTE + 1))
    empty = os.stat_result((stat.S_IFREG, *os.stat("file")[1:6], 0, *os.stat("file")[7:]))
    monkeypatch.setattr("asc_study.base.files.os.stat", lambda path: empty)
    monkeypatch.setattr("asc_study.base.files.os.fstat", lambda descriptor: empty)
    with pytest.raises(InputError, match="may have at most 1 MB, got more than 1 MB in file"):
        read_input("file", "study")


def test_a_file_that_must_lie_in_a_folder_does_so_after_every_link():
    Path("inside/deeper").mkdir(parents=True)
    Path("inside-not").mkdir()
    Path("inside-not/secret.csv").write_text("secret")
    Path("inside/deeper/own.csv").write_text("own")
    Path("inside/link.csv").symlink_to("deeper/own.csv")
    Path("inside/out.csv").symlink_to("../inside-not/secret.csv")
    Path("inside/sideways").symlink_to("../inside-not")
    folder = Path("inside")
    for name in ("deeper/own.csv", "link.csv", "../inside/link.csv"):
        assert read_input(folder / name, "published", within=folder) == b"own"
    for name in ("../inside-not/secret.csv", "out.csv", "sideways/secret.csv", Path("inside-not/secret.csv").resolve()):
        with pytest.raises(InputError, match="must lie in the folder inside, got .*secret.csv"):
            read_input(folder / name, "published", within=folder)


def test_text_that_is_not_utf_8_is_one_line():
    Path("latin.csv").write_bytes("straße".encode("latin-1"))
    with pytest.raises(InputError, match=r"the list latin\.csv is not UTF-8 text \(byte 4\): save it as UTF-8"):
        read_input_text("latin.csv", "list")


def test_every_kind_says_what_to_do():
    for kind in INPUT_KINDS.values():
        assert kind.what
        assert kind.remedy
        assert kind.limit > 0


def test_a_written_file_has_the_mode_of_one_that_open_makes():
    before = os.umask(0o027)
    try:
        write_file("a", "text\n")
        with writing("b") as file:
            file.write(b"\0")
        with replacing("c.npz") as temporary:
            assert temporary.suffix == ".npz"
            temporary.write_text("x")
        Path("open").touch()
        assert {stat.S_IMODE(Path(name).stat().st_mode) for name in ("a", "b", "c.npz", "open")} == {0o640}
    finally:
        os.umask(before)
    assert (Path("a").read_bytes(), Path("b").read_bytes()) == (b"text\n", b"\0")
    assert names() == ["a", "b", "c.npz", "open"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(monkeypatch: pytest.MonkeyPatch):
    synchronised = []

    def fsync(descriptor: int) -> None:
        synchronised.append((os.fstat(descriptor).st_size, Path("a").exists()))

    monkeypatch.setattr("asc_study.base.files.os.fsync", fsync)
    write_file("a", b"12345")
    assert synchronised == [(5, False)]


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()]
)
def test_a_write_that_fails_keeps_the_old_file_and_no_temporary(failure: BaseException):
    Path("a").write_text("old")
    expected = InputError if isinstance(failure, OSError) else type(failure)

    def write_half() -> None:
        with writing("a") as file:
            file.write(b"half")
            raise failure

    with pytest.raises(expected) as caught:
        write_half()
    if isinstance(failure, OSError):
        assert str(caught.value).startswith("a cannot be written (No space left on device): make room")
        assert caught.value.__cause__ is failure
    assert names() == ["a"]
    assert Path("a").read_text() == "old"


def test_a_disk_that_is_full_when_the_file_is_synchronised_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("asc_study.base.files.os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_file("a", "new")
    assert names() == []


def test_a_link_stays_a_link_and_a_folder_or_device_is_not_replaced():
    Path("target").write_text("old")
    Path("link").symlink_to("target")
    write_file("link", "new")
    assert Path("link").is_symlink()
    assert Path("target").read_text() == "new"
    Path("folder").mkdir()
    with pytest.raises(InputError, match=r"folder cannot be written \(it is a folder\)"):
        write_file("folder", "new")
    with pytest.raises(InputError, match=r"^\. cannot be written \(it is a folder\)"):
        write_file(Path(), "new")
    os.mkfifo("pipe")
    with pytest.raises(InputError, match=r"pipe cannot be written \(it is no regular file\)"):
        write_file("pipe", "new")
    assert names() == ["folder", "link", "pipe", "target"]


def test_whether_a_file_can_be_written_is_told_without_a_trace():
    Path("a").write_text("old")
    require_writable("a")
    require_writable("b")
    assert names() == ["a"]
    assert Path("a").read_text() == "old"
    with pytest.raises(InputError, match="nowhere/b cannot be written"):
        require_writable("nowhere/b")


def test_the_longest_name_can_be_written():
    name = "ü" * 127
    write_file(name, "new")
    assert names() == [name]
    with pytest.raises(InputError, match="File name too long"):
        write_file("n" * 300, "new")


def test_what_killed_processes_left_is_removed_when_it_is_old():
    for name in (".asc-tmp-0-old", ".asc-tmp-1-new", "other"):
        Path(name).touch()
    os.utime(".asc-tmp-0-old", (time.time() - 7200,) * 2)
    remove_left_over(Path())
    assert names() == [".asc-tmp-1-new", "other"]
    remove_left_over(Path(), older_than_seconds=0)
    assert names() == ["other"]
    for name in (".asc-tmp-old", ".asc-tmp-new", "others"):
        Path(name, "model").mkdir(parents=True)
        Path(name, "model", "weights").touch()
    Path("others", "kept").touch()
    Path(".asc-tmp-link").symlink_to("others")
    for name in (".asc-tmp-old", ".asc-tmp-link"):
        os.utime(name, (time.time() - 7200,) * 2, follow_symlinks=False)
    remove_left_over(Path())
    assert names() == [".asc-tmp-new", "other", "others"]
    assert Path("others", "kept").exists()


def test_recordings_of_a_folder_are_told_by_their_names_in_any_case():
    named = ["a.wav", "b.WAV", "c.Flac", "d.mp3", "._a.wav", ".DS_Store", "Thumbs.db", "e.txt", "wav", ".wav"]
    assert [name for name in named if is_recording(name)] == ["a.wav", "b.WAV", "c.Flac", "d.mp3"]
