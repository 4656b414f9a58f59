"""Accuracy by device subset, in the columns of the paper's Table 1."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from asc_study.base.text_table import text_table

#: Column -> (heading, metric, factor); accuracies are shown in per cent.
COLUMNS: Final = {
    "acc_A": ("A", "test/acc_A", 100),
    "acc_BC": ("B&C", "test/acc_BC", 100),
    "acc_s1-s3": ("s1-s3", "test/acc_s1-s3", 100),
    "acc_s4-s6": ("s4-s6", "test/acc_s4-s6", 100),
    "log_loss": ("log loss", "test/log_loss", 1),
    "acc_avg": ("Avg acc.", "test/acc_avg", 100),
}


def accuracy_table(systems: Mapping[str, Mapping[str, float]], change: Mapping[str, float] | None = None) -> str:
    """Lay out systems and their test metrics as text, accuracies in per cent.

    Parameters
    ----------
    systems
        Name -> metrics.
    change
        Differences by metric, for a last line with signs.
    """
    shown = [name for name, (_, metric, _) in COLUMNS.items() if any(metric in known for known in systems.values())]
    lines = [["System", *(COLUMNS[name][0] for name in shown)]]
    for label, metrics in systems.items():
        lines.append([label, *(cell(*_scaled(metrics, name)) for name in shown)])
    if change:
        cells = []
        for name in shown:
            value, factor = _scaled(change, name)
            cells.append("-" if value is None else f"{value:+.{1 if factor == 100 else 2}f}")
        lines.append(["change", *cells])
    return text_table(lines)


def accuracies(metrics: Mapping[str, float]) -> str:
    """The accuracies on one line: ``A 81.0  B&C 73.5 ...``."""
    shown = [(heading, metric) for heading, metric, factor in COLUMNS.values() if factor == 100 and metric in metrics]
    return "  ".join(f"{heading} {100 * metrics[metric]:.1f}" for heading, metric in shown)


def cell(value: Any, factor: int, spread: Any = None) -> str:
    """A figure of a column with this factor, and its spread if there is one; ``-`` if it is unknown."""
    if value is None or not np.isfinite(value):
        return "-"
    digits = 1 if factor == 100 else 2
    shown = f"{value:.{digits}f}"
    return shown if spread is None or not np.isfinite(spread) else f"{shown} ± {spread:.{digits}f}"


def _scaled(metrics: Mapping[str, float], name: str) -> tuple[float | None, int]:
    _, metric, factor = COLUMNS[name]
    return (factor * metrics[metric] if metric in metrics else None), factor
