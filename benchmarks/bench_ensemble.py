"""Selection and overlap of 60 systems on 2,970 clips of ten classes, in seconds; medians of several runs."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from measured import Figure, keep

from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.ensemble.fuse import FUSIONS
from asc_study.ensemble.select import select
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.overlap import overlap

SYSTEMS, CLIPS = 60, 2970


def made_stack() -> Stack:
    rng = np.random.default_rng(0)
    clip = np.arange(CLIPS)
    label = clip % 10
    hard = rng.normal(size=(CLIPS, 10))  # what all systems find hard
    logits = 0.8 * hard + rng.normal(size=(SYSTEMS, CLIPS, 10))
    logits[:, clip, label] += rng.uniform(1.0, 2.0, size=(SYSTEMS, 1))
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    context = pd.DataFrame(
        {
            "clip_id": [f"{i:05d}" for i in clip],
            "scene": [SCENES[k] for k in label],
            "device": [DEVICES[i % 9] for i in clip],
            "city": "lisbon",
            "location": [str(i // 30) for i in clip],
            "split": "validation",
        }
    )
    return Stack(tuple(f"system{i:02d}" for i in range(SYSTEMS)), context, SCENES, probabilities)


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    measured = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        measured.append(time.perf_counter() - start)
    return statistics.median(measured)


def main() -> None:
    found: list[Figure] = []

    def tell(what: str, taken: float, target: str = "") -> None:
        found.append((what, taken, "s"))
        print(f"  {what}: {taken:.2f}{target}")

    sample = made_stack()
    print(f"{SYSTEMS} systems x {CLIPS} clips x 10 classes, median of 3 runs, seconds")
    tell("overlap matrices", seconds(lambda: overlap(sample.probabilities, sample.label)), " (target below 2)")
    for method, members in (("greedy", 10), ("overlap", 10), ("caruana", 10)):
        took = seconds(lambda method=method, members=members: select(sample, method=method, max_members=members))
        tell(f"{method}, up to {members} members", took, " (target below 10)" if method == "greedy" else "")
    few = sample.only(sample.names[:16])
    tell("exhaustive, 16 candidates, up to 5 members", seconds(lambda: select(few, method="exhaustive"), 1))
    five = sample.only(sample.names[:5])
    for name, rule in FUSIONS.items():
        tell(f"fusion of 5, {name}", seconds(lambda rule=rule: rule.fit(five).combine(five), 1))
    print(keep("ensemble", found))


if __name__ == "__main__":
    main()
