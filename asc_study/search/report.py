"""What a search found: its best trials, the study that trains them in full, its figures on one page."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import yaml

from asc_study.base.contract import Artifact
from asc_study.base.files import write_file
from asc_study.search.claims import counted
from asc_study.search.file import Search, name_point
from asc_study.search.space import Point, point_of, settings_of
from asc_study.search.storage import quiet_optuna
from asc_study.search.teachers import BASE, Teachers, written
from asc_study.settings.run_config import RunConfig, canonical_json
from asc_study.settings.settings_file import merge
from asc_study.store.tracking import Tracker

if TYPE_CHECKING:
    import optuna

#: How the row of a trial begins in the study of the best settings.
BEST_ROW: Final = "best-trial-"

#: How the file of the best settings begins.
BEST_STUDY_HEAD: Final = "# Best of the search"


@dataclass(frozen=True)
class Best:
    """A trial that no other beats in all objectives."""

    number: int
    values: dict[str, float]
    point: Point


def count_states(study: "optuna.Study") -> dict[str, int]:
    """Trials by state; ``cut_off`` are those that a death or Ctrl-C ended, whose points are tried again."""
    trials = study.get_trials(deepcopy=False)
    counts = dict.fromkeys(("complete", "pruned", "failed", "running", "waiting"), 0)
    names = {"FAIL": "failed"}
    for trial in counted(trials):
        counts[names.get(trial.state.name, trial.state.name.lower())] += 1
    return counts | {"cut_off": len(trials) - sum(counts.values())}


def count_ended(study: "optuna.Study") -> int:
    """How many of the trials that count have ended."""
    return sum(trial.state.is_finished() for trial in counted(study.get_trials(deepcopy=False)))


def best_trials(search: Search, study: "optuna.Study") -> tuple[Best, ...]:
    """The best trial, or with several objectives the Pareto front in the order of the first; none if none is complete.

    Of equal trials the first counts.
    """
    from optuna.trial import TrialState

    single = len(search.objectives) == 1
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if single else study.best_trials
    found = []
    seen: set[str] = set()
    for trial in sorted(trials, key=lambda trial: trial.number):
        key = canonical_json(trial.params)
        if key not in seen and trial.params.keys() <= search.space.keys():  # Optuna's tools can add any trial
            seen.add(key)
            values = {objective.name: value for objective, value in zip(search.objectives, trial.values, strict=True)}
            found.append(Best(trial.number, values, point_of(search.space, trial.params)))
    first = search.objectives[0]
    found.sort(key=lambda best: best.values[first.name], reverse=first.direction == "maximize")
    return tuple(found[:1] if single else found)


def best_study(search: Search, study: "optuna.Study") -> str:
    """The text of a study file that trains the best trials beside the base, at full fidelity and over several seeds.

    Empty if no trial is complete.
    """
    best = best_trials(search, study)
    if not best:
        return ""
    points = {f"{BEST_ROW}{one.number}": one.point for one in best} | {BASE: {}}
    configs = {name: search.config(point, full=True) for name, point in points.items()}
    teachers = search.teachers.of({own.distillation.teacher for own in configs.values() if own.distillation})
    seen = {_text(row.config) for row in teachers.rows}
    for name, config in configs.items():
        if _text(config) in seen:
            del points[name]
        seen.add(_text(config))
    base, rows = _table(search, points, teachers)
    lead = [f"{BEST_STUDY_HEAD} {search.name}: " + "; ".join(_shown(one) for one in best)]
    lead += [f"# Command:  asc-study run {Artifact.BEST} --data DIR"]
    content = {
        "study": f"{search.name[:94]}-final",
        "description": f"The best settings of the search {search.name} and its base, in full.",
        "base": base,
        "rows": rows,
        **({"ensembles": [written(row) for row in teachers.ensembles]} if teachers.ensembles else {}),
        "seeds": list(search.final_seeds),
    }
    return "\n".join(lead) + "\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def write_report(
    search: Search,
    study: "optuna.Study",
    tracker: Tracker,
    run_id: str,
    *,
    base: Mapping[str, float] = MappingProxyType({}),
    noise: float | None = None,
) -> None:
    """Give the search's run the search file, the trials as CSV, the best study and the figures, as they are now.

    Parameters
    ----------
    search, study, tracker
        The search, its trials and the store.
    run_id
        The run that stands for the search.
    base
        What the base reached in each objective; empty if it was not measured.
    noise
        Differences to the base below this (a share) are noise.
    """
    from asc_study.figures.page import page
    from asc_study.figures.search import search_figures

    best = best_trials(search, study)
    with tracker.artifacts(run_id) as folder, quiet_optuna():
        write_file(folder / Artifact.SEARCH, search.source)
        write_file(folder / Artifact.TRIALS, study.trials_dataframe().to_csv(index=False))
        if best:
            write_file(folder / Artifact.BEST, best_study(search, study))
            points = "; ".join(f"trial {one.number} ({name_point(one.point)})" for one in best[:10])
            lead = f"{search.description} Best: {points}".strip()
            (folder / Artifact.FIGURES).mkdir()
            reached = [base[objective.name] for objective in search.objectives] if base else ()
            drawn = search_figures(
                study, [objective.metric for objective in search.objectives], base=reached, noise=noise
            )
            write_file(folder / Artifact.SEARCH_FIGURES, page(f"Search {search.name}", lead, drawn, search.figures))
    if len(search.objectives) == 1 and best:
        tracker.log_metrics(run_id, {search.objectives[0].metric: best[0].values[search.objectives[0].name]})


def _table(
    search: Search, points: Mapping[str, Mapping[str, Any]], teachers: Teachers
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The base of a study and its rows, which set what they need on top of it; an empty base if they cannot.

    A row sets what was drawn, or all of its settings if a profile has more for them. What is merged into a base keeps
    all of the base's settings: one that a row must not have is why there may be no base.
    """
    base = search.settings({}, full=True)
    wanted = {name: search.settings(point, full=True) for name, point in points.items()} | dict(teachers.settings)
    rows: dict[str, dict[str, Any]] = {}
    for name, settings in wanted.items():
        drawn = settings_of(search.space, points[name]) if name in points else {}
        rows[name] = drawn if name in points and merge(base, drawn) == settings else settings
    if any(merge(base, own) != wanted[name] for name, own in rows.items()):
        base, rows = {}, wanted
    return base, [{"name": name, **own} for name, own in rows.items()]


def _text(config: RunConfig) -> str:
    return canonical_json(config.model_dump())


def _shown(best: Best) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in best.values.items())
    return f"trial {best.number} ({name_point(best.point)}): {values}"
