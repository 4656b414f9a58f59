"""Files of embeddings, as users bring them: an .npz that is read from beginning to end, clip by clip, without pickles.

It holds ``clip_id`` (clips,), the ids of the clips or the names of their files; ``embeddings`` (clips, frames, values)
in float16 or float32, or (clips, values) for one embedding a clip; and the texts ``name`` and ``version``, which say
what computed them.
"""

import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError, shown
from asc_study.base.files import INPUT_KINDS, is_recording, open_input, shown_path, size_text

#: (frames, values) of a clip.
Values = npt.NDArray[np.floating[Any]]

#: Bytes that are read at once.
_CHUNK: Final = 2**22

#: How many times larger than in the archive an array may be beyond `_SMALL` bytes: embeddings hardly shrink.
_MOST_SHRUNK: Final = 100
_SMALL: Final = 2**24

#: Bytes of the list of clips, and of a text.
_MOST_OF_CLIPS: Final = 2**27
_MOST_OF_TEXT: Final = 2**16

#: Longest name or version.
_LONGEST_TEXT: Final = 100

#: What a changed byte makes zipfile, its decompressors or NumPy's reader of headers raise, besides errors of their own.
_OF_DAMAGE: Final = (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, SyntaxError, KeyError, TypeError)
_DAMAGE_OF: Final = ("zlib", "_lzma", "lzma", "tokenize", "struct")


@contextmanager
def opened_embeddings(path: Path) -> Iterator["EmbeddingFile"]:
    """Open a file and check its form; its values are read as they are asked for.

    Raises
    ------
    InputError
        One line: what is wrong with the file, and what to do; from reading the values too.
    """
    with open_input(path, "embeddings") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield EmbeddingFile(path, archive)
        except InputError:
            raise
        except Exception as error:
            if isinstance(error, _OF_DAMAGE) or type(error).__module__ in _DAMAGE_OF:
                raise _damaged(path, error) from None
            raise


class EmbeddingFile:
    """An open file whose form is right. Made by `opened_embeddings`."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self._members = {member.filename: member for member in archive.infolist()}
        self.name, self.version = self._text("name"), self._text("version")
        self.clips = self._clips()
        with self._member("embeddings", INPUT_KINDS["embeddings"].limit) as file:
            self._shape, self._dtype = self._form(file)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Clips, frames and values."""
        return self._shape

    @property
    def dtype(self) -> str:
        """``float16`` or ``float32``."""
        return self._dtype.name

    def each(self) -> Iterator[tuple[str, Values]]:
        """Each clip with its values, (frames, values)."""
        _, frames, values = self._shape
        size = frames * values * self._dtype.itemsize
        at_once = max(1, _CHUNK // size)
        with self._member("embeddings", INPUT_KINDS["embeddings"].limit) as file:
            self._form(file)
            for start in range(0, len(self.clips), at_once):
                clips = self.clips[start : start + at_once]
                content = _read(file, size * len(clips))
                made = np.frombuffer(content, self._dtype).reshape(len(clips), frames, values)
                made = made.astype(self._dtype.newbyteorder("="), copy=False)
                finite = np.isfinite(made).all(axis=(1, 2))
                if not finite.all():
                    bad = clips[int(np.argmin(finite))]
                    raise self._wrong(
                        "embeddings must be finite numbers", f"NaN or infinity of the clip {shown(bad)}", "compute anew"
                    )
                yield from zip(clips, made, strict=True)

    def _wrong(self, rule: str, got: object, remedy: str) -> InputError:
        return InputError(f"{rule}, got {got} in {shown_path(self.path)}: {remedy}")

    @contextmanager
    def _member(self, key: str, limit: int) -> Iterator[IO[bytes]]:
        """The bytes of an array of the archive, which are as many as it is believed to need at most."""
        member = self._members.get(f"{key}.npy")
        if member is None:
            found = ", ".join(name.removesuffix(".npy") for name in list(self._members)[:10]) or "nothing"
            raise self._wrong(
                "a file of embeddings must hold clip_id, embeddings, name and version",
                f"{shown_path(found)} without {key}",
                "numpy.savez(FILE, clip_id=..., embeddings=..., name=..., version=...) writes one",
            )
        if member.file_size > limit:
            raise self._wrong(f"`{key}` may have at most {size_text(limit)}", size_text(member.file_size), "save less")
        if member.file_size > _SMALL + _MOST_SHRUNK * member.compress_size:
            raise self._wrong(
                f"`{key}` may be at most {_MOST_SHRUNK} times as large as in the archive",
                f"{size_text(member.file_size)} of {size_text(member.compress_size)}",
                "save real values by numpy.savez",
            )
        with self._archive.open(member) as file:
            yield file

    def _header(self, key: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        """Shape, whether the first axis varies fastest, and type of an array."""
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise self._wrong(f"`{key}` must be an array of numbers or texts", f"one of format {version}", "save anew")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, fortran, dtype = readers[version](file)
        if dtype.hasobject:
            remedy = "give all clips equally many frames" if key == "embeddings" else "save texts: numpy.array(ids)"
            raise self._wrong(f"`{key}` must be a plain array, for objects would need pickles", "objects", remedy)
        return shape, fortran, dtype

    def _form(self, file: IO[bytes]) -> tuple[tuple[int, int, int], np.dtype[Any]]:
        """Shape, as (clips, frames, values), and type of the embeddings, whose values follow in the file."""
        shape, fortran, dtype = self._header("embeddings", file)
        if dtype.kind != "f" or dtype.itemsize not in (2, 4):
            raise self._wrong("`embeddings` must be float16 or float32", dtype, "save them with .astype('float16')")
        if len(shape) not in (2, 3) or 0 in shape:
            raise self._wrong(
                "`embeddings` must have the axes clips, frames and values, or clips and values, none of them empty",
                shape,
                "save them in this shape",
            )
        if fortran and sum(size > 1 for size in shape) > 1:
            raise self._wrong(
                "`embeddings` must be saved row by row", "Fortran's order", "save numpy.ascontiguousarray(...) of it"
            )
        if shape[0] != len(self.clips):
            raise self._wrong(
                "`embeddings` must have a line for each `clip_id`", f"{shape[0]} and {len(self.clips)}", "save anew"
            )
        clips, frames, values = shape if len(shape) == 3 else (shape[0], 1, shape[1])
        size, there = math.prod(shape) * dtype.itemsize, self._members["embeddings.npy"].file_size - file.tell()
        if size != there:
            raise self._wrong(
                "`embeddings` must be as long as its header says", f"{there:,} bytes of {size:,}", "save it anew"
            )
        return (clips, frames, values), dtype

    def _texts(self, key: str, limit: int) -> npt.NDArray[Any]:
        """A small array of texts."""
        with self._member(key, limit) as file:
            shape, _, dtype = self._header(key, file)
            if dtype.kind not in "US":
                raise self._wrong(f"`{key}` must be text", dtype, "save str")
            size = math.prod(shape) * dtype.itemsize
            if size > limit or len(content := _read(file, size)) < size:
                raise self._wrong(f"`{key}` must be as long as its header says", shape, "save it anew")
        if dtype.itemsize == 0:
            return np.full(shape, "")
        found = np.frombuffer(content, dtype).reshape(shape)
        return found.astype(str)  # bytes that are no ASCII raise a ValueError

    def _text(self, key: str) -> str:
        found = self._texts(key, _MOST_OF_TEXT)
        text = str(found.reshape(-1)[0]) if found.size == 1 else ""
        if not text.strip() or not text.isprintable() or len(text) > _LONGEST_TEXT:
            raise self._wrong(
                f"`{key}` must be a text of one line and at most {_LONGEST_TEXT} characters",
                shown(found.tolist()),
                f"numpy.savez(FILE, {key}='...', ...) writes one",
            )
        return text

    def _clips(self) -> tuple[str, ...]:
        found = self._texts("clip_id", _MOST_OF_CLIPS)
        if found.ndim != 1 or not found.size:
            raise self._wrong("`clip_id` must be a list of at least one clip", f"the shape {found.shape}", "save one")
        clips = tuple(_clip_id(str(name)) for name in found)
        if len(set(clips)) < len(clips):
            seen: set[str] = set()
            twice = next(clip for clip in clips if clip in seen or seen.add(clip))  # type: ignore[func-returns-value]
            raise self._wrong("`clip_id` must name each clip once", f"{shown(twice)} twice", "remove one of them")
        return clips


def _clip_id(name: str) -> str:
    """The id of a clip by itself or by the name of its file, ``audio/airport-lisbon-1000-40000-a.wav``."""
    file = PurePosixPath(name.replace("\\", "/"))
    return file.stem if is_recording(file.name) else name


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        f"a file of embeddings must be an .npz of NumPy, got {shown_path(path)}, which cannot be read ({reason}): save "
        "it anew by numpy.savez"
    )


def _read(file: IO[bytes], size: int) -> bytes:
    """So many bytes, or what there is: an archive gives fewer than it is asked for at a time."""
    parts = []
    while size and (part := file.read(min(size, _CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
