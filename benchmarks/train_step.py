"""Samples/s of one training step of every architecture, and its share of what the device's matrix product reaches.

Run with ``python benchmarks/train_step.py``; ``KERAS_BACKEND`` chooses the backend, which takes a GPU if it sees one.
Models have the paper's widths and clips the paper's size: crops of 128 x 400 x 3 and ten classes (Task 1a), or stereo
clips of 128 x 461 x 6 and three classes (Task 1b). A step is forward, backward and the update by SGD with momentum, on
a batch that lies in the device's memory already; loading and augmentation are measured by ``bench_batches.py``.

A step counts as 3 x 2 x multiply-accumulates: twice the forward pass for the two gradients. Its rate is given as a
share of a large square matrix product in the same precision, because the rate on a data sheet is one that no program
reaches; convolutions that need fewer multiplications than they count as (Winograd's) can exceed it. The product is
measured before every architecture and its fastest time counts; steps are medians, without the first, which compile.
"""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from asc_study.models import ARCHITECTURES, build_model
from asc_study.models.cost import count_macs

TASK_1A = ((128, 400, 3), 10)
TASK_1B = ((128, 461, 6), 3)
SIZES = {"small_fcnn": TASK_1B, "mobnet": TASK_1B}
WARM_UP_STEPS = 2


def find_device() -> tuple[str, bool]:
    """The name of the device that the backend computes on, and whether it is an accelerator."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            return str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)), True
    elif backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return str(device.device_kind), True
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(), True
    return f"CPU, {len(os.sched_getaffinity(0))} cores", False


def time_repeats(action: Callable[[], object], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return seconds


def matrix_product_rate(precision: str, on_accelerator: bool) -> float:
    """FLOP/s of a product of two square matrices in the type in which that precision computes."""
    size, products = (8192, 16) if on_accelerator else (2048, 2)
    compute_type = keras.DTypePolicy(precision).compute_dtype
    matrix = keras.ops.cast(np.random.default_rng(0).standard_normal((size, size)) / size**0.5, compute_type)

    def multiply() -> None:
        product = matrix
        for _ in range(products):
            product = keras.ops.matmul(product, matrix)
        float(keras.ops.cast(product[0, 0], "float32"))  # waits for the device

    multiply()
    return products * 2 * size**3 / min(time_repeats(multiply, 4))


def measure(architecture: str, precision: str, batch_size: int, steps: int) -> dict[str, float]:
    """Samples/s and FLOP/s of the training step of one architecture."""
    shape, classes = SIZES.get(architecture, TASK_1A)
    keras.utils.clear_session()
    gc.collect()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    model = build_model(architecture, input_shape=shape, num_classes=classes)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss="categorical_crossentropy")
    rng = np.random.default_rng(0)
    clips = keras.ops.convert_to_tensor(rng.random((batch_size, *shape), np.float32))
    labels = keras.ops.convert_to_tensor(np.eye(classes, dtype=np.float32)[rng.integers(0, classes, batch_size)])

    def step() -> None:
        float(model.train_on_batch(clips, labels))  # the loss: it waits for the device

    for _ in range(WARM_UP_STEPS):
        step()
    seconds = statistics.median(time_repeats(step, steps))
    flop = 3 * 2 * count_macs(model, shape) * batch_size
    return {"samples_per_second": batch_size / seconds, "flop_per_second": flop / seconds}


def parse(on_accelerator: bool) -> argparse.Namespace:
    half = "mixed_float16" if on_accelerator else "mixed_bfloat16"
    parser = argparse.ArgumentParser(description="Speed of the training step of every architecture.")
    parser.add_argument("--architectures", nargs="+", choices=list(ARCHITECTURES), default=list(ARCHITECTURES))
    parser.add_argument("--precisions", nargs="+", default=["float32", half], help="Keras dtype policies")
    parser.add_argument("--batch-size", type=int, default=32 if on_accelerator else 2)
    parser.add_argument("--steps", type=int, default=50 if on_accelerator else 5, help="steps that are timed")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser.parse_args()


def main() -> None:
    device, on_accelerator = find_device()
    options = parse(on_accelerator)
    backend = keras.backend.backend()
    print(f"{device}; {backend}; batches of {options.batch_size}; medians of {options.steps} steps")
    figures: list[dict[str, Any]] = []
    for precision in options.precisions:
        measured, peak = {}, 0.0
        for architecture in options.architectures:
            peak = max(peak, matrix_product_rate(precision, on_accelerator))
            measured[architecture] = measure(architecture, precision, options.batch_size, options.steps)
        print(f"\n{precision}: matrix product {peak / 1e12:.3g} TFLOP/s")
        print(f"{'training step':<16}{'samples/s':>12}{'TFLOP/s':>12}{'share':>8}")
        for architecture, found in measured.items():
            rate = found["flop_per_second"]
            print(f"{architecture:<16}{found['samples_per_second']:>12.4g}{rate / 1e12:>12.3g}{rate / peak:>8.0%}")
            figures.append(
                {"architecture": architecture, "precision": precision, "share_of_matrix_product": rate / peak, **found}
            )
    if options.json:
        context = {"device": device, "backend": backend, "batch_size": options.batch_size, "steps": options.steps}
        options.json.write_text(json.dumps({**context, "figures": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
