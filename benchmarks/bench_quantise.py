"""What quantisation costs each architecture: decisions that stay, accuracy, bytes, time.

python benchmarks/bench_quantise.py [--folder DIR] [NAME ...]

Trains every built-in architecture (or those named) for a moment at a quarter of its width on simulated clips of two
seconds, in DIR if it is given (what is done there is not done again), and converts each in every way by the product's
own path. The latency ratio is to a file that TensorFlow's converter makes straight from the same model with its default
optimisation (dynamic range), both on one thread, medians of turns that alternate. The last lines are the two networks
whose published sizes are known, untrained, for stereo clips of ten seconds.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from asc_study.base.errors import InputError
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.deploy.quantise import quantise
from asc_study.deploy.runtime.network import Network
from asc_study.deploy.tflite import SCHEMES, convert
from asc_study.evaluation.metrics import evaluate
from asc_study.models import ARCHITECTURES, build_model
from asc_study.settings.study_file import load_study
from asc_study.simulation.simulate import simulate
from asc_study.store.tracking import Tracker
from asc_study.study.run_study import run_study
from asc_study.training.runtime import quiet

ROUNDS = 30

#: A line is printed when it is measured: all of them take minutes.
ROW = "{:<18}{:<10}{:>10}{:>12}{:>8}{:>12}{:>17}"

#: Networks of published sizes: options, and the bytes that their files may have.
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "small_fcnn": ({"block_filters": [36, 72, 96], "doubled_padding": True}, 258_656),
    "mobnet": ({}, 252_256),
}
PUBLISHED_SHAPE = (128, 461, 6)

Features = npt.NDArray[np.float32]


def straight(model: Any) -> bytes:
    """A file by TensorFlow's converter alone."""
    import tensorflow as tf

    with quiet(), redirect_stdout(io.StringIO()), warnings.catch_warnings():  # it prints what it saved
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return bytes(converter.convert())


def milliseconds(files: Sequence[bytes], features: Features) -> list[float]:
    """Median time of one clip of each file, taken in turn."""
    networks = [Network(content) for content in files]
    taken: list[list[float]] = [[] for _ in files]
    for turn in range(3 + ROUNDS):
        for network, times in zip(networks, taken, strict=True):
            start = time.perf_counter()
            network(features)
            if turn >= 3:
                times.append(time.perf_counter() - start)
    return [1000 * statistics.median(times) for times in taken]


def trained(names: Sequence[str]) -> IdentifiedDataset:
    """Train the architectures in this folder, and give their data."""
    if not Path("data").exists():
        simulate(Path("data"), clips_per_scene=20, seconds=2.0, seed=0, jobs=os.cpu_count() or 1)
    data = identify(Path("data"))
    training = {"epochs": 21, "first_cycle_epochs": 3, "batch_size": 16, "select_epoch": "last", "threads": 1}
    base = {"model": {"width": 0.25, "batch_norm_momentum": 0.9}, "features": {"n_mels": 64, "hop_length": 2048}}
    rows = [{"name": name, "architecture": name} for name in names]
    study = {"study": "quantised", "figures": "cdn", "baseline": False, "base": {**base, "training": training}}
    Path("study.yaml").write_text(yaml.safe_dump({**study, "rows": rows}), encoding="utf-8")
    for outcome in run_study(load_study(Path("study.yaml")), data, jobs=os.cpu_count() or 1):
        if outcome.status != "done":
            raise SystemExit(f"{outcome}")
    return data


def lines_of(name: str, data: IdentifiedDataset, tracker: Tracker) -> Iterator[list[str]]:
    """A line a scheme: what it changes, and how long a clip takes against the file made straight."""
    for scheme in SCHEMES:
        try:
            made = quantise(tracker, f"quantised/{name}@0", scheme, data=data)
        except InputError as error:
            yield [name, scheme, str(error)]
            continue
        before, after = (100 * evaluate(tables["test"])["test/acc_avg"] for tables in (made.before, made.tables))
        ratio = "-"
        if scheme == "dynamic":
            model = made.source.load()
            shape = Network(made.content).input_shape
            ours, theirs = milliseconds([made.content, straight_of(model, shape)], random_features(shape))
            ratio = f"{ours / theirs:.2f}"
        figures = [f"{100 * made.agreement['test']:.1f}", f"{before:.1f}", f"{after - before:+.1f}"]
        yield [name, scheme, *figures, f"{len(made.content):,}", ratio]


def random_features(shape: tuple[int, int, int]) -> Features:
    """Noise in place of a clip: how long it takes does not depend on what is heard."""
    return np.random.default_rng(0).random(shape, np.float32)


def straight_of(model: Any, shape: tuple[int, int, int]) -> bytes:
    """The same weights in a model of clips of a fixed length, converted straight."""
    import keras

    inputs = keras.Input(shape, batch_size=1)
    return straight(keras.Model(inputs, model(inputs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(ARCHITECTURES))
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="asc-study-quantise-"))
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    os.environ |= {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "ASC_STUDY_CACHE": str(folder.resolve() / "cache")}
    data = trained(options.names)
    tracker = Tracker()
    head = ["Architecture", "Scheme", "Agreement", "Float acc.", "Change", "Bytes", "Time / straight"]
    print(ROW.format(*head))
    for name in options.names:
        for line in lines_of(name, data, tracker):
            print(ROW.format(*line) if len(line) == len(head) else ", ".join(line), flush=True)
    print(f"\n{'network of published size':<28}{'bytes':>10}{'at most':>10}{'straight':>10}{'time / straight':>17}")
    for name, (settings, most) in PUBLISHED.items():
        model = build_model(name, input_shape=PUBLISHED_SHAPE, num_classes=3, **settings)
        ours, theirs = convert(model, PUBLISHED_SHAPE, "dynamic"), straight(model)
        times = milliseconds([ours, theirs], random_features(PUBLISHED_SHAPE))
        print(f"{name:<28}{len(ours):>10,}{most:>10,}{len(theirs):>10,}{times[0] / times[1]:>17.2f}")


if __name__ == "__main__":
    main()
