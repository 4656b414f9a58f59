"""Accuracy on each device and each device subset with its interval: a table for figures and dashboards."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from asc_study.base.metric_table import ALL_CLIPS, subsets_of
from asc_study.evaluation.bootstrap import LocationDraws, interval
from asc_study.evaluation.metrics import RESAMPLES, labels_of, places_of, taxonomy_of
from asc_study.evaluation.predictions import classes_of


def accuracy_by_device(predictions: pd.DataFrame) -> pd.DataFrame:
    """The accuracy on all clips, on each device subset and on each device that has clips.

    Parameters
    ----------
    predictions
        A predictions table with labels, of one split.

    Returns
    -------
    DataFrame
        Index ``name``: ``avg``, then the subsets, then the devices, in the data set's order. Columns ``accuracy, low,
        high`` (per cent; the ends of the 95 % interval of `asc_study.evaluation.bootstrap`, the same draws as those of
        `asc_study.evaluation.metrics.evaluate`; NaN if the clips are of one location), ``clips``, ``locations``.
    """
    return pd.DataFrame(list(_rows(predictions))).set_index("name")


def _rows(predictions: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    classes = classes_of(predictions)
    correct = predictions[list(classes)].to_numpy().argmax(axis=1) == labels_of(predictions, classes)
    place, device = places_of(predictions), predictions["device"].to_numpy(str)
    draws = LocationDraws.resampled(place, RESAMPLES, seed=0)
    groups = {ALL_CLIPS.name: np.ones(len(device), bool)}
    taxonomy = taxonomy_of(predictions)
    groups |= {subset.name: np.isin(device, subset.devices) for subset in subsets_of(taxonomy)}
    groups |= {name: device == name for name in taxonomy.devices}
    for name, chosen in groups.items():
        if not chosen.any():
            continue
        locations = len(np.unique(place[chosen]))
        ends = interval(draws.mean(correct.astype(np.float64), chosen)) if locations > 1 else None
        low, high = ends or (np.nan, np.nan)
        yield {
            "name": name,
            "accuracy": 100 * float(correct[chosen].mean()),
            "low": 100 * low,
            "high": 100 * high,
            "clips": int(chosen.sum()),
            "locations": locations,
        }
