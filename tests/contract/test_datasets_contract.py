"""Every data format keeps its contract, and so does every way to come by a data set."""

from pathlib import Path

import pytest

from asc_study.data.check import check
from asc_study.data.clips import CLIP_COLUMNS, require_audio
from asc_study.data.cut import cut_validation
from asc_study.data.formats import DATA_FORMATS, TAU2020_3CLASS, TAU2020_MOBILE
from asc_study.data.identified import identify
from asc_study.data.layout import read_dataset
from asc_study.simulation.add_devices import add_devices
from asc_study.simulation.simulate import simulate
from asc_study.testing import check_data_format
from asc_study.testing.data_formats import write_example


@pytest.mark.parametrize("name", DATA_FORMATS)
def test_data_format(name: str):
    check_data_format(DATA_FORMATS[name])
    assert DATA_FORMATS[name].name == name


@pytest.mark.parametrize("name", DATA_FORMATS)
def test_a_folder_of_a_built_in_format_is_recognised(name: str, tmp_path: Path):
    write_example(DATA_FORMATS[name], tmp_path)
    assert read_dataset(tmp_path).format is DATA_FORMATS[name]


def device_a_only(root: Path) -> Path:
    """A ten-class data set of one device, as people record it."""
    simulate(root, clips_per_scene=3, seconds=1.0, seed=2)
    clips = read_dataset(root).clips
    for path in clips.loc[clips["device"] != "a", "path"]:
        Path(path).unlink()
    for name in ("meta.csv", "evaluation_setup/fold1_train.csv", "evaluation_setup/fold1_evaluate.csv"):
        lines = (root / name).read_text().splitlines()
        kept = [lines[0], *(line for line in lines[1:] if line.split("\t")[0].endswith("-a.wav"))]
        (root / name).write_text("\n".join(kept) + "\n")
    (root / "evaluation_setup" / "fold1_test.csv").unlink()
    (root / "made-by.json").unlink()
    return root


@pytest.fixture(scope="module", params=["ten_class", "three_class", "add_devices"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "add_devices":
        add_devices(device_a_only(folder / "in"), folder / "data")
    else:
        simulate(folder / "data", task=request.param, clips_per_scene=3, seconds=1.0)
    return folder / "data"


def test_clip_table(root: Path):
    dataset = read_dataset(root)
    clips = dataset.clips
    assert dataset.format is (TAU2020_3CLASS if "three_class" in str(root) else TAU2020_MOBILE)
    assert tuple(clips.columns) == CLIP_COLUMNS
    assert clips["clip_id"].is_unique
    assert clips["clip_id"].is_monotonic_increasing
    assert set(clips["split"]) == {"train", "test"}
    assert set(clips["scene"]) == set(dataset.format.scenes)
    assert set(clips["device"]) <= set(dataset.format.devices)
    assert (clips["scene"].map(dict(dataset.format.group_of_scene)) == clips["scene_group"]).all()
    assert all(Path(path).is_absolute() for path in clips["path"])
    require_audio(dataset)


def test_unseen_devices_are_in_test_only(root: Path):
    dataset = read_dataset(root)
    heard = set(dataset.clips.loc[dataset.clips["split"] == "train", "device"])
    assert not heard & {"s4", "s5", "s6"}
    if dataset.task == "ten_class":
        test = dataset.clips[dataset.clips["split"] == "test"]
        assert test["device"].value_counts().nunique() == 1
        assert set(test["device"]) == set(dataset.format.devices)


def test_validation_is_cut_by_location(root: Path):
    dataset = read_dataset(root)
    clips = cut_validation(dataset.clips, seed=0)
    place = clips["city"] + "-" + clips["location"]
    validation, train = (set(place[clips["split"] == split]) for split in ("validation", "train"))
    assert validation
    assert not validation & train
    assert set(clips.loc[clips["split"] == "validation", "scene"]) == set(dataset.format.scenes)


def test_check_finds_nothing(root: Path):
    report = check(root)
    assert report.ok, report.render()


def test_digest_repeats(root: Path):
    assert identify(root).digest == identify(root).digest
