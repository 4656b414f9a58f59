import numpy as np
import pandas as pd

from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import CONTEXT_COLUMNS
from asc_study.figures.run import confusion_figure, device_figure, page, study_figure, summary_page


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [(f"{s}{d}", s, d, "lisbon", f"{i}", "test") for i, s in enumerate(SCENES) for d in DEVICES]
    frame = pd.DataFrame(rows, columns=list(CONTEXT_COLUMNS))
    return pd.concat([frame, pd.DataFrame(rng.dirichlet([1] * 10, len(rows)), columns=list(SCENES))], axis=1)


HISTORY = [{"train_loss": 2.0, "learning_rate": 0.05}, {"train_loss": 1.0, "learning_rate": 1e-5}]


def test_summary_page_is_self_contained_with_one_copy_of_plotly():
    text = summary_page("a <row>", {"test": table()}, evaluate(table()), HISTORY)
    assert "a &lt;row&gt;" in text
    assert text.count("Plotly.newPlot") >= 4
    assert "<script src=" not in text
    assert 3e6 < len(text) < 8e6


def test_cdn_page_is_small():
    text = page("t", "l", [device_figure(evaluate(table()))], "cdn")
    assert "<script" in text
    assert "cdn.plot.ly" in text
    assert len(text) < 200_000


def test_device_figure_shows_every_subset_and_device():
    metrics = evaluate(table())
    bars = {x: y for trace in device_figure(metrics).data for x, y in zip(trace.x, trace.y, strict=True)}
    assert bars["s4"] == 100 * metrics["test/device_acc_s4"]
    assert bars["s4-s6<br>(unseen)"] == 100 * metrics["test/acc_s4-s6"]
    assert len(bars) == 4 + len(DEVICES)


def test_confusion_is_in_per_cent_of_the_true_scene():
    z = np.asarray(confusion_figure(table()).data[0].z)
    np.testing.assert_allclose(z.sum(axis=1), 100)


def test_study_figure_has_a_bar_for_each_row_and_subset():
    board = pd.DataFrame({"row": ["p", "q"], "acc_A": [80.0, 81.0], "acc_s4-s6": [60.0, 65.0]})
    figure = study_figure(board)
    assert [list(trace.y) for trace in figure.data] == [[80.0, 81.0], [60.0, 65.0]]
