import sys
import textwrap
from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.models import ARCHITECTURES
from asc_study.settings.settings_file import merge
from asc_study.settings.study_file import load_study
from asc_study.study.advice import advice
from asc_study.study.effort import Effort


def write(text: str) -> Path:
    path = Path("study.yaml")
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_rows_are_merged_into_the_base():
    study = load_study(
        write("""
        study: x
        base: {architecture: resnet, training: {epochs: 6}, batch_augmentation: {mixup: {alpha: 0.2}}}
        rows:
          - {name: one}
          - {name: two, training.epochs: 2, batch_augmentation: {mixup: null, random_crop: {frames: 100}}}
        seeds: [0, 5]
        """)
    )
    one, two = study.rows
    assert (one.name, one.config.architecture, one.config.training.epochs) == ("one", "resnet", 6)
    assert one.config.model_dump()["batch_augmentation"] == {"mixup": {"alpha": 0.2}}
    assert (two.config.architecture, two.config.training.epochs) == ("resnet", 2)
    assert two.config.model_dump()["batch_augmentation"] == {"random_crop": {"frames": 100}}
    assert study.seeds == (0, 5)


def test_grid_is_the_product_of_its_axes_after_the_rows():
    study = load_study(
        write("""
        study: x
        rows: [{name: first, training.epochs: 1}]
        grid:
          architecture: [fcnn, resnet]
          batch_augmentation: {plain: {}, mixed: {mixup: {alpha: 0.3}}}
          model.width: [0.5]
        """)
    )
    assert [row.name for row in study.rows] == [
        "first",
        "fcnn-plain-width=0.5",
        "fcnn-mixed-width=0.5",
        "resnet-plain-width=0.5",
        "resnet-mixed-width=0.5",
    ]
    last = study.rows[-1].config
    assert (last.architecture, last.model.width) == ("resnet", 0.5)
    assert last.model_dump()["batch_augmentation"] == {"mixup": {"alpha": 0.3}}


def test_overrides_win_over_rows():
    path = write("study: x\nrows: [{name: a, training: {epochs: 9}}]")
    study = load_study(path, overrides=["training.epochs=2", "seeds=[3, 4]", "training.lr_min=1e-4"])
    assert study.rows[0].config.training.epochs == 2
    assert study.rows[0].config.training.lr_min == 1e-4
    assert study.seeds == (3, 4)


def test_task_comes_from_the_data_unless_it_is_named():
    path = write("study: x\nrows: [{name: a}, {name: b, task: ten_class}]")
    study = load_study(path, default_task="three_class")
    assert [row.config.task for row in study.rows] == ["three_class", "ten_class"]


def test_exponent_without_a_point_is_a_number():
    study = load_study(write("study: x\nbase: {training: {lr_min: 1e-6, lr_max: 1E-1}}"))
    assert (study.rows[0].config.training.lr_min, study.rows[0].config.training.lr_max) == (1e-6, 0.1)


def test_yaml_merge_keys_work():
    text = "study: x\nbase: &b {architecture: resnet}\nrows: [{name: a, <<: *b}, {name: b, training: {epochs: 1}}]"
    assert [row.config.architecture for row in load_study(write(text)).rows] == ["resnet", "resnet"]


def test_only_keeps_the_named_rows():
    study = load_study(write("study: x\nrows: [{name: a}, {name: b, training.epochs: 1}]"))
    assert [row.name for row in study.only(["b"]).rows] == ["b"]
    assert [row.name for row in study.only([]).rows] == ["a", "b"]
    with pytest.raises(InputError, match="study 'x' has no row 'bb': did you mean 'b'"):
        study.only(["bb"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: [", "is not valid YAML"),
        ("- a", "must hold a mapping"),
        ("rows: []", "'study' is missing"),
        ("study: x\nstudy: y", "key 'study' is given twice"),
        ("study: 'a b'", "`study` must be at most 100 letters, digits"),
        ("study: x\ntraining.epochs: 3", "got 'training.epochs': put it under `base`"),
        ("study: x\nrow: []", "unknown key 'row': did you mean 'rows'"),
        ("study: x\nrows: [{architecture: fcnn}]", "row 1 needs a `name`.*got None"),
        ("study: x\nrows: [{name: a}, {name: a, training.epochs: 1}]", "2 rows are named 'a'"),
        ("study: x\nrows: [{name: a}, {name: b}]", "rows 'a' and 'b' are the same combination"),
        ("study: x\ngrid: {architecture: []}", "grid axis 'architecture' is empty"),
        ("study: x\ngrid: {batch_augmentation: [{mixup: {}}]}", "must name its points when they are mappings"),
        ("study: x\nseeds: []", "seeds"),
        ("study: x\nseeds: [1, 1]", "names a seed twice"),
        ("study: x\nseeds: [-1]", "`seeds` must be a list of whole numbers of at least 0"),
        ("study: 2020-13-45", "is not valid YAML"),
        ("study: x\nbase: &b {model: *b}", "is not valid YAML"),
        ("study: x\nrows: [{name: 'a\\nb'}, {name: \"a\\nb\"}]", "needs a `name` of one line"),
        ("study: x\nfigures: none", "`figures` must be 'inline' or 'cdn', got 'none'"),
        (
            "study: x\nrows: [{name: a, training.threads: 1}, {name: b}]",
            "training.threads must be the same in all rows",
        ),
        ("study: x\nbase: {architecture: fcn}", "row 'base': unknown architecture 'fcn': did you mean 'fcnn'"),
    ],
)
def test_bad_study_files_are_one_line(text, message):
    path = write(text)
    with pytest.raises(InputError, match=message) as caught:
        load_study(path)
    assert "\n" not in str(caught.value)
    assert "study.yaml" in str(caught.value)


def test_missing_file_and_bad_override():
    with pytest.raises(InputError, match=r"study file nowhere\.yaml does not exist"):
        load_study(Path("nowhere.yaml"))
    path = write("study: x")
    with pytest.raises(InputError, match="--set takes KEY=VALUE, got 'epochs'"):
        load_study(path, overrides=["epochs"])
    with pytest.raises(InputError, match="unknown key 'epochs'"):
        load_study(path, overrides=["epochs=3"])


def test_merge_leaves_its_arguments_alone():
    base = {"a": {"b": [1]}}
    merged = merge(base, {"a.c": 2, "a": {"d": 3}})
    assert merged == {"a": {"b": [1], "c": 2, "d": 3}}
    merged["a"]["b"].append(2)
    assert base == {"a": {"b": [1]}}


def test_shipped_studies_are_valid():
    folder = Path(__file__).parents[2] / "studies"
    files = sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("search_"))
    assert files
    for path in files:
        assert load_study(path).rows


def test_a_profile_overrides_rows_but_adds_no_augmentation(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "study: s\nrows:\n- {name: crop, batch_augmentation: {random_crop: {frames: 400}}, training: {epochs: 9}}\n"
        "- {name: plain}\nprofiles:\n  small: {training.epochs: 2, batch_augmentation: {random_crop: {frames: 5}}}\n"
    )
    crop, plain = load_study(file, profile="small").rows
    assert crop.config.model_dump()["batch_augmentation"] == {"random_crop": {"frames": 5}}
    assert plain.config.model_dump()["batch_augmentation"] == {}
    assert crop.config.training.epochs == plain.config.training.epochs == 2
    assert load_study(file).rows[0].config.training.epochs == 9
    with pytest.raises(InputError, match="has no profile 'smal': did you mean 'small'"):
        load_study(file, profile="smal")


def test_every_study_has_the_profile_for_small_data_unless_it_has_one_of_that_name(tmp_path):
    file = tmp_path / "s.yaml"
    rows = "study: s\nrows:\n- {name: plain}\n- {name: mixed, batch_augmentation: {mixup: {}}, training: {epochs: 9}}\n"
    file.write_text(rows)
    plain, mixed = (row.config for row in load_study(file, profile="small-data").rows)
    assert plain.batch_augmentation == {}
    assert mixed.model_dump()["batch_augmentation"] == {"mixup": {"alpha": 0.3}}
    assert plain.training == mixed.training
    # 300 clips in batches of 16 are 18 steps an epoch: nothing is left to be said about them.
    assert advice([Effort("plain", plain, 300, 30, 10)]) == []
    assert advice([Effort("plain", load_study(file).rows[0].config, 300, 30, 10)]) != []
    file.write_text(rows + "profiles: {small-data: {training.epochs: 3}}\n")
    assert load_study(file, profile="small-data").rows[1].config.training.epochs == 3


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_takes_the_profile_for_small_data(tmp_path, architecture):
    file = tmp_path / "s.yaml"
    file.write_text(f"study: s\nrows: [{{name: one, architecture: {architecture}}}]\n")
    (row,) = load_study(file, profile="small-data").rows
    options = row.config.model.model_dump()
    assert options["width"] == 0.5
    assert options.get("dropout", 0.0) == 0.0
    assert not options.get("attention")


def test_an_architecture_of_ones_own_takes_what_it_has_of_the_profile_for_small_data(tmp_path, monkeypatch):
    (tmp_path / "bare_network.py").write_text("from tiny_network import TINY as BARE\n")
    file = tmp_path / "s.yaml"
    own = "profiles: {mine: {model: {width: 0.5}}}\n"
    file.write_text(f"study: s\nrows: [{{name: one, architecture: 'bare_network:BARE'}}]\n{own}")
    monkeypatch.setattr(sys, "path", sys.path[:])
    (row,) = load_study(file, profile="small-data").rows
    assert row.config.model.model_dump() == {}
    with pytest.raises(InputError, match="width"):
        load_study(file, profile="mine")


def test_published_figures_are_read_from_beside_the_study_file(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("study: s\npublished: p.csv\n")
    with pytest.raises(InputError, match="name a CSV file beside the study file"):
        load_study(file)
    (tmp_path / "p.csv").write_text("row,source,acc_avg\nbase,somebody,high\n")
    with pytest.raises(InputError, match="acc_avg must hold numbers"):
        load_study(file)
    (tmp_path / "p.csv").write_text("row,source,acc_avg\nbase,somebody,50.5\n")
    assert "50.5" in load_study(file).published


@pytest.mark.parametrize("name", ["table1", "table2", "submissions", "ablation"])
def test_shipped_studies_resolve_in_both_sizes(name):
    path = Path(__file__).parents[2] / "studies" / f"{name}.yaml"
    full, small = load_study(path), load_study(path, profile="small")
    assert [row.name for row in full.rows] == [row.name for row in small.rows]
    assert all(row.config.training.epochs <= 6 for row in small.rows)


ENSEMBLES = """
study: s
rows:
- {name: a}
- {name: b, architecture: resnet}
- {name: three, task: three_class}
- {name: t2, task: three_class, architecture: resnet}
ensembles:
"""


def test_ensembles_are_rows_made_of_rows(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        ENSEMBLES + "- {name: chosen, select: {max_members: 3}}\n- {name: two, fine: [chosen], coarse: [three]}\n"
    )
    study = load_study(file)
    assert study.names == ["baseline", "baseline-three-class", "a", "b", "three", "t2", "chosen", "two"]
    chosen, two = study.ensembles
    assert chosen.fine == ["a", "b"]  # all rows of the task of the first
    assert (two.fusion, two.join, two.exponent) == ("average", "product", 1.0)
    assert [row.name for row in study.only(["two"]).ensembles] == ["two"]
    assert study.only(["two"]).rows == ()
    assert study.only(["a"]).ensembles == ()


def test_a_system_by_device_is_made_of_its_general_row_and_those_of_the_devices(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        ENSEMBLES + "- {name: r, general: a, devices: {s1: b, b: b}}\n- {name: e, fine: [r, a]}\n"
        "systems: [{name: small, fine: [r]}]\n"
    )
    study = load_study(file)
    routed, ensemble = study.ensembles
    assert routed.parts == routed.fine == ["a", "b"]
    assert routed.routes == {"b": 1, "s1": 1}
    assert ensemble.parts == ["r", "a"]
    assert [system.part for system in study.systems] == ["r"]
    assert [row.name for row in study.only(["e"]).ensembles] == ["e"]


def test_devices_are_an_axis_of_a_grid_and_set_on_the_command_line(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("study: s\nrows: [{name: all}]\ngrid: {training.devices: {a: [a], simulated: [s2, s1]}}\n")
    found = [row.config.training.devices for row in load_study(file).rows]
    assert found == [None, ["a"], ["s1", "s2"]]
    file.write_text("study: s\nrows: [{name: all}]\n")
    (row,) = load_study(file, overrides=["training.devices=[c]"]).rows
    assert row.config.training.devices == ["c"]


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        ("{name: x, fine: [a, c]}", "ensemble 'x' names the unknown row 'c': did you mean|names the unknown row 'c'"),
        ("{name: a, fine: [a, b]}", "ensemble 'a': the name is taken"),
        ("{name: x, fine: [a]}", "ensemble 'x' needs at least 2 rows under `fine`, got \\['a'\\]"),
        ("{name: x, fine: [a, three]}", "`fine` takes rows of one task and `coarse` three-class rows"),
        ("{name: x, fine: [a], coarse: [b]}", "`fine` takes rows of one task and `coarse` three-class rows"),
        ("{name: x, fine: [t2], coarse: [three]}", "the `fine` rows of two-stage fusion are ten-class ones"),
        ("{name: x, select: {}, coarse: [three]}", "must either select members or fuse two stages, got both"),
        ("{name: x, fine: [a, b], weigths: 1}", "unknown key 'weigths'"),
        ("{name: x, fine: [a, a]}", "must name each row once"),
        ("{name: x, fine: [a, b]}\n- {name: y, fine: [a, b]}", "ensemble 'y' is the same as 'x'"),
        ("{name: x, fine: [a, b], join: learned}", "`join` and `exponent` are for two stages, got learned, 1.0"),
        (
            "{name: x, fine: [a], coarse: [three], exponent: -3}",
            "`exponent` must be a number in .* or fit, got -3",
        ),
        ("{name: x, fine: [a], select: {}}", "selects among at least 2 rows"),
        ("{name: x, select: {objective: acc_agv}}", "must be a known metric, got 'acc_agv': did you mean 'acc_avg'"),
        ("{name: x, select: {objective: test/acc_avg}}", "nothing is chosen on the test split"),
        ("{name: ' ', fine: [a, b]}", "ensemble 1 needs a `name` of one line"),
        ("{name: x, general: a}", "by device needs `general` and at least one of `devices`, got 'a' and"),
        ("{name: x, devices: {a: b}}", "by device needs `general` and at least one of `devices`, got None and"),
        ("{name: x, general: a, devices: {a: c}}", "ensemble 'x' names the unknown row 'c'"),
        ("{name: x, general: a, devices: {s7: b}}", "ensemble 'x': unknown device 's7': "),
        ("{name: x, general: a, devices: {a: a}}", "ensemble 'x' hears 'a' by 'a' anyway: leave it out"),
        ("{name: x, general: a, devices: {a: three}}", "`fine` takes rows of one task"),
        ("{name: x, general: a, devices: {a: b}, fine: [a, b]}", "ensemble 'x' is fused or by device, got"),
        ("{name: x, general: a, devices: {a: b}, fusion: product}", "ensemble 'x' is fused or by device, got"),
        ("{name: x, select: {max_overlap: 2}}", "`select.max_overlap` must be at most 1.0, got 2"),
    ],
)
def test_wrong_ensembles_are_one_line(tmp_path, ensemble, message):
    file = tmp_path / "s.yaml"
    file.write_text(f"{ENSEMBLES}- {ensemble}\n")
    with pytest.raises(InputError, match=message) as error:
        load_study(file)
    assert "\n" not in str(error.value)
