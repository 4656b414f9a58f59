"""Several systems device by device: each with its interval, and its paired difference to a reference.

The same figures as those of `asc_study.study.leaderboard` and `asc_study.evaluation.significance`: intervals of one
seed are those of its own metrics, those of several seeds and of differences come from `asc_study.evaluation.paired`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, SUBSETS
from asc_study.base.taxonomy import DEVICES
from asc_study.evaluation.by_device import accuracy_by_device
from asc_study.evaluation.metrics import labels_of
from asc_study.evaluation.paired import Panel, aligned, clips_key, decisions
from asc_study.evaluation.predictions import classes_of

Seeds = Sequence[pd.DataFrame]


def comparable(systems: Mapping[str, Seeds], reference: str) -> dict[str, Seeds]:
    """The systems that were measured on the same clips as the reference, which is the first of them."""
    wanted = {clips_key(table) for table in systems[reference]}
    if len(wanted) > 1:
        return {}
    found = {name: tables for name, tables in systems.items() if {clips_key(table) for table in tables} == wanted}
    return {reference: systems[reference], **found}


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
        One row a system and accuracy: ``system``, ``metric`` (its name without the split), ``seeds``, ``clips``,
        ``locations``, ``value``, ``low``, ``high`` (per cent, 95 % interval) and, but for the reference, ``change``,
        ``change_low``, ``change_high`` (points), ``p_value``, ``significant``. Unknown ends are NaN.

    Raises
    ------
    InputError
        If the reference is none of the systems, or the tables are not of the same clips.
    """
    if reference not in systems:
        raise InputError(f"the reference must be one of the systems, got {reference!r}: {sorted(systems)}")
    return pd.DataFrame(list(_rows(systems, reference)))


def _rows(systems: Mapping[str, Seeds], reference: str) -> Iterator[Mapping[str, Any]]:
    tables = aligned([table for seeds in systems.values() for table in seeds])
    right, loss = decisions(tables)
    device = tables[0]["device"].to_numpy(str)
    heard = {f"device_acc_{name}": device == name for name in DEVICES if (device == name).any()}
    panel = Panel(tables[0], more=heard)
    names = {one.metric: one.name for one in (ALL_CLIPS, *SUBSETS)} | {f"device_acc_{name}": name for name in DEVICES}
    accuracies = [name for name in panel.masks if name in names]
    sums, start = {}, 0
    for system, seeds in systems.items():
        end = start + len(seeds)
        sums[system] = panel.sums(right[start:end], loss[start:end])
        start = end
    for system, seeds in systems.items():
        own = accuracy_by_device(seeds[0]) if len(seeds) == 1 else None
        for name in accuracies:
            factor = BY_NAME[name].factor
            value, low, high = panel.mean(sums[system], name)
            ends = (_times(factor, low), _times(factor, high))
            if own is not None:
                ends = (own.low[names[name]], own.high[names[name]])
            row = {
                "system": system,
                "metric": name,
                "seeds": len(seeds),
                "clips": int(panel.masks[name].sum()),
                "locations": panel.locations(name),
                "value": factor * value,
                "low": ends[0],
                "high": ends[1],
            }
            if system != reference:
                found = panel.difference(sums[reference], sums[system], name)
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


def scenes_by_device(seeds: Seeds) -> pd.DataFrame:
    """The accuracy of one system on each scene and device in per cent, mean over its seeds; NaN without clips.

    Parameters
    ----------
    seeds
        Its predictions of one split, a table a seed.

    Returns
    -------
    DataFrame
        Scenes (classes) as rows, devices that have clips as columns, both in their own order.
    """
    classes = classes_of(seeds[0])
    found = []
    for table in seeds:
        correct = table[list(classes)].to_numpy().argmax(axis=1) == labels_of(table, classes)
        right = pd.Series(100.0 * correct, index=table.index)
        found.append(right.groupby([table["scene"].astype(str), table["device"].astype(str)]).mean().unstack())
    mean = pd.DataFrame(np.mean([one.to_numpy() for one in found], axis=0), found[0].index, found[0].columns)
    return mean.reindex(index=list(classes), columns=[device for device in DEVICES if device in mean.columns])
