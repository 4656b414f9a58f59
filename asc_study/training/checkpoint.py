"""The state of an unfinished training: one file, replaced as a whole at the end of every epoch."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from asc_study.base.files import remove_left_over, writing

Arrays = list[npt.NDArray[Any]]


@dataclass
class TrainingState:
    """What has to be known to go on after an epoch.

    Attributes
    ----------
    history
        One mapping of epoch metrics for each finished epoch.
    kept
        Index (from 0) of an epoch -> the model's weights after it, for the epochs that may be chosen.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    kept: dict[int, Arrays] = field(default_factory=dict)


def save_checkpoint(path: Path, model: keras.Model, state: TrainingState) -> None:
    """Write the variables of model (random states too) and optimiser, and ``state``; a kill leaves the old file."""
    arrays = {f"variable_{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(_variables(model))}
    for epoch, weights in state.kept.items():
        arrays |= {f"kept_{epoch}_{i}": array for i, array in enumerate(weights)}
    kept = {epoch: len(weights) for epoch, weights in state.kept.items()}
    text = json.dumps({"history": state.history, "kept": list(kept.items())})
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as file:
        np.savez(file, state=np.asarray(text), **arrays)
    remove_left_over(path.parent)


def load_checkpoint(path: Path, model: keras.Model) -> TrainingState:
    """Set the variables of a compiled model and its optimiser to those saved.

    Without a file, or with a damaged one, the model stays as it is and the state is a fresh one.
    """
    variables = _variables(model)
    try:
        with np.load(path) as saved:
            values = [saved[f"variable_{i}"] for i in range(len(variables))]
            text = json.loads(str(saved["state"]))
            kept = {int(epoch): [saved[f"kept_{epoch}_{i}"] for i in range(count)] for epoch, count in text["kept"]}
        history = [{str(name): float(value) for name, value in epoch.items()} for epoch in text["history"]]
        # Before the first is set: half of an old state in a new model would be neither.
        _require_shapes(values, variables)
        for weights in kept.values():
            _require_shapes(weights, model.weights)
    except FileNotFoundError:
        return TrainingState()
    except Exception as error:  # of whatever reads a zip, an array or JSON: a changed byte can reach all of it
        why = " ".join(str(error).split()) or type(error).__name__
        print(f"the checkpoint {path} is damaged ({why:.200}): the run starts again", file=sys.stderr)
        return TrainingState()
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return TrainingState(history, kept)


def _require_shapes(values: Arrays, variables: Sequence[keras.Variable]) -> None:
    found, wanted = [value.shape for value in values], [tuple(variable.shape) for variable in variables]
    if found != wanted:
        raise ValueError("it is that of another model")


def _variables(model: keras.Model) -> list[keras.Variable]:
    metrics = {id(variable) for variable in model.metrics_variables}  # built late, and reset in every epoch anyway
    return [variable for variable in [*model.variables, *model.optimizer.variables] if id(variable) not in metrics]
