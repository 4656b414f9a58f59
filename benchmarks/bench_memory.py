"""Memory of the process that launches a study of 200 rows, as the rows end: it must not grow with them.

Run with ``python benchmarks/bench_memory.py [--rows 200] [--jobs 2]``. The rows train the network that the tests train,
an epoch each, on simulated clips of a second. What is measured is the resident memory of the launching process when it
tells that a row has ended; with one job that process trains too.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from measured import Figure, keep

from asc_study.simulation.simulate import simulate

NETWORK = Path(__file__).resolve().parents[1] / "tests" / "tiny_network.py"

STUDY = """\
study: bench
base:
  architecture: tiny_network:TINY
  features: {n_mels: 16, hop_length: 4096}
  training: {epochs: 1, first_cycle_epochs: 1, batch_size: 8, select_epoch: last, threads: 1, clip_fraction: 0.2}
grid:
  training.lr_max: [RATES]
"""

#: A row's end is told so.
ENDED: Final = re.compile(r"\[(\d+)/\d+\] ")

#: Rows after which the memory is kept, besides the last.
KEPT_EVERY: Final = 20


def resident_mb(process: int) -> float:
    """Memory of a process in MB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def is_kept(row: int, rows: int) -> bool:
    """Whether the memory after a row is kept."""
    return row % KEPT_EVERY == 0 or row == rows


def launch(rows: int, jobs: int) -> dict[int, float]:
    """Train the study; the memory of the launching process by the number of rows that have ended."""
    rates = ", ".join(f"{0.001 * (number + 1):.3f}" for number in range(rows))
    Path("bench.yaml").write_text(STUDY.replace("RATES", rates), encoding="utf-8")
    command = [sys.executable, "-m", "asc_study", "run", "bench.yaml", "--data", "sim", "--jobs", str(jobs)]
    resident = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if match := ENDED.match(line):
                row = int(match[1])
                resident[row] = resident_mb(process.pid)
                if is_kept(row, rows):
                    print(f"row {row:>4}: {resident[row]:.0f} MB", flush=True)
    if process.returncode or len(resident) != rows:
        raise SystemExit(f"the study did not end well: exit code {process.returncode}, {len(resident)} of {rows} rows")
    return resident


def main() -> None:
    """Launch, and keep every 20th row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asc-study-") as folder:
        os.chdir(folder)
        shutil.copy(NETWORK, folder)
        simulate(Path("sim"), clips_per_scene=3, seconds=1.0, seed=0)
        resident = launch(options.rows, options.jobs)
    found: list[Figure] = [
        (f"launching process at row {row} of {options.rows}, {options.jobs} jobs", megabytes, "MB")
        for row, megabytes in resident.items()
        if is_kept(row, options.rows)
    ]
    print(keep("memory", found))


if __name__ == "__main__":
    main()
