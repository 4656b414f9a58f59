"""Folds: every location of the training split is validation once."""

from collections import Counter

import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.data.folds import cut_fold, fold_of_places


@pytest.fixture
def clips() -> pd.DataFrame:
    """Three scenes with 10 locations of 3 clips in two cities, a scene with one location, and test clips."""
    rows = []
    for scene in ("bus", "park", "tram"):
        for place in range(10):
            city = ("lisbon", "paris")[place % 2]
            rows += [(f"{scene}{place}{device}", scene, city, f"{scene}{place}", device, "train") for device in "abc"]
    rows += [(f"metro{i}", "metro", "lisbon", "metro0", "a", "train") for i in range(4)]
    rows += [(f"test{i}", "bus", "paris", "elsewhere", "a", "test") for i in range(5)]
    return pd.DataFrame(rows, columns=["clip_id", "scene", "city", "location", "device", "split"])


def validated(clips: pd.DataFrame, fold: int, **settings) -> pd.DataFrame:
    cut = cut_fold(clips, fold=fold, folds=5, seed=0, **settings)
    return cut[cut["split"] == "validation"]


def test_every_clip_is_validation_once_but_those_of_the_only_location_of_a_scene(clips) -> None:
    seen = Counter(name for fold in range(5) for name in validated(clips, fold)["clip_id"])
    assert set(seen.values()) == {1}
    train = clips[clips["split"] == "train"]
    assert set(train["clip_id"]) - set(seen) == {f"metro{i}" for i in range(4)}


def test_no_location_is_on_both_sides_and_test_stays(clips) -> None:
    for fold in range(5):
        cut = cut_fold(clips, fold=fold, folds=5, seed=0)
        places = {split: set(part["city"] + part["location"]) for split, part in cut.groupby("split")}
        assert not places["train"] & places["validation"]
        assert (cut["split"] == "test").sum() == 5
        assert len(cut) == len(clips)


def test_folds_are_alike_in_scenes_and_cities(clips) -> None:
    for fold in range(5):
        part = validated(clips, fold)
        assert part["scene"].value_counts().to_dict() == {"bus": 6, "park": 6, "tram": 6}  # two locations of each
        assert set(part["city"]) == {"lisbon", "paris"}


def test_the_order_of_the_rows_means_nothing_and_the_seed_does(clips) -> None:
    train = clips[clips["split"] == "train"]
    assert fold_of_places(train, 5, 0) == fold_of_places(train.sample(frac=1, random_state=1), 5, 0)
    assert fold_of_places(train, 5, 0) != fold_of_places(train, 5, 1)


def test_with_no_fold_everything_is_trained_on(clips) -> None:
    assert cut_fold(clips, fold=5, folds=5, seed=0)["split"].value_counts().to_dict() == {"train": 94, "test": 5}


def test_held_out_devices_are_validated_on_and_never_trained_on(clips) -> None:
    for fold in range(5):
        cut = cut_fold(clips, fold=fold, folds=5, seed=0, holdout_devices=["c"])
        by_split = {split: set(part["device"]) for split, part in cut.groupby("split")}
        assert by_split["train"] == {"a", "b"}
        assert by_split["validation"] == {"a", "b", "c"}
    assert "c" not in set(cut_fold(clips, fold=5, folds=5, seed=0, holdout_devices=["c"])["device"])
    with pytest.raises(InputError, match="a held-out device must be one of the training split"):
        validated(clips, 0, holdout_devices=["s6"])
