"""A share of the train clips: by scene and device, nested, and in a run's identity only where it is not 1."""

from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.data.clips import Dataset
from asc_study.data.layout import read_dataset
from asc_study.settings.identity import run_identity, signature
from asc_study.settings.run_config import resolve
from asc_study.training.run_data import data_key, split_clips


@pytest.fixture(scope="module")
def dataset(simulated: Path) -> Dataset:
    return read_dataset(simulated, None)


def cut(dataset: Dataset, fraction: float, **validation):
    config = resolve({"training": {"clip_fraction": fraction}, "validation": {"share": 0.4} | validation})
    return split_clips(dataset, config)


def ids(clips, split: str) -> set[str]:
    return set(clips.loc[clips["split"] == split, "clip_id"])


def test_a_share_keeps_every_scene_and_device_and_leaves_the_other_splits_alone(dataset: Dataset):
    whole, half = cut(dataset, 1), cut(dataset, 0.5)
    groups = ["scene", "device"]
    counts = whole[whole["split"] == "train"].groupby(groups).size()
    kept = half[half["split"] == "train"].groupby(groups).size()
    expected = counts.map(lambda count: max(1, round(count / 2)))  # both round half to even
    assert kept.to_dict() == expected.to_dict()
    assert 0 < kept.sum() < counts.sum()
    for split in ("validation", "test"):
        assert ids(half, split) == ids(whole, split)
    positions = dataset.clips["clip_id"].to_numpy()[half.index]
    assert list(positions) == list(half["clip_id"])


def test_a_smaller_share_is_a_part_of_a_larger_one_and_the_seed_draws_it(dataset: Dataset):
    assert ids(cut(dataset, 0.3), "train") <= ids(cut(dataset, 0.6), "train") <= ids(cut(dataset, 1), "train")
    assert ids(cut(dataset, 0.5), "train") == ids(cut(dataset, 0.5), "train")
    others = [ids(cut(dataset, 0.5, seed=seed), "train") for seed in (1, 2)]
    assert others[0] != others[1]


def test_a_held_out_device_changes_nothing_of_the_others(dataset: Dataset):
    without = {clip for clip in ids(cut(dataset, 0.5), "train") if not clip.endswith("-s3")}
    assert ids(cut(dataset, 0.5, holdout_devices=["s3"]), "train") == without


def test_a_share_is_part_of_what_a_run_is():
    config, half = resolve({}), resolve({"training": {"clip_fraction": 0.5}})
    assert signature(run_identity(half, "x"), 0) != signature(run_identity(config, "x"), 0)
    assert data_key(half) != data_key(config)


@pytest.mark.parametrize("fraction", [0, 1.5])
def test_a_share_out_of_range_is_refused(fraction: float):
    with pytest.raises(InputError, match=r"`training\.clip_fraction` must be "):
        resolve({"training": {"clip_fraction": fraction}})
