"""The suite for data formats: what breaks the contract is found and named."""

import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asc_study.data.formats import DATA_FORMATS, TAU2020_MOBILE
from asc_study.data.formats.data_format import Archive, Archives, DataFormat, Lists
from asc_study.testing import check_data_format

EXAMPLE = Path(__file__).parents[2] / "studies" / "examples" / "own_data_format.py"


def archives(**changes: object) -> Archives:
    values = {"name": "x.zip", "size": 9, "md5": "0" * 32, "url": "https://host/files", "unpacked_size": 9} | changes
    archive = Archive(values["name"], values["size"], values["md5"])
    return Archives(values["url"], (archive,), values["unpacked_size"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "TAU 2020"}, "`name` must be lower case"),
        ({"licence": ""}, "`licence` must be one line of text, got ''"),
        ({"citation": "a\nb"}, "`citation` must be one line"),
        ({"sample_rate": 0}, "`sample_rate` must be a whole number above 0, got 0"),
        ({"channels": 1.0}, "`channels` must be a whole number above 0, got 1.0"),
        ({"clip_seconds": 0}, "`clip_seconds` must be above 0"),
        ({"scenes": ()}, "`scenes` must be a tuple of different names"),
        ({"devices": ("a", "a")}, "`devices` must be a tuple of different names"),
        ({"tasks": ("x", "y", "z")}, "`tasks` must be of ten_class, three_class, or one of the scenes.*, got x, y, z"),
        ({"label": "place"}, "`label` must be scene or scene_group"),
        ({"group_of_scene": {"bus": "transportation"}}, "`group_of_scene` must have every scene, got none for airport"),
        ({"label": "scene_group"}, "labels must be classes of .*ten_class, got indoor, outdoor, transportation"),
        ({"scenes": ("sea",), "group_of_scene": {"sea": "outdoor"}}, "labels must be classes of .*, got sea"),
        ({"reference_device": "z"}, "`reference_device` must be one of `devices`, got 'z'"),
        ({"device_subsets": {"new": ("a", "z")}}, r"device subset must hold some .* got \('a', 'z'\) for 'new'"),
        ({"archives": archives(md5="abc")}, "x.zip must have an MD5 sum of 32 hexadecimal digits"),
        ({"archives": archives(name="../x.zip")}, r"must be the name of a \.zip, got '\.\./x\.zip'"),
        ({"archives": archives(url="ftp://host")}, "`archives.url` must be a web address"),
        ({"archives": archives(size=0)}, "x.zip must have a size"),
        ({"file_name": "audio/<scene>_<city>_<location>_<device>.wav"}, "`file_name` needs separators that no scene"),
        ({"lists": Lists(train="one.csv", test="one.csv")}, "must be read, got: "),
    ],
)
def test_what_breaks_the_contract_is_named(changes, message):
    with pytest.raises(AssertionError, match=message):
        check_data_format(replace(TAU2020_MOBILE, **changes))


def test_what_is_no_format_or_not_frozen_is_refused():
    with pytest.raises(AssertionError, match="must be a DataFormat"):
        check_data_format("tau2020-mobile")

    class Loose(DataFormat):
        __setattr__ = object.__setattr__

    values = {name: getattr(TAU2020_MOBILE, name) for name in TAU2020_MOBILE.__dataclass_fields__}
    with pytest.raises(AssertionError, match="must be frozen"):
        check_data_format(Loose(**values))


def test_the_template_keeps_the_contract_from_outside_the_repository(tmp_path):
    own = runpy.run_path(str(EXAMPLE))["OWN_DATA_FORMAT"]
    check_data_format(own)
    assert own.name not in DATA_FORMATS
    (tmp_path / "own_data_format.py").write_text(EXAMPLE.read_text())
    done = subprocess.run([sys.executable, "own_data_format.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "my-recordings keeps the contract of a data format\n"), done.stderr


def test_data_check_takes_a_format_of_ones_own(tmp_path, monkeypatch, capsys):
    from asc_study.cli import main
    from asc_study.testing.data_formats import write_example

    (tmp_path / "own_data_format.py").write_text(EXAMPLE.read_text())
    write_example(runpy.run_path(str(EXAMPLE))["OWN_DATA_FORMAT"], tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, status, said in (
        ("own_data_format:OWN_DATA_FORMAT", 0, "ten_class (my-recordings), 40 clips, 20 train, 20 test"),
        ("nothing", 2, "unknown data_format 'nothing'"),
    ):
        monkeypatch.setattr(sys, "argv", ["asc-study", "data", "check", "data", "--format", name])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == status
        assert said in "".join(capsys.readouterr())
