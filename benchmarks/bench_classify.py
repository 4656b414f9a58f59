"""A bundle in use: import and first clip, latency, throughput with one and two threads, memory of a long stream.

python benchmarks/bench_classify.py [BUNDLE]

Without BUNDLE two untrained networks of a two-stage system are bundled: small-FCNN at the widths of Task 1b, for mono
clips of ten seconds; weights do not change how long anything takes. Every line is measured in a process of its own that
imports nothing but what the bundle carries. Latencies are medians over clips of noise at the bundle's rate, from
samples to probabilities; memory is the largest resident set of the process so far (of Linux: VmHWM).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CLIPS, STREAM = 50, 1000

#: Runs in the process that is measured. Arguments: bundle, threads, clips.
PROGRAM = """
import re, statistics, sys, time
from pathlib import Path
start = time.perf_counter()
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1] + "/runtime")
from asc_study.deploy.runtime.system import load_bundle
import numpy as np
imported = time.perf_counter()
system = load_bundle(sys.argv[1], threads=int(sys.argv[2]))
rng, rate = np.random.default_rng(0), 44_100
memory = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
taken = []
for clip in range(int(sys.argv[3])):
    samples = 0.1 * rng.standard_normal(round(rate * system.seconds)).astype(np.float32)
    begun = time.perf_counter()
    system.classify(samples, rate)
    ended = time.perf_counter()
    if not clip:
        print(f"import {imported - start:.2f} s, with the first clip {ended - start:.2f} s, {memory():.0f} MB", end="")
    taken.append(ended - begun)
    if clip + 1 in (100, 1000):
        print(f", {memory():.0f} MB after {clip + 1} clips", end="")
middle = statistics.median(taken[1:] or taken)
print(f", {1000 * middle:.1f} ms a clip, {len(taken) / sum(taken):.0f} clips/s")
"""


def build(folder: Path) -> Path:
    """Bundle two untrained networks that are joined by the paper's product."""
    from asc_study.base.taxonomy import CLASSES
    from asc_study.deploy.bundle import BundleMember, _files
    from asc_study.deploy.bundle_folder import write_bundle
    from asc_study.deploy.runtime.fusion import FusionTree
    from asc_study.deploy.sources import Source
    from asc_study.deploy.tflite import convert, inspect
    from asc_study.ensemble.fusion_file import FusionFile, System
    from asc_study.ensemble.rules.average import Average
    from asc_study.ensemble.two_stage import FittedTwoStage, ProductJoin
    from asc_study.features.logmel import LogMelSettings
    from asc_study.models import build_model
    from asc_study.settings.run_config import FeatureConfig
    from asc_study.store.records import RunRecord

    rate = 44_100
    settings = LogMelSettings(rate)
    shape = (settings.n_mels, settings.frames(10 * rate) - 8, 3)
    members = []
    for task in ("ten_class", "three_class"):
        options = {"block_filters": [36, 72, 96]}
        model = build_model("small_fcnn", input_shape=shape, num_classes=len(CLASSES[task]), **options)
        content = convert(model, shape, "dynamic")
        source = Source(task, task, FeatureConfig(), rate, 1, 10 * rate, lambda: model)  # noqa: B023 - not called
        record = RunRecord(task, "1", "FINISHED", {"asc.row": task, "asc.signature": "0" * 64}, {}, {}, 0.0)
        members.append(BundleMember(task, source, record, "dynamic", content, inspect(content), None))
    systems = tuple(System(member.key, member.key, "train", member.key, "") for member in members)
    whole = FittedTwoStage(Average(("ten_class",)), Average(("three_class",)), ProductJoin(1.0))
    files, _ = _files(members, FusionTree("top", {"top": FusionFile("fixed", CLASSES, systems, whole)}), "b", {}, "")
    write_bundle(files, folder / "bundle")
    return folder / "bundle"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        bundle = options.bundle or build(Path(made))
        size = sum(file.stat().st_size for file in bundle.glob("members/*")) / 1024
        print(f"{bundle.name}: {size:,.1f} kB of networks", flush=True)
        for name, threads, clips in (("one thread", 1, CLIPS), ("two threads", 2, CLIPS), ("a stream", 1, STREAM)):
            arguments = [sys.executable, "-c", PROGRAM, str(bundle.resolve()), str(threads), str(clips)]
            ran = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd="/")
            print(f"{name:<12} {ran.stdout}", end="", flush=True)


if __name__ == "__main__":
    main()
