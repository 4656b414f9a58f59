"""A network in TFLite form, computed by LiteRT."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError

Probabilities = npt.NDArray[np.float64]


class Network:
    """A ``.tflite`` classifier that takes and gives float32, one clip at a time.

    Parameters
    ----------
    content
        The file.
    threads
        That it computes with.

    Raises
    ------
    InputError
        If LiteRT cannot run it, or it is no classifier of features.
    """

    def __init__(self, content: bytes, *, threads: int = 1) -> None:
        try:
            self._interpreter = _interpreter(content, threads)
            (taken,), (given,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:  # broken, several inputs, or an operator that LiteRT lacks
            reason = " ".join(str(error).split())
            raise InputError(f"a network must be TFLite that LiteRT runs ({reason:.300}): convert it again") from None
        shape = [int(size) for size in taken["shape"]]
        if len(shape) != 4 or shape[0] != 1 or {taken["dtype"], given["dtype"]} != {np.float32}:
            raise InputError(
                f"a network must take one clip of float32 features, got the shape {shape}: convert it with asc-study"
            )
        self.input_shape = (shape[1], shape[2], shape[3])
        self.classes = int(given["shape"][-1])
        self._taken, self._given = taken["index"], given["index"]

    def __call__(self, features: npt.NDArray[np.float32]) -> Probabilities:
        """Probabilities (classes,) of one clip's features (frequency, time, channel); they sum to 1."""
        self._interpreter.set_tensor(self._taken, features[np.newaxis])
        self._interpreter.invoke()
        output: Any = self._interpreter.get_tensor(self._given)[0]
        probabilities = output.astype(np.float64)
        result: Probabilities = probabilities / probabilities.sum()
        return result


def why_not_run(content: bytes) -> str:
    """What LiteRT says of a ``.tflite`` file that it cannot run; empty for one that it can."""
    try:
        _interpreter(content, 1)
    except (ValueError, RuntimeError) as error:
        return " ".join(str(error).split())
    return ""


def _interpreter(content: bytes, threads: int) -> Any:
    """LiteRT, ready to compute; raises what it raises."""
    from ai_edge_litert.interpreter import Interpreter

    with _without_notices():
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _without_notices() -> Iterator[None]:
    """Keep what LiteRT writes to file descriptor 2, which names its delegate at every start, off the terminal."""
    original, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
        os.close(nowhere)
