import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENE_GROUPS, SCENES
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import CONTEXT_COLUMNS, predictions_table, read_predictions
from asc_study.evaluation.scores_in import read_scores
from asc_study.evaluation.scores_out import FORMS, write_scores

#: Six clips in the order of the list, which is not that of their names.
STEMS = (
    "tram-lyon-1020-40020-a",
    "airport-lisbon-1001-40001-a",
    "park-paris-1030-40030-b",
    "metro-milan-1040-40040-s1",
    "bus-vienna-1050-40050-s4",
    "shopping_mall-london-1060-40060-s6",
)

#: indoor, outdoor, transportation; each row sums to 2. Right are the clips 1, 2, 4 and 6.
SCORES = (
    (0.2, 0.2, 1.6),
    (1.0, 0.6, 0.4),
    (1.2, 0.6, 0.2),
    (0.5, 0.5, 1.0),
    (0.8, 1.0, 0.2),
    (1.8, 0.0, 0.2),
)

#: The probability that each clip's own group gets, once the row is normalised.
TRUE = (0.8, 0.5, 0.3, 0.5, 0.1, 0.9)


def write_labels(name: str = "fold1_evaluate.csv", *, task: str = "three_class", stems=STEMS) -> Path:
    lines = ["filename\tscene_label"]
    for stem in stems:
        scene = stem.split("-")[0]
        lines.append(f"audio/{stem}.wav\t{scene if task == 'ten_class' else GROUP_OF_SCENE[scene]}")
    Path(name).write_text("\n".join(lines))
    return Path(name)


def write_text(rows, name: str = "scores.txt", *, separator: str = " ", end: str = "\n") -> Path:
    Path(name).write_bytes((end.join(separator.join(map(str, row)) for row in rows) + end).encode())
    return Path(name)


def named_rows() -> list[tuple]:
    return [(f"audio/{stem}.wav", *row) for stem, row in zip(STEMS, SCORES, strict=True)]


def by_clip(predictions: pd.DataFrame, classes=SCENE_GROUPS) -> np.ndarray:
    return predictions.set_index("clip_id").loc[list(STEMS), list(classes)].to_numpy()


def check(scores: Path) -> tuple[str, ...]:
    """Read three-class scores, hold them against the values above and return the notes."""
    imported = read_scores(scores, write_labels())
    assert imported.task == "three_class"
    np.testing.assert_allclose(by_clip(imported.predictions), np.array(SCORES) / 2, rtol=1e-6)
    return imported.notes


def ten_class_table(split: str = "test") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    parts = [stem.split("-") for stem in STEMS]
    clips = pd.DataFrame(
        {
            "clip_id": STEMS,
            "scene": [part[0] for part in parts],
            "scene_group": [GROUP_OF_SCENE[part[0]] for part in parts],
            "device": [part[4] for part in parts],
            "city": [part[1] for part in parts],
            "location": [part[2] for part in parts],
            "split": split,
        }
    )
    table = predictions_table(clips, rng.dirichlet(np.ones(10), len(STEMS)).astype(np.float32), "ten_class")
    return table.sort_values("clip_id", ignore_index=True)


def test_scores_by_hand():
    imported = read_scores(write_text(SCORES), write_labels())
    table = imported.predictions
    assert list(table.columns) == [*CONTEXT_COLUMNS, *SCENE_GROUPS]
    assert list(table["clip_id"]) == sorted(STEMS)
    assert table.iloc[4].to_dict() == pytest.approx(
        {
            "clip_id": "shopping_mall-london-1060-40060-s6",
            "scene": "indoor",
            "device": "s6",
            "city": "london",
            "location": "1060",
            "split": "test",
            "indoor": 0.9,
            "outdoor": 0.0,
            "transportation": 0.1,
        }
    )
    metrics = evaluate(table, intervals=False)
    assert metrics["test/acc_avg"] == pytest.approx(4 / 6)
    assert metrics["test/log_loss"] == pytest.approx(-sum(map(math.log, TRUE)) / 6, abs=1e-6)
    assert metrics["test/acc_A"] == 1.0
    assert metrics["test/acc_BC"] == 0.0
    assert metrics["test/acc_s1-s3"] == 1.0
    assert metrics["test/acc_s4-s6"] == 0.5
    assert metrics["test/gap_A_to_unseen"] == 0.5
    # recalls: indoor 2 of 2, outdoor 0 of 1, transportation 2 of 3
    assert metrics["test/acc_macro"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert imported.notes == (
        "no header: the columns are taken as indoor, outdoor, transportation",
        "no file names: the rows are taken in the order of fold1_evaluate.csv",
        "6 of 6 rows did not sum to 1 (2): normalised",
    )


@pytest.mark.parametrize("separator", ["\t", ",", " ", "   ", ", "])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_every_separator_with_and_without_header_and_names(separator, header, named):
    rows = named_rows() if named else list(SCORES)
    head = [("filename", *SCENE_GROUPS) if named else SCENE_GROUPS] if header else []
    notes = check(write_text(head + rows, separator=separator))
    assert any(note.startswith("no header") for note in notes) is not header
    assert any(note.startswith("no file names") for note in notes) is not named


@pytest.mark.parametrize("name", ["filename", "file", "clip_id", "file_name"])
@pytest.mark.parametrize("form", ["audio/{}.wav", "{}.wav", "{}", "C:\\tau\\audio\\{}.wav"])
def test_clips_are_matched_by_their_stem_in_any_order(name, form):
    rows = [(form.format(stem), *row) for stem, row in zip(STEMS, SCORES, strict=True)]
    assert check(write_text([(name, *SCENE_GROUPS), *rows[::-1]], separator=",")) == (
        "6 of 6 rows did not sum to 1 (2): normalised",
    )


def test_columns_go_by_their_names():
    rows = [(trans, name, ind, out) for name, ind, out, trans in named_rows()]
    notes = check(write_text([("transportation", "file", "indoor", "outdoor"), *rows], separator="\t"))
    assert notes[0] == "the columns are put into alphabetical order, as the header names them"


#: What the scores decide.
DECISIONS = ("transportation", "indoor", "indoor", "transportation", "outdoor", "indoor")


def with_decisions(decisions=DECISIONS, order=(0, 1, 2)) -> list[tuple]:
    named = zip(named_rows(), decisions, strict=True)
    return [(name, decision, *(values[k] for k in order)) for (name, *values), decision in named]


@pytest.mark.parametrize("header", [True, False])
def test_the_decision_of_the_challenge_form_agrees_with_the_scores(header):
    head = [("filename", "scene_label", *SCENE_GROUPS)] if header else []
    check(write_text(head + with_decisions(), separator="\t"))


@pytest.mark.parametrize("header", [True, False])
def test_columns_in_another_order_than_the_decisions_say_are_refused_and_the_order_is_proposed(header):
    head = [("filename", "scene_label", *SCENE_GROUPS)] if header else []
    path = write_text(head + with_decisions(order=(2, 0, 1)), separator="\t")
    with pytest.raises(InputError) as refused:
        read_scores(path, write_labels())
    assert str(refused.value) == (
        "the scores must agree with the decisions beside them, but in 6 of 6 rows of scores.txt another class has the "
        f"highest score, such as indoor for transportation in line {1 + header}: all agree if the score columns are, "
        "in their order, transportation, indoor, outdoor: name them so in a header"
    )
    named = [("filename", "scene_label", "transportation", "indoor", "outdoor"), *with_decisions(order=(2, 0, 1))]
    check(write_text(named, separator="\t"))


def test_decisions_that_no_order_explains_are_refused():
    path = write_text(with_decisions(("indoor", "outdoor", "indoor", "outdoor", "indoor", "outdoor")), separator="\t")
    with pytest.raises(InputError, match=r"5 of 6 rows .*: leave the column out if it holds something else, or name"):
        read_scores(path, write_labels())
    path = write_text(with_decisions(("tram", *DECISIONS[1:])), separator="\t")
    with pytest.raises(InputError, match=r"one of the classes of the scores, got 'tram' in line 1 of .* or leave"):
        read_scores(path, write_labels())


def test_a_decision_may_be_any_of_equal_scores():
    rows = [(name, decision, 1, 1, 1) for (name, *_), decision in zip(named_rows(), DECISIONS, strict=True)]
    read_scores(write_text(rows, separator="\t"), write_labels())


def test_windows_text_with_a_mark_and_empty_lines_at_the_end_is_read():
    path = write_text([("filename", *SCENE_GROUPS), *named_rows()], separator=",", end="\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n \r\n")
    check(path)


def test_quoted_cells_are_read():
    rows = [(f'"{name}"', *values) for name, *values in named_rows()]
    check(write_text([('"filename"', *(f'"{name}"' for name in SCENE_GROUPS)), *rows], separator=","))


@pytest.mark.parametrize("suffix", [".parquet", ".pq", ".PARQUET"])
@pytest.mark.parametrize("names", ["column", "index", "none"])
def test_parquet_is_read(suffix, names):
    frame = pd.DataFrame(SCORES, columns=list(SCENE_GROUPS))[["outdoor", "indoor", "transportation"]]
    if names != "none":
        frame = frame.assign(clip_id=STEMS).iloc[::-1]
    if names == "index":
        frame = frame.set_index("clip_id")
    frame.to_parquet(f"scores{suffix}")
    check(Path(f"scores{suffix}"))


def test_rows_are_divided_by_their_own_sums():
    rows = [(0.4, 0.4, 0.2), (0.4, 0.4, 0.2004), (0.1, 0.1, 0.23), (1, 1, 0.1), (0, 0, 5e-9), (0.5, 0.25, 0.25)]
    imported = read_scores(write_text(rows), write_labels())
    expected = [[value / sum(row) for value in row] for row in rows]
    np.testing.assert_allclose(by_clip(imported.predictions), expected, rtol=1e-6)
    # 1.0004 is within what rounding does
    assert imported.notes[-1] == "3 of 6 rows did not sum to 1 (5e-09 to 2.1): normalised"


def test_rounding_to_float32_changes_no_decision():
    rows = [(0.3, 0.35, 0.350000000001)] * 6
    predictions = read_scores(write_text(rows), write_labels()).predictions
    assert set(by_clip(predictions).argmax(axis=1)) == {2}
    tied = read_scores(write_text([(0.3, 0.35, 0.35)] * 6), write_labels()).predictions
    assert set(by_clip(tied).argmax(axis=1)) == {1}


def test_groups_are_judged_by_the_labels_of_scenes():
    imported = read_scores(write_text(SCORES), write_labels(task="ten_class"), task="three_class")
    assert imported.task == "three_class"
    assert list(imported.predictions["scene"]) == [GROUP_OF_SCENE[stem.split("-")[0]] for stem in sorted(STEMS)]
    assert "the labels are scenes and the scores are of scene groups" in imported.notes[2]
    assert evaluate(imported.predictions)["test/acc_avg"] == pytest.approx(4 / 6)


def test_ten_scores_are_scenes():
    rows = [[1 + (scene == stem.split("-")[0]) for scene in SCENES] for stem in STEMS]
    imported = read_scores(write_text(rows), write_labels(task="ten_class"), split="validation")
    assert imported.task == "ten_class"
    metrics = evaluate(imported.predictions, intervals=False)
    assert metrics["validation/acc_avg"] == 1.0
    assert metrics["validation/log_loss"] == pytest.approx(math.log(11 / 2), abs=1e-6)


def test_scores_of_scenes_need_scenes_as_labels():
    with pytest.raises(InputError, match=r"ten-class labels, but those of fold1_evaluate\.csv are scene groups"):
        read_scores(write_text([[0.1] * 10] * 6), write_labels())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "ten_class"}, "columns of scores.txt are those of three_class, not ten_class"),
        ({"task": "eleven"}, "task must be one of ten_class, three_class, got 'eleven'"),
        ({"split": "train"}, "split of imported scores must be one of test, validation, got 'train'"),
    ],
)
def test_options_must_fit(options, message):
    with pytest.raises(InputError, match=message):
        read_scores(write_text(SCORES), write_labels(), **options)


def replaced(row: int, column: int, value: object) -> list[list[object]]:
    rows: list[list[object]] = [list(scores) for scores in SCORES]
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (SCORES[:5], r"scores\.txt has 5 rows, fold1_evaluate\.csv 6 clips"),
        ([*SCORES, SCORES[0]], r"scores\.txt has 7 rows, fold1_evaluate\.csv 6 clips"),
        ([SCENE_GROUPS], r"scores\.txt has 0 rows"),
        (replaced(3, 1, "nan"), "finite number, got 'nan' in column 'outdoor' of line 4 of scores.txt \\(1 such cells"),
        (replaced(0, 0, "-nan"), "finite number, got '-nan' in column 'indoor' of line 1"),
        (replaced(3, 1, "inf"), "finite number, got 'inf' in column 'outdoor' of line 4"),
        (replaced(3, 1, "x"), "finite number, got 'x' in column 'outdoor' of line 4"),
        (np.log(np.array(SCORES) / 2 + 1e-9), r"at least 0, got -2\.30259 in column 'indoor' of line 1 .*softmax"),
        ([*SCORES[:5], (0, 0, 0)], r"score above 0, line 6 of scores\.txt has none \(1 such rows\)"),
        ([*SCORES[:2], SCORES[2][:2], *SCORES[3:]], "as many cells as the first: line 3 has 2, expected 3"),
        ([*SCORES[:2], (), *SCORES[2:]], "line 3 has 0, expected 3"),
        (
            [(*row, 0.1) for row in SCORES],
            r"10 scores \(ten_class\) or 3 scores \(three_class\) .* has 4 after 0 other",
        ),
        ([("a", "b", "c", *row) for row in SCORES], "line 1 of scores.txt has 3 after 3 other cells"),
        ([("file", "clip_id", *SCENE_GROUPS), *((0, *row) for row in named_rows())], "has file and clip_id: keep one"),
        ([("indoor", "outdoor", "indoor"), *SCORES], "has the column 'indoor' twice"),
        ([("indoor", "outdoors", "transportation"), *SCORES], "column 'outdoors': did you mean 'outdoor'"),
        ([("p1", "p2", "p3"), *SCORES], "unknown column 'p1': known: airport, bus"),
        ([("Indoor", "Outdoor", "Transportation"), *SCORES], "column 'Indoor': did you mean 'indoor'"),
        ([("filename", *SCENES[:9]), *([name] + [0.1] * 9 for name, *_ in named_rows())], "ten_class; missing: tram"),
        ([("indoor", "outdoor", "bus"), *SCORES], "class columns of one task, got those of ten_class and three_class"),
        ([("filename", "scene_label"), ("x", "y")], "class columns of one task, got none"),
    ],
)
def test_broken_scores_are_refused(rows, message):
    with pytest.raises(InputError, match=message) as caught:
        read_scores(write_text(rows), write_labels())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*named_rows(), *named_rows()[:2]], r"'tram-lyon-1020-40020-a' stands there again \(2 such rows\)"),
        (named_rows()[1:], r"1 of 6 clips of fold1_evaluate\.csv have no scores .* first is 'tram-lyon-1020-40020-a'"),
        ([*named_rows(), ("bus-oslo-1-2-a.wav", 1, 1, 1)], r"1 of 7 clips .* first is 'bus-oslo-1-2-a'"),
        ([(f"audio/{n}.wav", *row) for n, row in enumerate(SCORES)], r"another data set: only 0 of 6 .*, '0' is not"),
        (
            [*named_rows()[:2], *((f"bus-oslo-1-{n}-a.wav", 1, 1, 1) for n in range(4))],
            r"labels look like those of another data set: only 2 of 6 clips",
        ),
    ],
)
def test_clips_must_be_those_of_the_labels(rows, message):
    with pytest.raises(InputError, match=message) as caught:
        read_scores(write_text(rows, separator="\t"), write_labels())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "x.txt is empty"),
        ("x.txt", b"\n\n", "x.txt is empty"),
        ("x.txt", b"\xff\xfe0\x00", r"x.txt is not UTF-8 text \(byte 0\)"),
        ("x.txt", b"RIFF\x00\x00", r"x.txt is not text \(a zero byte at character 4\)"),
        ("x.txt", b"0.1,0.2,0." + b"3" * 200_000, r"x.txt line 1 cannot be taken apart \(field larger"),
        ("x.parquet", b"0.1 0.2 0.7\n", "x.parquet is not a readable parquet file"),
        ("x.txt", None, "the file of scores x.txt does not exist"),
        ("x.parquet", None, "the file of scores x.parquet does not exist"),
        (".", None, r"must be a regular file, got a folder under \."),
    ],
)
def test_files_that_hold_no_scores_are_refused(name, content, message):
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_scores(Path(name), write_labels())
    assert "\n" not in str(caught.value)


def test_a_gap_in_parquet_is_refused():
    frame = pd.DataFrame(SCORES, columns=list(SCENE_GROUPS))
    frame.loc[2, "outdoor"] = None
    frame.to_parquet("scores.parquet")
    with pytest.raises(InputError, match=r"got 'nan' in column 'outdoor' of row 3 of scores\.parquet"):
        read_scores(Path("scores.parquet"), write_labels())


def test_labels_must_be_there():
    with pytest.raises(InputError, match=r"missing list: nowhere\.csv"):
        read_scores(write_text(SCORES), Path("nowhere.csv"))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_read_back(form):
    table = ten_class_table()
    # The decision of a clip whose two highest probabilities are neighbours in float32 must come back too.
    table.loc[0, list(SCENES)] = np.float32(0)
    low = np.float32(0.5)
    table.loc[0, ["bus", "tram"]] = (low, np.nextafter(low, np.float32(1)))
    path = Path("scores.parquet" if form == "parquet" else "scores.txt")
    write_scores(table, path, form)
    imported = read_scores(path, write_labels(task="ten_class"), task="ten_class")
    assert imported.notes == ()
    written, back = (frame[list(SCENES)].to_numpy(np.float64) for frame in (table, imported.predictions))
    np.testing.assert_allclose(back, written, atol=1e-6)
    assert back.argmax(axis=1).tolist() == written.argmax(axis=1).tolist()
    assert back[0].argmax() == SCENES.index("tram")
    context = list(CONTEXT_COLUMNS)
    pd.testing.assert_frame_equal(imported.predictions[context], table[context], check_dtype=False)
    assert [entry.name for entry in Path().iterdir() if "tmp" in entry.name] == []


def test_the_form_of_the_challenge():
    table = read_scores(write_text(SCORES), write_labels()).predictions
    write_scores(table, Path("out.txt"), "dcase2020")
    lines = Path("out.txt").read_bytes().decode().split("\n")
    assert lines[0] == "filename\tscene_label\tindoor\toutdoor\ttransportation"
    assert lines[1] == "audio/airport-lisbon-1001-40001-a.wav\tindoor\t0.5\t0.300000012\t0.200000003"
    assert lines[2].split("\t")[:2] == ["audio/bus-vienna-1050-40050-s4.wav", "outdoor"]
    assert len(lines) == 8
    assert lines[-1] == ""


def test_csv_holds_the_whole_table():
    table = ten_class_table()
    write_scores(table, Path("out.csv"), "csv")
    back = pd.read_csv("out.csv", dtype={"location": str} | dict.fromkeys(SCENES, np.float32))
    pd.testing.assert_frame_equal(back, table, check_exact=True, check_dtype=False)


def test_parquet_is_a_predictions_table():
    table = ten_class_table()
    write_scores(table, Path("out.parquet"), "parquet")
    pd.testing.assert_frame_equal(read_predictions(Path("out.parquet")), table)


@pytest.mark.parametrize("form", FORMS)
def test_clips_of_the_evaluation_set_need_no_label(form):
    table = ten_class_table("evaluation").assign(scene="", device="", city="", location="")
    table["clip_id"] = [str(number) for number in range(6)]
    write_scores(table, Path("out"), form)
    if form == "dcase2020":
        decisions = table[list(SCENES)].to_numpy().argmax(axis=1)
        rows = [line.split("\t")[:2] for line in Path("out").read_text().splitlines()[1:]]
        assert rows == [[f"audio/{n}.wav", SCENES[k]] for n, k in enumerate(decisions)]
    for split, scene in (("test", ""), ("evaluation", "beach")):
        with pytest.raises(InputError, match="true label must be one of the classes"):
            write_scores(table.assign(split=split, scene=scene), Path("other"), form)
    assert not Path("other").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_replaced_only_if_asked(form):
    path = Path("out")
    path.write_text("mine")
    with pytest.raises(InputError, match="out exists: name another file or overwrite it with --force"):
        write_scores(ten_class_table(), path, form)
    assert path.read_text() == "mine"
    write_scores(ten_class_table(), path, form, overwrite=True)
    assert path.stat().st_size > 100
    assert list(Path().iterdir()) == [path]


@pytest.mark.parametrize("form", FORMS)
def test_places_that_cannot_be_written_are_refused(form):
    Path("file").touch()
    for name, message in (
        ("nowhere/out", "folder nowhere does not exist"),
        ("file/out", "folder file does not exist"),
        (".", r"\. is a folder: name a file in it"),
        ("x" * 300, r"cannot be written \(.*name too long"),
    ):
        with pytest.raises(InputError, match=message):
            write_scores(ten_class_table(), Path(name), form, overwrite=True)
    assert list(Path().iterdir()) == [Path("file")]


def test_a_write_that_fails_leaves_the_old_file(monkeypatch):
    Path("out").write_text("mine")

    def full(_: pd.DataFrame, file: BinaryIO, **options: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(InputError, match=r"out cannot be written \(No space left"):
        write_scores(ten_class_table(), Path("out"), "csv", overwrite=True)
    assert Path("out").read_text() == "mine"
    assert list(Path().iterdir()) == [Path("out")]


def test_only_whole_tables_and_known_forms_are_written():
    with pytest.raises(InputError, match="form must be one of dcase2020, .*, parquet, got 'tsv'"):
        write_scores(ten_class_table(), Path("out"), "tsv")
    with pytest.raises(InputError, match="must be finite"):
        write_scores(ten_class_table().assign(bus=float("nan")), Path("out"), "csv")
    with pytest.raises(InputError, match="missing: \\['scene', 'split'\\]"):
        write_scores(ten_class_table().drop(columns=["scene", "split"]), Path("out"), "csv")
    with pytest.raises(InputError, match="class columns must be those of a task"):
        write_scores(ten_class_table()[list(CONTEXT_COLUMNS)], Path("out"), "csv")
    assert not Path("out").exists()


def test_huge_scores_are_shares_all_the_same():
    rows = [[1e308, 1e308, 1e308], *[[3e307, 1e307, 0.0]] * 5]
    table = read_scores(write_text(rows), write_labels()).predictions
    np.testing.assert_allclose(by_clip(table)[0], [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(by_clip(table)[1], [0.75, 0.25, 0], atol=1e-6)


def test_parquet_with_the_clips_in_the_index_and_in_a_column(tmp_path):
    frame = pd.DataFrame(SCORES, columns=list(SCENE_GROUPS)).assign(clip_id=STEMS)
    frame.set_index("clip_id", drop=False).to_parquet(tmp_path / "s.parquet")
    assert read_scores(tmp_path / "s.parquet", write_labels()).task == "three_class"


def test_a_link_stays_a_link_and_no_device_is_replaced(tmp_path):
    table = read_scores(write_text(SCORES), write_labels()).predictions
    (tmp_path / "target.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    with pytest.raises(InputError, match="exists: name another file"):
        write_scores(table, tmp_path / "link.csv", "csv")
    write_scores(table, tmp_path / "link.csv", "csv", overwrite=True)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text().startswith("clip_id")
    with pytest.raises(InputError, match="no regular file"):
        write_scores(table, Path("/dev/null"), "csv", overwrite=True)


@pytest.mark.parametrize("name", ["scores.txt", "scores.parquet"])
def test_a_pipe_instead_of_scores_or_labels_is_not_waited_for(name):
    os.mkfifo(name)
    write_labels()
    with pytest.raises(InputError, match=f"a file of scores must be a regular file, got a pipe under {name}"):
        read_scores(Path(name), Path("fold1_evaluate.csv"))


@pytest.mark.parametrize("separator", [";", "\t", " "])
@pytest.mark.parametrize("named", [False, True])
def test_decimal_commas_are_read_and_said(separator, named):
    rows = [[str(cell).replace("0.", "0,").replace("1.", "1,") for cell in row] for row in SCORES]
    if named:
        rows = [("filename", *SCENE_GROUPS), *((f"{stem}.wav", *row) for stem, row in zip(STEMS, rows, strict=True))]
    assert "0,2" in rows[-1]
    assert check(write_text(rows, separator=separator))[0] == "numbers with a comma, such as 0,5, are read as 0.5"


def test_semicolons_with_decimal_points_are_read():
    notes = check(write_text([("filename", *SCENE_GROUPS), *named_rows()], separator=";"))
    assert notes == ("6 of 6 rows did not sum to 1 (2): normalised",) or not any("comma" in note for note in notes)


def test_scientific_notation_in_shuffled_rows_without_header_and_with_windows_paths_is_read():
    rows = [
        (f"C:\\tau\\audio\\{stem}.WAV", *(f"{cell:.6e}" for cell in row))
        for stem, *row in ((stem, *row) for stem, row in zip(STEMS, SCORES, strict=True))
    ]
    check(write_text(rows[::-1], separator="\t"))


@pytest.mark.parametrize("ending", [".WAV", ".Wav", ".flac", ".MP3"])
def test_the_ending_of_a_clips_name_is_taken_off_in_any_case(ending):
    check(write_text([(stem + ending, *row) for stem, row in zip(STEMS, SCORES, strict=True)], separator=","))
