"""What a data format decides, and how the reader finds out which one a folder is of."""

import pickle
from dataclasses import FrozenInstanceError, replace
from importlib.metadata import EntryPoint

import pytest

from asc_study.base import plugins
from asc_study.base.errors import InputError
from asc_study.data.check import check
from asc_study.data.formats import (
    DATA_FORMATS,
    TAU2020_3CLASS,
    TAU2020_MOBILE,
    find_format,
    known_formats,
    tau2020_mobile,
)
from asc_study.data.formats.data_format import Lists
from asc_study.data.layout import read_dataset, read_labelled_list

#: A data set that differs in everything that the reader once took for granted.
MEADOWS = replace(
    TAU2020_MOBILE,
    name="meadows",
    file_name="sound/<device>_<scene>_<city>_<location>_<take>.flac",
    devices=("phone", "ear"),
    reference_device="phone",
    device_subsets={"phone": ("phone",), "ear": ("ear",)},
    scenes=("park", "tram"),
    group_of_scene={"park": "outdoor", "tram": "transportation"},
    sample_rate=32_000,
    channels=2,
    lists=Lists(
        meta="all.txt",
        train="train.txt",
        test="lists/test.txt",
        names=None,
        file_column="file",
        label_column="scene",
        repeated={"city": "<city>"},
        separator=";",
    ),
    archives=None,
)

CLIPS = {
    "phone_park_oslo_1_1": "train",
    "phone_park_oslo_2_1": "train",
    "ear_tram_rome_3_1": "train",
    "phone_tram_rome_4_1": "test",
}

STEREO = replace(TAU2020_MOBILE, name="stereo", sample_rate=48_000, channels=2)
ALIKE = replace(TAU2020_MOBILE, name="stereo")


def announce(monkeypatch, **formats):
    """Let an installed package announce data formats of this module."""
    points = {
        name: EntryPoint(name, f"{__name__}:{value}", "asc_study.data_formats") for name, value in formats.items()
    }
    monkeypatch.setattr(plugins, "_installed", lambda group: points if "data_formats" in group else {})


@pytest.fixture
def meadows(tmp_path, clip_writer, monkeypatch):
    """A folder of that data set, which is announced."""
    announce(monkeypatch, meadows="MEADOWS")
    rows = [
        (f"sound/{stem}.flac", stem.split("_")[1], stem.split("_")[2], split, number)
        for number, (stem, split) in enumerate(CLIPS.items())
    ]
    root = tmp_path / "meadows"
    (root / "lists").mkdir(parents=True)
    for file, _, _, _, number in rows:
        clip_writer(root / file, rate=32_000, channels=2, seed=number)

    def write(name, lines):
        (root / name).write_text("\n".join(lines))

    write("all.txt", ["file;scene;city", *(f"{file};{scene};{city}" for file, scene, city, *_ in rows)])
    write("train.txt", ["file;scene", *(f"{file};{scene}" for file, scene, _, split, _ in rows if split == "train")])
    write(
        "lists/test.txt", ["file;scene", *(f"{file};{scene}" for file, scene, _, split, _ in rows if split == "test")]
    )
    return root


def test_a_third_data_set_is_read_by_what_its_format_says(meadows):
    dataset = read_dataset(meadows)
    assert (dataset.format, dataset.task, dataset.sample_rate, dataset.channels) == (MEADOWS, "ten_class", 32_000, 2)
    assert dataset.clips.iloc[0].to_dict() == {
        "clip_id": "ear_tram_rome_3_1",
        "path": str(meadows / "sound" / "ear_tram_rome_3_1.flac"),
        "scene": "tram",
        "scene_group": "transportation",
        "city": "rome",
        "location": "3",
        "device": "ear",
        "split": "train",
    }
    report = check(meadows)
    assert report.ok, report.render()
    assert (report.format, list(report.counts.columns)) == ("meadows", ["phone", "ear", "total"])
    assert read_labelled_list(meadows / "lists" / "test.txt")[1]["clip_id"].tolist() == ["phone_tram_rome_4_1"]


def test_what_breaks_a_format_is_said_in_its_words(meadows, edit):
    edit(meadows / "all.txt", "tram;rome\nsound/phone_tram", "tram;lima\nsound/phone_tram")
    edit(meadows / "train.txt", "phone_park_oslo_2_1", "radio_park_oslo_2_1")
    found = {problem.rule: str(problem) for problem in check(meadows).problems}
    assert "all.txt line 4: 'sound/ear_tram_rome_3_1.flac' does not go with the city 'lima'" in found.pop(
        "name and row disagree"
    )
    assert found.pop("unknown device").endswith("names a device that is not one of phone, ear")
    assert "train.txt line 3" in found.pop("not in all.txt")
    assert set(found) == {"missing file"}


def test_formats_whose_lists_are_alike_are_told_apart_by_a_recording(write_layout, monkeypatch):
    announce(monkeypatch, stereo="STEREO")
    assert read_dataset(write_layout()).format is TAU2020_MOBILE
    assert read_dataset(write_layout(audio=False, name="lists")).format is TAU2020_MOBILE
    announce(monkeypatch, stereo="ALIKE")
    monkeypatch.setattr(tau2020_mobile, "TAU2020_MOBILE", replace(TAU2020_MOBILE, sample_rate=8000))
    assert read_dataset(write_layout(name="again")).format.name == "stereo"


def test_a_format_that_is_named_is_taken(write_layout):
    root = write_layout()
    report = check(root, data_format=TAU2020_3CLASS)
    assert {problem.rule for problem in report.problems} >= {"unknown scene", "sample rate", "channels"}
    assert report.format == "tau2020-3class"


def test_formats_of_installed_packages_are_known(monkeypatch):
    announce(monkeypatch, meadows="MEADOWS")
    assert list(known_formats()) == ["tau2020-mobile", "tau2022-mobile", "tau2020-3class", "meadows"]
    assert find_format("meadows") is MEADOWS
    assert find_format(f"{__name__}:MEADOWS") is MEADOWS
    with pytest.raises(InputError, match=r"must be made with asc_study\.data\.formats\.data_format\.DataFormat"):
        find_format(f"{__name__}:CLIPS")


@pytest.mark.parametrize("data_format", [*DATA_FORMATS.values(), MEADOWS], ids=lambda known: known.name)
def test_a_format_cannot_be_changed_and_travels_to_workers(data_format):
    assert pickle.loads(pickle.dumps(data_format)) == data_format
    assert hash(pickle.loads(pickle.dumps(data_format))) == hash(data_format)
    with pytest.raises(FrozenInstanceError):
        data_format.sample_rate = 8000
    with pytest.raises(TypeError):
        data_format.group_of_scene["park"] = "indoor"
    with pytest.raises(TypeError):
        data_format.lists.repeated["x"] = "<city>"


def test_names_are_taken_apart_and_made():
    name = "audio/metro_station-lyon-1011-40011-s1.wav"
    parts = {"scene": "metro_station", "city": "lyon", "location": "1011", "segment": "40011", "device": "s1"}
    assert TAU2020_MOBILE.parse(name) == parts
    assert TAU2020_MOBILE.path_of(parts) == name
    for wrong in (f"x/{name}", name.replace("audio/", ""), name.replace("-s1", ""), name + "\n", name.upper()):
        assert TAU2020_MOBILE.parse(wrong) is None


@pytest.mark.parametrize(
    "form",
    [
        "audio/<scene>-<city>-<location>.wav",
        "audio/<scene>-<city>-<location>-<device>-<device>.wav",
        "audio/<scene>/<scene>-<city>-<location>-<device>.wav",
        "audio/<scene>-<city>-<location>-<split>-<device>.wav",
    ],
)
def test_a_form_without_the_parts_that_are_needed_is_refused(form):
    with pytest.raises(
        InputError, match=r"data format 'tau2020-mobile' must have the parts <scene>, <city>, .*correct"
    ):
        replace(TAU2020_MOBILE, file_name=form)
