"""Where what was measured is kept: one file for each benchmark and machine in ``benchmarks/results/``."""

import csv
import os
import platform
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).resolve().parent / "results"

#: Times that a command is run to time it.
ROUNDS: Final = 3

#: What was measured, the figure, its unit.
Figure = tuple[str, float, str]


def machine() -> str:
    """The machine in words that may stand in a file's name: its processor, and the cores that this process may use."""
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists() and (match := re.search(r"^model name\s*: (.+)$", described.read_text(), re.MULTILINE)):
        name = match[1]
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{slug}-{len(os.sched_getaffinity(0))}-cores"


def keep(benchmark: str, figures: Iterable[Figure], *, device: str = "") -> Path:
    """Write the figures of a benchmark on this machine (or on a device of it) over those of its last run."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{benchmark}-{device or machine()}.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(("what", "value", "unit"))
        writer.writerows(
            (what, f"{value:.4g}" if value < 1000 else f"{value:.0f}", unit) for what, value, unit in figures
        )
    return file


def time_command(command: Sequence[str], what: str) -> list[Figure]:
    """Seconds of a process, its start included, and for how long a processor worked on it: medians of several runs.

    The second figure is what a machine takes that does nothing else.
    """
    taken, worked = [], []
    for _ in range(ROUNDS):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(time.perf_counter() - start)
        worked.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    found = [(what, statistics.median(taken), "s"), (f"{what}, processor", statistics.median(worked), "s")]
    print(f"{what:<40}{found[0][1]:>8.2f} s, worked {found[1][1]:.2f} s", flush=True)
    return found
