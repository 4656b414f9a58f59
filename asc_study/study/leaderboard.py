"""The leaderboard: finished runs of a study in the form of the paper's Table 1, beside published figures if any."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.metric_table import COLUMNS
from asc_study.base.text_table import text_table
from asc_study.evaluation.accuracy_table import cell, figure
from asc_study.settings.published import parse_published
from asc_study.settings.study_file import load_study
from asc_study.store.addresses import address_line, tracking_uri
from asc_study.store.queries import Reader, RunRecord, open_existing
from asc_study.store.references import finished_systems

#: Marks a row whose seeds have several execution fingerprints.
_MIXED: Final = "*"


def study_leaderboard(study: str) -> tuple[str, pd.DataFrame]:
    """The name and the leaderboard of a study in the store in use.

    Parameters
    ----------
    study
        A study's name (its rows stand as its newest launch had them), or its YAML file.

    Raises
    ------
    InputError
        If it has no finished runs.
    """
    order: list[str] = []
    published, tracker = "", open_existing()
    if study.endswith((".yaml", ".yml")):
        loaded = load_study(Path(study))
        study, order, published = loaded.name, loaded.names, loaded.published
    elif tracker:
        order, published = launched_table(tracker, study)
    figures = parse_published(published, f"the published figures of {study}") if published else None
    board = leaderboard(tracker, study, order=order, published=figures) if tracker else None
    if board is None or board.empty or not board["seeds"].any():
        line = f"study {study!r} has no finished runs in {{address}}: run it, or name another one"
        raise InputError(address_line(tracking_uri(), line))
    return study, board


def launched_table(tracker: Reader, study: str) -> tuple[list[str], str]:
    """The rows of a study and its published figures (CSV text, maybe empty) as its newest launch had them."""
    for record in tracker.runs(study, kind="study"):
        with suppress(InputError, ValueError):
            rows = json.loads(tracker.artifact(record.run_id, "rows.json").read_text(encoding="utf-8"))
            published = ""
            if rows["published"]:
                published = tracker.artifact(record.run_id, "published.csv").read_text(encoding="utf-8")
            return rows["rows"], published
    return [], ""


def leaderboard(
    tracker: Reader, study: str, *, order: Sequence[str] = (), published: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Gather the finished systems of a study (trained, imported, combined), one row a combination, repeats averaged.

    Parameters
    ----------
    tracker
        The store.
    study
        Name of the study (the MLflow experiment).
    order
        Row names in the order wanted, as the study file has them; rows without a finished run are listed empty.
    published
        Published figures (`asc_study.settings.published`), shown beside the rows of the same name; others follow alone.

    Returns
    -------
    DataFrame
        ``row, architecture, augmentation, task, dataset, dataset_digest, combination, basis`` (of ensembles: what they
        were fitted on), ``seeds`` (how many), ``fingerprints`` (how many computed them), then for each
        of `COLUMNS` the mean over seeds and its sample standard deviation ``<column>_sd`` (NaN for a single seed). With
        published figures also ``source`` and ``published_<column>``.
    """
    groups: dict[str, list[RunRecord]] = {}
    for record in finished_systems(tracker, study):
        groups.setdefault(record.tags["asc.combination"], []).append(record)
    rows = [_summary(records) for records in groups.values()]
    rows += [{"row": name, "seeds": 0} for name in order if name not in {row["row"] for row in rows}]
    if published is not None:
        order = _with_published_order(order, published["row"].tolist())
        rows += [{"row": name, "seeds": 0} for name in published["row"] if name not in {row["row"] for row in rows}]
    position = {name: place for place, name in enumerate(order)}
    rows.sort(key=lambda row: (position.get(row["row"], len(position)), row.get("first_start", 0.0)))
    board = pd.DataFrame(rows).drop(columns="first_start", errors="ignore")
    if published is not None and len(board):
        figures = published.rename(columns={column.name: f"published_{column.name}" for column in COLUMNS})
        board = board.merge(figures, on="row", how="left")
    return board


def _with_published_order(order: Sequence[str], published: Sequence[str]) -> list[str]:
    """Insert the published rows that the study lacks where they stand between the ones it has."""
    merged, place = list(order), 0
    for name in published:
        if name in merged:
            place = merged.index(name) + 1
        else:
            merged.insert(place, name)
            place += 1
    return merged


def render(board: pd.DataFrame, study: str) -> str:
    """Lay the leaderboard out as a text table, per cent with one decimal, ± one standard deviation over seeds.

    Published figures stand in brackets behind ours.
    """
    several = {column for column in ("dataset_digest", "task") if column in board and board[column].nunique() > 1}
    board = board.assign(row=unique_names(board))
    beside = "source" in board
    shown = [column for column in COLUMNS if _has_figures(board, column.name)]
    header = ["Row", "System"] + ["Augmentation"] * (not beside)  # with figures beside ours it would be too wide
    header += ["Task"] * ("task" in several) + ["Data"] * ("dataset_digest" in several) + ["Seeds"]
    header += [column.heading for column in shown]
    lines = [header]
    for row in board.to_dict("records"):
        cells = [row["row"], _text(row.get("architecture"))]
        if not beside:
            cells.append(_text(row.get("augmentation")))
        if "task" in several:
            cells.append(_text(row.get("task")))
        if "dataset_digest" in several:
            known = isinstance(row.get("dataset"), str)
            cells.append(f"{row['dataset']} {row['dataset_digest'][:6]}" if known else "-")
        cells.append(f"{row['seeds']}{_MIXED if row.get('fingerprints', 1) > 1 else ''}")
        for column in shown:
            ours = cell(column, row.get(column.name), row.get(f"{column.name}_sd"))
            theirs = cell(column, row.get(f"published_{column.name}"))
            bracket = "" if theirs == "-" else f"[{theirs}]"
            cells.append(f"{ours} {bracket:>6}" if beside else ours)
        lines.append(cells)
    table = text_table(lines, left=range(header.index("Seeds")))
    notes = []
    if "fingerprints" in board and (board["fingerprints"] > 1).any():
        notes.append(f"{_MIXED} its seeds were computed by different back ends, devices or library versions")
    notes += ["accuracy in %; ± is the standard deviation over seeds; log loss in nats"]
    if beside:
        notes.append(f"[ ]: published: {'; '.join(board['source'].dropna().unique())}")
    return "\n".join([f"Study {study} (test split)", table, *notes])


def _has_figures(board: pd.DataFrame, name: str) -> bool:
    columns = [column for column in (name, f"published_{name}") if column in board]
    return any(board[column].notna().any() for column in columns)


def unique_names(board: pd.DataFrame) -> list[str]:
    """The rows' names; one that stands for several combinations of settings or data gets the combination's digits."""
    repeated = board["row"].duplicated(keep=False)
    return [
        f"{name} [{combination[:10]}]" if again and isinstance(combination, str) else name
        for name, again, combination in zip(board["row"], repeated, board.get("combination", board["row"]), strict=True)
    ]


def to_json(board: pd.DataFrame, study: str) -> str:
    """The leaderboard as JSON; an unknown value is null."""
    rows = [{key: _plain(value) for key, value in row.items()} for row in board.to_dict("records")]
    return json.dumps({"study": study, "rows": rows}, indent=2)


def _summary(records: Sequence[RunRecord]) -> dict[str, Any]:
    newest = max(records, key=lambda record: record.start_seconds)
    by_seed = {record.seed: record for record in sorted(records, key=lambda record: record.start_seconds)}
    augmentation = sorted({key.split(".")[1] for key in newest.params if "_augmentation." in key})
    summary: dict[str, Any] = {
        "row": newest.tags["asc.row"],
        "architecture": newest.tags.get("asc.system", newest.params.get("architecture", "")),
        "augmentation": " + ".join(augmentation) or ("none" if newest.tags["asc.kind"] == "train" else ""),
        "task": newest.tags["asc.task"],
        "dataset": newest.tags.get("asc.dataset", ""),
        "dataset_digest": newest.tags.get("asc.dataset_digest", ""),
        "combination": newest.tags["asc.combination"],
        "basis": newest.tags.get("asc.basis", ""),
        "seeds": len(by_seed),
        "fingerprints": len({record.tags.get("asc.fingerprint", "") for record in by_seed.values()}),
        "first_start": min(record.start_seconds for record in records),
    }
    for column in COLUMNS:
        figures = [figure(record.metrics, column) for record in by_seed.values()]
        values = [value for value in figures if value is not None]
        summary[column.name] = float(np.mean(values)) if values else float("nan")
        summary[f"{column.name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return summary


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else "-"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
