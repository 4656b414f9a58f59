"""The trials of a search, figure by figure: values, learning curves, what one objective costs in another, time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_study.figures.theme import BLUE, GREEN, ORANGE, REFERENCE, VERMILION, epoch_ticks, finish

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_BAND: Final = "rgba(138, 143, 152, 0.22)"

#: State of a trial, as Optuna's figure names it -> colour.
_STATES: Final = {"COMPLETE": BLUE, "PRUNED": ORANGE, "FAIL": VERMILION, "RUNNING": GREEN, "WAITING": REFERENCE}


#: Kind of a trial's learning curve -> line.
_CURVES: Final = {
    "complete": {"color": BLUE, "width": 1},
    "pruned": {"color": VERMILION, "width": 1, "dash": "dot"},
    "fail": {"color": REFERENCE, "width": 1, "dash": "dash"},
    "best": {"color": ORANGE, "width": 2.5},
}


@dataclass(frozen=True)
class DrawnObjective:
    """One objective as it is drawn.

    Attributes
    ----------
    metric
        Its name.
    factor
        What its values have been multiplied by: 100 for shares.
    unit
        Behind a value.
    maximise
        Whether more is better.
    base
        The base's value, None if it is not known.
    noise
        Lesser differences are noise, None if that is not known.
    """

    metric: str
    factor: int
    unit: str
    maximise: bool
    base: float | None = None
    noise: float | None = None

    @property
    def axis(self) -> str:
        """The title of its axis."""
        return f"{self.metric} ({self.unit})" if self.unit else self.metric

    def shown(self, number: float) -> str:
        """A value with its unit."""
        text = f"{number:.1f}" if self.factor == 100 else f"{number:.4g}"
        return f"{text}\N{NO-BREAK SPACE}{self.unit}".strip()

    def difference(self, number: float) -> str:
        """A difference of two values, without its sign: shares differ by points."""
        return f"{abs(number):.1f} points" if self.factor == 100 else self.shown(abs(number))

    def best(self, trials: "Sequence[FrozenTrial]") -> "FrozenTrial":
        """The best of complete trials; of equal ones the first."""
        return (max if self.maximise else min)(trials, key=value)


def complete(study: "optuna.Study") -> "list[FrozenTrial]":
    """The trials that are complete."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def value(trial: "FrozenTrial") -> float:
    """The value of a complete trial of a single objective."""
    return float(trial.values[0])


def add_base(figure: go.Figure, objective: DrawnObjective, **where: Any) -> None:
    """Draw the base as a dashed line and the noise around it as a band, as far as they are known."""
    if objective.base is None:
        return
    if objective.noise is not None:
        ends = {"y0": objective.base - objective.noise, "y1": objective.base + objective.noise}
        figure.add_hrect(**ends, fillcolor=_BAND, line_width=0, layer="below", **where)
    line = {"color": REFERENCE, "dash": "dash", "width": 1.5}
    named = {} if where else {"annotation_text": "base", "annotation_position": "top right"}
    figure.add_hline(y=objective.base, line=line, **named, **where)


def history_figure(study: "optuna.Study", objective: DrawnObjective) -> go.Figure:
    """The value of every complete trial, the best so far, the base and the band of noise around it."""
    trials = complete(study)
    numbers, values = [trial.number for trial in trials], list(map(value, trials))
    best = [value(objective.best(trials[:count])) for count in range(1, len(trials) + 1)]
    figure = go.Figure()
    marker = {"color": BLUE, "size": 8, "opacity": 0.8}
    hover = "trial %{x}: %{y:.4~g}<extra></extra>"
    figure.add_scatter(x=numbers, y=values, mode="markers", marker=marker, name="trial", hovertemplate=hover)
    figure.add_scatter(x=numbers, y=best, mode="lines", line={"color": ORANGE, "shape": "hv"}, name="best so far")
    add_base(figure, objective)
    figure.update_xaxes(title="trial").update_yaxes(title=objective.axis)
    title = f"Did the search find anything? ({objective.metric})"
    return finish(figure, title, _history_sentence(trials, objective), height=460)


def _history_sentence(trials: "Sequence[FrozenTrial]", objective: DrawnObjective) -> str:
    best = objective.best(trials)
    sentence = f"Trial {best.number} is best of {len(trials)} complete ones: {objective.shown(value(best))}"
    if objective.base is None:
        return f"{sentence}. The base was not measured, so it cannot be told what the search gained."
    gain = value(best) - objective.base
    sentence += f", {objective.difference(gain)} {'above' if gain >= 0 else 'below'} the base"
    sentence += f" ({objective.shown(objective.base)})"
    if objective.noise is None:
        return f"{sentence}."
    found = "more" if (gain if objective.maximise else -gain) > objective.noise else "not more"
    return f"{sentence}: {found} than the noise of {objective.difference(objective.noise)} (grey band)."


def curves_figure(study: "optuna.Study", objective: DrawnObjective) -> go.Figure | None:
    """The objective after each epoch, of trials that report it; None if none does."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.intermediate_values]
    if not trials:
        return None
    done = complete(study)
    best = objective.best(done).number if done else None
    kinds = {trial.number: "best" if trial.number == best else trial.state.name.lower() for trial in trials}
    figure, named = go.Figure(), set()
    for trial in sorted(trials, key=lambda trial: kinds[trial.number] == "best"):  # the best lies on top
        kind = kinds[trial.number]
        figure.add_scatter(
            x=[step + 1 for step in trial.intermediate_values],
            y=list(trial.intermediate_values.values()),
            mode="lines+markers" if len(trial.intermediate_values) == 1 else "lines",
            line=_CURVES.get(kind, _CURVES["fail"]),
            opacity=1 if kind == "best" else 0.5,
            name={"fail": "failed"}.get(kind, kind),
            legendgroup=kind,
            showlegend=kind not in named,
            hovertemplate=f"trial {trial.number}, epoch %{{x}}: %{{y:.4~g}}<extra></extra>",
        )
        named.add(kind)
    add_base(figure, replace(objective, noise=None))
    longest = max(max(trial.intermediate_values) for trial in trials) + 1
    figure.update_xaxes(title="epoch", dtick=epoch_ticks(longest)).update_yaxes(title=objective.axis)
    pruned = list(kinds.values()).count("pruned")
    sentence = f"{objective.metric} after each epoch of {len(trials)} trials"
    sentence += f"; the pruner ended {pruned} of them early." if pruned else "; the pruner ended none of them early."
    return finish(figure, "How did the trials learn?", sentence, height=450)


def front_figure(study: "optuna.Study", objectives: Sequence[DrawnObjective]) -> go.Figure | None:
    """The first objective against each other one; None if no trial is complete."""
    trials = complete(study)
    if not trials:
        return None
    front = {trial.number for trial in study.best_trials}
    first, others = objectives[0], objectives[1:]
    figure = make_subplots(rows=1, cols=len(others), shared_yaxes=True, horizontal_spacing=0.05)
    for column, other in enumerate(others, 1):
        for name, colour, symbol, chosen in (
            ("another trial is better", BLUE, "circle-open", [one for one in trials if one.number not in front]),
            ("no trial is better in all", VERMILION, "diamond", [one for one in trials if one.number in front]),
        ):
            trace = go.Scatter(
                x=[trial.values[column] for trial in chosen],
                y=[trial.values[0] for trial in chosen],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9, "line": {"width": 1.5, "color": colour}},
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                customdata=[trial.number for trial in chosen],
                hovertemplate="trial %{customdata}<br>%{x:.4~g}<br>%{y:.4~g}<extra></extra>",
            )
            figure.add_trace(trace, 1, column)
        if first.base is not None and other.base is not None:
            star = {"color": REFERENCE, "symbol": "star", "size": 13}
            point = go.Scatter(x=[other.base], y=[first.base], mode="markers", marker=star, name="base")
            figure.add_trace(point.update(legendgroup="base", showlegend=column == 1), 1, column)
        figure.update_xaxes(title=other.axis, row=1, col=column)
    figure.update_yaxes(title=first.axis, row=1, col=1)
    sentence = f"{len(front)} of {len(trials)} complete trials are best in the sense that none beats them in all."
    title = "What does one objective cost in the other?"
    return finish(figure, title, sentence, height=500, least_width=320 * len(others))


def timeline_figure(study: "optuna.Study") -> go.Figure:
    """When each trial ran; of Optuna's own."""
    from optuna import visualization

    figure = visualization.plot_timeline(study)
    states = []
    for bars in figure.data:
        states.append(f"{len(bars.y)} {bars.name.lower()}")
        bars.marker.color = _STATES.get(bars.name, REFERENCE)
    figure.update_xaxes(title="time").update_yaxes(title="trial")
    sentence = f"Every bar is a trial, from its start to its end: {', '.join(states)}."
    return finish(figure, "Where did the time go?", sentence, height=450)
