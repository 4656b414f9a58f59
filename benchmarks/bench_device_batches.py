"""Samples/s of training when the host makes the batches and when the device does, one after the other in one process.

Run with ``python benchmarks/bench_device_batches.py``; ``KERAS_BACKEND`` chooses the backend, which takes a GPU if it
sees one. Clips have the paper's size (128 bands; 431 frames mono, or 469 stereo for small_fcnn) and lie in the store as
float16; a step loads, makes deltas, masks, crops, mixes and trains. The first epoch, which compiles, does not count;
figures are medians over the others. On a CPU the device is the host, so that only an accelerator's figures say what is
gained: there the defaults are the paper's widths, here an eighth of them.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from measured import Figure, keep, machine
from train_step import find_device

from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENES
from asc_study.features.store import FeatureStore
from asc_study.settings.run_config import resolve
from asc_study.training.fit import Training

ARCHITECTURES = ("fcnn", "small_fcnn")


def store_of(clips: int, *, stereo: bool) -> FeatureStore:
    frames, channels = (469, 2) if stereo else (431, 1)
    values = np.random.default_rng(0).random((min(clips, 500), 128, frames, channels), np.float32).astype(np.float16)
    return FeatureStore([values], [(0, index % len(values)) for index in range(clips)])


def clip_table(clips: int) -> pd.DataFrame:
    rows = [
        (f"clip{index}", "", SCENES[index % 10], GROUP_OF_SCENE[SCENES[index % 10]], "lisbon", f"{index}", "a", "train")
        for index in range(clips)
    ]
    columns = ["clip_id", "path", "scene", "scene_group", "city", "location", "device", "split"]
    return pd.DataFrame(rows, columns=columns)


def samples_per_second(architecture: str, where: str, options: argparse.Namespace) -> float:
    stereo = architecture == "small_fcnn"
    augmentation = {"mixup": {}, "spec_augment": {}} | ({} if stereo else {"random_crop": {"frames": 400}})
    config = resolve(
        {
            "task": "three_class" if stereo else "ten_class",
            "architecture": architecture,
            "model": {"width": options.width},
            "batch_augmentation": augmentation,
            "training": {
                "batches": where,
                "batch_size": options.batch_size,
                "epochs": options.epochs + 1,
                "precision": options.precision,
            },
        }
    )
    training = Training(config, clip_table(options.clips), store_of(options.clips, stereo=stereo), 0)
    seconds = []
    for _ in range(options.epochs + 1):
        start = time.perf_counter()
        training.train_epoch()
        seconds.append(time.perf_counter() - start)
    samples = options.clips // options.batch_size * options.batch_size
    return samples / statistics.median(seconds[1:])


def parse(on_accelerator: bool) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Samples/s with batches of the host and of the device.")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--clips", type=int, default=6400 if on_accelerator else 128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3, help="epochs that are timed")
    parser.add_argument("--width", type=float, default=1 if on_accelerator else 0.125)
    parser.add_argument("--precision", default="mixed_float16" if on_accelerator else "float32")
    return parser.parse_args()


def main() -> None:
    device, on_accelerator = find_device()
    options = parse(on_accelerator)
    print(f"{device}; width {options.width:g}, {options.precision}, batches of {options.batch_size}")
    figures: list[Figure] = []
    for architecture in options.architectures:
        host, own = (samples_per_second(architecture, where, options) for where in ("host", "device"))
        print(
            f"{architecture:<12} host {host:>9.1f} samples/s   device {own:>9.1f}   ratio {own / host:.2f}", flush=True
        )
        figures += [(f"{architecture}, host", host, "samples/s"), (f"{architecture}, device", own, "samples/s")]
    name = "".join(letter if letter.isalnum() else "-" for letter in device.lower())
    keep("device-batches", figures, device=name if on_accelerator else machine())


if __name__ == "__main__":
    main()
