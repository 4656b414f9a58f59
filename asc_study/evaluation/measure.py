"""All metrics of a system, from its predictions by split."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from asc_study.evaluation.calibration import calibration_metrics
from asc_study.evaluation.metrics import evaluate

#: Splits whose labels are known.
LABELLED: Final = ("validation", "test")


def measure(tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Accuracies, losses, their intervals and calibration of every split that has labels.

    Parameters
    ----------
    tables
        Split -> predictions table.
    """
    labelled = {split: table for split, table in tables.items() if split in LABELLED}
    metrics: dict[str, float] = {}
    for table in labelled.values():
        metrics |= evaluate(table)
    return metrics | calibration_metrics(labelled)
