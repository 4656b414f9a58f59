"""Fault A2: results that change without a new schema version make old runs pass for new ones.

The golden file holds what a tiny training predicted under a schema version. After a change of results that is meant,
raise `SCHEMA_VERSION`, say so in CHANGELOG.md and write the file anew: ``python tests/study/test_golden.py``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from asc_study.base.paths import cache_dir
from asc_study.data.identified import identify
from asc_study.settings.identity import SCHEMA_VERSION
from asc_study.settings.run_config import resolve
from asc_study.training.run_data import run_data

GOLDEN = Path(__file__).with_name("golden.json")

#: Processors and libraries differ in the last bits, which a few steps of training make somewhat larger.
TOLERANCE = 2e-4

SETTINGS = {
    "architecture": "tiny_network:TINY",
    "features": {"n_mels": 16},
    "batch_augmentation": {"mixup": {}, "spec_augment": {}},
    "training": {"epochs": 3, "batch_size": 10, "threads": 2, "lr_max": 0.01, "select_by": "acc_avg"},
    "validation": {"share": 0.3},
}


def trained(folder: Path) -> dict[str, list[float]]:
    """Clip -> probabilities of the first test clips."""
    from asc_study.training.runtime import start_keras

    start_keras(2)
    from asc_study.training.fit import train

    data, config = identify(folder), resolve(SETTINGS)
    made = run_data(config, data.dataset, data.audio_digests)
    result = train(config, made.clips, made.store, 0, checkpoint=cache_dir() / "golden.npz")
    table = result.predictions["test"].set_index("clip_id").sort_index().iloc[:8]
    return {clip: [round(float(value), 5) for value in row] for clip, row in table[list(config.classes)].iterrows()}


@pytest.mark.slow
def test_results_change_with_the_schema_version_only(simulated):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["schema"] == SCHEMA_VERSION, "write the golden file anew, and say so in CHANGELOG.md"
    now = trained(simulated)
    assert list(now) == list(golden["predictions"])
    np.testing.assert_allclose(
        list(now.values()),
        list(golden["predictions"].values()),
        atol=TOLERANCE,
        err_msg="results changed: raise SCHEMA_VERSION and say so in CHANGELOG.md",
    )


if __name__ == "__main__":
    import tempfile

    from asc_study.simulation.simulate import simulate

    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as scratch:
        simulate(Path(scratch) / "sim", clips_per_scene=3, seconds=1.0, seed=1)
        golden = {"schema": SCHEMA_VERSION, "predictions": trained(Path(scratch) / "sim")}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
