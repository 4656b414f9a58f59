"""What a study will take: totals by hand from a step of a known cost, and once from steps that are timed."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.settings.run_config import resolve
from asc_study.settings.study_file import load_study
from asc_study.study.effort import efforts
from asc_study.study.estimate import estimate
from asc_study.study.estimated import Estimate, Machine
from asc_study.training.run_data import run_data, split_clips
from asc_study.training.step_cost import StepCost

STUDY = """\
study: s
base:
  architecture: tiny_network:TINY
  features: {n_mels: 16, hop_length: 4096}
  training: {epochs: 10, batch_size: 8, threads: 2}
rows:
  - {name: a, training: {lr_max: 0.01}}
  - {name: longer, training: {epochs: 20}, batch_augmentation: {mixup: {alpha: 0.2}}}
  - {name: cropped, batch_augmentation: {random_crop: {frames: 2}}}
  - {name: copied, training: {batch_size: 16}, waveform_augmentation: {noise: {copies: 2}}}
"""

#: Of a step: 100 s, as the first 150 s; 2 s for a clip that is predicted, 5 s for an epoch besides.
COST = StepCost(
    start_seconds=150.0,
    step_seconds=100.0,
    clip_seconds=2.0,
    epoch_seconds=5.0,
    peak_bytes=10**9,
    weights_bytes=1000,
    state_bytes=2000,
)


@pytest.fixture
def study_file(isolated: Path) -> Path:
    (isolated / "s.yaml").write_text(STUDY)
    return isolated / "s.yaml"


@pytest.fixture
def data(simulated: Path) -> IdentifiedDataset:
    return identify(simulated)


@pytest.fixture
def clips(data: IdentifiedDataset) -> dict[str, int]:
    """How many clips of the data are in each split, validation cut off train."""
    return split_clips(data.dataset, resolve({}))["split"].value_counts().to_dict()


@pytest.fixture
def made(study_file: Path, data: IdentifiedDataset, monkeypatch: pytest.MonkeyPatch):
    """A function that estimates the study on a machine, all rows with one run but for the first, which has two."""
    measured = []

    def measure(config, shape, threads):
        measured.append((config.training.batch_size, shape))
        return COST

    monkeypatch.setattr("asc_study.study.estimate.measure_apart", measure)
    study = load_study(study_file)
    all_runs = {"a": 2, "longer": 1, "cropped": 1, "copied": 1}

    def make(machine: Machine | None = None, runs: Mapping[str, int] = all_runs) -> tuple[Estimate, list]:
        measured.clear()
        found = efforts(study.rows, data.dataset)
        return estimate(study, data, found, runs, machine or Machine(), progress=False), measured

    return make


def test_totals_are_those_of_the_runs_and_steps_are_timed_once_for_a_kind(made, clips):
    found, measured = made()
    train, validation, test = clips["train"], clips["validation"], clips["test"]
    # 44,100 samples in hops of 4,096 are 11 frames; a crop changes what a step takes, mixup does not.
    assert measured == [(8, (16, 11, 1)), (8, (16, 11, 1)), (16, (16, 11, 1))]
    assert [kind.rows for kind in found.kinds] == [("a", "longer"), ("cropped",), ("copied",)]
    assert [kind.runs for kind in found.kinds] == [3, 1, 1]
    # The first kind trains 2 x 10 and 20 epochs.
    assert [kind.steps for kind in found.kinds] == [40 * (train // 8), 10 * (train // 8), 10 * (3 * train // 16)]
    # Validation after each epoch, and both splits at the end of a run.
    once = 10 * validation + validation + test
    assert [kind.predicted for kind in found.kinds] == [40 * validation + 3 * (validation + test), once, once]
    assert [kind.epochs for kind in found.kinds] == [40, 10, 10]
    seconds = [kind.steps * 100 + kind.runs * 50 + kind.epochs * 5 + kind.predicted * 2 for kind in found.kinds]
    assert [kind.seconds for kind in found.kinds] == seconds
    assert found.hours == pytest.approx(sum(seconds) / 3600)
    assert found.hours_side_by_side == found.hours


def test_disk_is_features_checkpoints_and_what_is_logged(made, clips):
    found, _ = made()
    # All clips, and two copies of each training clip, of 16 x 11 float16.
    assert found.features_bytes == (sum(clips.values()) + 2 * clips["train"]) * 16 * 11 * 2
    # The state beside the one that it replaces, and the weights of the best epoch.
    assert found.checkpoints_bytes == 2 * 2000 + 1000
    # Two tables of predictions, ten classes a line; a page with plotly.js; the weights.
    lines = clips["validation"] + clips["test"]
    assert found.logged_bytes == 5 * (2 * 10_000 + lines * (24 + 4 * 10) + 2_000_000 + 1000)
    assert found.disk_bytes == found.features_bytes + found.checkpoints_bytes + found.logged_bytes
    assert found.memory_bytes == 10**9


def test_features_in_the_cache_take_no_more_room(made, data, clips):
    run_data(resolve({"features": {"n_mels": 16, "hop_length": 4096}}), data.dataset, data.audio_digests)
    found, _ = made()
    assert found.features_bytes == 2 * clips["train"] * 16 * 11 * 2


def test_another_machine_is_faster_and_trains_several_at_a_time(made, clips):
    here, _ = made()
    there, _ = made(Machine(speed=2.0))
    assert there.hours == here.hours / 2
    side_by_side, _ = made(Machine(jobs=2))
    assert side_by_side.hours == here.hours
    assert side_by_side.hours_side_by_side == here.hours / 2
    assert side_by_side.memory_bytes == 2 * here.memory_bytes
    assert side_by_side.checkpoints_bytes == 2 * here.checkpoints_bytes
    # With a process for each run the longest decides.
    many, _ = made(Machine(jobs=100))
    steps, predicted = 20 * (clips["train"] // 8), 21 * clips["validation"] + clips["test"]
    assert many.hours_side_by_side == pytest.approx((steps * 100 + 50 + 20 * 5 + predicted * 2) / 3600)
    assert many.memory_bytes == 5 * here.memory_bytes


def test_what_is_done_is_not_estimated(made):
    found, measured = made(runs={"cropped": 1})
    assert measured == [(8, (16, 11, 1))]
    assert [kind.rows for kind in found.kinds] == [("cropped",)]
    nothing, measured = made(runs={})
    assert not measured
    assert nothing.disk_bytes == nothing.memory_bytes == nothing.hours == 0
    assert nothing.render() == "estimate: nothing is to be trained"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--estimate", "--speed", "0"), "--speed must be above 0, got 0: "),
        (("--estimate", "--speed", "nan"), "--speed must be above 0, got nan: "),
        (("--estimate", "--jobs", "0"), "--jobs must be at least 1, got 0: "),
        (("--speed", "2"), "--speed describes a machine for --estimate, got 2 alone: add --estimate"),
        (("--jobs", "2"), "--jobs describes a machine for --estimate, got 2 alone: add --estimate"),
    ],
)
def test_a_machine_that_cannot_be_is_refused_in_one_line(asc, study_file, simulated, options, match):
    code, _, told = asc("plan", str(study_file), "--data", str(simulated), *options)
    assert code == 2
    assert match in told.splitlines()[-1]


def test_a_step_that_does_not_fit_is_an_error_of_the_input(made, monkeypatch):
    def measure(config, shape, threads):
        raise InputError("steps must fit")

    monkeypatch.setattr("asc_study.study.estimate.measure_apart", measure)
    with pytest.raises(InputError, match=r"^row 'a': steps must fit$"):
        made()


@pytest.mark.slow
def test_steps_are_timed_and_nothing_is_written(asc, study_file, simulated):
    before = sorted(study_file.parent.rglob("*"))
    shown = (
        "plan",
        str(study_file),
        "--data",
        str(simulated),
        "--set",
        "training.batch_size=4",
        "--json",
        "--estimate",
    )
    code, out, _ = asc(*shown, "--speed", "2")
    assert code == 0
    found = json.loads(out)["estimate"]
    assert sum(kind["hours"] for kind in found["kinds"]) == pytest.approx(found["hours"])
    for kind in found["kinds"]:
        assert 0 < kind["step_seconds"] < kind["start_seconds"]
        assert kind["prediction_seconds"] > 0
        assert kind["memory_bytes"] > 100e6
        assert kind["epoch_seconds"] >= 0
    assert found["disk_bytes"]["all"] == sum(
        found["disk_bytes"][part] for part in ("features", "checkpoints", "logged")
    )
    assert sorted(study_file.parent.rglob("*.db")) == []
    assert [path for path in sorted(study_file.parent.rglob("*")) if "__pycache__" not in str(path)] == before
