import numpy as np
import pandas as pd
import pytest
from made_up import predictions, sentence

from asc_study.base.metric_table import SUBSETS
from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.evaluation.by_device import accuracy_by_device
from asc_study.evaluation.measure import measure
from asc_study.evaluation.metrics import evaluate
from asc_study.figures.decisions import confusion_figure, reliability_figure
from asc_study.figures.devices import device_figure
from asc_study.figures.run import learning_figure, summary_page
from asc_study.figures.theme import LEAST_CLIPS

HISTORY = [
    {"train_loss": 2.0, "validation_loss": 2.1, "validation_acc": 0.2, "learning_rate": 0.05},
    {"train_loss": 1.5, "validation_loss": 1.7, "validation_acc": 0.4, "learning_rate": 0.03},
    {"train_loss": 1.0, "validation_loss": 1.9, "validation_acc": 0.3, "learning_rate": 1e-5},
]


def levels(figure) -> list[float]:
    """The heights of the horizontal lines."""
    return [shape.y0 for shape in figure.layout.shapes if shape.type == "line" and shape.y0 == shape.y1]


def test_summary_page_shows_test_and_validation_accuracy_and_all_figures():
    tables = {"test": predictions(), "validation": predictions("validation", seed=1)}
    metrics = measure(tables)
    text = summary_page("a <row>", tables, metrics, HISTORY, chosen_epochs=[2]).replace("\N{NO-BREAK SPACE}", " ")
    assert "a &lt;row&gt;" in text
    assert text.count("<figure>") == text.count("<figcaption>") == 4
    assert "<figcaption></figcaption>" not in text
    assert f"Test accuracy {100 * metrics['test/acc_avg']:.1f} % on 360 clips" in text
    assert f"Validation accuracy {100 * metrics['validation/acc_avg']:.1f} % on 240 clips" in text


def test_summary_page_without_a_test_split_says_so():
    text = summary_page("row", {}, {}, HISTORY)
    assert "There is no test accuracy" in text
    assert text.count("<figure>") == 1


def test_device_figure_shows_every_device_with_its_interval():
    table = predictions()
    accuracies = accuracy_by_device(table)
    (dots,) = device_figure({"test": accuracies}).data
    metrics = evaluate(table)
    np.testing.assert_allclose(dots.y, [100 * metrics[f"test/device_acc_{device}"] for device in DEVICES])
    np.testing.assert_allclose(dots.y + dots.error_y.array, accuracies.loc[list(DEVICES), "high"])
    np.testing.assert_allclose(dots.y - dots.error_y.arrayminus, accuracies.loc[list(DEVICES), "low"])
    assert (np.asarray(dots.error_y.array) > 0).all()


def test_device_figure_has_lines_for_chance_the_subsets_and_the_baseline():
    table = predictions()
    metrics = evaluate(table)
    subsets = [100 * metrics[f"test/{subset.metric}"] for subset in SUBSETS]
    figure = device_figure({"test": accuracy_by_device(table)})
    assert sorted(levels(figure)) == pytest.approx(sorted([*subsets, 10.0]))
    half = {name: value / 2 for name, value in metrics.items()}
    figure = device_figure({"test": accuracy_by_device(table)}, baseline=half)
    assert sorted(levels(figure)) == pytest.approx(sorted([*subsets, *(value / 2 for value in subsets), 10.0]))
    assert f"the baseline reaches {50 * metrics['test/acc_s4-s6']:.1f} % there" in sentence(figure)


def test_device_figure_of_three_classes_has_their_chance():
    figure = device_figure({"test": accuracy_by_device(predictions(task="three_class"))}, task="three_class")
    assert 100 / 3 in levels(figure)
    assert "chance is 33.3 %" in sentence(figure)


def test_the_sentence_gives_the_unseen_devices_against_device_a():
    table = predictions()
    metrics = evaluate(table)
    found = sentence(device_figure({"test": accuracy_by_device(table)}))
    ends = [100 * metrics[f"test/acc_s4-s6_{end}"] for end in ("lo", "hi")]
    assert found.startswith(
        f"{100 * metrics['test/acc_s4-s6']:.1f} % on the devices never heard (95 % interval {ends[0]:.1f} to "
        f"{ends[1]:.1f}), "
    )
    gap = 100 * metrics["test/gap_A_to_unseen"]
    assert f"{abs(gap):.1f} points {'below' if gap >= 0 else 'above'} device A" in found
    assert "over 40 locations" in found


def test_clips_of_one_location_have_no_interval():
    table = predictions().assign(city="lisbon", location="1")
    figure = device_figure({"test": accuracy_by_device(table)})
    assert not np.asarray(figure.data[0].error_y.array).any()
    assert "interval" not in sentence(figure)


def test_validation_stands_beside_test_on_the_devices_that_it_has():
    accuracies = {
        "test": accuracy_by_device(predictions()),
        "validation": accuracy_by_device(predictions("validation")),
    }
    dots = {trace.name: trace for trace in device_figure(accuracies).data}
    assert len(dots["validation"].y) == 6
    assert len(dots["test"].y) == 9
    accuracies["validation"].loc["b", "clips"] = LEAST_CLIPS - 1  # its accuracy would be noise
    dots = {trace.name: trace for trace in device_figure(accuracies).data}
    assert len(dots["validation"].y) == 5


def test_confusion_is_in_per_cent_of_the_true_scene_with_groups_together():
    figure = confusion_figure(predictions())
    np.testing.assert_allclose(np.asarray(figure.data[0].z).sum(axis=1), 100)
    assert list(figure.data[0].x)[:3] == ["airport", "metro station", "shopping mall"]
    assert set(figure.data[0].x) == {scene.replace("_", " ") for scene in SCENES}


def test_confusion_names_the_worst_pair_and_scenes_that_are_never_decided_for():
    table = predictions()
    table[list(SCENES)] = np.float32(0)
    for scene in SCENES:  # all right, but for parks, which are trams
        table.loc[table["scene"] == scene, "tram" if scene == "park" else scene] = 1
    assert "most often park is taken for tram (100.0 %); it never decides for park." in sentence(
        confusion_figure(table)
    )
    table.loc[table["scene"] == "park", ["park", "tram"]] = [1, 0]
    assert sentence(confusion_figure(table)).endswith("every clip is right.")


def test_bins_of_few_clips_are_left_out_of_the_reliability_diagram_and_counted():
    table = predictions()
    sure = table.index[:3]
    table.loc[sure, list(SCENES)] = np.float32(0)
    table.loc[sure, "tram"] = np.float32(1)
    figure = reliability_figure({"test": table})
    curve = figure.data[1]
    shown = ~np.isnan(np.asarray(curve.y, float))
    clips = np.asarray(curve.customdata)
    assert (clips[shown] >= LEAST_CLIPS).all()
    assert (clips[~shown] < LEAST_CLIPS).all()
    assert not curve.connectgaps
    assert f"left out of the figure: {clips[~shown].sum()} of 360 clips" in sentence(figure)
    assert clips[~shown].sum() >= 3


def test_learning_figure_marks_the_chosen_epoch_and_shows_the_validation_accuracy():
    figure = learning_figure(HISTORY, [2])
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["validation accuracy"].y) == [20, 40, 30]
    assert (list(traces["chosen epoch"].x), list(traces["chosen epoch"].y)) == ([2], [40])
    assert {shape.x0 for shape in figure.layout.shapes} == {2}
    assert sentence(figure).startswith("Epoch 2 of 3 was kept: validation accuracy 40.0 %.")


def test_learning_figure_says_when_another_epoch_was_higher_or_several_were_kept():
    assert "30.0 %; the highest is 40.0 % in epoch 2" in sentence(learning_figure(HISTORY, [3]))
    assert sentence(learning_figure(HISTORY, [2, 3])).startswith("Epochs 2 and 3 of 3 were kept")


def test_learning_figure_without_validation_has_no_accuracy():
    history = [{"train_loss": 2.0, "learning_rate": 0.05}]
    figure = learning_figure(history, [1])
    assert [trace.name for trace in figure.data] == ["training loss", "learning rate"]
    assert pd.notna(figure.data[0].y).all()
