import numpy as np
import pandas as pd
import pytest
from made_up import predictions, sentence

from asc_study.base.metric_table import BY_NAME
from asc_study.evaluation.side_by_side import side_by_side
from asc_study.figures.fusing import diversity_figure, fused_figure
from asc_study.figures.theme import REFERENCE, looks

NAN = float("nan")


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    names = {"one": 1, "average of 2": 2, "two stages": 3}
    return side_by_side({name: [predictions(seed=seed, locations=6)] for name, seed in names.items()}, "one")


def test_what_was_put_together_stands_beside_the_best_member_with_its_paired_difference(measured):
    members = {"one": {"acc_A": 50.0}, "other": {"acc_A": 40.0, "acc_avg": 41.0}}
    figure = fused_figure(measured, "one", members, "test")
    traces = {trace.name: trace for trace in figure.data}
    assert list(figure.data[-1].x) == pytest.approx([place + 0.14 for place in range(5)])
    assert list(traces["other members"].y) == [40, None, None, None, 41]
    own = measured[measured["system"] == "two stages"].set_index("metric")
    order = ["acc_A", "acc_BC", "acc_s1-s3", "acc_s4-s6", "acc_avg"]
    assert list(traces["two stages"].y) == list(own.loc[order, "value"])
    assert list(traces["two stages, difference"].y) == list(own.loc[order, "change"])
    sure = own.loc[order, "significant"]
    assert [not symbol.endswith("-open") for symbol in traces["two stages, difference"].marker.symbol] == list(sure)
    assert traces["one, the best member"].marker.color == REFERENCE
    ticks = figure.layout.xaxis.ticktext
    assert ticks == ("A", "B&C", "s1-s3<br>heard", "s4-s6<br>never heard", "all clips")


def test_the_sentence_has_effect_interval_clips_and_whether_it_is_noise(measured):
    said = sentence(fused_figure(measured, "one", {}, "test"))
    row = measured[(measured["system"] == "average of 2") & (measured["metric"] == "acc_s4-s6")].iloc[0]
    assert said.startswith(
        f"average of 2 reaches {row['value']:.1f} % on the devices never heard ({row['change']:+.1f} "
    )
    assert "cannot be told apart" in said
    assert f"{row['clips']} clips of {row['locations']} locations" in said
    better = measured.assign(significant=True, change=5.0)
    assert "against one), which is better" in sentence(fused_figure(better, "one", {}, "test"))
    assert "which is worse" in sentence(fused_figure(better.assign(change=-5.0), "one", {}, "test"))
    assert "on all validation clips" in sentence(fused_figure(measured, "one", {}, "validation"))


def test_subsets_without_clips_have_no_column(measured):
    heard = measured[~measured["metric"].isin(["acc_s4-s6"])]
    figure = fused_figure(heard, "one", {}, "validation")
    assert len(figure.layout.xaxis.ticktext) == 4


CANDIDATES = pd.DataFrame(
    {
        "name": ["x", "y", "z"],
        "score": [0.8, 0.7, 0.6],
        "overlap": [0.7, 0.6, 0.5],
        "both_wrong": [0.15, 0.1, 0.3],
        "taken": [True, False, False],
    }
)


def test_candidates_stand_by_accuracy_and_shared_errors_members_filled():
    figure = diversity_figure(CANDIDATES, looks(["x", "y", "z"]), BY_NAME["acc_device_macro"], "validation")
    dots = {trace.name: trace for trace in figure.data}
    assert (dots["y"].x[0], dots["y"].y[0]) == pytest.approx((10, 70))
    assert dots["y"].marker.symbol.endswith("-open")
    assert not dots["x"].marker.symbol.endswith("-open")
    said = sentence(figure)
    assert "y is wrong together with x least often (10.0 % of the clips) and reaches 70.0 % alone" in said
    assert "All candidates are members" in sentence(
        diversity_figure(CANDIDATES.assign(taken=True), looks(["x", "y", "z"]), BY_NAME["acc_avg"], "test")
    )


def test_many_candidates_are_told_when_pointed_at_and_one_alone_is_left_out():
    many = pd.DataFrame({"name": [str(i) for i in range(40)], "score": 0.5, "overlap": 0.5, "taken": False})
    many["both_wrong"] = np.linspace(0, 0.5, 40)
    figure = diversity_figure(many, looks(list(many["name"])), BY_NAME["log_loss"], "test")
    assert {trace.mode for trace in figure.data} == {"markers"}
    assert figure.layout.yaxis.title.text == "alone: log_loss (nats)"
    alone = CANDIDATES.iloc[:1].assign(both_wrong=NAN)
    assert not diversity_figure(alone, looks(["x"]), BY_NAME["acc_avg"], "test").data
