"""Starting Keras and its backend in a process: quietly, and with the run's number of threads."""

import logging
import sys
from contextlib import suppress

import numpy as np

from asc_study.base.errors import TrainingFailure
from asc_study.base.quiet import quiet
from asc_study.models.backend import import_keras


def start_keras(threads: int) -> None:
    """Import Keras and let TensorFlow compute with ``threads`` threads in this process: its results depend on them.

    Raises
    ------
    InputError
        If Keras' back end cannot be imported.
    TrainingFailure
        If TensorFlow already computes with another number.
    """
    with quiet():
        keras = import_keras()
        if keras.backend.backend() != "tensorflow":
            return
        import tensorflow as tf

        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            except RuntimeError:
                raise TrainingFailure(
                    f"training.threads is {threads}, but TensorFlow already runs with another number in this process: "
                    "start a new process"
                ) from None
        if gpus := tf.config.list_physical_devices("GPU"):
            with suppress(RuntimeError):  # already started by an earlier run of this process
                for gpu in gpus:  # runs beside each other share the memory
                    tf.config.experimental.set_memory_growth(gpu, True)
            tf.config.experimental.enable_op_determinism()
        # TensorFlow remembers of each type whether it is one of its composites, and remembers yes for ever if another
        # thread that imports something disturbs the question: asked once, now, of what a training step is made of.
        tf.nest.flatten([(0, [None]), {"a": 0.0}, np.zeros(1, np.float32)], expand_composites=True)
        tf.config.list_logical_devices()  # starts the devices while their notices are caught


def forget_gradients() -> None:
    """Let go of earlier trainings: TensorFlow keeps the gradients of a traced step, and so its graph, for ever.

    They are used while the step is traced and never after it; of trainings that take turns none is being traced now.
    """
    ops = sys.modules.get("tensorflow.python.framework.ops")
    entries = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    for name in [name for name in entries if name.startswith("CustomGradient-")]:
        del entries[name]
