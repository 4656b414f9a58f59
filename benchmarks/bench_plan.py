"""Seconds until a study of 1,000 rows is planned: without a store, on an empty one, and where all are finished.

Run with ``python benchmarks/bench_plan.py [--rows 1000]``. The study is a grid of 1,000 points; its data are 260
simulated clips of a second; the finished runs are made in the store, not trained. Each figure is that of a whole
process of ``asc-study plan``, its start included: the median of several, and beside it for how long a processor worked
on it, which is what a machine takes that does nothing else.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from measured import keep, time_command

from asc_study.base.contract import Kind, Tag
from asc_study.base.provenance import fingerprint, short_digest
from asc_study.data.identified import identify
from asc_study.settings.run_config import flatten
from asc_study.settings.study_file import load_study
from asc_study.simulation.simulate import simulate
from asc_study.store.tracking import Tracker
from asc_study.study.plan import specs

STUDY = """\
study: bench
base:
  architecture: fcnn
  model: {width: 0.125}
  features: {n_mels: 32, hop_length: 1024}
  training: {epochs: 2, batch_size: 16}
grid:
  training.select_epoch: [last, best]
  batch_augmentation.spec_augment.frequency_mask_ratio: [0.1, 0.2, 0.3, 0.4, 0.5]
  training.lr_max: [0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001]
  batch_augmentation.mixup.alpha: [ALPHAS]
"""

#: Metrics of a run that evaluated its test split, about as many as there are.
METRICS = {f"test/scene_acc_{number}": number / 80 for number in range(80)}


def finish_all(study_file: Path, data: Path) -> None:
    """Make a finished run of each row in the store."""
    study, identified, tracker = load_study(study_file), identify(data), Tracker()
    for spec in specs(study, identified.digest):
        tags = {
            Tag.STUDY: study.name,
            Tag.ROW: spec.row,
            Tag.KIND: Kind.TRAIN,
            Tag.SEED: str(spec.seed),
            Tag.TASK: spec.config.task,
            Tag.DATASET: data.name,
            Tag.DATASET_DIGEST: identified.digest,
            Tag.SIGNATURE: spec.signature,
            Tag.COMBINATION: spec.combination,
            Tag.FINGERPRINT: short_digest(fingerprint()),
        }
        run_id = tracker.create_run(study.name, spec.label, tags, flatten(spec.config.model_dump()))
        tracker.log_metrics(run_id, METRICS)
        tracker.finish(run_id)


def main() -> None:
    """Plan on both stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000, help="A multiple of 100.")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="asc-study-") as folder:
        os.chdir(folder)
        data, study_file = Path("sim"), Path("bench.yaml")
        simulate(data, clips_per_scene=3, seconds=1.0, seed=0)
        alphas = ", ".join(f"{(number + 1) / 1000:g}" for number in range(rows // 100))
        study_file.write_text(STUDY.replace("ALPHAS", alphas), encoding="utf-8")
        command = [sys.executable, "-m", "asc_study", "plan", str(study_file), "--data", str(data)]
        found = time_command(command, f"plan of {rows:,} rows, no store")
        Tracker()
        found += time_command(command, f"plan of {rows:,} rows, an empty store")
        finish_all(study_file, data)
        found += time_command(command, f"plan of {rows:,} rows, all runs finished")
    print(keep("plan", found))


if __name__ == "__main__":
    main()
