"""The page of one system: accuracy by device, confusions, reliability, and how it was trained."""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.base.metric_table import BY_NAME, subsets_among
from asc_study.base.taxonomy import task_of_classes
from asc_study.evaluation.by_device import accuracy_by_device
from asc_study.evaluation.predictions import classes_of
from asc_study.figures import loading
from asc_study.figures.decisions import confusion_figure, reliability_figure
from asc_study.figures.devices import device_figure
from asc_study.figures.page import page
from asc_study.figures.theme import BLUE, ORANGE, REFERENCE, VERMILION, epoch_ticks, finish, listed, percent


def summary_page(
    title: str,
    tables: Mapping[str, pd.DataFrame],
    metrics: Mapping[str, float],
    history: Sequence[Mapping[str, float]] = (),
    *,
    more: Sequence[go.Figure] = (),
    baseline: Mapping[str, float] | None = None,
    chosen_epochs: Sequence[int] = (),
    plotlyjs: str | None = None,
) -> str:
    """Draw a system: accuracy by device, confusion matrix, reliability, and how it was trained; returns an HTML page.

    Parameters
    ----------
    title
        The run's name.
    tables
        Predictions tables by split. Without test (a run trained on all development data) only training is shown.
    metrics
        The run's metrics.
    history
        Metrics of each epoch; empty for what was not trained here.
    more
        Figures of its own, shown after the accuracy by device.
    baseline
        Metrics of the system that this one should beat.
    chosen_epochs
        The epochs that were kept, from 1.
    plotlyjs
        ``inline`` or ``cdn``, see `asc_study.figures.page.page`; by default as `asc_study.figures.loading` has it.
    """
    plotlyjs = plotlyjs or loading.plotlyjs()
    trained = [learning_figure(history, chosen_epochs)] if history else []
    if "test" not in tables:
        lead = "There is no test accuracy: no test split was predicted (trained on all development data)."
        return page(title, lead, [*more, *trained], plotlyjs)
    test = tables["test"]
    accuracies = {
        split: accuracy_by_device(tables[split]) for split in ("test", "validation") if len(tables.get(split, ()))
    }
    figures = [
        device_figure(accuracies, task=task_of(test), baseline=baseline),
        *more,
        confusion_figure(test),
        reliability_figure(tables),
        *trained,
    ]
    return page(title, lead_of(accuracies, metrics), figures, plotlyjs)


def lead_of(accuracies: Mapping[str, pd.DataFrame], metrics: Mapping[str, float]) -> str:
    """The numbers of a run that a reader looks for first, of `accuracy_by_device` by split and of what it logged."""
    test = accuracies["test"]
    log_loss, every = BY_NAME["log_loss"], test.accuracy["avg"]
    subsets = subsets_among(f"acc_{name}" for name in test.index)
    parts = [f"{subset.title} {percent(test.accuracy[subset.name])}" for subset in subsets if subset.name in test.index]
    lead = f"Test accuracy {percent(every)} on {test.clips['avg']} clips: {', '.join(parts)}."
    if "validation" in accuracies:
        held = accuracies["validation"]
        lead += f" Validation accuracy {percent(held.accuracy['avg'])} on {held.clips['avg']} clips."
    if log_loss.test_name in metrics:
        lead += f" Test log loss {metrics[log_loss.test_name]:.{log_loss.digits}f} nats."
    return lead


def learning_figure(history: Sequence[Mapping[str, float]], chosen_epochs: Sequence[int] = ()) -> go.Figure:
    """Loss on train and validation, validation accuracy and the learning rate, by epoch.

    Parameters
    ----------
    history
        Metrics of each epoch: ``train_loss``, ``learning_rate``, and with a validation split ``validation_loss`` and
        ``validation_acc`` (a share).
    chosen_epochs
        The epochs that were kept, from 1.
    """
    table = pd.DataFrame(history, index=range(1, len(history) + 1))
    validated = "validation_acc" in table
    rows = 3 if validated else 2
    heights = [0.4, 0.4, 0.2] if validated else [0.7, 0.3]
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.06)
    dots = "lines+markers" if len(table) <= 1 else "lines"
    for key, name, colour, dash in (
        ("train_loss", "training loss", BLUE, "solid"),
        ("validation_loss", "validation loss", VERMILION, "dash"),
    ):
        if key in table:
            line = {"color": colour, "dash": dash}
            figure.add_trace(go.Scatter(x=table.index, y=table[key], name=name, mode=dots, line=line), 1, 1)
    if validated:
        line = {"color": VERMILION, "dash": "dash"}
        accuracy = 100 * table["validation_acc"]
        figure.add_trace(
            go.Scatter(x=table.index, y=accuracy, name="validation accuracy", mode=dots, line=line, showlegend=False),
            2,
            1,
        )
        figure.update_yaxes(title="validation<br>accuracy (%)", rangemode="tozero", row=2, col=1)
    line = {"color": REFERENCE}
    rate = go.Scatter(x=table.index, y=table["learning_rate"], mode=dots, line=line, showlegend=False)
    figure.add_trace(rate.update(name="learning rate"), rows, 1)
    figure.update_yaxes(title="learning<br>rate", type="log", dtick=1, exponentformat="power", row=rows, col=1)
    figure.update_yaxes(title="loss (nats)", rangemode="tozero", row=1, col=1)
    figure.update_xaxes(dtick=epoch_ticks(len(table))).update_xaxes(title="epoch", row=rows, col=1)
    for number, epoch in enumerate(epoch for epoch in chosen_epochs if epoch in table.index):
        figure.add_vline(x=epoch, line={"color": ORANGE, "width": 2})
        if validated:
            mark = {"color": ORANGE, "symbol": "star", "size": 12}
            star = go.Scatter(x=[epoch], y=[100 * table["validation_acc"][epoch]], mode="markers", marker=mark)
            figure.add_trace(star.update(name="chosen epoch", showlegend=number == 0, legendgroup="chosen"), 2, 1)
    return finish(figure, "How was it trained?", _learning_sentence(table, chosen_epochs), height=620)


def _learning_sentence(table: pd.DataFrame, chosen_epochs: Sequence[int]) -> str:
    if not chosen_epochs:
        return f"{len(table)} epochs."
    kept = listed([str(epoch) for epoch in chosen_epochs])
    many = len(chosen_epochs) > 1
    sentence = f"Epoch{'s' if many else ''} {kept} of {len(table)} {'were' if many else 'was'} kept"
    last = chosen_epochs[-1]
    if "validation_acc" in table and last in table.index:
        best, at = 100 * table["validation_acc"].max(), 1 + int(table["validation_acc"].argmax())
        there = 100 * table["validation_acc"][last]
        sentence += f": validation accuracy {percent(there)}" + (f" in epoch {last}" if many else "")
        sentence += f"; the highest is {percent(best)} in epoch {at}" if best > there else ""
    return f"{sentence}. The training loss is that of augmented batches, where there are augmentations."


def task_of(predictions: pd.DataFrame) -> str:
    """The task whose classes a predictions table has."""
    return task_of_classes(classes_of(predictions)) or ""
