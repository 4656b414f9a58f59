"""The table of README.md, *Measured*, of what the benchmarks kept: ``python benchmarks/table.py [MACHINE]``.

MACHINE is the end of the names of the files in ``benchmarks/results/``; by default they are those of this machine.
"""

import csv
import sys
from typing import Final

from measured import RESULTS, machine

#: What a line is called, its benchmark, and the figures that stand beside each other: of the authors' loop, and ours.
LINES: Final = (
    ("feature extraction, one process (10 s clips/s)", "features", "authors' loop, one process", "ours, one process"),
    ("feature extraction, two processes", "features", "authors' loop, one process", "ours, two"),
    (
        "training batches with loading and deltas (samples/s)",
        "batches",
        "authors, loading and deltas",
        "ours, one pass",
    ),
    (
        "the same, two threads",
        "batches",
        "authors, loading and deltas",
        "ours, one pass, 2 threads",
    ),
    (
        "the same, one thread, the authors' deltas in memory beforehand",
        "batches",
        "authors, deltas in memory",
        "ours, one pass",
    ),
)


def kept(benchmark: str, of: str) -> dict[str, float]:
    """The figures of a benchmark on a machine."""
    file = RESULTS / f"{benchmark}-{of}.csv"
    if not file.exists():
        raise SystemExit(f"there must be {file}: run python benchmarks/bench_{benchmark}.py on that machine")
    with file.open(newline="", encoding="utf-8") as opened:
        return {line["what"]: float(line["value"]) for line in csv.DictReader(opened)}


def table(of: str) -> str:
    """The table in Markdown."""
    lines = ["| what | authors' loop | ours | ratio |", "|---|---|---|---|"]
    for what, benchmark, theirs, ours in LINES:
        figures = kept(benchmark, of)
        lines.append(
            f"| {what} | {figures[theirs]:,.0f} | {figures[ours]:,.0f} | {figures[ours] / figures[theirs]:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(sys.argv[1] if len(sys.argv) > 1 else machine()))
