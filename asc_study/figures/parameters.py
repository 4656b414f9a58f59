"""What the parameters of a search do: a panel for each, importances and contours if there are enough trials."""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.figures.theme import BLUE, ORANGE, SHARES, finish, percent
from asc_study.figures.trials import DrawnObjective, add_base, complete, value

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

#: Complete trials a parameter from which on importances and contours are drawn: ten points a dimension are the rule of
#: thumb for experiments on a computer (Loeppky, Sacks and Welch 2009, "Choosing the Sample Size of a Computer
#: Experiment: A Practical Guide").
TRIALS_A_PARAMETER: Final = 10

#: Parameters of the contour figure: it has a panel for each pair.
_CONTOUR_PARAMETERS: Final = 3


def parameter_figures(study: "optuna.Study", objective: DrawnObjective) -> list[go.Figure]:
    """The figures of a study's parameters, as many as its complete trials allow."""
    trials = [trial for trial in complete(study) if trial.params]
    names = sorted({name for trial in trials for name in trial.params})
    if not names:
        return []
    figures = [slice_figure(trials, names, objective)]
    if len(names) > 1 and len(trials) >= TRIALS_A_PARAMETER * len(names):
        importances = _importances(study)
        figures += [_importance_figure(importances, objective, len(trials))] if importances else []
        numeric = [name for name in importances if _axis(trials, name)["type"] != "category"][:_CONTOUR_PARAMETERS]
        figures += [_contour_figure(study, numeric, objective)] if len(numeric) > 1 else []
    return figures


def slice_figure(trials: "Sequence[FrozenTrial]", names: Sequence[str], objective: DrawnObjective) -> go.Figure:
    """A panel for each parameter, on the axis that it is searched on: logarithmic if it is drawn so."""
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    spacing = {"horizontal_spacing": 0.05, "vertical_spacing": min(0.3, 0.3 / rows)}
    figure = make_subplots(rows=rows, cols=columns, shared_yaxes="all", **spacing)
    best = objective.best(trials)
    for number, name in enumerate(names):
        where = {"row": number // columns + 1, "col": number % columns + 1}
        having = [trial for trial in trials if name in trial.params]
        marks = {
            "color": [ORANGE if trial is best else BLUE for trial in having],
            "symbol": ["star" if trial is best else "circle" for trial in having],
            "size": [13 if trial is best else 8 for trial in having],
            "opacity": 0.8,
        }
        trace = go.Scatter(
            x=[trial.params[name] for trial in having],
            y=list(map(value, having)),
            mode="markers",
            marker=marks,
            showlegend=False,
            customdata=[trial.number for trial in having],
            hovertemplate="trial %{customdata}<br>%{x}: %{y:.4~g}<extra></extra>",
        )
        figure.add_trace(trace, **where)
        figure.update_xaxes(title=name, **_axis(having, name), **where)
        add_base(figure, objective, **where)
    for row in range(1, rows + 1):
        figure.update_yaxes(title=objective.axis, row=row, col=1)
    title = f"What does each parameter do? ({objective.metric})"
    sentence = _slice_sentence(len(trials), len(names), objective)
    return finish(figure, title, sentence, height=280 * rows + 110, least_width=240 * columns)


def _slice_sentence(trials: int, parameters: int, objective: DrawnObjective) -> str:
    sentence = "Every dot is a complete trial, the star is the best"
    sentence += "; the dashed line is the base" if objective.base is not None else ""
    enough = TRIALS_A_PARAMETER * parameters
    if parameters < 2 or trials >= enough:
        return f"{sentence}."
    return (
        f"{sentence}. Which parameters matter is drawn from {enough} complete trials on, {TRIALS_A_PARAMETER} a "
        f"parameter; there are {trials}."
    )


def _axis(trials: "Sequence[FrozenTrial]", name: str) -> dict[str, Any]:
    """The axis that a parameter is searched on, with a mark at each power of ten where it is long enough for two."""
    from optuna.distributions import FloatDistribution, IntDistribution

    distribution = next(trial.distributions[name] for trial in trials if name in trial.distributions)
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return {"type": "category"}
    if not distribution.log:
        return {"type": "linear"}
    long = distribution.high >= 100 * distribution.low
    return {"type": "log", **({"dtick": 1, "exponentformat": "power"} if long else {})}


def _importances(study: "optuna.Study") -> dict[str, float]:
    """The share of each parameter in what makes trials differ, the greatest first; empty if that cannot be told."""
    from optuna.importance import get_param_importances

    with suppress(ValueError, RuntimeError):  # all alike
        return get_param_importances(study)
    return {}


def _importance_figure(importances: dict[str, float], objective: DrawnObjective, trials: int) -> go.Figure:
    names, shares = list(importances), [100 * share for share in importances.values()]
    text = [f"{share:.0f}" for share in shares]
    figure = go.Figure(go.Bar(x=shares, y=names, orientation="h", marker_color=BLUE, text=text, textposition="outside"))
    figure.update_xaxes(title="importance (%)", range=[0, 108]).update_yaxes(autorange="reversed")
    title = f"Which parameters matter? ({objective.metric})"
    sentence = (
        f"{names[0]} accounts for {percent(shares[0])} of what makes {trials} trials differ, as Optuna estimates it; "
        "parameters that only some trials have are left out."
    )
    return finish(figure, title, sentence, height=200 + 34 * len(names))


def _contour_figure(study: "optuna.Study", names: Sequence[str], objective: DrawnObjective) -> go.Figure:
    from optuna import visualization

    figure = visualization.plot_contour(study, list(names), target_name=objective.axis)
    figure.update_traces(colorscale=SHARES, reversescale=not objective.maximise, selector={"type": "contour"})
    title = f"Where are good values? ({objective.metric})"
    sentence = (
        f"The {len(names)} numbers that matter most, pair by pair; between the trials (dots) values are interpolated. "
        "The darker, the better."
    )
    return finish(figure, title, sentence, height=260 * len(names) + 60, least_width=260 * len(names))
