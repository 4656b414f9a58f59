"""TAU Urban Acoustic Scenes 2022 Mobile: clips of a second, parts of train, and the official lists where they are."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.data.check import check
from asc_study.data.cut import cut_validation, keep_subset_of_train
from asc_study.data.formats import TAU2020_MOBILE, TAU2022_MOBILE
from asc_study.data.identity import dataset_digest
from asc_study.data.layout import read_dataset, read_labelled_list

#: (scene, city, location, segment, devices, split): recordings of ten clips a device.
RECORDINGS = [
    (scene, city, f"{number}{place}", f"{number}{place}{take}", ("a", "b") if take else ("a",), split)
    for number, scene in enumerate(("airport", "bus", "tram"))
    for place, (city, split) in enumerate([("lyon", "train"), ("oslo", "train"), ("rome", "train"), ("rome", "test")])
    for take in range(2)
]


def names(split: str, *, segments: Callable[[str], bool] = lambda segment: True) -> list[tuple[str, str]]:
    return [
        (f"audio/{scene}-{city}-{location}-{segment}-{second}-{device}.wav", scene)
        for scene, city, location, segment, devices, of in RECORDINGS
        if of == split and segments(segment)
        for device in devices
        for second in range(10)
    ]


def write_list(path: Path, rows: list[tuple[str, ...]], *more: str, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ("filename", "scene_label", *more)
    path.write_bytes("".join("\t".join(row) + end for row in (header, *rows)).encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The lists as published, without audio: those of the record, two parts of train, and CRLF in that of test."""
    setup = tmp_path / "evaluation_setup"
    write_list(setup / "fold1_train.csv", names("train"))
    write_list(setup / "split50.csv", names("train", segments=lambda segment: segment.endswith("0")))
    write_list(setup / "split5.csv", names("train", segments=lambda segment: segment[1:] in ("00", "10")))
    write_list(setup / "fold1_evaluate.csv", names("test"), end="\r\n")
    meta = [
        (name, scene, "-".join(name.removesuffix(".wav").split("-")[1:3]), name.removesuffix(".wav").split("-")[-1])
        for name, scene in (*names("train"), *names("test"))
    ]
    write_list(tmp_path / "meta.csv", meta, "identifier", "source_label")
    return tmp_path


def segment_of(clips: pd.DataFrame) -> "pd.Series[str]":
    return clips["clip_id"].str.split("-").str[:4].str.join("-")


def test_a_name_has_the_second():
    parts = TAU2022_MOBILE.parse("audio/airport-barcelona-0-0-9-a.wav")
    assert parts == {
        "scene": "airport", "city": "barcelona", "location": "0", "segment": "0", "second": "9", "device": "a",
    }  # fmt: skip
    assert TAU2022_MOBILE.parse("audio/airport-barcelona-0-0-a.wav") is None
    assert TAU2020_MOBILE.parse("audio/airport-barcelona-0-0-9-a.wav") is None
    assert TAU2022_MOBILE.taxonomy == TAU2020_MOBILE.taxonomy


def test_the_lists_are_recognised(root: Path):
    dataset = read_dataset(root)
    assert dataset.format is TAU2022_MOBILE
    assert dataset.clips.groupby("split").size().to_dict() == {"train": 270, "test": 90}
    assert {name: len(part) for name, part in dataset.subsets.items()} == {"split5": 60, "split50": 90}
    notes = check(root).notes
    assert "split50 is a part of train with 90 clips: training.subset: split50" in notes


def test_the_lists_of_2024_alone_are_enough(root: Path):
    setup = root / "evaluation_setup"
    (setup / "fold1_train.csv").rename(setup / "split100.csv")
    (setup / "fold1_evaluate.csv").rename(setup / "test.csv")
    dataset = read_dataset(root)
    assert dataset.clips.groupby("split").size().to_dict() == {"train": 270, "test": 90}
    assert len(dataset.subsets["split100"]) == 270


def test_the_cut_keeps_recordings_and_locations_whole(root: Path):
    cut = cut_validation(read_dataset(root).clips, share=0.2, seed=0)
    for of in (segment_of(cut), cut["city"] + "-" + cut["location"]):
        assert (cut.groupby(of)["split"].nunique() == 1).all()
    assert (cut["split"] == "validation").any()


def test_a_subset_is_cut_before_validation(root: Path):
    dataset = read_dataset(root)
    kept = keep_subset_of_train(dataset.clips, dataset.subsets, "split50")
    assert kept.groupby("split").size().to_dict() == {"train": 90, "test": 90}
    with pytest.raises(
        InputError, match="training.subset must be a part of train that the data set lists, got 'split7'"
    ):
        keep_subset_of_train(dataset.clips, dataset.subsets, "split7")


def test_lists_of_parts_are_part_of_what_the_data_are(root: Path):
    before = read_dataset(root)
    digests = [""] * len(before.clips)
    write_list(root / "evaluation_setup/split5.csv", names("train", segments=lambda segment: segment == "000"))
    assert dataset_digest(read_dataset(root), digests) != dataset_digest(before, digests)


def test_a_part_names_clips_of_train_only(root: Path):
    write_list(root / "evaluation_setup/split5.csv", names("test")[:1])
    assert [str(problem) for problem in check(root).problems if problem.rule == "not in train"] == [
        "not in train: evaluation_setup/split5.csv line 2: 'audio/airport-rome-03-030-0-a.wav' is no clip of train"
    ]


OFFICIAL = os.environ.get("ASC_STUDY_TAU2022_LISTS", "")

#: List -> clips, clips of a, b, c, s1, s2, s3, locations, recordings, as counted when they were published.
COUNTS = {
    "split5": (6_980, [5_080, 380, 380, 380, 380, 380], 332, 694),
    "split25": (34_900, [25_520, 1_900, 1_920, 1_840, 1_850, 1_870], 364, 3_239),
    "test": (29_680, [3_300, 3_290, 3_290, 3_300, 3_300, 3_300, 3_300, 3_300, 3_300], 146, 2_064),
}


@pytest.mark.skipif(not OFFICIAL, reason="ASC_STUDY_TAU2022_LISTS names no folder with the official lists")
@pytest.mark.parametrize("name", COUNTS)
def test_the_official_lists_are_read(name: str):
    task, clips = read_labelled_list(Path(OFFICIAL) / f"{name}.csv")
    count, devices, locations, recordings = COUNTS[name]
    assert task == "ten_class"
    assert len(clips) == count
    assert clips["device"].value_counts().sort_index().tolist() == devices
    assert len(set(clips["city"] + "-" + clips["location"])) == locations
    assert segment_of(clips).nunique() == recordings
    if name != "test":
        cut = cut_validation(clips.assign(split="train"), share=0.1, seed=0)
        assert (cut.groupby(segment_of(cut))["split"].nunique() == 1).all()
        test = read_labelled_list(Path(OFFICIAL) / "test.csv")[1]
        places = [set(table["city"] + "-" + table["location"]) for table in (clips, test)]
        assert places[0].isdisjoint(places[1])
