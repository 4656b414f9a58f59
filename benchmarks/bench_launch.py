"""Seconds of a launch that has nothing to train, and until the first feature of a fresh process is there.

Run with ``python benchmarks/bench_launch.py``. The study has 13 rows of the network that the tests train, on 260
simulated clips of a second, and is finished; the launch tells what is done, compares the rows and writes their figures.
The feature is that of ten seconds of noise. Each figure is that of a whole process, its start included.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from measured import keep, time_command

from asc_study.simulation.simulate import simulate

NETWORK = Path(__file__).resolve().parents[1] / "tests" / "tiny_network.py"

STUDY = """\
study: bench
base:
  architecture: tiny_network:TINY
  features: {n_mels: 16, hop_length: 4096}
  training: {epochs: 1, first_cycle_epochs: 1, batch_size: 8, select_epoch: last, threads: 1}
grid:
  training.lr_max: [0.01, 0.011, 0.012, 0.013, 0.014, 0.015, 0.016, 0.017, 0.018, 0.019, 0.02, 0.021, 0.022]
"""

FIRST_FEATURE = """\
import tempfile
from pathlib import Path
from asc_study.features.audio import Recording
from asc_study.features.logmel import LogMelSettings
from asc_study.features.store import extract
with tempfile.TemporaryDirectory() as folder:
    extract([Recording(Path("clip.wav"), "0" * 64)], LogMelSettings(44_100), Path(folder), progress=False)
"""


def main() -> None:
    """Finish the study, then launch it again."""
    with tempfile.TemporaryDirectory(prefix="asc-study-") as folder:
        os.chdir(folder)
        shutil.copy(NETWORK, folder)
        Path("bench.yaml").write_text(STUDY, encoding="utf-8")
        data = Path("sim")
        simulate(data, clips_per_scene=3, seconds=1.0, seed=0)
        noise = 0.1 * np.random.default_rng(0).standard_normal(10 * 44_100)
        soundfile.write("clip.wav", noise, 44_100, subtype="PCM_24")
        launch = [sys.executable, "-m", "asc_study", "run", "bench.yaml", "--data", str(data)]
        subprocess.run(launch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        found = time_command(launch, "launch of a finished study of 13 rows")
        found += time_command([sys.executable, "-c", FIRST_FEATURE], "first feature of a fresh process")
    print(keep("launch", found))


if __name__ == "__main__":
    main()
