"""A search as it stands, to be looked at: its trials from Optuna's storage, else from what its run logged.

Nothing is written: a storage of SQLite is opened read-only, where it is or beside the tracking store. Trials in
another database, or on another machine, are rebuilt from ``trials.csv``, which is as old as the end of the newest
launch and has no values of epochs.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pandas as pd

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import direction
from asc_study.search.base import BaseResult, compare_base
from asc_study.search.file import Search, load_search
from asc_study.search.report import best_trials
from asc_study.search.space import CategoricalParameter, IntParameter, suggest
from asc_study.search.storage import quiet_optuna
from asc_study.store.addresses import SQLITE
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

_PARAMS: Final = "params_"
_VALUES: Final = ("value_", "values_")


@dataclass(frozen=True)
class StoredSearch:
    """A search as it stands.

    Attributes
    ----------
    study
        Its trials; a copy in memory where the storage is out of reach.
    metrics
        The metric of each objective.
    base
        What the base reached and what is noise beside it; None if that is not known.
    live
        Whether the trials are those of the storage itself.
    runs
        Number of a trial -> its run in MLflow.
    """

    study: "optuna.Study"
    metrics: Sequence[str]
    base: BaseResult | None
    live: bool
    runs: Mapping[int, RunRecord]

    @property
    def reached(self) -> tuple[float, ...]:
        """What the base reached in each objective; empty if it is not known."""
        return tuple(self.base.values.values()) if self.base else ()


def stored_search(reader: Reader, name: str, records: Sequence[RunRecord]) -> StoredSearch:
    """Read a search.

    Parameters
    ----------
    reader, name
        The store and the search.
    records
        All runs of the search, the newest first.

    Raises
    ------
    InputError
        If it has neither a storage within reach nor trials that were logged.
    """
    runs = {int(run.tags[Tag.TRIAL]): run for run in reversed(records) if run.tags.get(Tag.TRIAL, "").isdecimal()}
    summary = next((run for run in records if run.tags.get(Tag.KIND) == Kind.SEARCH), None)
    search = _search(reader, summary)
    with quiet_optuna():
        study = _from_storage(reader, name, records)
        live = study is not None
        if study is None:
            if summary is None:
                raise InputError(f"the store has no search {name!r}: choose another one")
            logged = reader.artifact(summary.run_id, Artifact.TRIALS)
            # pandas' own reader of before version 3 is off by a last digit.
            study = _from_table(pd.read_csv(logged, engine="pyarrow"), search)
            _add_base(study, search, records)
        metrics = study.metric_names or ([objective.metric for objective in search.objectives] if search else [])
        base = None
        if search is not None:
            with suppress(InputError):
                base = compare_base(search, study, reader, best_trials(search, study))
    return StoredSearch(study, metrics, base, live, runs)


def _search(reader: Reader, summary: RunRecord | None) -> Search | None:
    """The search file as it was logged; None if it cannot be read here, for example because it needs other files."""
    with suppress(InputError):
        return load_search(reader.artifact(summary.run_id, Artifact.SEARCH)) if summary else None
    return None


def _from_storage(reader: Reader, name: str, records: Sequence[RunRecord]) -> "optuna.Study | None":
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    told = (run.tags.get(Tag.OPTUNA_STORAGE, "") for run in records)
    files = [Path(one.removeprefix(SQLITE)) for one in dict.fromkeys(told) if one.startswith(SQLITE)]
    files += [reader.database.parent / "optuna.db"] if reader.database else []
    for file in files:
        if not file.is_file():
            continue
        address = f"{SQLITE}file:{quote(str(file.absolute()))}?mode=ro&uri=true".replace("{", "{{").replace("}", "}}")
        with suppress(optuna.exceptions.OptunaError, SQLAlchemyError, KeyError, RuntimeError, AssertionError):
            storage = optuna.storages.RDBStorage(address, skip_table_creation=True)
            found = optuna.load_study(study_name=name, storage=storage)
            if Tag.SEARCH in found.user_attrs:
                return found
    return None


def _from_table(table: pd.DataFrame, search: Search | None) -> "optuna.Study":
    """The trials that a launch logged when it ended, as a study in memory."""
    import optuna
    from optuna.trial import TrialState, create_trial

    values = [column for column in table if str(column).startswith(_VALUES)]
    metrics = [str(column).partition("_")[2] for column in values]
    if not metrics:
        raise InputError(f"the trials that were logged have no objective, got {list(table)}: run the search again")
    study = optuna.create_study(directions=[direction(metric) for metric in metrics])
    study.set_metric_names(metrics)
    names = {str(column): str(column).removeprefix(_PARAMS) for column in table if str(column).startswith(_PARAMS)}
    inferred = {name: _inferred(table[column].dropna()) for column, name in names.items()}
    for row in table.sort_values("number").to_dict("records"):
        point = {name: row[column] for column, name in names.items() if not pd.isna(row[column])}
        params, distributions = _declared(point, search) or (point, {name: inferred[name] for name in point})
        reached = [float(row[column]) for column in values]
        ended = row["state"] == "COMPLETE"
        trial = create_trial(
            state=TrialState[str(row["state"])],
            params=params,
            distributions=distributions,
            values=reached if ended and not any(map(pd.isna, reached)) else None,
        )
        for moment in ("datetime_start", "datetime_complete"):
            if not pd.isna(row.get(moment)):
                setattr(trial, moment, pd.Timestamp(str(row[moment])).to_pydatetime())
        study.add_trial(trial)
    return study


def _declared(
    point: Mapping[str, Any], search: Search | None
) -> "tuple[dict[str, Any], dict[str, BaseDistribution]] | None":
    """A point as the search file declares it; None without one, or where it does not fit."""
    from optuna.trial import FixedTrial

    if search is None:
        return None
    known: dict[str, Any] = {}
    for name, value in point.items():
        parameter = search.space.get(name)
        choices = parameter.labelled() if isinstance(parameter, CategoricalParameter) else ()
        labels = {str(label): label for label in choices}
        known[name] = int(value) if isinstance(parameter, IntParameter) else labels.get(str(value), value)
    trial = FixedTrial(known)
    with suppress(ValueError):
        suggest(search.space, trial)
        if trial.params.keys() == known.keys():
            return trial.params, trial.distributions
    return None


def _inferred(values: "pd.Series[Any]") -> "BaseDistribution":
    """A distribution that holds all values of a parameter whose own is not known."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values) and len(values):
        return FloatDistribution(float(values.min()), float(values.max()))
    return CategoricalDistribution(list(dict.fromkeys(values)) or ["none"])


def _add_base(study: "optuna.Study", search: Search | None, records: Sequence[RunRecord]) -> None:
    """Tell a study in memory of the base that was measured beside the trials, as the storage has it."""
    run = next((one for one in records if one.tags.get(Tag.KIND) == Kind.BASE and one.status == "FINISHED"), None)
    if search and run and all(objective.metric in run.metrics for objective in search.objectives):
        values = {objective.name: run.metrics[objective.metric] for objective in search.objectives}
        study.set_user_attr(Tag.BASE, {"values": values, "run_id": run.run_id})
