"""YAML that is right is read as people mean it; YAML that is wrong, or made to do harm, is one line at once."""

import os
import time
from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.base.yaml_file import LARGEST_CONTENT, parse_override, read_yaml
from asc_study.settings.study_file import LARGEST_TABLE, load_study


def refusal(text: str | bytes, load=load_study) -> str:
    """The line that a study file of this text is refused with, which must come at once and not be long."""
    path = Path("study.yaml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        load(path)
    assert time.process_time() - start < 10
    line = str(caught.value)
    assert "study.yaml" in line
    assert "\n" not in line
    assert len(line) < 900
    return line


def test_text_and_content_are_given():
    path = Path("study.yaml")
    path.write_bytes("\ufeffstudy: ä\r\nrate: 1e-5\r\n".encode())
    file = read_yaml(path)
    assert file.content == {"study": "ä", "rate": 1e-5}
    assert file.text.startswith("study: ä")


def test_aliases_and_merge_keys_that_stay_small_work():
    path = Path("study.yaml")
    path.write_text("a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, x: 2}\nc: [*a, *a]\n")
    a = {"x": 1, "y": [1, 2]}
    assert read_yaml(path).content == {"a": a, "b": a | {"x": 2}, "c": [a, a]}


def grown(levels: int, last: str, line: str) -> str:
    return "study: s\n" + last + "\n" + "\n".join(line.format(i=i, j=i - 1) for i in range(1, levels)) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        grown(9, "x0: &x0 [lol]", "x{i}: &x{i} [*x{j}, *x{j}, *x{j}, *x{j}, *x{j}, *x{j}, *x{j}, *x{j}]"),
        grown(30, "x0: &x0 {{a: 1}}".replace("{{", "{").replace("}}", "}"), "x{i}: &x{i} {{a: *x{j}, b: *x{j}}}"),
        grown(9, "x0: &x0 {a: 1}", "x{i}: &x{i} {{<<: [*x{j}, *x{j}, *x{j}, *x{j}, *x{j}, *x{j}, *x{j}, *x{j}]}}"),
    ],
    ids=["lists", "mappings", "merge keys"],
)
def test_a_short_text_that_becomes_a_huge_content_is_refused(text):
    assert len(text) < 1000
    assert f"becomes more than {LARGEST_CONTENT:,} values by its aliases and merge keys, line " in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: s\nbase: &b {x: *b}", "an anchor is used inside its own value, line 2"),
        ("study: s\nbase: &b [[*b]]", "an anchor is used inside its own value, line 2"),
        ("study: s\nbase: &b {<<: *b}", "an anchor is used inside its own value"),
        ("study: !!bool 'zzz'", "'zzz' is no bool"),
        ("study: !!int ''", "'' is no int"),
        ("study: !!float ''", "'' is no float"),
        ("study: !!timestamp 'now'", "'now' is no timestamp"),
        ("study: 2020-13-45", "'2020-13-45' is no timestamp"),
        ("study: !!binary 'ä'", "is not valid YAML"),
        ("study: !!map [a]", "is not valid YAML"),
        ("study: !!set {a: {}, [b]: }", "is not valid YAML"),
        ("study: !!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("? [a]\n: b", "is not valid YAML"),
        ("? {a: b}\n: c", "is not valid YAML"),
        ("a: *b", "is not valid YAML"),
        ("%YAML 9.9\n---\nstudy: s", "is not valid YAML"),
        ("study: s\n---\nstudy: t", "is not valid YAML"),
        ("study: \x07", "is not valid YAML"),
        (b"study: \xff", "is not UTF-8 text (byte 7)"),
        ("[" * 5000, "nested too deeply"),
        ("study: " + "{a: " * 5000, "nested too deeply"),
        (f"study: {'1' * 5000}", "a number may have at most 100 characters, got 5,000, line 1"),
        (f"study: 1{':01' * 300_000}", "a number may have at most 100 characters"),
        ("", "must hold a mapping with `study` and `rows`, got None"),
        (f"{'long ' * 1000}", "must hold a mapping"),
        (f"study: {'x' * 5000}", "`study` must be at most 100 letters"),
        (f"study: s\nfigures: {'x' * 5000}", "`figures` must be 'inline' or 'cdn', got 'xxx"),
        (f"study: s\n{'x' * 1000}: 1", "unknown key 'xxx"),
        (f"study: s\n? !!str {'x' * 120}\n: {{{', '.join(f'k{i}: 1' for i in range(3000))}}}", "unknown key 'xxx"),
        (f"study: s\nbase: {{architecture: {'x' * 5000}}}", "unknown architecture"),
        (f"study: s\nseeds: [{', '.join(map(str, range(3000)))}, 1.5]", "`seeds` must be|`seeds"),
        (f"study: s\nrows: [{', '.join(f'{{name: n{i}}}' for i in range(500))}, 7]", "must be a mapping"),
    ],
)
def test_whatever_is_wrong_is_one_short_line(text, message):
    assert any(part in refusal(text) for part in message.split("|"))


@pytest.mark.parametrize(
    "value", ["&a {x: *a}", "!!bool 'zzz'", "!!int ''", "[" * 3000, "[1", "2020-13-45", "*a", "a: b: c"]
)
def test_a_bad_override_is_one_line(value):
    with pytest.raises(InputError, match=r"--set training: the value must be YAML, got .*: quote it") as caught:
        parse_override(f"training={value}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_overrides_are_yaml():
    assert parse_override("training.epochs = 2") == ("training.epochs", 2)
    assert parse_override("a=") == ("a", None)
    assert parse_override("a=b=c") == ("a", "b=c")


@pytest.mark.parametrize(
    ("seeds", "accepted"), [("[0, 4294967295]", True), ("[4294967296]", False), ("[18446744073709551616]", False)]
)
def test_seeds_are_those_that_the_libraries_take(seeds, accepted):
    path = Path("study.yaml")
    path.write_text("study: s\n")
    if accepted:
        assert load_study(path, overrides=[f"seeds={seeds}"]).seeds == (0, 2**32 - 1)
        return
    with pytest.raises(InputError, match=r"`seeds` must be .* below 4294967296, got \["):
        load_study(path, overrides=[f"seeds={seeds}"])
    assert "below 4294967296" in refusal(f"study: s\nseeds: {seeds}")


def test_a_table_that_is_too_large_is_refused_before_it_is_made():
    axis = str(list(range(1, 60)))
    grid = "\n".join(f"  training.{key}: {axis}" for key in ("epochs", "batch_size", "first_cycle_epochs"))
    line = refusal(f"study: s\ngrid:\n{grid}")
    assert f"may have at most {LARGEST_TABLE:,} rows, got 205,379 (0 rows and 205,379 points of the grid)" in line
    line = refusal(f"study: s\nseeds: [{', '.join(map(str, range(100_001)))}]")
    assert "may have at most 100,000 runs, got 100,001 (1 rows x 100,001 seeds)" in line


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ('"a\\0b"', "may hold no NUL character"),
        ("/dev/zero", "must lie in the folder"),
        ("../outside.csv", "must lie in the folder"),
        ("link.csv", "must lie in the folder"),
        ("pipe", "must be a regular file, got a pipe"),
        (".", "must be a regular file, got a folder"),
        ("gone.csv", "does not exist: name a CSV file beside the study file"),
    ],
)
def test_published_figures_do_not_leave_the_folder_of_the_study_file(published, message):
    folder = Path("studies")
    folder.mkdir()
    Path("outside.csv").write_text("row,source,acc_avg\nbase,somebody,50.5\n")
    (folder / "link.csv").symlink_to("../outside.csv")
    os.mkfifo(folder / "pipe")
    (folder / "s.yaml").write_text(f"study: s\npublished: {published}\n")
    with pytest.raises(InputError, match=message) as caught:
        load_study(folder / "s.yaml")
    assert "\n" not in str(caught.value)


def test_a_study_file_is_a_regular_file_of_sensible_size():
    os.mkfifo("pipe.yaml")
    for path, message in (
        ("pipe.yaml", "must be a regular file, got a pipe"),
        ("/dev/zero", "must be a regular file, got a device"),
        (".", "must be a regular file, got a folder"),
        ("a\0b", "may hold no NUL character"),
    ):
        with pytest.raises(InputError, match=message):
            load_study(Path(path))
    Path("large.yaml").write_text("study: s\n#" + "x" * 2**20)
    with pytest.raises(InputError, match=r"at most 1 MB, got 1,048,586 bytes in large\.yaml"):
        load_study(Path("large.yaml"))
