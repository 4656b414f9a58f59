"""The last stage of a study: its systems, from trained rows to bundles that run."""

import json
import shutil
import sqlite3
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking._tracking_service import utils

from asc_study import load_bundle
from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.data.identified import identify
from asc_study.deploy.register import register_bundle
from asc_study.deploy.runtime.stored import open_bundle
from asc_study.evaluation.metrics import evaluate
from asc_study.settings.study_file import load_study
from asc_study.store.tracking import Tracker
from asc_study.study.leaderboard import study_leaderboard
from asc_study.study.leaderboard_forms import render
from asc_study.study.plan import make_plan, render_plan
from asc_study.study.run_study import run_study
from asc_study.study.status import study_state

pytestmark = pytest.mark.slow

STUDY = """
study: small
figures: cdn
baseline: false
rows:
- {name: ten}
- {name: other, training.lr_max: 0.04}
- {name: three, task: three_class}
base:
  architecture: tiny_network:TINY
  features: {n_mels: 32}
  training: {epochs: 6, threads: 2, lr_max: 0.05}
  validation: {share: 0.3}
ensembles:
- {name: two-stage, fine: [ten], coarse: [three]}
systems:
- {name: whole, fine: [two-stage]}
- {name: fitting, fine: [ten, other], coarse: [three], select: {method: budget, max_members: 2}, max_kb: 500}
- {name: learned, fine: [ten, other], fusion: logistic, scheme: float16}
"""


def run(text: str = STUDY, **options: Any) -> tuple[list[Any], list[str]]:
    """Run a study on the data of the test's folder; returns the outcomes and what was said."""
    Path("s.yaml").write_text(text, encoding="utf-8")
    said: list[str] = []
    study = load_study(Path("s.yaml"), default_task="ten_class")
    return run_study(study, identify(Path("sim")), say=said.append, **options), said


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, simulated: Path, empty_store: Path) -> Path:
    """A folder with the finished study, its store and its bundles; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(empty_store, folder / "mlflow.db")
    (folder / "sim").symlink_to(simulated)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        outcomes, said = run()
        (folder / "said.json").write_text(json.dumps([said, [outcome.to_dict() for outcome in outcomes]]))
    return folder


@pytest.fixture
def here(finished: Path, monkeypatch: pytest.MonkeyPatch, isolated: Path) -> Tracker:
    """The finished study as the folder of the test, with a store that may be added to."""
    shutil.copytree(finished, isolated, symlinks=True, dirs_exist_ok=True)
    places = {"runs": "artifact_uri", "experiments": "artifact_location", "logged_models": "artifact_location"}
    with closing(sqlite3.connect(isolated / "mlflow.db")) as connection, connection:
        for table, column in places.items():
            moved = (finished.as_uri(), isolated.as_uri())
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", moved)
    # MLflow remembers where the artifacts of a run's id are, whatever the store; all these stores have the same ids.
    monkeypatch.setattr(utils, "_artifact_repos_cache", OrderedDict())
    monkeypatch.setenv("ASC_STUDY_CACHE", str(finished / "cache"))
    return Tracker()


def test_each_system_becomes_a_bundle_and_a_run(here: Tracker) -> None:
    said, outcomes = json.loads(Path("said.json").read_text())
    ended = {outcome["row"]: outcome for outcome in outcomes}
    assert {outcome["status"] for outcome in outcomes} == {"done"}
    assert [line.split(":")[0] for line in said if line.startswith("system")] == [
        f"system {name} seed 0" for name in ("whole", "fitting", "learned")
    ]
    assert sum("dynamic: " in line for line in said) == 3  # ten, other, three, once each
    records = {record.tags[Tag.ROW]: record for record in here.runs("small", kind=Kind.SYSTEM)}
    assert set(records) == {"whole", "fitting", "learned"}
    for name, record in records.items():
        stored = open_bundle(Path("bundles/small") / name)
        assert stored.verify() == ()
        assert ended[name]["bundle"] == f"bundles/small/{name}"
        assert ended[name]["kilobytes"] == pytest.approx(stored.manifest["sizes"]["file_bytes"] / 1024, abs=0.06)
        assert record.metrics["test/acc_avg"] == pytest.approx(stored.manifest["metrics"]["test/acc_avg"], abs=1e-9)
        assert 0.8 < record.metrics["test/agreement"] <= 1
        assert "test/change_acc_avg" in record.metrics
    assert {member["scheme"] for member in open_bundle(Path("bundles/small/learned")).manifest["members"]} == {
        "float16"
    }
    sizes = open_bundle(Path("bundles/small/fitting")).manifest["sizes"]
    assert sizes["file_bytes"] <= 500 * 1024


def test_the_run_of_a_system_says_what_its_bundle_does(here: Tracker) -> None:
    (record,) = (r for r in here.runs("small", kind=Kind.SYSTEM) if r.tags[Tag.ROW] == "whole")
    table = here.predictions(record.run_id)["test"].set_index("clip_id")
    system = load_bundle("bundles/small/whole")
    for clip_id in table.index[:3]:
        found = system.classify_file(Path("sim/audio") / f"{clip_id}.wav").probabilities
        assert table.loc[clip_id, list(found)].to_dict() == pytest.approx(found, abs=1e-5)
    assert evaluate(here.predictions(record.run_id)["test"])["test/acc_avg"] == record.metrics["test/acc_avg"]


def test_a_learned_fusion_is_not_measured_on_the_labels_it_was_fitted_on(here: Tracker) -> None:
    records = {record.tags.get(Tag.ROW, ""): record for record in here.runs("small")}
    fusion, system = records["learned-fusion"], records["learned"]
    assert fusion.tags[Tag.BASIS] == system.tags[Tag.BASIS] == "validation"
    ours, theirs = here.predictions(system.run_id), here.predictions(fusion.run_id)
    assert ("validation" in ours) == ("validation" in theirs)  # there, it is cross-fitted; on few clips it cannot be
    assert "test/agreement" in system.metrics
    assert "validation/agreement" not in system.metrics


def test_what_is_done_is_not_made_again(here: Tracker) -> None:
    before = len(here.runs("small"))
    outcomes, said = run()
    assert (outcomes, len(here.runs("small"))) == ([], before)
    assert not any(line.startswith(("system", "ensemble")) for line in said)


def test_a_bundle_that_is_gone_or_older_is_written_again(here: Tracker) -> None:
    want = Path("bundles/small/whole/manifest.json").read_bytes()
    shutil.rmtree("bundles/small/whole")
    assert "system whole seed 0: its bundle was written again, bundles/small/whole" in run()[1]
    assert Path("bundles/small/whole/manifest.json").read_bytes() == want
    shutil.rmtree("bundles/small/whole")
    shutil.copytree("bundles/small/fitting", "bundles/small/whole")  # one that the study has made, too
    run()
    assert Path("bundles/small/whole/manifest.json").read_bytes() == want


def test_what_no_study_has_made_is_not_replaced(here: Tracker) -> None:
    shutil.rmtree("bundles/small/whole")
    Path("bundles/small/whole").mkdir()
    Path("bundles/small/whole/thesis.txt").write_text("all my work")
    (outcome,) = run()[0]
    assert (outcome.name, outcome.status) == ("whole", "failed")
    assert "must be a bundle that a study has made" in outcome.reason
    assert Path("bundles/small/whole/thesis.txt").read_text() == "all my work"


def test_a_system_over_its_budget_is_kept_and_failed_each_time(here: Tracker) -> None:
    for _ in range(2):
        (outcome,) = run(STUDY.replace("fine: [two-stage]", "fine: [two-stage], max_kb: 1"))[0]
        assert (outcome.name, outcome.status) == ("whole", "failed")
        assert outcome.reason.startswith("its networks must have at most 1 kB, got ")
    open_bundle(Path("bundles/small/whole")).verify()


def test_a_changed_setting_makes_a_new_system_and_orphans_the_old(here: Tracker) -> None:
    changed = STUDY.replace("fine: [two-stage]", "fine: [two-stage], scheme: float16")
    plan = make_plan(load_study(_written(changed), default_task="ten_class"), identify(Path("sim")).digest, here)
    assert [system.status for system in plan.systems] == ["new", "done", "done"]
    assert [outcome.name for outcome in run(changed)[0]] == ["whole"]
    assert open_bundle(Path("bundles/small/whole")).manifest["members"][0]["scheme"] == "float16"
    _, board = study_leaderboard("s.yaml", orphans=True)
    assert sorted(board.loc[board["row"] == "whole", "state"]) == ["current", "orphaned"]


def _written(text: str) -> Path:
    Path("s.yaml").write_text(text, encoding="utf-8")
    return Path("s.yaml")


def test_plan_status_and_leaderboard_show_systems(here: Tracker) -> None:
    study = load_study(_written(STUDY), default_task="ten_class")
    plan = make_plan(study, identify(Path("sim")).digest, here)
    assert "  fitting (dynamic of fitting-fusion, at most 500 kB): done" in render_plan(study, plan).splitlines()
    assert {(one.row, one.state) for one in study_state("small", here).made} >= {("whole", "done"), ("fitting", "done")}
    name, board = study_leaderboard("s.yaml")
    by_row = board.set_index("row")
    assert by_row.index[by_row["folded"]].isin(["ten", "other", "three", "two-stage", "whole"]).sum() == 0
    twin = by_row.loc["ten-dynamic"]
    assert by_row.loc["ten", "acc_quantised"] == pytest.approx(twin["acc_avg"])
    assert by_row.loc["ten", "quantised_kb"] == pytest.approx(twin["quantised_kb"])
    assert by_row.loc["two-stage", "quantised_kb"] == pytest.approx(by_row.loc["whole", "quantised_kb"])
    text = render(board, name)
    assert by_row.loc["whole", "architecture"] == "two-stage 1+1, dynamic"
    assert "ten-dynamic" not in text
    assert "quantised networks and steps of systems; --format csv has them" in text


def test_pages_of_everything_that_a_study_makes_load_plotly_as_it_says(here: Tracker) -> None:
    pages = {
        run.tags.get("asc.row", "study"): here.artifact(run.run_id, "figures/summary.html").read_text()
        for run in here.runs("small")
        if run.tags["asc.kind"] != "study"
    }
    assert {"ten", "two-stage", "ten-dynamic", "whole", "fitting"} <= set(pages)
    assert [row for row, text in pages.items() if "https://cdn.plot.ly" not in text or len(text) > 500_000] == []


def test_a_system_is_registered_with_the_run_that_made_it(here: Tracker) -> None:
    (made,) = (r for r in here.runs("small", kind=Kind.SYSTEM) if r.tags[Tag.ROW] == "whole")
    registered = register_bundle(here, Path("bundles/small/whole"), "scenes")
    assert registered.version.run_id == made.run_id
    assert here.artifact(made.run_id, f"{Artifact.BUNDLE}/{Artifact.MANIFEST}").is_file()
