"""MLflow's own page: views in its private format, links, and descriptions."""

import base64
import json
import zlib
from typing import Any

import pytest

from asc_study.base.metric_table import BY_NAME
from asc_study.store.tracking import Tracker, source_tags
from asc_study.store.views import (
    CHARTS,
    DEVICES,
    OF_STUDIES,
    markdown_table,
    needs_server,
    page_address,
    publish,
    study_views,
    trials_view,
    view_link,
)


def tags_of(tracker: Tracker, study: str = "s") -> dict[str, str]:
    experiment = tracker.find_experiment(study)
    assert experiment is not None
    return dict(experiment.tags)


def state_of(tags: dict[str, str], key: str) -> dict[str, Any]:
    written = json.loads(tags[f"mlflow.sharedViewState.{key}"])
    assert written["name"]
    assert written["createdAt"] == written["updatedAt"]
    method, _, packed = written["state"].partition(";")
    assert method == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_publish_gives_the_experiment_its_kind_note_and_views(tracker: Tracker):
    experiment_id = tracker.experiment_id("s")
    assert publish(tracker, experiment_id, OF_STUDIES, "what it shows") == ""
    tags = tags_of(tracker)
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tags["mlflow.note.content"] == "what it shows"
    devices = state_of(tags, "devices")
    assert {"metrics.`test/acc_A`", "metrics.`test/acc_s4-s6`", "tags.`asc.row`"} <= set(devices["selectedColumns"])
    assert (devices["orderByKey"], devices["orderByAsc"]) == ("metrics.`test/acc_avg`", False)
    charts = state_of(tags, "charts")
    sections = {section["uuid"] for section in charts["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts["compareRunCharts"]} == sections
    assert {chart["type"] for chart in charts["compareRunCharts"]} == {"BAR", "LINE", "SCATTER"}


def test_every_metric_of_the_views_is_one_of_the_table():
    for view in OF_STUDIES:
        metrics = [name for name in view.columns if not name.startswith(("tags.", "params."))]
        metrics += [metric for chart in view.charts for metric in chart.metrics if not metric.startswith("epoch/")]
        known = {metric.test_name for metric in BY_NAME.values()}
        assert set(metrics) <= known


@pytest.mark.parametrize("view", OF_STUDIES)
def test_the_filters_of_the_views_are_ones_that_the_store_understands(tracker: Tracker, view):
    for kind in ("study", "train", "ensemble", "trial"):
        tags = {"asc.kind": kind} | ({"asc.members": "[]"} if kind == "ensemble" else {})
        tracker.create_run("s", kind, tags, {})
    found = tracker.client.search_runs([tracker.experiment_id("s")], filter_string=view.runs)
    kinds = {run.data.tags["asc.kind"] for run in found}
    expected = {"devices": {"train", "ensemble"}, "charts": {"train", "ensemble"}, "systems": {"train"}}
    assert kinds == expected.get(view.key, {"ensemble"})


def test_a_view_that_did_not_change_keeps_its_time(tracker: Tracker):
    experiment_id = tracker.experiment_id("s")
    publish(tracker, experiment_id, [DEVICES], "a")
    first = tags_of(tracker)
    publish(tracker, experiment_id, [DEVICES], "b")
    second = tags_of(tracker)
    assert first["mlflow.sharedViewState.devices"] == second["mlflow.sharedViewState.devices"]
    assert second["mlflow.note.content"] == "b"


def test_a_damaged_view_is_made_anew(tracker: Tracker):
    experiment_id = tracker.experiment_id("s")
    tracker.client.set_experiment_tag(experiment_id, "mlflow.sharedViewState.devices", '{"state": "deflate;!!"}')
    assert publish(tracker, experiment_id, [DEVICES], "") == ""
    assert state_of(tags_of(tracker), "devices")["searchFilter"] == DEVICES.runs


def test_a_store_that_takes_no_views_costs_one_line(tracker: Tracker, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("experiment tags are read-only")

    experiment_id = tracker.experiment_id("s")
    monkeypatch.setattr(tracker.client, "set_experiment_tag", refuse)
    said = publish(tracker, experiment_id, OF_STUDIES, "note")
    assert said.startswith("note: sqlite:///")
    assert said.endswith("does not take MLflow views: experiment tags are read-only")


@pytest.mark.parametrize(
    ("uri", "page", "server"),
    [
        ("sqlite:////home/me/mlflow.db", "http://127.0.0.1:5000", "mlflow ui"),
        ("sqlite:////home/me/x.db", "http://127.0.0.1:5000", "mlflow ui --backend-store-uri sqlite:////home/me/x.db"),
        ("https://me:secret@tracking.example/base/", "https://tracking.example/base", ""),
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001", ""),
        (
            "postgresql://me:secret@db/x",
            "http://127.0.0.1:5000",
            "mlflow ui --backend-store-uri postgresql://me:***@db/x",
        ),
    ],
)
def test_where_the_page_is(uri, page, server):
    assert page_address(uri) == page
    assert needs_server(uri) == server


def test_links():
    assert view_link("7", DEVICES.key) == "#/experiments/7/runs?viewStateShareKey=devices"
    chart = view_link("7", CHARTS.key, page="http://h")
    assert chart == "http://h/#/experiments/7/runs?compareRunsMode=CHART&viewStateShareKey=charts"


def test_tasks_have_views_of_their_own(tracker: Tracker):
    assert study_views(["ten_class"]) == OF_STUDIES
    views = {view.key: view for view in study_views(["ten_class", "three_class"])}
    assert list(views) == ["devices", "devices-three_class", "systems", "ensembles", "charts", "charts-three_class"]
    assert views["devices-three_class"].name == "Devices (three-class)"
    for task in ("ten_class", "three_class"):
        tracker.create_run("s", task, {"asc.kind": "train", "asc.task": task}, {})
    for key, task in (("devices", "ten_class"), ("charts-three_class", "three_class")):
        found = tracker.client.search_runs([tracker.experiment_id("s")], filter_string=views[key].runs)
        assert [run.data.tags["asc.task"] for run in found] == [task]


def test_trials_are_sorted_by_the_objective():
    view = trials_view("cost/model_kb", ascending=True)
    assert (view.order_by, view.ascending) == ("cost/model_kb", True)
    assert view.columns.count("cost/model_kb") == 1


def test_markdown_table():
    metrics = {"test/acc_A": 0.5, "test/acc_A_lo": 0.25, "test/acc_A_hi": 0.75, "test/log_loss": 1.234}
    head, rule, line = markdown_table(metrics).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert line.startswith("| test | 50.0 [25.0, 75.0] | - |")
    assert line.endswith("| 1.23 |")
    assert markdown_table({"cost/macs": 1.0}) == ""


def test_source_tags_hold_a_commit_only_if_there_is_one():
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert source_tags("asc-study run x.yaml", f"{commit}-dirty") == {
        "mlflow.source.name": "asc-study run x.yaml",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
    }
    assert "mlflow.source.git.commit" not in source_tags("", "asc-study 0.1.0")
