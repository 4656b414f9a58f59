"""The figures of a search: what it found, what each parameter does, how the trials learned, where the time went.

They need Optuna's study and the names of its metrics, in the order of its objectives. Shares are drawn in per cent.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from asc_study.base.metric_table import find_metric
from asc_study.figures.parameters import parameter_figures
from asc_study.figures.trials import (
    DrawnObjective,
    complete,
    curves_figure,
    front_figure,
    history_figure,
    timeline_figure,
)

if TYPE_CHECKING:
    import optuna


def search_figures(
    study: "optuna.Study", metrics: Sequence[str], *, base: Sequence[float] = (), noise: float | None = None
) -> list[go.Figure]:
    """Draw a search; figures that need more trials than there are complete are left out.

    Parameters
    ----------
    study
        Optuna's study.
    metrics
        The name of each objective's metric.
    base
        What the base reached in each objective, which the trials should beat; empty if it was not measured.
    noise
        Half the width of the interval of the first objective (a share): lesser differences are noise.
    """
    if not study.get_trials(deepcopy=False):
        return []
    objectives = []
    for index, metric in enumerate(metrics):
        known = find_metric(metric)
        factor, unit = (known.factor, known.unit) if known else (1, "")
        objective = DrawnObjective(
            metric=metric,
            factor=factor,
            unit="%" if factor == 100 else unit,
            maximise=study.directions[index].name == "MAXIMIZE",
            base=factor * base[index] if base else None,
            noise=factor * noise if noise is not None and index == 0 else None,
        )
        objectives.append(objective)
    figures: list[go.Figure | None] = []
    for index, objective in enumerate(objectives):
        one = _copy(study, {index: objective.factor})
        if complete(one):
            figures += [history_figure(one, objective), *parameter_figures(one, objective)]
    every = _copy(study, {index: objective.factor for index, objective in enumerate(objectives)})
    single = len(objectives) == 1
    figures.append(curves_figure(every, objectives[0]) if single else front_figure(every, objectives))
    return [figure for figure in (*figures, timeline_figure(every)) if figure is not None]


def _copy(study: "optuna.Study", factors: dict[int, int]) -> "optuna.Study":
    """A copy in memory of some objectives, times their factors, whose parameters have the last word of their keys.

    Whole keys run into each other in figures; importances know the direction of a single objective only.
    """
    import optuna

    trials = study.get_trials()
    names = sorted({name for trial in trials for name in trial.params})
    last = {name: name.rpartition(".")[2] for name in names}
    short = {name: word if list(last.values()).count(word) == 1 else name for name, word in last.items()}
    copied = optuna.create_study(directions=[study.directions[index] for index in factors])
    for trial in trials:
        trial.distributions = {short[name]: value for name, value in trial.distributions.items()}
        trial.params = {short[name]: value for name, value in trial.params.items()}
        if trial.values is not None:
            trial.values = [trial.values[index] * factor for index, factor in factors.items()]
        if len(factors) == 1:  # Optuna has values of epochs for one objective only
            (factor,) = factors.values()
            trial.intermediate_values = {step: value * factor for step, value in trial.intermediate_values.items()}
        copied.add_trial(trial)
    return copied
