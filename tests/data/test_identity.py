import hashlib
import multiprocessing
import os
import shutil
import sqlite3
import time
from contextlib import closing

import pytest

from asc_study.base.errors import InputError
from asc_study.data import identity
from asc_study.data.clips import Dataset
from asc_study.data.formats import TAU2020_3CLASS, TAU2020_MOBILE
from asc_study.data.identity import audio_digests, dataset_digest
from asc_study.data.layout import read_dataset


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.wav" for number in range(5)]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    return paths


def expected(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


@pytest.fixture
def settled(monkeypatch):
    """Digests of files that were written just now are remembered."""
    monkeypatch.setattr(identity, "_SETTLED_NS", -(10**12))


def refuse_to_read(path):
    raise AssertionError(f"{path} was read again")


def test_digests_are_sha256_in_the_order_of_the_paths(files, tmp_path):
    order = [files[3], files[0], files[3]]
    assert audio_digests(order, cache=tmp_path / "cache") == expected(order)


@pytest.mark.usefixtures("settled")
def test_unchanged_files_are_not_read_again(files, tmp_path, monkeypatch):
    first = audio_digests(files, cache=tmp_path / "cache")
    monkeypatch.setattr(identity, "_sha256", refuse_to_read)
    assert audio_digests(files, cache=tmp_path / "cache") == first


def test_a_changed_file_is_read_again(files, tmp_path):
    cache = tmp_path / "cache"
    audio_digests(files, cache=cache)
    status = files[1].stat()
    files[1].write_bytes(b"x" * status.st_size)
    os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    files[2].write_bytes(b"longer" * 10_000)
    os.utime(files[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert audio_digests(files, cache=cache) == expected(files)


@pytest.mark.usefixtures("settled")
def test_exchanged_files_of_equal_size_and_times_change_their_digests(files, tmp_path):
    cache = tmp_path / "cache"
    times = (1_600_000_000_000_000_000,) * 2
    one, other, aside = files[0], files[1], tmp_path / "aside"
    for path in (one, other):
        os.utime(path, ns=times)
    before = audio_digests([one, other], cache=cache)
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    for path in (one, other):
        os.utime(path, ns=times)
    assert [os.stat(path).st_size for path in (one, other)] == [5000, 5000]
    assert audio_digests([one, other], cache=cache) == before[::-1] == expected([one, other])


@pytest.mark.usefixtures("settled")
def test_a_file_rewritten_in_place_with_its_old_size_and_time_is_read_again(files, tmp_path):
    cache = tmp_path / "cache"
    audio_digests(files, cache=cache)
    status = files[1].stat()
    time.sleep(0.05)  # more than the step in which the file system stamps changes
    with files[1].open("r+b") as file:
        file.write(b"x" * status.st_size)
    os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    after = files[1].stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (status.st_ino, status.st_size, status.st_mtime_ns)
    assert audio_digests(files, cache=cache) == expected(files)


def test_the_digest_of_a_file_that_changed_just_now_is_not_remembered(files, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    audio_digests(files, cache=cache)
    read = []
    genuine = identity._sha256
    monkeypatch.setattr(identity, "_sha256", lambda path: read.append(path) or genuine(path))
    audio_digests(files, cache=cache)
    assert len(read) == len(files)
    later = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(identity.time, "time_ns", lambda: later)
    audio_digests(files, cache=cache)
    audio_digests(files, cache=cache)
    assert len(read) == 2 * len(files)


def old_cache(folder, paths, digest):
    """A cache as version 0.1.0 wrote it: digests by size and modification time."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / "audio-digests.sqlite")) as connection, connection:
        connection.execute(
            "CREATE TABLE digests (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT) WITHOUT ROWID"
        )
        rows = [(str(path), path.stat().st_size, path.stat().st_mtime_ns, digest) for path in paths]
        connection.executemany("INSERT INTO digests VALUES (?, ?, ?, ?)", rows)


def test_digests_of_an_old_cache_are_computed_again_by_several_processes_at_once(files, tmp_path):
    old_cache(tmp_path / "cache", files, "0" * 64)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        results = pool.starmap(_digests, [(files, tmp_path / "cache")] * 6)
    assert results == [expected(files)] * 6
    with closing(sqlite3.connect(tmp_path / "cache" / "audio-digests.sqlite")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert tables == ["stamped_digests"]


@pytest.mark.usefixtures("settled")
def test_an_interrupted_call_keeps_its_finished_batches(files, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "_BATCH", 2)
    genuine = identity._sha256

    def stop_at_the_last(path):
        if path == str(files[4]):
            raise KeyboardInterrupt
        return genuine(path)

    monkeypatch.setattr(identity, "_sha256", stop_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        audio_digests(files, cache=tmp_path / "cache")
    monkeypatch.setattr(identity, "_sha256", refuse_to_read)
    assert audio_digests(files[:4], cache=tmp_path / "cache") == expected(files[:4])


def test_processes_can_share_a_cache(files, tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        results = pool.starmap(_digests, [(files, tmp_path / "cache")] * 6)
    assert results == [expected(files)] * 6


def _digests(paths, cache):
    return audio_digests(paths, cache=cache)


def test_what_cannot_be_read_is_named(files, tmp_path):
    with pytest.raises(InputError, match=r"must be readable, got .*gone\.wav: No such file"):
        audio_digests([*files, tmp_path / "gone.wav"], cache=tmp_path / "cache")
    with pytest.raises(InputError, match="must be readable"):
        audio_digests([tmp_path], cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_used_is_named(files, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "audio-digests.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"cache of audio digests must be usable, got .*: delete or move it"):
        audio_digests(files, cache=tmp_path / "cache")
    with pytest.raises(InputError, match="cache of audio digests must be usable"):
        audio_digests(files, cache=files[0])


def test_waiting_for_another_writer_ends_in_one_line(files, tmp_path, monkeypatch):
    audio_digests(files[:1], cache=tmp_path)
    monkeypatch.setattr(identity, "_WAIT_SECONDS", 0.05)
    other = sqlite3.connect(tmp_path / "audio-digests.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match="database is locked"):
        audio_digests(files, cache=tmp_path)
    other.close()


def digest_of(dataset, tmp_path):
    return dataset_digest(dataset, audio_digests(list(dataset.clips["path"]), cache=tmp_path / "cache"))


def test_the_digest_of_a_data_set_does_not_depend_on_its_folder_or_row_order(write_layout, tmp_path):
    root = write_layout()
    dataset = read_dataset(root)
    digest = digest_of(dataset, tmp_path)
    assert len(digest) == 64

    shutil.copytree(root, tmp_path / "copy")
    assert digest_of(read_dataset(tmp_path / "copy"), tmp_path) == digest

    clips = dataset.clips.iloc[::-1]
    backwards = Dataset(root, dataset.format, clips)
    assert digest_of(backwards, tmp_path) == digest


def test_the_digest_of_a_data_set_follows_audio_labels_split_and_task(write_layout, tmp_path):
    root = write_layout()
    dataset = read_dataset(root)
    digests = audio_digests(list(dataset.clips["path"]), cache=tmp_path / "cache")
    seen = {dataset_digest(dataset, digests), dataset_digest(dataset, ["0" * 64, *digests[1:]])}
    for column, value in {"split": "validation", "device": "c", "location": "5", "scene": "bus"}.items():
        clips = dataset.clips.copy()
        clips.loc[0, column] = value
        seen.add(dataset_digest(Dataset(root, TAU2020_MOBILE, clips), digests))
    seen.add(dataset_digest(Dataset(root, TAU2020_3CLASS, dataset.clips), digests))
    assert len(seen) == 7


def test_what_is_no_recording_is_named_with_its_reason(files, tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(InputError, match=f"{name}: it is not a regular file: `asc-study data check` lists all"):
            audio_digests([*files, tmp_path / name], cache=tmp_path)


def test_a_group_can_write_a_cache_that_it_shares(files, tmp_path):
    before = os.umask(0o002)
    try:
        audio_digests(files, cache=tmp_path / "shared")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "shared").iterdir()} == {0o664}
