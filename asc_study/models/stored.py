"""How a stored model is opened: nothing is believed before sizes and links are seen, no code of it runs.

A few kilobytes can claim or unpack to hundreds of gigabytes, and HDF5 can point to other files, whose bytes would
become weights.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import h5py  # type: ignore[import-untyped]

from asc_study.base.errors import InputError
from asc_study.base.files import INPUT_KINDS, open_input, shown_path, size_text
from asc_study.base.quiet import quiet
from asc_study.models.backend import import_keras

if TYPE_CHECKING:
    import keras

#: Files of a ``.keras`` file.
_CONFIG: Final = "config.json"
_WEIGHTS: Final = "model.weights.h5"
_MEMBERS: Final = frozenset({_CONFIG, _WEIGHTS, "metadata.json"})

#: Most bytes of its description.
_LONGEST_CONFIG: Final = 16 * 1024**2

#: Times that a compressed file may grow; weights hardly do.
_MOST_GROWTH: Final = 100

#: Groups and arrays that a file may have.
_MOST_OBJECTS: Final = 100_000


class _Refused(ValueError):
    """Why a file is not opened, in one line."""


def load_model(path: Path | str) -> "keras.Model":
    """Load a ``.keras`` file.

    Raises
    ------
    InputError
        One line for whatever is wrong with it: it is missing or damaged, unpacks to more than weights do, points to
        other files, or holds code.
    """
    with open_input(path, "weights") as file:
        try:
            _check_archive(file, Path(path).stat().st_size)
        except (_Refused, OSError, ValueError, RuntimeError, LookupError, TypeError, zipfile.BadZipFile) as error:
            raise _unusable(path, error) from None
    started = import_keras()
    try:
        with quiet():  # the first model of a process starts the devices
            loaded: keras.Model = started.saving.load_model(path, compile=False, safe_mode=True)
        if not isinstance(loaded, started.Model):
            raise _Refused(f"it holds a {type(loaded).__name__}")
    except Exception as error:  # every layer has errors of its own for a description that does not fit it
        raise _unusable(path, error) from None
    return loaded


def check_hdf5(file: h5py.File, stored: int) -> None:
    """Refuse an HDF5 file that points to others, or claims more than its bytes can hold.

    Parameters
    ----------
    file
        The open file.
    stored
        Its size in bytes.

    Raises
    ------
    ValueError
        If it does; one line.
    """
    claimed, seen, groups = 0, 0, [file]
    visited: set[Any] = set()
    while groups:
        group = groups.pop()
        for name in group:
            seen += 1
            if seen > _MOST_OBJECTS:
                raise _Refused(f"it has more than {_MOST_OBJECTS:,} groups and arrays")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _Refused(f"a link leads out of its place at {name!r:.80}")
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if address in visited:
                continue
            visited.add(address)
            if isinstance(found, h5py.Group):
                groups.append(found)
            elif isinstance(found, h5py.Dataset):
                claimed += _claimed(found, name)
    limit = INPUT_KINDS["weights"].limit
    if claimed > min(limit, _MOST_GROWTH * stored + _LONGEST_CONFIG):
        raise _Refused(f"it has {size_text(stored)} and claims {size_text(claimed)}")


def _claimed(dataset: h5py.Dataset, name: str) -> int:
    """Bytes that an array takes in memory."""
    if dataset.external or dataset.is_virtual:
        raise _Refused(f"the array {name!r:.80} lies in another file")
    if h5py.check_vlen_dtype(dataset.dtype) is not None and h5py.check_string_dtype(dataset.dtype) is None:
        raise _Refused(f"the array {name!r:.80} holds no numbers")
    size = int(dataset.size or 0) * int(dataset.dtype.itemsize)
    if size and not dataset.id.get_storage_size():
        raise _Refused(f"the array {name!r:.80} claims {size_text(size)} and holds none")
    return size


def _check_archive(file: Any, stored: int) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if len(set(names)) < len(names) or not set(names) <= _MEMBERS or not {_CONFIG, _WEIGHTS} <= set(names):
            raise _Refused(f"it must hold {', '.join(sorted(_MEMBERS))}, got {sorted(names)[:5]!r:.200}")
        size = sum(member.file_size for member in members)
        if size > min(INPUT_KINDS["weights"].limit, _MOST_GROWTH * stored):
            raise _Refused(f"it has {size_text(stored)} and unpacks to {size_text(size)}")
        if archive.getinfo(_CONFIG).file_size > _LONGEST_CONFIG:
            raise _Refused(f"its description may have {size_text(_LONGEST_CONFIG)}")
        try:
            described = json.loads(archive.read(_CONFIG))
        except RecursionError:
            raise _Refused("its description is nested too deeply") from None
        if not isinstance(described, dict):
            raise _Refused("its description is no JSON object")
        weights = archive.read(_WEIGHTS)
    with h5py.File(io.BytesIO(weights), "r") as opened:
        check_hdf5(opened, len(weights))


def _unusable(path: Path | str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"{shown_path(path)} is not a model that can be loaded ({reason:.200}): name another, or train again"
    )
