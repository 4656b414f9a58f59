"""Students of a study: who is trained first, what they learn from, and what makes them the same."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.settings.study_file import Study, load_study
from asc_study.store.references import current_rows, find_runs
from asc_study.store.tracking import Tracker
from asc_study.study.definition import define
from asc_study.study.leaderboard import leaderboard
from asc_study.study.leaderboard_forms import render
from asc_study.study.plan import make_plan, render_plan, specs
from asc_study.study.run_study import run_study
from asc_study.study.teachers import heard_before, teacher_table, waves
from asc_study.training.run_data import run_data

BASE = {
    "architecture": "tiny_network:TINY",
    "features": {"n_mels": 32},
    "training": {"epochs": 1, "batch_size": 10, "threads": 2},
}
MIXUP = {"batch_augmentation": {"mixup": {"alpha": 0.4}}}
ROWS = [
    {"name": "student", **MIXUP, "distillation": {"teacher": "both", "temperature": 3}},
    {"name": "plain"},
    {"name": "coarse-ears", "features": {"n_mels": 16}},
]
BOTH = {"name": "both", "fine": ["plain", "coarse-ears"]}


def study_of(rows: list[dict], ensembles: tuple[dict, ...] = (BOTH,), **more) -> Study:
    content = {"study": "taught", "baseline": False, "base": BASE, "rows": rows, "ensembles": list(ensembles)} | more
    Path("taught.yaml").write_text(yaml.safe_dump(content))
    return load_study(Path("taught.yaml"))


@pytest.fixture(scope="module")
def trained(simulated: Path, tmp_path_factory, empty_store: Path) -> tuple[Path, Study, IdentifiedDataset, list, list]:
    folder = tmp_path_factory.mktemp("taught")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        data, study, said = identify(simulated), study_of(ROWS), []
        return folder, study, data, run_study(study, data, say=said.append), said


@pytest.fixture
def taught(trained, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(trained[0])
    monkeypatch.setenv("ASC_STUDY_CACHE", str(trained[0] / "cache"))
    return trained


def test_a_student_is_trained_after_the_ensemble_that_teaches_it(taught):
    _, study, data, outcomes, _ = taught
    ended = [getattr(outcome, "name", None) or outcome.spec.row for outcome in outcomes]
    assert [outcome.status for outcome in outcomes] == ["done"] * 4, outcomes
    assert ended == ["plain", "coarse-ears", "both", "student"]
    assert make_plan(study, data.digest, Tracker()).counts["done"] == 3


def test_a_student_stands_in_the_leaderboard_as_the_study_defines_it(taught):
    _, study, data, _, _ = taught
    tracker = Tracker()
    current = current_rows(tracker, "taught", define(study, data.digest))
    assert {record.tags["asc.row"] for record in current.current} == {"plain", "coarse-ears", "both", "student"}
    assert current.orphans == ()
    assert find_runs(tracker, "taught/student")[0].tags["asc.row"] == "student"
    board = leaderboard(tracker, "taught")
    assert list(board.set_index("row")["teacher"].loc[["student", "plain"]]) == ["both", ""]
    assert "| student | tiny_network:TINY: mixup, taught by both |" in render(board, "taught", "markdown")


def test_a_teacher_of_other_features_tells_of_the_clips_of_its_student(taught):
    _, study, data, _, _ = taught
    tracker = Tracker()
    records = {record.tags.get("asc.row"): record for record in tracker.runs("taught")}
    config = next(row.config for row in study.rows if row.name == "student")
    part = run_data(config, data.dataset, data.audio_digests)
    tables = {
        name: teacher_table(tracker, records[name].run_id, config, data, part, 0)
        for name in ("both", "plain", "coarse-ears")
    }
    train = part.clips.index[part.clips["split"] == "train"]
    pd.testing.assert_index_equal(tables["both"].index, train)
    mean = (tables["plain"].to_numpy() + tables["coarse-ears"].to_numpy()) / 2
    np.testing.assert_allclose(tables["both"].to_numpy(), mean, atol=1e-5)
    assert np.abs(tables["plain"].to_numpy() - tables["coarse-ears"].to_numpy()).max() > 0.01


def test_what_teaches_is_part_of_the_identity_and_its_name_is_not(isolated: Path):
    def combination(rows: list[dict], ensembles: tuple[dict, ...] = (BOTH,)) -> str:
        return next(spec.combination for spec in specs(study_of(rows, ensembles), "0" * 64) if spec.row == "student")

    student, plain, coarse = ROWS
    first = combination(ROWS)
    renamed = {**student, "distillation": {"teacher": "pair", "temperature": 3}}
    assert combination([renamed, plain, coarse], ({**BOTH, "name": "pair"},)) == first
    assert combination([student, {**plain, "training.epochs": 2}, coarse]) != first
    assert combination([{**student, "distillation": {"teacher": "both", "temperature": 4}}, plain, coarse]) != first
    assert combination([{**student, "distillation": None}, plain, coarse]) != first


def test_a_chain_of_teachers_is_trained_link_by_link(isolated: Path):
    chain = [{"name": "c", "distillation": {"teacher": "b"}}, {"name": "b", "distillation": {"teacher": "a"}}]
    assert waves(study_of([*chain, {"name": "a"}], ())) == [["a"], ["b"], ["c"]]


def test_the_plan_says_whom_a_student_waits_for(isolated: Path):
    study = study_of(ROWS)
    lines = render_plan(study, make_plan(study, "0" * 64, None)).splitlines()
    assert ["after its teacher both" in line for line in lines if line.startswith(("student", "plain"))] == [
        True,
        False,
    ]


def test_a_student_without_its_teacher_waits_and_says_so(simulated: Path, tracker: Tracker):
    said: list[str] = []
    (outcome,) = run_study(study_of(ROWS), identify(simulated), only=["student"], say=said.append)[-1:]
    assert (outcome.status, outcome.reason) == ("waits", "its teacher both is not finished")
    assert any("student seed 0: waits: its teacher both is not finished" in line for line in said)
    assert tracker.runs("taught", kind="train") == []


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({}, ""),
        ({"validation.seed": 1}, "both heard its locations, which it is validated on"),
        ({"validation.share": 0.2}, "both heard its locations"),
        ({"validation.folds": 2}, "both heard its locations"),
        ({"validation.holdout_devices": ["s3", "b"]}, "both heard b, s3, which it is validated on"),
        ({"validation.seed": 1, "training.data": "development"}, ""),  # it has no validation
    ],
)
def test_a_student_whose_validation_its_teacher_heard_is_told_of(isolated: Path, own: dict, told: str):
    student, *others = ROWS
    study = study_of([student | own, *others])
    lines = heard_before(study, ["student", "plain"])
    assert len(lines) == bool(told)
    assert told in "".join(lines)
    assert heard_before(study, ["plain"]) == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"name": "s", "distillation": {"teacher": "teecher"}}, {"name": "teacher"}], "did you mean 'teacher'"),
        ([{"name": "s", "distillation": {"teacher": "s"}}], "s <- s"),
        ([{"name": "s", "distillation": {"teacher": "all"}}, {"name": "t"}], "s <- all <- s"),
        ([{"name": "s", "distillation": {"teacher": "t"}}, {"name": "t", "task": "three_class"}], "task"),
    ],
)
def test_a_teacher_that_cannot_be_is_one_line(isolated: Path, rows: list[dict], told: str):
    ensembles = ({"name": "all", "select": {}},) if "all" in told else ()
    with pytest.raises(InputError, match=told) as refused:
        study_of(rows, ensembles)
    assert "\n" not in str(refused.value)
