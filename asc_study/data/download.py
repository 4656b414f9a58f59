"""Fetch a published data set: checked, resumable, unpacked into its layout. What is fetched its data format says."""

import shutil
import stat
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import filelock
import pooch
import requests

from asc_study.base.errors import InputError
from asc_study.base.files import write_file
from asc_study.base.progress import progress_bar
from asc_study.data.formats import find_format
from asc_study.data.formats.data_format import Archive, Archives

#: Folder inside the target for zips, parts of zips and the list of what each zip held.
WORK_FOLDER: Final = ".download"

#: A call gives up after this many attempts in a row that brought nothing, with a growing pause between them.
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 1.0

#: Bytes taken at once; a connection that breaks loses less than this.
_CHUNK: Final = 1 << 16

_TIMEOUT_SECONDS: Final = (20, 60)

#: Answers of a server that may give the file a little later.
_BUSY: Final = (429, 502, 503, 504)


def published_archives(name: str) -> Archives:
    """Look up what a data set is downloaded from.

    Raises
    ------
    InputError
        If there is no such data set, or it cannot be downloaded.
    """
    archives = find_format(name).archives
    if archives is None:
        raise InputError(f"the data set to download must have archives, got {name!r} without: ask its author for it")
    return archives


def download(
    name: str,
    target: Path,
    *,
    base_url: str | None = None,
    archives: Archives | None = None,
    keep_zips: bool = False,
    progress: bool = True,
) -> list[str]:
    """Fetch a data set into a folder, from where the last call stopped.

    The zips are fetched, checked, unpacked and deleted one after the other, so the disk holds one of them at a time.

    Parameters
    ----------
    name
        Of the data set: ``tau2020-mobile``, ``tau2020-3class``, or one of an installed package.
    target
        The folder that will hold its lists and recordings; made if need be.
    base_url
        Address that the file names are appended to, for a mirror; the publisher's by default.
    archives
        The zips to fetch in place of the published ones.
    keep_zips
        Leave the zips in ``.download`` inside ``target``.
    progress
        Show progress bars on stderr.

    Returns
    -------
    list of str
        The zips that this call unpacked; empty if the data set was complete.

    Raises
    ------
    InputError
        If the name is unknown, the disk is too small, a zip cannot be fetched, has another MD5 sum or holds a path that
        leaves the folder, or another download into ``target`` is under way.
    """
    archives = archives or published_archives(name)
    url = (base_url or archives.url).rstrip("/")
    work = Path(target).absolute() / WORK_FOLDER
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the target must be a folder that can be written, got {target}: {error.strerror}") from error
    # pooch announces every file on stderr, which would tear the progress bars.
    pooch.get_logger().setLevel("ERROR")
    try:
        with filelock.FileLock(work / "lock", timeout=0):
            for orphan in work.glob("tmp*"):  # what pooch leaves behind when it is killed
                orphan.unlink()
            missing = [remote for remote in archives.zips if not _is_unpacked(work, remote)]
            _require_disk(work, archives, missing, keep_zips)
            for number, remote in enumerate(missing, start=1):
                path = _fetch(f"{url}/{remote.name}", work, remote, f"{number}/{len(missing)}", progress)
                _unpack(path, work, remote, progress)
                if not keep_zips:
                    path.unlink()
    except filelock.Timeout:
        raise InputError(f"one download at a time, got another one into {target} under way: wait for it") from None
    return [remote.name for remote in missing]


def _require_disk(work: Path, archives: Archives, missing: Sequence[Archive], keep_zips: bool) -> None:
    if not missing:
        return
    sizes = [remote.size for remote in missing]
    share = sum(sizes) / sum(remote.size for remote in archives.zips)
    arrived = sum(path.stat().st_size for path in work.iterdir() if path.suffix in (".zip", ".part"))
    zips = max((sum(sizes) if keep_zips else max(sizes)) - arrived, 0)
    needed = int(archives.unpacked_size * share) + zips
    free = shutil.disk_usage(work).free
    if free < needed:
        raise InputError(
            f"the data needs {needed / 1e9:.1f} GB of free disk, got {free / 1e9:.1f} GB under {work.parent}: "
            "make room or name a folder on another disk"
        )


class _ResumingDownloader:
    """A pooch downloader that keeps what has arrived in a ``.part`` file and goes on from its end."""

    def __init__(self, part: Path, size: int, label: str, progress: bool) -> None:
        self._part = part
        self._size = size
        self._label = label
        self._progress = progress

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        failures = 0
        while True:
            arrived = self._arrived()
            try:
                self._go_on(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                failures = 0 if self._arrived() > arrived else failures + 1
                if failures == _ATTEMPTS:
                    raise
                time.sleep(failures * _PAUSE_SECONDS)
        shutil.move(self._part, output_file)

    def _arrived(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _go_on(self, url: str) -> None:
        arrived = self._arrived()
        if arrived >= self._size:
            return
        headers = {"Accept-Encoding": "identity"}
        if arrived:
            headers["Range"] = f"bytes={arrived}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
            if response.status_code in _BUSY:
                raise requests.ConnectionError(f"the server is busy (status {response.status_code})")
            response.raise_for_status()
            # A server that does not know ranges sends the whole file with status 200.
            resumed = response.status_code == requests.codes.partial_content
            with (
                self._part.open("ab" if resumed else "wb") as file,
                progress_bar(self._size, self._label, "B", shown=self._progress) as bar,
            ):
                bar.update(arrived if resumed else 0)
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        if self._arrived() < self._size:
            raise requests.ConnectionError(f"the connection closed after {self._arrived():,} of {self._size:,} bytes")


def _fetch(url: str, work: Path, remote: Archive, count: str, progress: bool) -> Path:
    part = work / f"{remote.name}.part"
    downloader = _ResumingDownloader(part, remote.size, f"{count} {remote.name}", progress)
    try:
        path = pooch.retrieve(url, f"md5:{remote.md5}", fname=remote.name, path=work, downloader=downloader)
    except requests.RequestException as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{remote.name} could not be fetched: {reason}: what has arrived is kept, run the same command again"
        ) from error
    except ValueError as error:
        # pooch has deleted the file by now.
        raise InputError(
            f"{remote.name} must have the MD5 sum {remote.md5}, got another from {url}: "
            "the file was removed, run the same command again"
        ) from error
    return Path(path)


def _unpack(path: Path, work: Path, remote: Archive, progress: bool) -> None:
    """Unpack a zip into the target, without its top folder, and write down what it held."""
    top = remote.name.split(".")[0]
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info: _safe_path(info, top, remote.name) for info in archive.infolist() if not info.is_dir()}
            bar = progress_bar(len(members), f"unpacking {remote.name}", "file", shown=progress, delay_seconds=1)
            with bar:
                for info, member in members.items():
                    destination = work.parent / member
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(info) as packed, destination.open("wb") as file:
                        shutil.copyfileobj(packed, file, _CHUNK)
                    bar.update()
    except zipfile.BadZipFile as error:
        raise InputError(f"{remote.name} must be a zip, got a file that is not: {error}") from error
    except OSError as error:
        raise InputError(f"{remote.name} could not be unpacked into {work.parent}: {error.strerror}") from error
    write_file(_marker(work, remote), "\n".join([remote.md5, *map(str, members.values())]) + "\n")


def _safe_path(info: zipfile.ZipInfo, top: str, zip_name: str) -> PurePosixPath:
    """Path of a member below the target; links and paths that lead out of it are refused."""
    path = PurePosixPath(info.filename)
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    leaves = not path.parts or path.is_absolute() or ".." in path.parts or "\\" in info.filename or ":" in path.parts[0]
    if is_link or leaves:
        kind = "a link" if is_link else "a path that leaves the folder"
        raise InputError(f"a zip must hold plain files only, got {kind} in {zip_name}: {info.filename!r}: not unpacked")
    return PurePosixPath(*path.parts[1:]) if path.parts[0] == top else path


def _marker(work: Path, remote: Archive) -> Path:
    return work / f"{remote.name}.unpacked"


def _is_unpacked(work: Path, remote: Archive) -> bool:
    """Tell whether a zip with this MD5 sum was unpacked and its files are still there."""
    marker = _marker(work, remote)
    if not marker.exists():
        return False
    md5, *members = marker.read_text(encoding="utf-8").splitlines()
    return md5 == remote.md5 and all((work.parent / member).exists() for member in members)
