"""The page of size and speed: what each row costs, and what is said where that is not known."""

import json

import pytest
from logged_runs import log

from asc_study.store.queries import Reader
from dashboards.blocks import Figure, Note
from dashboards.pages.size import PAGE, Size
from dashboards.source import Source


@pytest.fixture
def costs(tracker, make_table) -> Source:
    """Two networks, one of them quantised too, an ensemble of both, and a row whose costs nobody measured."""
    ids = {}
    for row, kb, skill in (("large", 800.0, 2.6), ("small", 200.0, 2.0)):
        ids[row] = log(tracker, row, {"test": make_table(1, skill=skill)})
        metrics = {"cost/model_kb": kb, "cost/macs": 1e6 * kb / 20, "cost/latency_ms": kb / 100}
        tracker.log_metrics(ids[row], metrics)
    made = json.dumps([ids["small"]])
    quantised = log(tracker, "small-int8", {"test": make_table(1, skill=1.9)}, kind="quantised", members=made)
    tracker.log_metrics(quantised, {"cost/model_kb": 200.0, "cost/stored_kb": 60.0, "cost/macs": 10e6})
    log(tracker, "both", {"test": make_table(2, skill=3)}, kind="ensemble", members=json.dumps(list(ids.values())))
    log(tracker, "unknown", {"test": make_table(3)})
    return Source(Reader(tracker.uri), ("s",))


def parts(source: Source, **state):
    found = PAGE.blocks(source, Size(**state))
    return [one for one in found if isinstance(one, Figure)], [one for one in found if isinstance(one, Note)]


def test_each_row_stands_at_what_its_networks_cost_together(costs):
    (figure,), notes = parts(costs)
    behind = figure.table.set_index("row")
    assert behind["size of the weights (kB)"].to_dict() == {"small-int8": 60, "small": 200, "large": 800, "both": 1000}
    assert behind["networks"].to_dict() == {"small-int8": 1, "small": 1, "large": 1, "both": 2}
    board = costs.board(("s",)).frame.set_index("name")
    assert all(behind["accuracy (%)"] == board.loc[behind.index, "acc_avg"])
    assert "unknown" in notes[0].text


def test_a_system_by_device_stands_at_the_largest_of_its_models(tracker, costs, make_table):
    ids = {record.tags["asc.row"]: record.run_id for record in tracker.runs("s")}
    routes = {"general": ids["small"], "devices": {"a": ids["large"]}}
    made = {"members": json.dumps([ids["small"], ids["large"]]), "routes": json.dumps(routes)}
    routed = log(tracker, "routed", {"test": make_table(2, skill=3)}, kind="fusion", **made)
    mean = json.dumps([routed, ids["small"]])
    log(tracker, "with-small", {"test": make_table(2, skill=3)}, kind="ensemble", members=mean)
    (figure,), _ = parts(Source(Reader(tracker.uri), ("s",)))
    behind = figure.table.set_index("row")
    sizes = behind["size of the weights (kB)"]
    assert (sizes["routed"], sizes["with-small"]) == (800, 1000)
    assert (behind["networks"]["routed"], behind["networks"]["with-small"]) == (1, 2)


def test_the_quantised_network_is_compared_with_its_source_on_the_same_clips(costs):
    (figure,), _ = parts(costs)
    row = figure.table.set_index("row").loc["small-int8"]
    board = costs.board(("s",)).frame.set_index("name")["acc_avg"]
    assert row["source"] == "small"
    assert row["change"] == pytest.approx(board["small-int8"] - board["small"])
    assert [trace.name for trace in figure.figure.data if trace.mode == "lines"] == [
        "Pareto front",
        "small to small-int8",
    ]


def test_cost_and_accuracy_are_chosen(costs):
    (figure,), _ = parts(costs, cost="macs", accuracy="acc_s4-s6")
    assert "multiply-accumulates" in figure.figure.layout.title.text
    behind = figure.table.set_index("row")
    assert behind["multiply-accumulates for a clip (millions)"]["both"] == 50
    assert behind["accuracy (%)"]["large"] == costs.board(("s",)).frame.set_index("name")["acc_s4-s6"]["large"]
    assert parts(costs, accuracy="nothing")[0]
    (latency,), notes = parts(costs, cost="latency")
    assert "small-int8" not in set(latency.table["row"])
    assert "small-int8" in notes[0].text


def test_a_study_without_sizes_is_told_what_measures_them(source):
    (note,) = parts(source)[1]
    assert note.kind == "empty"
    assert note.command == "asc-study run s.yaml --data DIR"


def test_where_nothing_is_quantised_the_command_is_told(tracker, make_table):
    alone = log(tracker, "alone", {"test": make_table(1)})
    tracker.log_metrics(alone, {"cost/model_kb": 10.0})
    figures, notes = parts(Source(Reader(tracker.uri), ("s",)))
    assert len(figures) == 1
    assert [note.text for note in notes] == ["No network is quantised yet; this makes one, measured on the same clips:"]
    assert notes[0].command == "asc-study quantize 's/alone@0' --scheme int8 --data DIR"


def test_an_ensemble_whose_member_was_deleted_is_left_out(costs, tracker):
    board = costs.board(("s",))
    tracker.client.delete_run(board.records["large"][0].run_id)
    (figure,), _ = parts(Source(Reader(tracker.uri), ("s",)))
    assert "both" not in set(figure.table["row"])


def test_published_sizes_stand_beside_ours(costs, monkeypatch):
    board = costs.board(("s",))
    board.frame["published_acc_quantised"] = [96.3] + [float("nan")] * (len(board.frame) - 1)
    board.frame["published_quantised_kb"] = [357.0] + [float("nan")] * (len(board.frame) - 1)
    (figure,), _ = parts(costs)
    assert [list(trace.x) for trace in figure.figure.data if trace.name == "published, quantised"] == [[357]]
    (figure,), _ = parts(costs, cost="macs")
    assert not [trace for trace in figure.figure.data if trace.name == "published, quantised"]
