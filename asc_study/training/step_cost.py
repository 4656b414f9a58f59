"""What a step of a training costs on this machine: a few are taken on made-up clips, in a process of their own."""

import re
import statistics
import time
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.base.errors import InputError
from asc_study.settings.run_config import RunConfig
from asc_study.training.runtime import start_keras
from asc_study.workers.calls import pack, pack_args, run_packed
from asc_study.workers.local import Process

if TYPE_CHECKING:
    import keras

    from asc_study.features.store import FeatureStore

#: Steps before the first that counts (the first compiles, memory of batches grows until the queue is full), the most
#: that count, and the seconds after which no more are taken once there are a few.
_WARM_UP: Final = 3
_STEPS: Final = 20
_FEWEST: Final = 5
_SECONDS: Final = 5.0

#: Batches that are predicted to time a prediction.
_PREDICTED: Final = 8

#: Different clips that the made-up ones are of.
_CLIPS: Final = 64


@dataclass(frozen=True)
class StepCost:
    """What was measured of a training.

    Attributes
    ----------
    start_seconds
        From the beginning of a training to the end of its first step, which compiles.
    step_seconds
        Of any other step, its batch included: the median.
    clip_seconds
        Of the prediction of a clip.
    epoch_seconds
        Of an epoch besides its steps and predictions: both begin, with threads that make batches.
    peak_bytes
        The most memory that the process of these steps had, with all that it imported.
    weights_bytes
        Of the variables of the network.
    state_bytes
        Of those of the network and of the optimiser.
    """

    start_seconds: float
    step_seconds: float
    clip_seconds: float
    epoch_seconds: float
    peak_bytes: int
    weights_bytes: int
    state_bytes: int


def measure_apart(config: RunConfig, shape: tuple[int, int, int], threads: int) -> StepCost:
    """`measure_step` in a process that does nothing else, and ends with it.

    Parameters
    ----------
    config, shape
        See `measure_step`.
    threads
        Of the libraries besides TensorFlow, whose number is a setting of the run.

    Raises
    ------
    InputError
        If the process does not live to the end of the steps.
    """
    worker = Process(threads)
    try:
        cost: StepCost = worker.submit(run_packed, pack(measure_step), pack_args((config, shape))).result()
    except BrokenExecutor:
        batch = config.training.batch_size
        raise InputError(
            f"steps of {config.architecture} on {batch} clips must fit into memory to be measured, the system ended "
            "their process: lower training.batch_size"
        ) from None
    finally:
        worker.end(kill=False)  # killed, it would leave semaphores behind, which Python warns of
    return cost


def measure_step(config: RunConfig, shape: tuple[int, int, int]) -> StepCost:
    """Train a few steps as `asc_study.training.fit` does, on clips of noise, and predict a few batches.

    Parameters
    ----------
    config
        The settings of a run. A teacher or a row that it continues is not waited for: neither costs a step anything.
    shape
        Mel bands, frames and channels of the stored features of a clip.
    """
    start_keras(config.training.threads)
    import numpy as np
    import pandas as pd

    from asc_study.base.taxonomy import label_column
    from asc_study.features.store import FeatureStore
    from asc_study.training.fit import set_up

    # A cycle shorter than its warm-up is refused; the learning rate costs nothing.
    training = config.training.model_copy(update={"warmup_steps": 0})
    config = config.model_copy(update={"training": training, "distillation": None, "continues": None})
    count = (_WARM_UP + _STEPS) * training.batch_size
    noise = np.random.default_rng(0).random((min(_CLIPS, count), *shape)).astype(config.features.dtype)
    store = FeatureStore([noise], [(0, clip % len(noise)) for clip in range(count)], deltas=config.features.deltas)
    clips = pd.DataFrame({label_column(config.task): [config.classes[i % len(config.classes)] for i in range(count)]})
    began = time.perf_counter()
    parts = set_up(config, clips, store, 0, None, None)
    variables = [*parts.model.variables, *parts.model.optimizer.variables]
    ends = _time_steps(parts.fitted, parts.fed)
    start_seconds, step_seconds = ends[0] - began, _median(ends[_WARM_UP - 1 :])
    clip_seconds = _median(_time_prediction(parts.model, store, training.batch_size)) / training.batch_size
    began = time.perf_counter()
    _time_steps(parts.fitted, parts.fed, most=1)
    _time_prediction(parts.model, store, training.batch_size, most=1)
    both = time.perf_counter() - began
    return StepCost(
        start_seconds=start_seconds,
        step_seconds=step_seconds,
        clip_seconds=clip_seconds,
        epoch_seconds=max(0.0, both - step_seconds - clip_seconds * training.batch_size),
        peak_bytes=_peak_bytes(),
        weights_bytes=_bytes_of(parts.model.variables),
        state_bytes=_bytes_of(variables),
    )


def _median(ends: list[float]) -> float:
    return statistics.median(after - before for before, after in pairwise(ends))


def _time_steps(model: "keras.Model", batches: "keras.utils.PyDataset", most: int = _WARM_UP + _STEPS) -> list[float]:
    """When each step ended."""
    import keras

    ends: list[float] = []

    def note(step: int, logs: dict[str, Any] | None = None) -> None:
        ends.append(time.perf_counter())
        enough = len(ends) - _WARM_UP >= _FEWEST and ends[-1] - ends[_WARM_UP - 1] > _SECONDS
        if enough or len(ends) == most:
            model.stop_training = True

    model.fit(batches, shuffle=False, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=note)])
    return ends


def _time_prediction(
    model: "keras.Model", store: "FeatureStore", batch_size: int, most: int = 1 + _PREDICTED
) -> list[float]:
    """When the prediction of each batch ended; the very first compiles."""
    import keras

    from asc_study.training.batches import EvaluationBatches

    ends: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            keras.ops.convert_to_numpy((logs or {})["outputs"])  # an accelerator may still be at it
            ends.append(time.perf_counter())

    clips = range(most * batch_size)
    model.predict(EvaluationBatches(store, clips, batch_size=batch_size), verbose=0, callbacks=[Clock()])
    return ends


def _bytes_of(variables: "list[keras.Variable]") -> int:
    import keras

    return sum(keras.ops.convert_to_numpy(variable).nbytes for variable in variables)


def _peak_bytes() -> int:
    """The most resident memory that this process had."""
    status = Path("/proc/self/status")
    # Not `getrusage`: on Linux that begins with the memory of the process that started this one.
    if status.exists() and (found := re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)):
        return int(found[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
