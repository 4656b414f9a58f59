"""The one way in and the one way out: how a file that a user names is opened, and how every file is written.

A file that is read must be a regular one, of at most the size that its kind can sensibly have, and inside a folder
where that is promised. A file that is written appears under its name when it is whole.
"""

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from asc_study.base.errors import InputError

_MB: Final = 1024**2
_GB: Final = 1024**3

#: What a temporary file's name begins with; what it ends with is the name of the file that it becomes.
TEMPORARY: Final = ".asc-tmp-"

#: Characters of the name that a temporary keeps, so that it is no longer than a name may be (255 bytes).
_NAME_KEPT: Final = 40

#: A temporary of this age was left by a process that died.
_LEFT_OVER_SECONDS: Final = 3600.0

#: Bytes that are read at once.
_CHUNK: Final = 16 * _MB

#: Longest path in an error line.
_LONGEST_PATH: Final = 200

#: What recordings end with, in upper or lower case, where a folder is searched for them.
RECORDING_SUFFIXES: Final = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")

#: How a file is opened for reading: one that is no regular file by now must not make the process wait.
_READING: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class InputKind:
    """A kind of input file: what it is called, how large one may be (bytes), and what to do about another."""

    what: str
    limit: int
    remedy: str

    @property
    def one(self) -> str:
        """What one is called, with its article."""
        return f"{'an' if self.what[0] in 'aeiou' else 'a'} {self.what}"


#: The kinds of input files. The limits are far above what is ever needed and below what fills a memory.
INPUT_KINDS: Final[Mapping[str, InputKind]] = {
    "study": InputKind("study file", _MB, "give the path of a YAML file"),
    "search": InputKind("search file", _MB, "give the path of a YAML file"),
    "description": InputKind("description of a data set", _MB, "`asc-study data init DIR` writes a first one"),
    "published": InputKind("file of `published`", _MB, "name a CSV file beside the study file"),
    "list": InputKind("list", 64 * _MB, "name a list of the data set"),
    "scores": InputKind("file of scores", _GB, "name a file of scores"),
    "predictions": InputKind("predictions table", _GB, "give a run's predictions/*.parquet"),
    "recording": InputKind("recording", _GB, "`asc-study data check` lists all such files"),
    # Read window by window, also where the platform is not: any length will do.
    "clip": InputKind("recording", 1024 * _GB, "name a sound file"),
    "impulse response": InputKind("impulse response", 64 * _MB, "replace or remove it"),
    "embeddings": InputKind("file of embeddings", 256 * _GB, "name an .npz file (docs/studies.md)"),
    "weights": InputKind("file of weights", 2 * _GB, "name an HDF5 file of Keras 2"),
    "manifest": InputKind("manifest of a bundle", 16 * _MB, "name the folder of a bundle"),
    "bundle file": InputKind("file of a bundle", 2 * _GB, "copy the bundle again"),
    "settings": InputKind("file of settings", _MB, "delete it, or name another folder"),
    "artifact": InputKind("artifact of a run", 64 * _MB, "was it changed by hand?"),
    "identifier": InputKind("identifier", 4096, "delete it"),
}


def open_input(path: str | Path, kind: str, *, within: Path | None = None) -> BufferedReader:
    """Open a file that a user named, to read its bytes.

    Parameters
    ----------
    path
        The file; links are followed.
    kind
        One of `INPUT_KINDS`.
    within
        A folder in which the file must lie, after every link.

    Raises
    ------
    InputError
        If there is no such file, it is no regular file (a folder, a pipe, a device, a socket), it is larger than its
        kind may be, it lies elsewhere or it cannot be opened. Nothing is waited for.
    """
    rule = INPUT_KINDS[kind]
    if "\0" in str(path):
        raise InputError(f"the path of {rule.one} may hold no NUL character, got {shown_path(path)}: {rule.remedy}")
    try:
        place = os.path.realpath(path)
        if within is not None and not Path(place).is_relative_to(os.path.realpath(within)):
            raise InputError(
                f"{rule.one} must lie in the folder {within}, got {shown_path(path)}, which is "
                f"{shown_path(place)}: {rule.remedy}"
            )
        _require_regular(os.stat(place), path, rule)
        descriptor = os.open(place, _READING)
        file = os.fdopen(descriptor, "rb")
    except FileNotFoundError:
        raise InputError(f"the {rule.what} {shown_path(path)} does not exist: {rule.remedy}") from None
    except OSError as error:
        raise _unreadable(path, rule, error) from None
    try:
        _require_regular(os.fstat(descriptor), path, rule)  # it may have been exchanged since the look at it
    except BaseException:
        file.close()
        raise
    return file


def read_input(path: str | Path, kind: str, *, within: Path | None = None) -> bytes:
    """The bytes of a file that a user named; see `open_input`.

    Raises
    ------
    InputError
        As `open_input`, and if the file cannot be read to its end.
    """
    rule = INPUT_KINDS[kind]
    chunks, size = [], 0
    with open_input(path, kind, within=within) as file:
        try:
            while chunk := file.read(_CHUNK):
                chunks.append(chunk)
                size += len(chunk)
                if size > rule.limit:  # it grows, or is one of those whose size the system does not tell
                    raise _too_large(path, rule, f"more than {size_text(rule.limit)}")
        except OSError as error:
            raise _unreadable(path, rule, error) from None
    return b"".join(chunks)


def read_input_text(path: str | Path, kind: str, *, within: Path | None = None) -> str:
    """The text of a UTF-8 file that a user named, with or without a byte order mark; see `read_input`.

    Raises
    ------
    InputError
        As `read_input`, and if it is not UTF-8.
    """
    content = read_input(path, kind, within=within)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        rule = INPUT_KINDS[kind]
        raise InputError(
            f"the {rule.what} {shown_path(path)} is not UTF-8 text (byte {error.start:,}): save it as UTF-8"
        ) from None


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside ``path``, which takes its place when the block ends without an error.

    For what writes to a name of its own, such as Keras; `writing` gives an open file. The temporary exists, is empty
    and has the mode that a new file gets; its name ends as that of ``path`` does. It is synchronised with the disk
    before it is renamed. Whatever goes wrong, the old file stays and the temporary goes. A link stays a link.

    Raises
    ------
    InputError
        If the file cannot be written, for example for lack of space; its ``__cause__`` is the `OSError`.
    """
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    try:
        if os.path.exists(target) and not os.path.isfile(target):  # a rename would put a file in place of a device
            raise OSError(errno.EINVAL, "it is a folder" if os.path.isdir(target) else "it is no regular file")
        name = target.name.encode(errors="surrogateescape")[-_NAME_KEPT:].decode(errors="ignore")
        temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex[:12]}-{name}"
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield temporary
            _synchronise(temporary)
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file, open for writing, that becomes ``path`` when the block ends without an error; see `replacing`.

    Raises
    ------
    InputError
        As `replacing`.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file


def write_file(path: str | Path, content: str | bytes) -> None:
    """Write a whole file, text as UTF-8 with its line ends as they are; see `replacing`.

    Raises
    ------
    InputError
        As `replacing`.
    """
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def require_writable(path: str | Path) -> None:
    """Find out before the work whether its result can be written; nothing is left behind.

    Raises
    ------
    InputError
        As `replacing`.
    """
    with suppress(_OnlyTried), replacing(path):
        raise _OnlyTried


class _OnlyTried(Exception):
    """Ends a write that was only tried."""


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that is being written, or was left by a process that died."""
    return name.startswith(TEMPORARY)


def remove_left_over(folder: Path, *, older_than_seconds: float = _LEFT_OVER_SECONDS) -> None:
    """Remove temporary files and folders that killed processes left in a folder.

    Whoever holds a lock on all who write there can lower the age to 0.
    """
    limit = time.time() - older_than_seconds
    for temporary in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):  # another process may tidy up too
            if (found := temporary.lstat()).st_mtime <= limit:
                shutil.rmtree(temporary) if stat.S_ISDIR(found.st_mode) else temporary.unlink()


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that a disk, or a person's share of it, is full: nobody's input is wrong then."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def cannot_write(path: str | Path, error: OSError) -> InputError:
    """The error that names a file which cannot be written."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{shown_path(path)} cannot be written ({reason}): make room, or name a file in another folder")


def is_recording(path: str | Path) -> bool:
    """Whether a file in a folder is one of its recordings, by its name: hidden ones (macOS' ``._x.wav``) are none."""
    name = Path(path).name
    return not name.startswith(".") and Path(name).suffix.lower() in RECORDING_SUFFIXES


def shown_path(path: str | Path) -> str:
    """A path as an error line shows it: on one line, not longer than a line can bear."""
    text = str(path)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= _LONGEST_PATH else f"{text[: _LONGEST_PATH - 3]}..."


def size_text(size: int) -> str:
    """A number of bytes in the largest unit of which there is at least one."""
    for unit, bytes_ in (("GB", _GB), ("MB", _MB), ("kB", 1024)):
        if size >= bytes_:
            return f"{size / bytes_:.3g} {unit}"
    return f"{size:,} bytes"


def _require_regular(status: os.stat_result, path: str | Path, rule: InputKind) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{rule.one} must be a regular file, got {_type_of(status.st_mode)} under {shown_path(path)}: {rule.remedy}"
        )
    if status.st_size > rule.limit:
        size = size_text(status.st_size)
        raise _too_large(path, rule, f"{status.st_size:,} bytes" if size == size_text(rule.limit) else size)


def _unreadable(path: str | Path, rule: InputKind, error: OSError) -> InputError:
    reason = error.strerror or str(error)
    return InputError(f"the {rule.what} {shown_path(path)} cannot be read ({reason}): {rule.remedy}")


def _too_large(path: str | Path, rule: InputKind, size: str) -> InputError:
    return InputError(
        f"{rule.one} may have at most {size_text(rule.limit)}, got {size} in {shown_path(path)}: {rule.remedy}"
    )


def _type_of(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def _synchronise(path: Path) -> None:
    """Wait until a file's bytes are on the disk: a rename may else outlive a power cut that its bytes do not."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
