"""The second stage of DCASE 2025's baseline: rows that go on for a device, and the system that is made of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENES
from asc_study.data.identified import identify
from asc_study.deploy.runtime.system import load_bundle
from asc_study.settings.run_config import RunConfig
from asc_study.settings.study_file import Study, load_study
from asc_study.store.references import find_runs
from asc_study.store.tracking import Tracker
from asc_study.study.leaderboard import leaderboard
from asc_study.study.plan import make_plan, render_plan, specs
from asc_study.study.preflight import check_fit
from asc_study.study.run_study import run_study
from asc_study.study.teachers import waves
from asc_study.training.run_data import Cuts

BASE = {
    "architecture": "tiny_network:TINY",
    "features": {"n_mels": 32},
    "training": {"epochs": 2, "batch_size": 10, "threads": 2, "lr_max": 0.05, "select_epoch": "last"},
    "validation": {"share": 0.3},
}
ROWS = [
    *(
        {"name": f"of-{device}", "continues": {"row": "general"}, "training": {"epochs": 1, "devices": [device]}}
        for device in ("a", "b")
    ),
    {"name": "general"},
]
ROUTED = {"name": "by-device", "general": "general", "devices": {"a": "of-a", "b": "of-b"}}
CONTENT = {
    "study": "routed",
    "baseline": False,
    "figures": "cdn",
    "base": BASE,
    "rows": ROWS,
    "ensembles": [ROUTED],
    "systems": [{"name": "small", "fine": ["by-device"], "scheme": "float32"}],
}


def study_of(**changed) -> Study:
    Path("routed.yaml").write_text(yaml.safe_dump(CONTENT | changed))
    return load_study(Path("routed.yaml"))


@pytest.fixture(scope="module")
def folder(simulated: Path, tmp_path_factory, empty_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("routed")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        ended = [outcome.to_dict() for outcome in run_study(study_of(), identify(simulated))]
        assert {outcome["status"] for outcome in ended} == {"done"}, [outcome["reason"] for outcome in ended]
    return folder


@pytest.fixture
def routed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
    return Tracker()


def table_of(tracker: Tracker, row: str):
    (record,) = find_runs(tracker, f"routed/{row}@0")
    return tracker.predictions(record.run_id)["test"].set_index("clip_id").sort_index()


def test_a_row_of_a_device_goes_on_from_the_general_one_and_predicts_all_clips(routed: Tracker):
    general, of_b = table_of(routed, "general"), table_of(routed, "of-b")
    assert set(of_b.index) == set(general.index)
    assert not np.allclose(of_b[list(SCENES)], general[list(SCENES)])
    (record,) = find_runs(routed, "routed/of-b@0")
    assert record.params["training.devices"] == "['b']"
    assert waves(study_of()) == [["general"], ["of-a", "of-b"]]


def test_the_system_hears_each_clip_by_the_model_of_its_device(routed: Tracker):
    tables = {row: table_of(routed, row) for row in ("general", "of-a", "of-b", "by-device")}
    for device, row in (("a", "of-a"), ("b", "of-b"), ("s1", "general"), ("s4", "general")):
        clips = tables["general"].index[tables["general"]["device"] == device]
        assert len(clips)
        heard, own = (tables[name].loc[clips, list(SCENES)] for name in ("by-device", row))
        np.testing.assert_allclose(heard, own, atol=1e-6)
    board = leaderboard(routed, "routed").set_index("row")
    assert board.loc["by-device", "device_acc_b"] == board.loc["of-b", "device_acc_b"]
    (record,) = find_runs(routed, "routed/by-device")
    (of_a,) = find_runs(routed, "routed/of-a")
    assert record.metrics["cost/parameters"] == of_a.metrics["cost/parameters"]


def test_a_second_launch_has_nothing_to_do(routed: Tracker, simulated: Path):
    data, study = identify(simulated), study_of()
    plan = make_plan(study, data.digest, routed)
    assert plan.counts["done"] == 3
    assert not plan.stale
    assert "then ensembles: by-device" in render_plan(study, plan)
    assert run_study(study, data) == []


def test_its_bundle_hears_by_device(routed: Tracker, simulated: Path, asc):
    bundle = load_bundle("bundles/routed/small")
    assert bundle.devices == ("a", "b")
    tables = {row: table_of(routed, row) for row in ("general", "of-b", "small")}
    clip_id = next(clip for clip in tables["general"].index if clip.endswith("-b"))
    clip = simulated / "audio" / f"{clip_id}.wav"
    for device, row in (("b", "of-b"), ("", "general"), ("s9", "general")):
        said = list(bundle.classify_file(clip, device).probabilities.values())
        np.testing.assert_allclose(said, tables[row].loc[clip_id, list(SCENES)].to_numpy(float), atol=1e-3)
    assert bundle.notes.lines() == [
        f"heard by what is for any device: no network of its own for 's9' in {clip}",
    ]
    code, out, err = asc("classify", "bundles/routed/small", str(clip), "--device", "b", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)["clips"][0]["probabilities"]
    assert told == pytest.approx(bundle.classify_file(clip, "b").probabilities)
    program = [sys.executable, "bundles/routed/small/classify.py", str(clip), "--device", "b", "--json"]
    alone = subprocess.run(program, capture_output=True, text=True, check=True, env={})  # without this package
    assert json.loads(alone.stdout)["clips"][0]["probabilities"] == pytest.approx(told)
    labels = simulated / "evaluation_setup" / "fold1_evaluate.csv"
    code, out, _ = asc("classify", "bundles/routed/small", str(simulated / "audio"), "--labels", str(labels), "--json")
    (record,) = find_runs(routed, "routed/small")
    metrics = json.loads(out)["metrics"]
    assert (code, metrics["test/acc_avg"]) == (0, pytest.approx(record.metrics["test/acc_avg"]))
    code, _, err = asc("classify", "bundles/routed/small", str(clip), "--labels", str(labels), "--device", "b")
    assert (code, err.strip()) == (
        2, "asc-study: the list of --labels says what recorded each clip, got --device b too: leave it out",
    )  # fmt: skip


def test_it_is_made_of_runs_on_the_command_line_too(routed: Tracker, asc):
    parts = ("--general", "routed/general@0", "--device", "a=routed/of-a@0", "--device", "b=routed/of-b@0")
    code, out, _ = asc("fuse", *parts, "--name", "by-device", "--json")
    (of_study,) = find_runs(routed, "routed/by-device")
    made = json.loads(out)
    assert (code, made["run_id"], made["existed"]) == (0, of_study.run_id, True)  # the same as that of the study file
    code, out, _ = asc("fuse", *parts[:4], "--device", "s1=routed/of-a@0", "--study", "other", "--json")
    (other,) = find_runs(routed, "other/by-device")
    assert (code, json.loads(out)["run_id"]) == (0, other.run_id)
    assert len(json.loads(other.tags["asc.routes"])["devices"]) == 2
    for options, told in {
        (*parts, "--fine", "routed/of-a"): "runs are fused or by device, got --general beside --fine",
        (*parts, "--join", "product"): "runs are fused or by device, got --general beside --join",
        parts[:2]: "needs --general and at least one --device, got --general alone",
        parts[2:]: "needs --general and at least one --device, got --device alone",
        (*parts[:2], "--device", "routed/of-a"): "--device must be DEVICE=RUN",
        (*parts[:4], *parts[2:4]): "once for each device, got 'a=routed/of-a@0'",
        (*parts[:2], "--device", "x=routed/of-a"): "unknown device 'x'",
        (*parts[:2], "--device", "a=routed/general@0"): "--device a is heard by 'routed/general@0' anyway",
        (*parts[:2], "--device", "a=routed/general"): "each run can be named once, got 'general seed 0' twice",
    }.items():
        code, _, err = asc("fuse", *options)
        assert (code, err.count("\n")) == (2, 1)
        assert told in err


def test_a_bundle_counts_what_runs_for_a_clip(routed: Tracker):
    manifest = json.loads(Path("bundles/routed/small/manifest.json").read_text())
    sizes = [member["bytes"] for member in manifest["members"]]
    assert len(sizes) == 3
    assert manifest["sizes"]["file_bytes"] == max(sizes)
    assert manifest["devices"] == ["a", "b"]
    assert "(`--device a`)" in Path("bundles/routed/small/README.md").read_text()
    (record,) = find_runs(routed, "routed/small")
    assert record.metrics["cost/file_kb"] == pytest.approx(max(sizes) / 1024)


def test_the_devices_of_a_row_are_part_of_its_identity_and_the_names_of_members_are_not(isolated: Path):
    def combinations(rows: list[dict]) -> dict[str, str]:
        return {spec.row: spec.combination for spec in specs(study_of(rows=rows, ensembles=[], systems=[]), "0" * 64)}

    found = combinations(ROWS)
    assert len(set(found.values())) == 3
    assert combinations([{**row, "name": row["name"].replace("of-", "for-")} for row in ROWS])["for-a"] == found["of-a"]


@pytest.mark.parametrize(
    ("training", "told"),
    [
        ({"devices": ["s4"]}, "row 'of-a': training.devices must be devices of the train clips .*, got 's4'"),
        ({"devices": ["s1"], "select_epoch": "best"}, "select_epoch: best needs validation clips of training.devices"),
    ],
)
def test_devices_that_cannot_be_trained_on_are_told_before_anything_runs(
    isolated: Path, simulated: Path, training: dict, told: str
):
    class Unvalidated(Cuts):
        """No validation location has a clip of s1, as that of a smaller data set may have none."""

        def __call__(self, config: RunConfig, fold: int = 0) -> pd.DataFrame:
            clips = super().__call__(config, fold)
            return clips[(clips["split"] != "validation") | (clips["device"] != "s1")]

    dataset = identify(simulated).dataset
    rows = [ROWS[0] | {"training": training}, *ROWS[1:]]
    with pytest.raises(InputError, match=told) as refused:
        check_fit(study_of(rows=rows, ensembles=[], systems=[]), dataset, cuts=Unvalidated(dataset))
    assert "\n" not in str(refused.value)
