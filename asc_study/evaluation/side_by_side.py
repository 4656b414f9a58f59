"""Several systems device by device: each with its interval, and its paired difference to a reference.

The same figures as those of `asc_study.study.leaderboard` and `asc_study.evaluation.significance`: intervals of one
seed are those of its own metrics, those of several seeds and of differences come from `asc_study.evaluation.paired`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.metric_table import BY_NAME
from asc_study.evaluation.by_device import accuracy_by_device
from asc_study.evaluation.metrics import labels_of, taxonomy_of
from asc_study.evaluation.paired import LOG_LOSS, Panel, Sums, aligned, clips_key, decisions
from asc_study.evaluation.predictions import classes_of

Seeds = Sequence[pd.DataFrame]


def comparable(systems: Mapping[str, Seeds], reference: str) -> dict[str, Seeds]:
    """The systems that were measured on the same clips as the reference, which is the first of them."""
    wanted = {clips_key(table) for table in systems[reference]}
    if len(wanted) > 1:
        return {}
    found = {name: tables for name, tables in systems.items() if {clips_key(table) for table in tables} == wanted}
    return {reference: systems[reference], **found}


def devices_of(context: pd.DataFrame) -> dict[str, npt.NDArray[np.bool_]]:
    """The accuracy of each device that has clips -> which of the n clips it is of, (n,) bool: `Panel`'s ``more``."""
    device = context["device"].to_numpy(str)
    found = {f"device_acc_{name}": device == name for name in taxonomy_of(context).devices}
    return {name: mask for name, mask in found.items() if mask.any()}


def side_by_side(systems: Mapping[str, Seeds], reference: str) -> pd.DataFrame:
    """Measure systems on all clips, each device subset and each device, and against a reference.

    Parameters
    ----------
    systems
        Name -> predictions of one split, a table a seed, all of the same clips (see `comparable`).
    reference
        The system that the others are compared with.

    Returns
    -------
    DataFrame
        What `compared` gives.

    Raises
    ------
    InputError
        If the reference is none of the systems, or the tables are not of the same clips.
    """
    if reference not in systems:
        raise InputError(f"the reference must be one of the systems, got {reference!r}: {sorted(systems)}")
    tables = aligned([table for seeds in systems.values() for table in seeds])
    right, loss = decisions(tables)
    panel = Panel(tables[0], more=devices_of(tables[0]))
    sums, start = {}, 0
    for system, seeds in systems.items():
        end = start + len(seeds)
        sums[system] = panel.sums(right[start:end], loss[start:end])
        start = end
    own = {system: accuracy_by_device(seeds[0]) for system, seeds in systems.items() if len(seeds) == 1}
    return compared(panel, sums, reference, own)


def compared(
    panel: Panel, systems: Mapping[str, Sums], reference: str, own: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """The figures of `side_by_side`, of sums that were taken before.

    Parameters
    ----------
    panel
        Of all systems, with `devices_of` as ``more``.
    systems
        Name -> what `Panel.sums` gives.
    reference
        The system that the others are compared with.
    own
        What `accuracy_by_device` gives of each system of one seed: its intervals are those that its run logged.

    Returns
    -------
    DataFrame
        One row a system and accuracy: ``system``, ``metric`` (its name without the split), ``seeds``, ``clips``,
        ``locations``, ``value``, ``low``, ``high`` (per cent, 95 % interval) and, but for the reference, ``change``,
        ``change_low``, ``change_high`` (points), ``p_value``, ``significant``. Unknown ends are NaN.
    """
    return pd.DataFrame(list(_rows(panel, systems, reference, own)))


def _rows(
    panel: Panel, systems: Mapping[str, Sums], reference: str, own: Mapping[str, pd.DataFrame]
) -> Iterator[Mapping[str, Any]]:
    names = {name: name.removeprefix("device_acc_").removeprefix("acc_") for name in panel.masks if name != LOG_LOSS}
    for system, sums in systems.items():
        for name in (name for name in panel.masks if name in names):
            factor = BY_NAME[name].factor
            value, low, high = panel.mean(sums, name)
            ends = (_times(factor, low), _times(factor, high))
            if system in own:
                ends = (own[system].low[names[name]], own[system].high[names[name]])
            row = {
                "system": system,
                "metric": name,
                "seeds": len(sums[name]),
                "clips": int(panel.masks[name].sum()),
                "locations": panel.locations(name),
                "value": factor * value,
                "low": ends[0],
                "high": ends[1],
            }
            if system != reference:
                found = panel.difference(systems[reference], sums, name)
                row |= {
                    "change": factor * found.value,
                    "change_low": _times(factor, found.low),
                    "change_high": _times(factor, found.high),
                    "p_value": found.p_value,
                    "significant": found.significant,
                }
            yield row


def _times(factor: int, value: float | None) -> float:
    return float("nan") if value is None else factor * value


def scenes_by_device(predictions: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of one run on each scene and device in per cent, NaN without clips.

    Parameters
    ----------
    predictions
        A predictions table of one split.

    Returns
    -------
    DataFrame
        Scenes (classes) as rows, devices that have clips as columns, both in their own order.
    """
    classes = classes_of(predictions)
    label = labels_of(predictions, classes)
    devices = taxonomy_of(predictions).devices
    device = pd.Index(devices).get_indexer(pd.Index(predictions["device"]))
    correct = predictions[list(classes)].to_numpy().argmax(axis=1) == label
    cell, known = label * len(devices) + device, (label >= 0) & (device >= 0)
    clips, right = (
        np.bincount(cell[chosen], minlength=len(classes) * len(devices)).reshape(len(classes), len(devices))
        for chosen in (known, known & correct)
    )
    shares = np.divide(100.0 * right, clips, out=np.full(clips.shape, np.nan), where=clips > 0)
    frame = pd.DataFrame(shares, index=list(classes), columns=list(devices))
    return frame[[name for name, there in zip(devices, clips.sum(axis=0), strict=True) if there]]


def mean_over_seeds(seeds: Seeds) -> pd.DataFrame:
    """The mean of frames of the same index and columns."""
    return pd.DataFrame(np.mean([one.to_numpy() for one in seeds], axis=0), seeds[0].index, seeds[0].columns)
