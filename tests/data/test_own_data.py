"""Data sets of one's own: ``dataset.yaml``, the metadata file, a first description, and each newcomer's mistake."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES
from asc_study.data.check import check
from asc_study.data.description import read_description
from asc_study.data.identified import identify
from asc_study.data.init import init
from asc_study.data.layout import read_dataset, read_labelled_list
from asc_study.data.table import clip_ids

DESCRIPTION = """\
name: my-rooms
classes: [street, kitchen, living room, tram]
devices: [phone1, phone2, mic]
seen: [phone1, phone2]
subsets: {phones: [phone1, phone2], mic: [mic]}
sample_rate: 16000
channels: 2
clip_seconds: 3
metadata:
  file: clips.csv
  separator: ";"
  columns: {file: file, label: room, device: recorder, location: place}
split: {column: fold}
"""

#: (room, recorder, place, fold); the file of each is its number.
CLIPS = [
    (room, recorder, f"{room[0]}{place}", "test" if place == 2 else "train")
    for room in ("kitchen", "living room", "street", "tram")
    for place in range(3)
    for recorder in (("phone1", "phone2") if place < 2 else ("phone1", "mic"))
]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes the data set: (description or None, lines of the metadata file changed by place)."""

    def made(
        description: str | None = DESCRIPTION, *, changed: dict[int, str] | None = None, audio: bool = True
    ) -> Path:
        root = tmp_path / "My rooms"
        (root / "wav").mkdir(parents=True)
        lines = ["file;room;recorder;place;fold"]
        for number, row in enumerate(CLIPS):
            lines.append(";".join((f"wav/{number}.wav", *row)))
            if audio:
                noise = 0.1 * np.random.default_rng(number).standard_normal((1600, 2))
                soundfile.write(root / "wav" / f"{number}.wav", noise, 16_000)
        for place, line in (changed or {}).items():
            lines[place] = line
        (root / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if description is not None:
            (root / "dataset.yaml").write_text(description, encoding="utf-8")
        return root

    return made


def test_the_description_becomes_the_format(write: Write):
    known = read_description(write(audio=False) / "dataset.yaml")
    assert known.scenes == ("kitchen", "living_room", "street", "tram")
    assert (known.tasks, known.reference_device, known.seen_devices) == (("my-rooms",), "phone1", ("phone1", "phone2"))
    assert known.device_subsets == {"phones": ("phone1", "phone2"), "mic": ("mic",)}
    assert (known.sample_rate, known.channels, known.clip_seconds) == (16_000, 2, 3.0)
    assert known.taxonomy.groups == ()


def test_clips_are_what_the_metadata_says(write: Write):
    root = write()
    dataset = read_dataset(root)
    assert dataset.task == "my-rooms"
    assert CLASSES["my-rooms"] == ("kitchen", "living_room", "street", "tram")
    clips = dataset.clips.set_index("clip_id")
    assert clips.loc["7"].to_dict() == {
        "path": str(root / "wav/7.wav"),
        "scene": "living_room",
        "scene_group": "",
        "city": "here",
        "location": "l0",
        "device": "phone2",
        "split": "train",
    }
    report = check(root)
    assert report.ok, report.render()
    assert report.notes == ("clips have 0.1 s, those of my-rooms have 3 s",)
    assert report.to_dict()["counts"]["test"]["tram"] == {"phone1": 1, "phone2": 0, "mic": 1}


def test_groups_make_a_second_task(write: Write):
    root = write(DESCRIPTION + "groups: {inside: [kitchen, living room], outside: [street, tram]}\n", audio=False)
    clips = read_dataset(root).clips
    assert CLASSES["my-rooms-groups"] == ("inside", "outside")
    assert dict(zip(clips["scene"], clips["scene_group"], strict=True))["living_room"] == "inside"


def test_the_classes_of_tau_are_its_task(tmp_path: Path):
    text = DESCRIPTION.replace("street, kitchen, living room, tram", ", ".join(CLASSES["ten_class"]))
    (tmp_path / "dataset.yaml").write_text(text)
    assert read_description(tmp_path / "dataset.yaml").tasks == ("ten_class",)


def test_the_scene_groups_of_tau_are_its_task_too(write: Write):
    text = DESCRIPTION.replace("street, kitchen, living room, tram", "outdoor, indoor, transportation")
    rows = {n + 1: f"wav/{n}.wav;{('indoor', 'outdoor', 'transportation')[n % 3]};phone1;p{n};train" for n in range(24)}
    dataset = read_dataset(write(text, changed=rows, audio=False))
    assert dataset.task == "three_class"
    assert (dataset.clips["scene_group"] == dataset.clips["scene"]).all()


def test_a_share_of_the_locations_tests_with_all_of_the_unseen_device(write: Write):
    changed = {number: ";".join((f"wav/{number - 1}.wav", *CLIPS[number - 1])) for number in range(1, len(CLIPS) + 1)}
    root = write(DESCRIPTION.replace("{column: fold}", "{test_share: 0.3}"), changed=changed)
    clips = read_dataset(root).clips
    places = clips.groupby("split")["location"].unique()
    assert set(places["train"]).isdisjoint(places["test"])
    assert set(clips["scene"][clips["split"] == "test"]) == set(clips["scene"])
    assert "mic" not in set(clips["device"][clips["split"] == "train"])


def test_lists_tell_the_split(write: Write):
    root = write(DESCRIPTION.replace("{column: fold}", "{train_list: train.csv, test_list: test.csv}"))
    (root / "train.csv").write_text("file\n" + "".join(f"wav/{n}.wav\n" for n in (0, 1, 6, 7)))
    (root / "test.csv").write_text("file\nwav/4.wav\n")
    assert read_dataset(root).clips.groupby("split").size().to_dict() == {"train": 4, "test": 1}
    (root / "test.csv").write_text("file\nwav/0.wav\nwav/99.wav\n")
    assert {problem.rule for problem in check(root).problems} == {"clip in both splits", "not in clips.csv"}


def test_other_classes_are_other_data_and_a_title_is_not(write: Write, tmp_path: Path):
    root = write()
    digest = identify(root).digest
    (root / "dataset.yaml").write_text(DESCRIPTION + "title: Rooms of our office\n")
    assert identify(root).digest == digest
    (root / "dataset.yaml").write_text(DESCRIPTION.replace("[street,", "[attic, street,"))
    assert identify(root).digest != digest


MISTAKES = {
    "unknown class": (
        {3: "wav/2.wav;kitchne;phone1;k1;train"},
        "unknown scene: clips.csv line 4: label 'kitchne' is not one of kitchen, living_room, street, tram: add it to "
        "`classes` of dataset.yaml, or correct the row",
    ),
    "unknown device": (
        {3: "wav/2.wav;kitchen;phone3;k1;train"},
        "unknown device: clips.csv line 4: device 'phone3' is not one of phone1, phone2, mic: add it to `devices`",
    ),
    "no device": ({3: "wav/2.wav;kitchen;;k1;train"}, "unknown device: clips.csv line 4: device '' is not one of"),
    "no location": ({3: "wav/2.wav;kitchen;phone1;;train"}, "no location: clips.csv line 4: the location is empty"),
    "twice": (
        {3: "wav/0.wav;kitchen;phone1;k0;train"},
        "duplicate row: clips.csv line 4: 'wav/0.wav' was listed before",
    ),
    "outside": ({3: "../2.wav;kitchen;phone1;k1;train"}, "path leaves the folder: clips.csv line 4"),
    "fields": ({3: "wav/2.wav;kitchen;phone1;k1"}, "malformed row: clips.csv line 4: it must have 5 columns, got 4"),
    "unseen device in train": (
        {3: "wav/2.wav;kitchen;mic;k1;train"},
        "unseen device in train: mic: train has 1 clips of it, and `seen` of dataset.yaml lacks it: add it there",
    ),
    "place on both sides": (
        {3: "wav/2.wav;kitchen;phone1;k2;train"},
        "location in both train and test: here-k2: 1 clips in train and 2 in test",
    ),
    "missing clip": ({3: "wav/99.wav;kitchen;phone1;k1;train"}, "missing file: wav/99.wav: there is no such file"),
    "column": (
        {0: "file;class;recorder;place;fold"},
        "malformed list: clips.csv: line 1 must name the columns file, room, recorder, place, fold with ';', got "
        "'file | class | recorder | place | fold'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_line(write: Write, mistake: str):
    changed, expected = MISTAKES[mistake]
    problems = [str(problem) for problem in check(write(changed=changed)).problems]
    assert len(problems) == 1
    assert problems[0].startswith(expected)


def test_the_wrong_separator_is_told_with_the_right_one(write: Write):
    root = write(DESCRIPTION.replace('";"', '","'))
    with pytest.raises(InputError) as error:
        read_dataset(root)
    assert "line 1 must name the columns file, room, recorder, place, fold with ','" in str(error.value)
    assert str(error.value).endswith(f": its columns are separated by ';': `asc-study data check {root}` lists all")


def test_a_split_column_without_a_known_value_is_told(write: Write):
    root = write(DESCRIPTION.replace("{column: fold}", "{column: fold, train: [one], test: [two]}"))
    (problem, *_) = check(root).problems
    assert str(problem) == (
        "no split: clips.csv: the column fold has none of one, two, but test, train: correct `split` of dataset.yaml"
    )


def test_another_rate_and_channels_are_found(write: Write):
    root = write()
    soundfile.write(root / "wav/3.wav", np.zeros((4410, 2)), 44_100)
    soundfile.write(root / "wav/4.wav", np.zeros(1600), 16_000)
    assert [str(problem) for problem in check(root).problems] == [
        "sample rate: wav/3.wav: it must be 16,000 Hz, got 44,100",
        "channels: wav/4.wav: it must have 2, got 1",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "name: my-rooms",
            "name: My rooms",
            "`name` must be lower case letters and digits joined by -, got 'My rooms'",
        ),
        ("name: my-rooms", "name: ten_class", "`name` must be lower case letters"),
        (
            "seen: [phone1, phone2]",
            "seen: [phone1, phone3]",
            "`seen` must be of `devices`, got 'phone3': did you mean 'phone",
        ),
        ("mic: [mic]}", "mic: [mick]}", "`subsets.mic` must be of `devices`, got 'mick': did you mean 'mic'"),
        ("mic: [mic]}", "phone2: [mic]}", "subset 'phone2' must hold devices, and that of its name alone"),
        ("street, kitchen", "street, street", "`classes` must name each once, got 'street' twice: remove one"),
        ("tram]", "device]", "names of classes, groups, devices and subsets are letters, digits and"),
        ("sample_rate", "sample_rat", "unknown key 'sample_rat': did you mean 'sample_rate'"),
        ("sample_rate: 16000", "sample_rate: 16 kHz", "`sample_rate` must be a whole number, got '16 kHz'"),
        ("{column: fold}", "{}", "`split` must have one of `column`, `train_list` with `test_list`, or `test_share`"),
        ("{column: fold}", "{column: fold, test_share: 0.2}", "`split` must have one of"),
        ("channels: 2\n", "", "'channels' is missing: add it"),
        (
            "clip_seconds",
            "groups: {in: [kitchen]}\nclip_seconds",
            "every class must be in one of `groups`, street, living_r",
        ),
        ("clip_seconds", "reference_device: mic\nclip_seconds", "`reference_device` must be one of `seen`, got 'mic'"),
        ("location: place", "location: room", "file, label, device, location, city and split are columns of their own"),
    ],
)
def test_a_wrong_description_is_one_line(write: Write, old: str, new: str, message: str):
    root = write(DESCRIPTION.replace(old, new), audio=False)
    with pytest.raises(InputError) as error:
        read_dataset(root)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_first_description_says_what_can_be_seen(write: Write):
    root = write(None)
    path = init(root)
    known = read_description(path)
    assert (known.name, known.title) == ("my-rooms", "My rooms")
    assert known.scenes == ("kitchen", "living_room", "street", "tram")
    assert (known.devices, known.seen_devices, known.reference_device) == (
        ("mic", "phone1", "phone2"),
        ("phone1", "phone2"),
        "phone1",
    )
    assert (known.sample_rate, known.channels, known.clip_seconds) == (16_000, 2, 0.1)
    assert known.lists.split == ("fold", ("train",), ("test",))
    assert check(root).ok
    assert "# groups:" in path.read_text()


def test_nothing_is_overwritten(write: Write):
    root = write()
    with pytest.raises(InputError, match="is there already, and nothing is overwritten"):
        init(root)
    assert (root / "dataset.yaml").read_text() == DESCRIPTION


def test_what_no_column_tells_is_to_be_filled_in(write: Write):
    root = write(None, changed={0: "file;what;with;spot;half"})
    text = init(root).read_text()
    assert "classes: [FILL-IN]  # name the column of the classes below" in text
    assert "    label: FILL-IN" in text
    assert "    # location:  # the place of the recording" in text
    assert "  test_share: 0.25" in text
    with pytest.raises(InputError, match="`classes`"):
        read_dataset(root)


def test_without_metadata_there_is_nothing_to_describe(tmp_path: Path):
    with pytest.raises(InputError, match="a data set needs a metadata file with a line a clip"):
        init(tmp_path)


def test_a_folder_that_nothing_describes_is_shown_the_way(write: Write):
    root = write(None)
    with pytest.raises(InputError, match="`asc-study data init .*` describes recordings of your own"):
        read_dataset(root)
    assert check(root).notes[0].startswith("no known data set: `asc-study data init")


def test_names_in_several_folders_are_told_apart():
    assert clip_ids(["a/1.wav", "a/2.wav"]) == ["1", "2"]
    assert clip_ids(["a/1.wav", "b/1.wav"]) == ["a--1", "b--1"]
    assert clip_ids(["..", "", "1.5.wav"]) == ["..", "", "1.5"]


def test_a_list_of_labels_is_read_as_the_description_says(write: Write):
    task, clips = read_labelled_list(write(audio=False) / "clips.csv")
    assert task == "my-rooms"
    assert clips.iloc[6].tolist() == ["6", "living_room", "", "here", "l0", "phone1"]
