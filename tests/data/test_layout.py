from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.data.clips import CLIP_COLUMNS, require_audio
from asc_study.data.layout import read_dataset, read_labelled_list, read_lists

THREE_CLASS = (
    ("bus-vienna-5-12-a", "train"),
    ("park-paris-7-13-a", "train"),
    ("metro_station-milan-9-14-a", "test"),
)


def test_mobile_is_read_as_published(write_layout):
    root = write_layout()
    dataset = read_dataset(root)

    assert (dataset.root, dataset.task, dataset.sample_rate, dataset.channels) == (root, "ten_class", 44_100, 1)
    assert list(dataset.clips.columns) == list(CLIP_COLUMNS)
    assert list(dataset.clips["clip_id"]) == [
        "airport-lisbon-1000-40000-a",
        "airport-lisbon-1000-40000-b",
        "airport-lyon-1001-40001-a",
        "airport-milan-1002-40002-a",
        "airport-milan-1002-40002-s4",
        "metro_station-lisbon-1010-40010-a",
        "metro_station-lyon-1011-40011-s1",
        "metro_station-milan-1012-40012-a",
    ]
    assert dataset.clips.iloc[6].to_dict() == {
        "clip_id": "metro_station-lyon-1011-40011-s1",
        "path": str(root / "audio" / "metro_station-lyon-1011-40011-s1.wav"),
        "scene": "metro_station",
        "scene_group": "indoor",
        "city": "lyon",
        "location": "1011",
        "device": "s1",
        "split": "train",
    }
    assert list(dataset.clips["split"]) == ["train"] * 3 + ["test"] * 2 + ["train"] * 2 + ["test"]


def test_three_class_keeps_the_scene_of_the_file_name(write_layout):
    dataset = read_dataset(write_layout(THREE_CLASS, task="three_class"))

    assert (dataset.task, dataset.sample_rate, dataset.channels) == ("three_class", 48_000, 2)
    assert dataset.clips[["scene", "scene_group"]].to_numpy().tolist() == [
        ["bus", "transportation"],
        ["metro_station", "indoor"],
        ["park", "outdoor"],
    ]


def test_clips_outside_the_fold_are_left_out(write_layout):
    reading = read_lists(write_layout())
    assert "tram" not in set(reading.clips["scene"])
    assert reading.unused == 1


def test_windows_newlines_a_byte_order_mark_and_blank_lines_are_read(write_layout):
    root = write_layout()
    expected = read_dataset(root).clips
    path = root / "evaluation_setup" / "fold1_train.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    assert read_dataset(root).clips.equals(expected)


def test_meta_may_have_other_columns_and_lack_the_optional_ones(write_layout):
    root = write_layout()
    expected = read_dataset(root).clips
    lines = [line.split("\t") for line in (root / "meta.csv").read_text().splitlines()]
    rows = ["\t".join([name, "x", label]) for name, label, _, _ in lines[1:]]
    (root / "meta.csv").write_text("\n".join(["filename\tscene\tscene_label", *rows]))
    assert read_dataset(root).clips.equals(expected)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("meta.csv", "lyon-1020\ta", "lyon-1021\ta", r"name and row disagree: meta.csv line 10: .*'lyon-1021'"),
        ("meta.csv", "lyon-1020\ta", "lyon-1020\tb", r"name and row disagree: meta.csv line 10: .*source label 'b'"),
        ("meta.csv", "-a.wav\ttram\t", "-a.wav\tbus\t", r"name and row disagree: meta.csv line 10: .*label 'bus'"),
        ("meta.csv", "40020-a.wav\ttram", "40020-d.wav\ttram", r"unknown device: meta.csv line 10"),
        ("meta.csv", "audio/tram-", "audio/ferry-", r"unknown scene: meta.csv line 10: .*: 'ferry'"),
        ("meta.csv", "-a.wav\ttram\t", "-a.wav\tferry\t", r"unknown scene: meta.csv line 10: label 'ferry'"),
        (
            "meta.csv",
            "\tlyon-1020\ta",
            "\tlyon-1020",
            r"malformed row: meta.csv line 10: it must have 4 columns, got 3",
        ),
        ("meta.csv", "source_label", "source", r"^$"),
        ("meta.csv", "scene_label", "label", r"malformed list: meta.csv: line 1 must name the columns filename"),
        ("fold1_train.csv", "audio/airport-lisbon-1000-40000-b.wav", "../../etc/passwd", "path leaves the folder"),
        ("fold1_train.csv", "audio/airport-lisbon-1000-40000-b.wav", "/etc/passwd", "path leaves the folder"),
        ("fold1_train.csv", "audio/airport-lisbon-1000-40000-b.wav", "audio\\..\\x.wav", "path leaves the folder"),
        ("fold1_train.csv", "audio/airport-lisbon-1000-40000-b.wav", "C:/x.wav", "path leaves the folder"),
        ("fold1_train.csv", "audio/airport-lisbon-1000-40000-b.wav", "airport.wav", r"file name: .*audio/<scene>-"),
        ("fold1_train.csv", "40000-b.wav", "40000-a.wav", r"duplicate row: evaluation_setup/fold1_train.csv line 3"),
        ("fold1_evaluate.csv", "milan-1002-40002-s4", "lyon-1001-40001-a", r"clip in both splits: '.*40001-a.wav'"),
        ("fold1_evaluate.csv", "milan-1002-40002-s4", "milan-1002-40003-s4", r"not in meta.csv: .*csv line 3"),
    ],
)
def test_each_defect_of_a_list_is_named(write_layout, edit, file, old, new, message):
    root = write_layout(audio=False)
    edit(root / file if file == "meta.csv" else root / "evaluation_setup" / file, old, new)
    if message == "^$":  # a source label is optional: the file name says the same
        assert len(read_dataset(root).clips) == 8
        return
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(root)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(f"`asc-study data check {root}` lists all")


def test_labels_of_the_lists_must_agree(write_layout, edit):
    root = write_layout(THREE_CLASS, task="three_class", audio=False)
    edit(root / "evaluation_setup" / "fold1_train.csv", "transportation", "outdoor")
    rules = [problem.rule for problem in read_lists(root).problems]
    assert rules == ["name and row disagree", "labels disagree"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("meta.csv", b"filename\tscene_label\n\xff\xfe\t\n", "malformed list: meta.csv: it is not UTF-8"),
        ("meta.csv", b"", "malformed list: meta.csv: line 1 must name the columns"),
        ("meta.csv", b"filename\tscene_label\n", "malformed list: meta.csv: it names no clip"),
        ("meta.csv", None, "missing list: meta.csv: there is no such file"),
        ("evaluation_setup/fold1_train.csv", None, "missing list: evaluation_setup/fold1_train.csv"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(write_layout, file, content, message):
    root = write_layout(audio=False)
    if content is None:
        (root / file).unlink()
    else:
        (root / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_dataset(root)


def test_the_error_counts_the_other_problems(write_layout, edit):
    root = write_layout(audio=False)
    edit(root / "meta.csv", "lyon-1020\ta", "lyon-1021\tb")
    (root / "evaluation_setup" / "fold1_evaluate.csv").unlink()
    with pytest.raises(InputError, match=r"^missing list: .* \(and 2 more problems\): `asc-study data check"):
        read_dataset(root)


def test_lists_beside_meta_are_read_and_reported(write_layout):
    root = write_layout(audio=False)
    for path in (root / "evaluation_setup").iterdir():
        path.rename(root / path.name)
    reading = read_lists(root)
    assert [(problem.rule, problem.item) for problem in reading.problems] == [
        ("layout", "fold1_train.csv"),
        ("layout", "fold1_evaluate.csv"),
    ]
    assert len(reading.clips) == 8


def test_a_task_that_is_not_that_of_the_labels_is_refused(write_layout):
    root = write_layout()
    assert read_dataset(root, "ten_class").task == "ten_class"
    with pytest.raises(InputError, match=r"labels are those of ten_class, not of three_class: `asc"):
        read_dataset(root, "three_class")
    with pytest.raises(InputError, match="task must be one of ten_class, three_class, got 'twelve'"):
        read_dataset(root, "twelve")


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(InputError, match="data set must be a folder"):
        read_dataset(tmp_path / "nowhere")


def test_missing_audio_is_counted(write_layout):
    dataset = read_dataset(write_layout())
    require_audio(dataset)
    for clip_id in ("airport-milan-1002-40002-a", "metro_station-lyon-1011-40011-s1"):
        (dataset.root / "audio" / f"{clip_id}.wav").unlink()
    with pytest.raises(InputError, match=r"2 of 8 are missing .* first is audio/airport-milan-1002-40002-a\.wav"):
        require_audio(dataset)
    with pytest.raises(InputError, match="8 of 8 are missing"):
        require_audio(read_dataset(write_layout(audio=False, name="lists-only")))


def test_a_relative_folder_gives_absolute_paths(write_layout, monkeypatch):
    root = write_layout()
    monkeypatch.chdir(root.parent)
    dataset = read_dataset(Path(root.name))
    assert dataset.root == root
    assert all(Path(path).is_absolute() for path in dataset.clips["path"])


@pytest.mark.parametrize("task", ["ten_class", "three_class"])
def test_one_labelled_list_is_read_in_its_own_order(tmp_path, write_layout, edit, task):
    path = write_layout(THREE_CLASS[::-1], task=task, audio=False) / "meta.csv"
    found, clips = read_labelled_list(path)
    assert found == task
    assert list(clips.columns) == ["clip_id", "scene", "scene_group", "city", "location", "device"]
    assert clips.to_numpy().tolist() == [
        ["metro_station-milan-9-14-a", "metro_station", "indoor", "milan", "9", "a"],
        ["park-paris-7-13-a", "park", "outdoor", "paris", "7", "a"],
        ["bus-vienna-5-12-a", "bus", "transportation", "vienna", "5", "a"],
    ]
    unlabelled = path.parent / "evaluation_setup" / "fold1_test.csv"
    with pytest.raises(InputError, match=r"labels are needed, but .*fold1_test\.csv has no .* such as fold1_evaluate"):
        read_labelled_list(unlabelled)
    with pytest.raises(InputError, match=r"unreadable list: .*got a folder under .*: name a list of tau2020-mobile"):
        read_labelled_list(path.parent)
    with pytest.raises(InputError, match=r"missing list: .*there is no such file: name a list of tau2020-mobile"):
        read_labelled_list(tmp_path / "nowhere.csv")
    edit(path, "paris-7\ta", "paris-8\tb")
    with pytest.raises(InputError, match=r"meta\.csv line 3: .*'paris-8' \(and 1 more problem\): name") as caught:
        read_labelled_list(path)
    assert "\n" not in str(caught.value)
