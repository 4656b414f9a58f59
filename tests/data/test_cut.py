import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import GROUP_OF_SCENE
from asc_study.data.clips import CLIP_COLUMNS
from asc_study.data.cut import cut_validation, keep_devices_of_train


def table(*places: tuple[str, str, str, str, dict[str, int]]) -> pd.DataFrame:
    """Build a clip table from (scene, city, location, split, clips by device)."""
    rows = []
    for scene, city, location, split, devices in places:
        for device, count in devices.items():
            for segment in range(count):
                clip_id = f"{scene}-{city}-{location}-{segment}-{device}"
                values = (clip_id, f"/{clip_id}.wav", scene, GROUP_OF_SCENE[scene], city, location, device, split)
                rows.append(dict(zip(CLIP_COLUMNS, values, strict=True)))
    return pd.DataFrame(rows).sort_values("clip_id", ignore_index=True)


def grid(scenes: int = 4, cities: int = 3, places: int = 4, devices: dict[str, int] | None = None) -> pd.DataFrame:
    """Every scene in every city at some places, plus a test part in the same cities."""
    rows = []
    for s, scene in enumerate(list(GROUP_OF_SCENE)[:scenes]):
        for c in range(cities):
            for p in range(places):
                rows.append((scene, f"city{c}", f"{s}{c}{p}", "train", devices or {"a": 5, "b": 1}))
            rows.append((scene, f"city{c}", f"{s}{c}9", "test", {"a": 2, "s4": 2}))
    return table(*rows)


def places_of(clips: pd.DataFrame, split: str) -> set[str]:
    chosen = clips[clips["split"] == split]
    return set(chosen["city"] + "-" + chosen["location"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.9])
def test_validation_is_cut_by_location(seed, share):
    clips = grid()
    cut = cut_validation(clips, share=share, seed=seed)

    assert places_of(cut, "train").isdisjoint(places_of(cut, "validation"))
    for column in ("scene", "city"):
        everything = set(clips[column])
        assert set(cut.loc[cut["split"] == "train", column]) == everything
        assert set(cut.loc[cut["split"] == "validation", column]) == everything
    assert cut.drop(columns="split").equals(clips.drop(columns="split"))
    test = clips["split"] == "test"
    assert cut.loc[test].equals(clips.loc[test])
    assert set(cut.loc[~test, "split"]) == {"train", "validation"}


def test_the_share_is_met_as_near_as_whole_locations_allow():
    # 20 places of 6 clips a scene: a quarter of 120 clips is 5 places.
    cut = cut_validation(grid(scenes=3, cities=4, places=5), share=0.25, seed=1)
    assert cut[cut["split"] == "validation"].groupby("scene").size().tolist() == [30, 30, 30]


def test_the_cut_follows_from_the_seed_alone():
    clips = grid()
    shuffled = clips.sample(frac=1.0, random_state=3)
    first = cut_validation(clips, share=0.1, seed=7)
    assert first.equals(cut_validation(shuffled, share=0.1, seed=7))
    others = [places_of(cut_validation(clips, share=0.1, seed=seed), "validation") for seed in range(8)]
    assert any(places != places_of(first, "validation") for places in others)


def test_a_scene_with_one_location_stays_in_train():
    one_each = [("airport", "rome", "1", "train", {"a": 3}), ("bus", "rome", "2", "train", {"a": 3})]
    cut = cut_validation(table(*one_each), share=0.5, seed=0)
    assert set(cut["split"]) == {"train"}

    cut = cut_validation(table(*one_each, ("bus", "oslo", "3", "train", {"a": 3})), share=0.5, seed=0)
    assert set(cut.loc[cut["split"] == "validation", "scene"]) == {"bus"}
    assert set(cut.loc[cut["split"] == "train", "scene"]) == {"airport", "bus"}


def test_a_place_is_a_city_and_a_location():
    clips = table(*((s, c, "1", "train", {"a": 4}) for s, c in [("bus", "rome"), ("bus", "oslo"), ("bus", "bonn")]))
    cut = cut_validation(clips, share=0.1, seed=0)
    assert len(places_of(cut, "validation")) == 1
    assert len(places_of(cut, "train")) == 2


def test_a_place_of_two_scenes_is_never_on_both_sides():
    clips = table(
        *((scene, "rome", place, "train", {"a": 4}) for scene in ("bus", "tram") for place in ("1", "2", "3"))
    )
    for seed in range(5):
        cut = cut_validation(clips, share=0.3, seed=seed)
        assert places_of(cut, "train").isdisjoint(places_of(cut, "validation"))
        assert set(cut.loc[cut["split"] == "validation", "scene"]) == {"bus", "tram"}
        assert set(cut.loc[cut["split"] == "train", "scene"]) == {"bus", "tram"}


def test_a_city_with_one_location_is_not_taken_from_train_where_others_can_be():
    clips = table(
        ("bus", "oslo", "1", "train", {"a": 4}),
        *(("bus", "rome", str(place), "train", {"a": 4}) for place in range(2, 6)),
    )
    for seed in range(8):
        cut = cut_validation(clips, share=0.2, seed=seed)
        assert set(cut.loc[cut["split"] == "validation", "city"]) == {"rome"}


def test_a_city_that_can_spare_a_location_is_validated_on():
    cities = ("bonn", "graz", "lyon", "oslo", "rome")
    clips = table(*(("bus", city, place, "train", {"a": 4}) for city in cities for place in ("1", "2")))
    cut = cut_validation(clips, share=0.1, seed=0)
    assert cut[cut["split"] == "validation"].groupby("city").size().to_dict() == dict.fromkeys(cities, 4)


def test_held_out_devices_leave_train_and_stay_in_validation_places():
    clips = grid(devices={"a": 4, "b": 2, "s1": 1})
    plain = cut_validation(clips, share=0.25, seed=2)
    cut = cut_validation(clips, share=0.25, seed=2, holdout_devices=["s1", "b"])

    assert set(cut.loc[cut["split"] == "train", "device"]) == {"a"}
    assert cut[cut["split"] == "validation"].equals(
        plain[plain["split"] == "validation"].set_index(cut.index[cut["split"] == "validation"])
    )
    dropped = (plain["split"] == "train") & plain["device"].isin(["b", "s1"])
    assert len(cut) == len(clips) - dropped.sum()
    assert (cut["split"] == "test").sum() == (clips["split"] == "test").sum()


def test_a_held_out_device_must_be_heard_in_validation():
    clips = grid(devices={"a": 4})
    lonely = table(("airport", "city0", "000", "train", {"s1": 1}))
    clips = pd.concat([clips, lonely], ignore_index=True)
    without = next(
        seed for seed in range(50) if "city0-000" not in places_of(cut_validation(clips, seed=seed), "validation")
    )
    with pytest.raises(InputError, match="must be heard in a validation location, got 's1'"):
        cut_validation(clips, seed=without, holdout_devices=["s1"])


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_the_share_must_be_a_share(share):
    with pytest.raises(InputError, match=r"share must be in \(0, 1\), got"):
        cut_validation(grid(), share=share, seed=0)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("a", "reference device 'a' cannot be held out"),
        ("s9", r"one of the training split \(a, b\), got 's9'"),
        ("s4", r"one of the training split \(a, b\), got 's4'"),
    ],
)
def test_what_cannot_be_held_out_is_refused(device, message):
    with pytest.raises(InputError, match=message):
        cut_validation(grid(), seed=0, holdout_devices=[device])


def test_validation_is_cut_once():
    with pytest.raises(InputError, match="validation is cut once"):
        cut_validation(cut_validation(grid(), seed=0), seed=0)


def test_only_the_train_clips_of_some_devices_are_kept():
    cut = cut_validation(grid(devices={"a": 2, "b": 1, "s1": 1}), seed=0)
    kept = keep_devices_of_train(cut, ["b", "s1"])
    pd.testing.assert_frame_equal(kept[kept["split"] != "train"], cut[cut["split"] != "train"])
    of = cut["device"].isin(["b", "s1"]) & (cut["split"] == "train")
    assert set(kept.loc[kept["split"] == "train", "clip_id"]) == set(cut.loc[of, "clip_id"])
    with pytest.raises(InputError, match=r"must be devices of the train clips \(a, b, s1\), got 's4': name some"):
        keep_devices_of_train(cut, ["b", "s4"])
