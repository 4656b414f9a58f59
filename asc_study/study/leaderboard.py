"""The leaderboard as a frame: finished runs of a study in the columns of the paper's Table 1, and what else is known.

Text, Markdown, LaTeX, CSV, JSON (`asc_study.study.leaderboard_forms`), figures and dashboards share this frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import METRICS, Metric, columns_among, own_accuracies
from asc_study.base.provenance import MIXED
from asc_study.base.schema import did_you_mean
from asc_study.evaluation.marks import marks
from asc_study.settings.published import parse_published
from asc_study.store.addresses import address_line, tracking_uri
from asc_study.store.queries import Reader, open_existing
from asc_study.store.records import RunRecord
from asc_study.store.references import HASH_DIGITS, Definition, combination_of, current_rows, newest_launch
from asc_study.study.definition import define_file
from asc_study.study.deployed_columns import add_deployed
from asc_study.study.standing import add_standings, predictions_of

#: Prefix of the columns of settings in which rows differ.
SETTINGS: Final = "settings."


def study_leaderboard(
    study: str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    orphans: bool = False,
    reference: str | None = None,
    sort: str | None = None,
) -> tuple[str, pd.DataFrame]:
    """The name and the leaderboard of a study in the store in use.

    Parameters
    ----------
    study
        A study's name (its rows are those of its newest launch), or its YAML file (its rows are those of the file now).
    profile, overrides
        Of a file: as they were given to `run`.
    orphans, reference
        See `leaderboard`.
    sort
        Metric by which rows are sorted, the best first; by default they are in the study's order.

    Raises
    ------
    InputError
        If it has no finished runs, or an option does not fit.
    """
    tracker, definition, order, published = open_existing(), None, [], ""
    if study.endswith((".yaml", ".yml")):
        defined = define_file(Path(study), tracker, overrides=overrides, profile=profile)
        definition, order, published = defined.definition, defined.study.names, defined.study.published
        study = defined.study.name
    elif profile or overrides:
        raise InputError(
            f"--profile and --set belong to a study file, got the name {study!r}, whose newest launch counts: name the "
            "YAML file"
        )
    elif tracker:
        order, published = launched_table(tracker, study)
    if tracker is None:
        raise _nothing(study, 0)
    figures = parse_published(published, f"the published figures of {study}") if published else None
    board = leaderboard(
        tracker, study, definition=definition, order=order, published=figures, orphans=orphans, reference=reference
    )
    if board.empty or not board["seeds"].any():
        raise _nothing(study, len(current_rows(tracker, study, definition).orphans))
    return study, sorted_board(board, sort) if sort else board


def _nothing(study: str, orphans: int) -> InputError:
    if orphans:
        return InputError(
            f"study {study!r} has no finished runs as it is defined now, got {orphans} of other settings or data: "
            "run it, give --profile and --set as for `run`, or add --orphans"
        )
    line = f"study {study!r} has no finished runs in {{address}}: run it, or name another one"
    return InputError(address_line(tracking_uri(), line))


def launched_table(tracker: Reader, study: str, *, records: Sequence[RunRecord] | None = None) -> tuple[list[str], str]:
    """The rows of a study and its published figures (CSV text, maybe empty) as its newest launch had them."""
    run_id, rows = newest_launch(tracker, tracker.runs(study, kind=Kind.STUDY) if records is None else records)
    published = ""
    if rows.get("published"):
        published = tracker.text_artifact(run_id, Artifact.PUBLISHED)
    return list(rows.get("rows", [])), published


def leaderboard(
    tracker: Reader,
    study: str,
    *,
    definition: Definition | None = None,
    order: Sequence[str] = (),
    published: pd.DataFrame | None = None,
    orphans: bool = False,
    reference: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Gather the finished systems of a study (trained, imported, combined), one row a combination, repeats averaged.

    Parameters
    ----------
    tracker
        The store.
    study
        Name of the study (the MLflow experiment).
    definition
        What its rows are; by default those of its newest launch, see `current_rows`.
    order
        Row names in the order wanted, as the study file has them; rows without a finished run are listed empty.
    published
        Published figures (`asc_study.settings.published`), shown beside the rows of the same name; others follow alone.
    orphans
        Whether finished runs that are no longer part of the study are listed too, with the state ``orphaned``.
    reference
        The row that the others are compared with, see `add_standings`.

    Returns
    -------
    DataFrame
        ``row, architecture, augmentation, teacher, task, dataset, dataset_digest, combination`` (64 digits), ``hash``
        (as people are shown it), ``state`` (``current`` or ``orphaned``), the columns of
        `asc_study.evaluation.marks.marks`,
        ``basis`` (of ensembles: what they were fitted on), ``seeds`` (how many), ``seed_list``, ``run_ids`` (MLflow's,
        in the order of the seeds), ``fingerprints`` (how many computed them), then for each column of Table 1 the mean
        over seeds, accuracies in per cent, its sample standard deviation ``<column>_sd`` (NaN for a single seed), its
        95 % interval ``<column>_lo, _hi`` over locations (and seeds, if there are several) and what `add_deployed` and
        `add_standings` say; then every other metric that was logged, those of validation with their prefix, and
        ``settings.<key>`` in which trained rows differ. With published figures also ``source`` and
        ``published_<column>``.
    """
    gathered = gather(tracker, study, definition=definition, order=order, published=published, orphans=orphans)
    if gathered.board.empty:
        return gathered.board
    return add_standings(gathered.board, predictions_of(tracker, gathered.records), reference)


@dataclass(frozen=True)
class Gathered:
    """The rows of a study as their runs logged them.

    Attributes
    ----------
    board
        What `leaderboard` gives, but for what `add_standings` adds: no predictions were read.
    records
        Place in the board -> the runs of a row, one a seed in the order of ``seed_list``.
    """

    board: pd.DataFrame
    records: Mapping[int, Sequence[RunRecord]]


def gather(
    tracker: Reader,
    study: str,
    *,
    definition: Definition | None = None,
    order: Sequence[str] = (),
    published: pd.DataFrame | None = None,
    orphans: bool = False,
    records: Sequence[RunRecord] | None = None,
) -> Gathered:
    """The rows of a leaderboard before their predictions are looked at; see `leaderboard` and `current_rows`."""
    runs = current_rows(tracker, study, definition, records=records)
    systems: dict[tuple[str, str], list[RunRecord]] = {}
    for state, found in (("current", runs.current), ("orphaned", runs.orphans if orphans else ())):
        for record in found:
            systems.setdefault((combination_of(record) or record.run_id, state), []).append(record)
    rows = [_summary(found, state) for (_, state), found in systems.items()]
    known = {row["row"] for row in rows if row["state"] == "current"}
    named = [*order, *(published["row"] if published is not None else ())]
    rows += [_empty(name) for name in dict.fromkeys(named) if name not in known]
    if published is not None:
        order = _with_published_order(order, published["row"].tolist())
    position = {name: place for place, name in enumerate(order)}
    rows.sort(key=lambda row: (position.get(row["row"], len(position)), row["state"] != "current", row["first_start"]))
    board = pd.DataFrame([{key: row[key] for key in row if key not in ("first_start", "records")} for row in rows])
    if not rows:
        return Gathered(board, {})
    seeds_of = {place: row["records"] for place, row in enumerate(rows) if row["seeds"]}
    board = add_deployed(board, seeds_of)
    board = board.join(_settings({place: found[-1] for place, found in seeds_of.items()}))
    if published is not None:
        figures = [column for column in published if column not in ("row", "source")]
        theirs = published.rename(columns={name: f"published_{name}" for name in figures}).assign(state="current")
        board = board.merge(theirs, on=["row", "state"], how="left")
    return Gathered(board, seeds_of)


def sorted_board(board: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows by a metric, the best first, those without a figure last.

    Raises
    ------
    InputError
        If the table has no such metric.
    """
    name = metric.removeprefix("test/")
    metrics = (*METRICS, *own_accuracies())
    known = {entry.name: entry for entry in metrics if entry.name in board}
    known |= {entry.validation_name: entry for entry in metrics if entry.validation_name in board}
    if name not in known:
        raise InputError(f"--sort takes a metric of the table, got {metric!r}: {did_you_mean(name, known)}")
    ascending = known[name].direction != "maximize"
    return board.sort_values(name, ascending=ascending, kind="stable", na_position="last", ignore_index=True)


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


def _empty(name: str) -> dict[str, Any]:
    return {"row": name, "state": "current", "seeds": 0, "first_start": 0.0}


def _summary(records: Sequence[RunRecord], state: str) -> dict[str, Any]:
    newest = max(records, key=lambda record: record.start_seconds)
    by_seed = {record.seed: record for record in sorted(records, key=lambda record: record.start_seconds)}
    seeds = sorted(by_seed, key=lambda seed: (len(seed), seed))
    augmentation = sorted({key.split(".")[1] for key in newest.params if "_augmentation." in key})
    combination = combination_of(newest)
    fingerprints = {record.tags.get(Tag.FINGERPRINT, "") for record in by_seed.values()}
    summary: dict[str, Any] = {
        "row": newest.tags.get(Tag.ROW, newest.run_id),
        "architecture": newest.tags.get(Tag.SYSTEM, newest.params.get("architecture", "")),
        "augmentation": " + ".join(augmentation) or ("none" if newest.tags.get(Tag.KIND) == Kind.TRAIN else ""),
        "teacher": newest.params.get("distillation.teacher", ""),
        "task": newest.tags.get(Tag.TASK, ""),
        "dataset": newest.tags.get(Tag.DATASET, ""),
        "dataset_digest": newest.tags.get(Tag.DATASET_DIGEST, ""),
        "combination": combination,
        "hash": combination[:HASH_DIGITS],
        "state": state,
        **marks([record.tags.get(Tag.MARK, "") for record in by_seed.values()]),
        "basis": newest.tags.get(Tag.BASIS, ""),
        "seeds": len(by_seed),
        "seed_list": " ".join(seeds),
        "run_ids": " ".join(by_seed[seed].run_id for seed in seeds),
        "fingerprints": len(fingerprints) + (MIXED in fingerprints),
        "first_start": min(record.start_seconds for record in records),
        "records": [by_seed[seed] for seed in seeds],
    }
    metrics = [record.metrics for record in by_seed.values()]
    logged = {name for known in metrics for name in known}
    for column in columns_among(logged):
        summary |= _figures(metrics, column, column.test_name, always=True)
    for metric in (*METRICS, *own_accuracies()):
        if not metric.column:
            summary |= _figures(metrics, metric, metric.test_name, metric.name)
        if metric.per_split:
            summary |= _figures(metrics, metric, metric.validation_name, metric.validation_name)
    return summary


def _figures(
    metrics: Sequence[Mapping[str, float]], metric: Metric, logged: str, name: str = "", *, always: bool = False
) -> dict[str, float]:
    """Mean and deviation of a metric over seeds, and the interval that a single run has logged."""
    name = name or metric.name
    values = [metric.factor * run[logged] for run in metrics if logged in run]
    if not values and not always:
        return {}
    found = {name: float(np.mean(values)) if values else float("nan")}
    if len(values) > 1:
        found[f"{name}_sd"] = float(np.std(values, ddof=1))
    elif always:
        found[f"{name}_sd"] = float("nan")
    for end in ("lo", "hi"):
        if len(metrics) == 1 and f"{logged}_{end}" in metrics[0]:
            found[f"{name}_{end}"] = metric.factor * metrics[0][f"{logged}_{end}"]
    return found


def _settings(newest: Mapping[int, RunRecord]) -> pd.DataFrame:
    """The settings in which the trained rows differ, a column each."""
    params = {place: r.params for place, r in newest.items() if r.tags.get(Tag.KIND) == Kind.TRAIN}
    keys: Iterable[str] = dict.fromkeys(key for one in params.values() for key in one if key != "seed")
    differing = [key for key in keys if len({one.get(key) for one in params.values()}) > 1]
    return pd.DataFrame(
        {f"{SETTINGS}{key}": {place: one.get(key) for place, one in params.items()} for key in differing}
    )
