import hashlib
import http.server
import io
import re
import shutil
import stat
import threading
import zipfile
from collections import namedtuple

import filelock
import pytest

from asc_study.base.errors import InputError
from asc_study.data import download as download_module
from asc_study.data.clips import require_audio
from asc_study.data.download import WORK_FOLDER, download, published_archives
from asc_study.data.formats.data_format import Archive, Archives
from asc_study.data.layout import read_dataset

BASE = "TAU-urban-acoustic-scenes-2020-mobile-development"


class Server:
    """Serves files from memory on 127.0.0.1, and can be told to cut connections or to ignore ranges."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.cut_after: list[int] = []  # bytes after which the next answers break off
        self.knows_ranges = True
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.lstrip("/")
                wanted = self.headers.get("Range")
                outer.requests.append((name, wanted))
                if name not in outer.files:
                    self.send_error(404)
                    return
                content = outer.files[name]
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and outer.knows_ranges else 0
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                content = content[start:]
                if outer.cut_after:
                    content = content[: outer.cut_after.pop(0)]
                    self.close_connection = True
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, name: str, content: bytes) -> Archive:
        self.files[name] = content
        return Archive(name, len(content), hashlib.md5(content).hexdigest())

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def archives(server, write_layout):
    """A data set as published: lists in one zip, audio in two, everything in one folder."""
    root = write_layout(name="original")
    files = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    audio = [name for name in files if name.startswith("audio/")]
    lists = [name for name in files if not name.startswith("audio/")]
    parts = {"meta": lists, "audio.1": audio[:4], "audio.2": audio[4:]}
    zips = tuple(
        server.add(f"{BASE}.{part}.zip", zip_of({f"{BASE}/{name}": files[name] for name in names}))
        for part, names in parts.items()
    )
    return Archives(server.url, zips, sum(map(len, files.values())))


@pytest.fixture
def small_chunks(monkeypatch):
    """Let what a cut connection has brought reach the disk, as it does with large files."""
    monkeypatch.setattr(download_module, "_CHUNK", 50)


def fetch(target, archives, **options):
    return download("tau2020-mobile", target, archives=archives, progress=False, **options)


def test_what_arrives_is_the_published_layout(archives, server, tmp_path):
    assert fetch(tmp_path / "tau", archives) == [remote.name for remote in archives.zips]

    dataset = read_dataset(tmp_path / "tau")
    require_audio(dataset)
    assert len(dataset.clips) == 8
    for path in (tmp_path / "original").rglob("*.*"):
        assert (tmp_path / "tau" / path.relative_to(tmp_path / "original")).read_bytes() == path.read_bytes()
    assert {path.name for path in (tmp_path / "tau").iterdir()} == {
        "meta.csv",
        "audio",
        "evaluation_setup",
        WORK_FOLDER,
    }
    assert not list((tmp_path / "tau" / WORK_FOLDER).glob("*.zip"))


def test_a_second_call_does_nothing(archives, server, tmp_path, monkeypatch):
    fetch(tmp_path, archives)
    server.requests.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(0))
    assert fetch(tmp_path, archives) == []
    assert server.requests == []


def test_a_deleted_file_is_fetched_again(archives, server, tmp_path):
    fetch(tmp_path, archives)
    (tmp_path / "audio" / "airport-lisbon-1000-40000-a.wav").unlink()
    assert fetch(tmp_path, archives) == [f"{BASE}.audio.1.zip"]
    require_audio(read_dataset(tmp_path))


@pytest.mark.usefixtures("small_chunks")
def test_a_cut_connection_is_taken_up_again(archives, server, tmp_path):
    server.cut_after = [100, 50, 50, 50, 50, 50, 50]
    fetch(tmp_path, archives)
    name = archives.zips[0].name
    resumed = [(name, f"bytes={start}-") for start in range(100, 401, 50)]
    assert server.requests[:8] == [(name, None), *resumed]
    require_audio(read_dataset(tmp_path))


@pytest.mark.usefixtures("small_chunks")
def test_the_next_call_resumes_what_the_last_one_left(archives, server, tmp_path, monkeypatch):
    server.cut_after = [100] + [0] * 5
    monkeypatch.setattr(download_module, "_PAUSE_SECONDS", 0.0)
    with pytest.raises(InputError, match=r"meta\.zip could not be fetched: .*what has arrived is kept, run the same"):
        fetch(tmp_path, archives)
    part = tmp_path / WORK_FOLDER / f"{archives.zips[0].name}.part"
    assert part.read_bytes() == server.files[archives.zips[0].name][:100]

    server.requests.clear()
    fetch(tmp_path, archives)
    assert server.requests[0] == (archives.zips[0].name, "bytes=100-")
    assert not part.exists()
    require_audio(read_dataset(tmp_path))


@pytest.mark.usefixtures("small_chunks")
def test_a_server_without_ranges_sends_everything_again(archives, server, tmp_path):
    server.knows_ranges = False
    server.cut_after = [100]
    fetch(tmp_path, archives)
    assert server.requests[1] == (archives.zips[0].name, "bytes=100-")
    require_audio(read_dataset(tmp_path))


def test_a_wrong_checksum_is_refused_and_removed(archives, server, tmp_path):
    name = archives.zips[1].name
    good = server.files[name]
    server.files[name] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(
        InputError, match=rf"{name} must have the MD5 sum {archives.zips[1].md5}, got another .* removed"
    ):
        fetch(tmp_path, archives)
    assert {path.name for path in (tmp_path / WORK_FOLDER).iterdir()} == {"lock", f"{archives.zips[0].name}.unpacked"}
    assert not (tmp_path / "audio").exists()

    server.files[name] = good
    assert fetch(tmp_path, archives) == [remote.name for remote in archives.zips[1:]]


def test_a_longer_file_than_announced_is_refused(archives, server, tmp_path):
    server.files[archives.zips[0].name] += b"more"
    with pytest.raises(InputError, match="must have the MD5 sum"):
        fetch(tmp_path, archives)


@pytest.mark.parametrize(
    "member", ["../evil.txt", "/evil.txt", f"{BASE}/../../evil.txt", "audio/..\\..\\evil.txt", "C:/evil.txt"]
)
def test_paths_that_leave_the_folder_are_refused(server, tmp_path, member):
    remote = server.add(f"{BASE}.audio.1.zip", zip_of({f"{BASE}/audio/good.wav": b"good", member: b"evil"}))
    with pytest.raises(InputError, match=r"plain files only, got a path that leaves the folder in .*not unpacked"):
        fetch(tmp_path / "deep" / "tau", Archives(server.url, (remote,), 8))
    assert [path.name for path in tmp_path.rglob("*.*") if path.suffix in (".txt", ".wav")] == []


def test_links_are_refused(server, tmp_path):
    link = zipfile.ZipInfo(f"{BASE}/audio/link.wav")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    remote = server.add(f"{BASE}.audio.1.zip", buffer.getvalue())
    with pytest.raises(InputError, match="plain files only, got a link in"):
        fetch(tmp_path, Archives(server.url, (remote,), 8))
    assert not (tmp_path / "audio").exists()


def test_too_little_disk_is_said_before_anything_is_fetched(archives, server, tmp_path, monkeypatch):
    large = Archives(archives.url, tuple(Archive(z.name, 2_000_000_000, z.md5) for z in archives.zips), 7_500_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(9_400_000_000))
    with pytest.raises(InputError, match=r"needs 9\.5 GB of free disk, got 9\.4 GB under"):
        fetch(tmp_path, large)
    with pytest.raises(InputError, match=r"needs 13\.5 GB of free disk, got 9\.4 GB under"):
        fetch(tmp_path, large, keep_zips=True)
    assert server.requests == []


def test_zips_can_be_kept_and_are_not_fetched_again(archives, server, tmp_path):
    fetch(tmp_path, archives, keep_zips=True)
    for marker in (tmp_path / WORK_FOLDER).glob("*.unpacked"):
        marker.unlink()
    server.requests.clear()
    assert len(fetch(tmp_path, archives, keep_zips=True)) == 3
    assert server.requests == []


def test_a_mirror_takes_the_place_of_zenodo(archives, server, tmp_path):
    fetch(tmp_path, Archives("http://127.0.0.1:9/nowhere", archives.zips, 8), base_url=f"{server.url}/")
    dataset = read_dataset(tmp_path)
    require_audio(dataset)
    assert len(dataset.clips) > 0


def test_what_the_server_does_not_have_is_named(archives, server, tmp_path):
    del server.files[archives.zips[0].name]
    with pytest.raises(InputError, match=r"meta\.zip could not be fetched: 404"):
        fetch(tmp_path, archives)


def test_a_checked_file_that_is_no_zip_is_named(server, tmp_path):
    remote = server.add(f"{BASE}.meta.zip", b"nothing packed")
    with pytest.raises(InputError, match="must be a zip, got a file that is not"):
        fetch(tmp_path, Archives(server.url, (remote,), 8))


def test_one_download_at_a_time(archives, tmp_path):
    (tmp_path / WORK_FOLDER).mkdir()
    with (
        filelock.FileLock(tmp_path / WORK_FOLDER / "lock"),
        pytest.raises(InputError, match="one download at a time"),
    ):
        fetch(tmp_path, archives)


def test_the_name_and_the_target_are_checked(archives, tmp_path):
    with pytest.raises(InputError, match="unknown data_format 'tau2019': known: tau2020-3class, tau2020-mobile"):
        download("tau2019", tmp_path / "tau")
    assert not (tmp_path / "tau").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the target must be a folder"):
        fetch(tmp_path / "file", archives)


@pytest.mark.parametrize(
    ("name", "number", "audio_zips", "total", "unpacked"),
    [
        ("tau2020-mobile", 3819968, 16, 27_364_817_167, 30.5),
        ("tau2020-3class", 3670185, 21, 35_543_717_092, 41.5),
    ],
)
def test_the_published_records(name, number, audio_zips, total, unpacked):
    archives = published_archives(name)
    assert archives.url == f"https://zenodo.org/records/{number}/files"
    parts = [remote.name.split(".", 1)[1] for remote in archives.zips]
    assert parts == ["doc.zip", "meta.zip", *(f"audio.{part}.zip" for part in range(1, audio_zips + 1))]
    assert sum(remote.size for remote in archives.zips) == total
    assert all(re.fullmatch("[0-9a-f]{32}", remote.md5) for remote in archives.zips)
    assert archives.unpacked_size / 1e9 == pytest.approx(unpacked, abs=0.1)


def test_progress_is_shown_on_stderr_only(archives, server, tmp_path, capsys):
    download_module.download("tau2020-mobile", tmp_path, archives=archives, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"1/3 {BASE}.meta.zip: 100%" in shown.err
