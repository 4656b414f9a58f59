"""Accuracy by device subset, in the columns of the paper's Table 1."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from asc_study.base.metric_table import Metric, columns_among
from asc_study.base.text_table import text_table


def accuracy_table(systems: Mapping[str, Mapping[str, float]], change: Mapping[str, float] | None = None) -> str:
    """Lay out systems and their test metrics as text, accuracies in per cent.

    Parameters
    ----------
    systems
        Name -> metrics.
    change
        Differences by metric, for a last line with signs, and below it the ends of their intervals.
    """
    columns = columns_among(name for known in systems.values() for name in known)
    shown = [column for column in columns if any(column.test_name in known for known in systems.values())]
    lines = [["System", *(column.heading for column in shown)]]
    for label, metrics in systems.items():
        lines.append([label, *(cell(column, figure(metrics, column)) for column in shown)])
    for label, end in (("change", ""), ("  from", "_lo"), ("  to", "_hi")):
        known = {name: (change or {}).get(f"{name}{end}") for name in (column.test_name for column in shown)}
        if any(value is not None for value in known.values()):
            lines.append([label, *(_signed(column, known[column.test_name]) for column in shown)])
    return text_table(lines)


def _signed(column: Metric, value: float | None) -> str:
    return "-" if value is None else f"{column.factor * value:+.{column.digits}f}"


def accuracies(metrics: Mapping[str, float]) -> str:
    """The accuracies on one line: ``A 81.0  B&C 73.5 ...``."""
    shown = [column for column in columns_among(metrics) if column.unit == "share" and column.test_name in metrics]
    return "  ".join(f"{column.heading} {cell(column, figure(metrics, column))}" for column in shown)


def figure(metrics: Mapping[str, float], column: Metric) -> float | None:
    """The test figure of a column as people are shown it, accuracies in per cent; None if it is unknown."""
    return column.factor * metrics[column.test_name] if column.test_name in metrics else None


def cell(column: Metric, value: Any, spread: Any = None) -> str:
    """A figure of a column, and its spread if there is one; ``-`` if it is unknown."""
    if value is None or not np.isfinite(value):
        return "-"
    shown = f"{value:.{column.digits}f}"
    return shown if spread is None or not np.isfinite(spread) else f"{shown} ± {spread:.{column.digits}f}"
