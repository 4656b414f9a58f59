import json
import struct
import sys

import numpy as np
import pytest
import soundfile

from asc_study.acoustics.recordings import read_sound
from asc_study.base.errors import InputError
from asc_study.cli import main
from asc_study.data.check import check
from asc_study.data.clips import describe
from asc_study.data.layout import read_dataset

NOTE_SECONDS = "clips have 0.1 s, those of TAU Urban Acoustic Scenes 2020 Mobile have 10 s"
TRUNCATED = "audio/airport-lisbon-1000-40000-a.wav"


def found(report) -> list[tuple[str, str]]:
    return [(problem.rule, problem.item) for problem in report.problems]


def test_a_good_folder_has_no_problem(write_layout):
    root = write_layout()
    report = check(root)
    assert report.ok
    assert report.problems == ()
    assert report.counts.equals(describe(read_dataset(root).clips))
    assert report.notes == ("1 clips of meta.csv are in neither list of the fold and are left out", NOTE_SECONDS)


def test_every_defect_is_found_at_once(write_layout, clip_writer, edit):
    root = write_layout()
    audio = root / "audio"
    whole = (root / TRUNCATED).read_bytes()
    (root / TRUNCATED).write_bytes(whole[:-3000])
    (audio / "airport-lisbon-1000-40000-b.wav").write_bytes(b"")
    clip_writer(audio / "airport-lyon-1001-40001-a.wav", rate=16_000)
    clip_writer(audio / "airport-milan-1002-40002-a.wav", channels=2)
    clip_writer(audio / "airport-milan-1002-40002-s4.wav", seconds=0.2)
    (audio / "metro_station-lisbon-1010-40010-a.wav").write_bytes(b"not a sound")
    (audio / "metro_station-milan-1012-40012-a.wav").unlink()
    edit(root / "meta.csv", "lyon-1020\ta", "lyon-1020\tb")
    with (root / "evaluation_setup" / "fold1_train.csv").open("a") as file:
        file.write("\n../../etc/passwd\tairport\naudio/metro_station-milan-1012-40012-a.wav\tmetro_station")

    report = check(root, jobs=2)

    assert not report.ok
    assert found(report) == [
        ("name and row disagree", "meta.csv line 10"),
        ("path leaves the folder", "evaluation_setup/fold1_train.csv line 7"),
        ("clip in both splits", "'audio/metro_station-milan-1012-40012-a.wav'"),
        ("not in meta.csv", "evaluation_setup/fold1_train.csv line 7"),
        ("missing file", "audio/metro_station-milan-1012-40012-a.wav"),
        ("truncated file", TRUNCATED),
        ("unreadable file", "audio/airport-lisbon-1000-40000-b.wav"),
        ("sample rate", "audio/airport-lyon-1001-40001-a.wav"),
        ("channels", "audio/airport-milan-1002-40002-a.wav"),
        ("length", "audio/airport-milan-1002-40002-s4.wav"),
        ("unreadable file", "audio/metro_station-lisbon-1010-40010-a.wav"),
    ]
    details = {problem.item: problem.detail for problem in report.problems}
    size = len(whole)
    assert details[TRUNCATED] == f"its header promises {size:,} bytes, the file has {size - 3000:,}"
    assert details["audio/airport-lyon-1001-40001-a.wav"] == "it must be 44,100 Hz, got 16,000"
    assert details["audio/airport-milan-1002-40002-a.wav"] == "it must have 1, got 2"
    assert details["audio/airport-milan-1002-40002-s4.wav"] == "it must have 0.1 s as most clips, got 0.2 s"


@pytest.mark.parametrize("kept", [10, 20, 40])
def test_a_file_cut_inside_its_header_is_a_problem(write_layout, kept):
    root = write_layout()
    (root / TRUNCATED).write_bytes((root / TRUNCATED).read_bytes()[:kept])
    assert [problem.item for problem in check(root).problems] == [TRUNCATED]


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0x7FFFFFFF])
def test_a_wav_written_to_a_pipe_is_not_truncated(write_layout, size):
    root = write_layout()
    content = (root / TRUNCATED).read_bytes()
    start = content.index(b"data") + 4
    assert struct.unpack("<I", content[start : start + 4]) == (4410 * 3,)
    (root / TRUNCATED).write_bytes(content[:start] + struct.pack("<I", size) + content[start + 4 :])
    assert check(root).ok
    assert len(read_sound(root / TRUNCATED)[0]) == 4410


def test_what_only_decoding_shows_is_found_by_a_deep_check(write_layout):
    root = write_layout()
    noise = 0.1 * np.random.default_rng(0).standard_normal(4410)
    broken = noise.copy()
    broken[441] = np.nan
    soundfile.write(root / TRUNCATED, broken, 44_100, subtype="FLOAT", format="WAV")
    cut = root / "audio" / "airport-lisbon-1000-40000-b.wav"
    soundfile.write(cut, np.tile(noise, 10)[:4410], 44_100, format="FLAC")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert check(root).ok
    report = check(root, deep=True)
    assert found(report) == [("unreadable file", TRUNCATED), ("unreadable file", f"audio/{cut.name}")]
    assert report.problems[0].detail == "1 samples are NaN or infinite, the first after 0.010 s"
    assert "lost sync" in report.problems[1].detail


def test_the_command_decodes_if_it_is_asked_to(write_layout, monkeypatch, capsys):
    root = write_layout()
    soundfile.write(root / TRUNCATED, np.full(4410, np.inf), 44_100, subtype="FLOAT", format="WAV")
    for options, status in (((), 0), (("--deep",), 1)):
        monkeypatch.setattr(sys, "argv", ["asc-study", "data", "check", str(root), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == status
    assert "4,410 samples are NaN or infinite" in capsys.readouterr().out


def test_formats_that_lose_sound_are_allowed_and_noted_once(write_layout):
    root = write_layout()
    noise = 0.1 * np.random.default_rng(0).standard_normal(4410)
    for name in ("airport-lisbon-1000-40000-a", "airport-lisbon-1000-40000-b"):
        soundfile.write(root / "audio" / f"{name}.wav", noise, 44_100, format="OGG", subtype="VORBIS")
    report = check(root, deep=True)
    assert report.ok
    assert [note for note in report.notes if "lose sound" in note] == [
        "recordings of formats that lose sound are read as they are, and say less about devices: 2 OGG (OGG Container "
        "format)"
    ]


def test_a_location_in_train_and_test_is_a_problem(write_layout):
    root = write_layout(
        (
            ("bus-lyon-7-1-a", "train"),
            ("bus-lyon-7-2-a", "train"),
            ("bus-lyon-7-3-a", "test"),
            ("bus-lyon-8-4-a", "train"),
            ("bus-rome-7-5-a", "test"),
        )
    )
    (problem,) = check(root).problems
    assert (problem.rule, problem.item) == ("location in both train and test", "lyon-7")
    assert problem.detail == "2 clips in train and 1 in test"
    assert len(read_dataset(root).clips) == 5


def test_the_lists_of_the_test_split_must_agree(write_layout, edit):
    root = write_layout()
    edit(root / "evaluation_setup" / "fold1_test.csv", "40002-s4", "40002-s5")
    assert found(check(root)) == [
        ("test lists disagree", "'audio/airport-milan-1002-40002-s4.wav'"),
        ("test lists disagree", "'audio/airport-milan-1002-40002-s5.wav'"),
    ]
    (root / "evaluation_setup" / "fold1_test.csv").unlink()
    report = check(root)
    assert report.ok
    assert "evaluation_setup/fold1_test.csv is missing; nothing here reads it" in report.notes


def test_lists_alone_say_what_is_missing(write_layout):
    root = write_layout(audio=False)
    setup = root / "evaluation_setup"
    (setup / "fold1_train.csv").rename(root / "fold1_train.csv")
    (setup / "fold1_evaluate.csv").rename(root / "fold1_evaluate.csv")
    (root / "meta.csv").unlink()
    (setup / "fold1_test.csv").unlink()
    report = check(root)
    assert found(report)[:4] == [
        ("missing list", "meta.csv"),
        ("layout", "fold1_train.csv"),
        ("layout", "fold1_evaluate.csv"),
        ("missing folder", "audio/"),
    ]
    assert [problem.rule for problem in report.problems[4:]] == ["missing file"] * 8
    assert report.counts["total"].sum() == 8


def test_an_empty_folder_is_reported_on(tmp_path):
    report = check(tmp_path)
    assert [problem.rule for problem in report.problems] == ["missing list"] * 3 + ["missing folder"]
    assert report.render().startswith(f"{tmp_path}: ten_class (tau2020-mobile), 0 clips\n")
    assert report.to_dict()["counts"] == {}


def test_three_class_must_be_stereo_at_48_khz(write_layout, clip_writer):
    root = write_layout((("bus-rome-1-1-a", "train"), ("park-oslo-2-2-a", "test")), task="three_class")
    assert check(root).ok
    clip_writer(root / "audio" / "bus-rome-1-1-a.wav")
    assert found(check(root)) == [
        ("sample rate", "audio/bus-rome-1-1-a.wav"),
        ("channels", "audio/bus-rome-1-1-a.wav"),
    ]


def test_scenes_that_cannot_be_validated_are_noted(write_layout):
    report = check(write_layout((("bus-rome-1-1-a", "train"), ("park-oslo-2-2-a", "test"))))
    assert "a validation cut lacks the scenes with one training location only: bus" in report.notes


def test_links_that_leave_the_folder_are_noted(write_layout, tmp_path):
    root = write_layout()
    clip = root / TRUNCATED
    elsewhere = tmp_path / "elsewhere.wav"
    clip.rename(elsewhere)
    clip.symlink_to(elsewhere)
    assert "1 files in audio/ are links to files outside the folder" in check(root).notes

    (root / "audio").rename(tmp_path / "large-disk")
    (root / "audio").symlink_to(tmp_path / "large-disk")
    clip.unlink()
    elsewhere.rename(clip)
    assert check(root).notes == (
        "1 clips of meta.csv are in neither list of the fold and are left out",
        NOTE_SECONDS,
    )


def test_the_report_groups_in_text_and_lists_all_in_json(write_layout):
    report = check(write_layout(audio=False))
    text = report.render()
    assert "9 problems found" in text
    assert "  missing file (8)\n    audio/airport-lisbon-1000-40000-a.wav: there is no such file\n" in text
    assert text.count("there is no such file") == 5
    assert text.endswith("    ... and 3 more")
    assert "8 clips, 5 train, 3 test" in text
    assert [line.split() for line in text.splitlines()[2:7]] == [
        ["train", "a", "b", "s1", "s4", "total"],
        ["-------------", "-", "-", "--", "--", "-----"],
        ["airport", "2", "1", "0", "0", "3"],
        ["metro_station", "1", "0", "1", "0", "2"],
        ["total", "3", "1", "1", "0", "5"],
    ]

    content = json.loads(json.dumps(report.to_dict()))
    assert len(content["problems"]) == 9
    assert content["problems"][1] == {
        "rule": "missing file",
        "item": "audio/airport-lisbon-1000-40000-a.wav",
        "detail": "there is no such file",
    }
    assert content["ok"] is False
    assert content["counts"]["test"] == {
        "airport": {"a": 1, "b": 0, "s1": 0, "s4": 1},
        "metro_station": {"a": 1, "b": 0, "s1": 0, "s4": 0},
    }


def test_only_a_wrong_call_raises(tmp_path):
    with pytest.raises(InputError, match="data set must be a folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(InputError, match="task must be one of"):
        check(tmp_path, task="four_class")
