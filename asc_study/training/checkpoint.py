"""The state of an unfinished training: a file, replaced as a whole at the end of every epoch, and one a kept epoch.

Weights that are kept are written once. They are written before the state that names them, and removed after the first
state that does not, so whatever moment a kill chooses, the state on the disk finds its weights.
"""

import glob
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from asc_study.base.files import remove_left_over, writing
from asc_study.base.provenance import fingerprint, git_commit

Arrays = list[npt.NDArray[Any]]

#: Raise it when the files change: a checkpoint of another form is not read.
_FORM: Final = 2

#: Digits of a signature that a line shows.
_SHOWN: Final = 10


@dataclass
class TrainingState:
    """What has to be known to go on after an epoch.

    Attributes
    ----------
    history
        One mapping of epoch metrics for each finished epoch.
    kept
        Index (from 0) of an epoch -> the model's weights after it, for the epochs that may be chosen.
    written
        Those of ``kept`` that lie in a file of their own, with its name.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    kept: dict[int, Arrays] = field(default_factory=dict)
    written: dict[int, str] = field(default_factory=dict)


class _OfNoUse(Exception):
    """A checkpoint that is whole, but not one to go on from."""


def save_checkpoint(path: Path, model: keras.Model, state: TrainingState, signature: str = "") -> None:
    """Write the variables of model (random states too) and optimiser, and ``state``; a kill leaves the old state.

    Parameters
    ----------
    path
        The file of the state; those of kept weights lie beside it, and their names begin as its name does.
    model
        The compiled model, as it is after the last epoch of ``state``.
    state
        The rest; told which of its weights are written.
    signature
        Of the run that is trained.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    newest = len(state.history) - 1  # its weights are the model's own
    state.written = {
        epoch: state.written.get(epoch) or _write_kept(path, epoch, weights)
        for epoch, weights in state.kept.items()
        if epoch != newest
    }
    about = {
        "form": _FORM,
        "made_by": _made_by(signature),
        "history": state.history,
        "kept": [(epoch, state.written.get(epoch, "")) for epoch in state.kept],
    }
    arrays = {f"variable_{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(_variables(model))}
    with writing(path) as file:
        np.savez(file, state=np.asarray(json.dumps(about)), **arrays)
    for other in path.parent.glob(f"{glob.escape(path.stem)}.kept-*{path.suffix}"):
        if other.name not in state.written.values():
            other.unlink(missing_ok=True)
    remove_left_over(path.parent)


def load_checkpoint(path: Path, model: keras.Model, signature: str = "") -> TrainingState:
    """Set the variables of a compiled model and its optimiser to those saved.

    Without a file the model stays as it is and the state is a fresh one; so it is, with a line, if the files are
    damaged, of an earlier version, or of a run of another signature.

    Raises
    ------
    OSError, MemoryError
        If the files cannot be read at the moment: they may be good, and a fresh state would be written over them.
    """
    if not path.exists():
        return TrainingState()
    variables = _variables(model)
    try:
        saved = _read(path)
        about = json.loads(str(saved["state"]))
        _require_own(about, signature)
        values = [saved[f"variable_{i}"] for i in range(len(variables))]
        history = [{str(name): float(value) for name, value in epoch.items()} for epoch in about["history"]]
        written = {int(epoch): str(name) for epoch, name in about["kept"] if name}
        kept = {epoch: _in_order(_read(path.with_name(name))) for epoch, name in written.items()}
        # Before the first is set: half of an old state in a new model would be neither.
        _require_shapes(values, variables)
        for weights in kept.values():
            _require_shapes(weights, model.weights)
    except _OfNoUse as error:
        return _start_again(path, str(error))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of whatever reads a zip, an array or JSON: a changed byte can reach all of it
        why = " ".join(str(error).split()) or type(error).__name__
        return _start_again(path, f"damaged ({why:.200})")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    _tell_of_changes(path, about["made_by"], _made_by(signature))
    epochs = [int(epoch) for epoch, _ in about["kept"]]
    return TrainingState(history, {epoch: kept.get(epoch) or model.get_weights() for epoch in epochs}, written)


def _start_again(path: Path, why: str) -> TrainingState:
    print(f"the checkpoint {path} is {why}: the run starts again", file=sys.stderr)
    return TrainingState()


def _require_own(about: Mapping[str, Any], signature: str) -> None:
    if about.get("form") != _FORM:
        raise _OfNoUse(f"of another version (form {about.get('form', 1)}, here {_FORM})")
    theirs = str(about["made_by"]["signature"])
    if theirs != signature:
        raise _OfNoUse(f"of another run ({theirs[:_SHOWN] or 'none'}, this is {signature[:_SHOWN] or 'none'})")


def _tell_of_changes(path: Path, theirs: Mapping[str, str], here: Mapping[str, str]) -> None:
    changed = [name for name in {**theirs, **here} if theirs.get(name) != here.get(name)]
    if changed:
        what = ", ".join(f"{name} {theirs.get(name, '-')}, here {here.get(name, '-')}" for name in changed)
        print(f"note: the run goes on from {path}, which other code computed ({what})", file=sys.stderr)


def _made_by(signature: str) -> dict[str, str]:
    return {"signature": signature, **_here()}


@cache
def _here() -> dict[str, str]:
    """The commit, the back end, the device and the versions of this process."""
    return {"commit": git_commit(), **fingerprint()}


def _write_kept(path: Path, epoch: int, weights: Arrays) -> str:
    """Write the weights of an epoch; the name tells them from those of another machine that trains the same run."""
    checksum = 0
    for array in weights:
        checksum = zlib.crc32(array.tobytes(), checksum)
    name = f"{path.stem}.kept-{epoch}-{checksum:08x}{path.suffix}"
    arrays: dict[str, Any] = {str(i): array for i, array in enumerate(weights)}
    with writing(path.with_name(name)) as file:
        np.savez(file, **arrays)
    return name


def _read(file: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file. An `OSError` is of the disk and a `MemoryError` of the machine, never of the content."""
    try:
        content = io.BytesIO(file.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{file.name} is missing") from None
    try:
        with zipfile.ZipFile(content) as members:
            changed = members.testzip()
    except OSError as error:  # of a decoder that a changed byte chose
        raise ValueError(str(error)) from None
    if changed:  # before its shape is believed, which may ask for any memory
        raise ValueError(f"{changed} was changed")
    content.seek(0)
    with np.load(content) as saved:
        return {str(name): saved[name] for name in saved.files}


def _in_order(saved: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    return [saved[str(i)] for i in range(len(saved))]


def _require_shapes(values: Arrays, variables: Sequence[keras.Variable]) -> None:
    found, wanted = [value.shape for value in values], [tuple(variable.shape) for variable in variables]
    if found != wanted:
        raise ValueError("it is that of another model")


def _variables(model: keras.Model) -> list[keras.Variable]:
    metrics = {id(variable) for variable in model.metrics_variables}  # built late, and reset in every epoch anyway
    return [variable for variable in [*model.variables, *model.optimizer.variables] if id(variable) not in metrics]
