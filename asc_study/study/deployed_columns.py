"""What a leaderboard says of the quantised networks and bundles that were made of its rows: accuracy and size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.metric_table import ALL_CLIPS
from asc_study.settings.system_rows import step_names
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of

#: Column -> the metric whose mean over seeds it is.
_SIZES = {"float_kb": "cost/model_kb", "quantised_kb": "cost/file_kb", "nonzero_kb": "cost/nonzero_kb"}


def add_deployed(board: pd.DataFrame, records: Mapping[int, Sequence[RunRecord]]) -> pd.DataFrame:
    """Add to a leaderboard what became of its rows.

    Parameters
    ----------
    board
        The leaderboard, numbered from 0.
    records
        Place in the board -> its runs.

    Returns
    -------
    DataFrame
        With ``kind``, ``folded`` (whether a row says nothing that another one does not: the quantised networks of other
        rows, and the steps of systems), and, of what was quantised: ``acc_quantised`` (in per cent), ``float_kb``,
        ``quantised_kb`` and ``nonzero_kb`` (units of 1,024 bytes), of a system rather than of a single network, and of
        several the smallest.
    """
    kinds = {place: found[-1].tags.get(Tag.KIND, "") for place, found in records.items()}
    place_of = {record.run_id: place for place, found in records.items() for record in found}
    steps = {name for place, kind in kinds.items() if kind == Kind.SYSTEM for name in step_names(board["row"][place])}
    cells: list[dict[str, Any]] = [{"kind": kinds.get(place), "folded": False} for place in board.index]
    for kind in (Kind.QUANTISED, Kind.SYSTEM):  # what a system says of a row counts more
        places = [place for place, found in kinds.items() if found == kind]
        sizes_of = {place: {key: _mean(records[place], metric) for key, metric in _SIZES.items()} for place in places}
        for place, sizes in sorted(sizes_of.items(), key=lambda item: -item[1]["quantised_kb"]):
            cells[place] |= sizes
            source = next((place_of[run] for run in members_of(records[place][-1])[:1] if run in place_of), None)
            if source is not None and board["state"][place] == board["state"][source]:
                cells[source] |= {"acc_quantised": board[ALL_CLIPS.metric][place], **sizes}
                cells[place]["folded"] = kind == Kind.QUANTISED
    for place, kind in kinds.items():
        if kind in (Kind.ENSEMBLE, Kind.FUSION) and board["row"][place] in steps:
            cells[place]["folded"] = True
    return board.join(pd.DataFrame(cells, index=board.index))


def _mean(records: Sequence[RunRecord], metric: str) -> float:
    values = [record.metrics[metric] for record in records if metric in record.metrics]
    return float(np.mean(values)) if values else float("nan")
