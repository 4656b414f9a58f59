"""The state of an unfinished training: one file, replaced as a whole at the end of every epoch."""

import json
import os
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Arrays = list[npt.NDArray[Any]]


@dataclass
class TrainingState:
    """What has to be known to go on after an epoch.

    Attributes
    ----------
    history
        One mapping of epoch metrics for each finished epoch.
    best_epoch
        Index (from 0) of the epoch whose weights ``best_weights`` are; -1 before the first.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_weights: Arrays = field(default_factory=list)


def save_checkpoint(path: Path, model: keras.Model, state: TrainingState) -> None:
    """Write the variables of model (random states too) and optimiser, and ``state``; a kill leaves the old file."""
    arrays = {f"variable_{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(_variables(model))}
    arrays |= {f"best_{i}": array for i, array in enumerate(state.best_weights)}
    text = json.dumps({"history": state.history, "best_epoch": state.best_epoch})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, state=np.asarray(text), **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(path: Path, model: keras.Model) -> TrainingState:
    """Set the variables of a compiled model and its optimiser to those saved.

    Without a file, or with a damaged one, the model stays as it is and the state is a fresh one.
    """
    try:
        with np.load(path) as saved:
            values = [saved[f"variable_{i}"] for i in range(len(_variables(model)))]
            best = [saved[f"best_{i}"] for i in range(sum(name.startswith("best_") for name in saved.files))]
            text = json.loads(str(saved["state"]))
    except FileNotFoundError:
        return TrainingState()
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        print(f"the checkpoint {path} is damaged: the run starts again", file=sys.stderr)
        return TrainingState()
    for variable, value in zip(_variables(model), values, strict=True):
        variable.assign(value)
    return TrainingState(text["history"], text["best_epoch"], best)


def _variables(model: keras.Model) -> list[keras.Variable]:
    metrics = {id(variable) for variable in model.metrics_variables}  # built late, and reset in every epoch anyway
    return [variable for variable in [*model.variables, *model.optimizer.variables] if id(variable) not in metrics]
