"""What a search optimises: accuracy on held-out devices, or any metric by name, but never one of the test split.

``holdout`` stands for ``holdout/acc``: the mean, over devices that training did not hear, of the validation accuracy on
their clips. Devices that are held out stand for those that are unseen in the test fold.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asc_study.base.errors import InputError, shown
from asc_study.base.metric_table import METRICS, Direction, direction, full_name, own_accuracies, today
from asc_study.base.schema import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

HOLDOUT: Final = "holdout"
HOLDOUT_METRIC: Final = "holdout/acc"

#: Every metric that can be an objective besides accuracy on held-out devices, as trials log it; `own_accuracies` add to
#: them where data are not TAU's.
OBJECTIVES: Final = tuple(metric.validation_name for metric in METRICS if metric.objective)

#: Ends of intervals and the chosen epoch belong to one training.
_OF_ONE_TRAINING: Final = ("_lo", "_hi", "epoch/chosen")


@dataclass(frozen=True)
class SearchObjective:
    """One objective: its name in the search file, the metric that trials log, and which way is better."""

    name: str
    metric: str
    direction: Direction

    def watched(self, held_out: Collection[str]) -> tuple[str, ...]:
        """Metrics of an epoch whose mean is the intermediate value of a training without the devices ``held_out``."""
        if self.name == HOLDOUT:
            return tuple(device_metric(device) for device in held_out)
        return (self.metric,) if self.metric.startswith("validation/") else ()


def device_metric(device: str) -> str:
    """The validation accuracy on one device."""
    return full_name(f"device_acc_{device}", "validation")


def parse_objectives(names: Sequence[str], *, where: str) -> tuple[SearchObjective, ...]:
    """Read the ``objectives`` of a search file; the direction is the metric's own.

    Raises
    ------
    InputError
        If a name is unknown, given twice, or a metric of the test split.
    """
    objectives, own = [], [metric.validation_name for metric in own_accuracies() if metric.objective]
    known = [HOLDOUT, *OBJECTIVES, *own]
    for name in names:
        metric = HOLDOUT_METRIC if name in (HOLDOUT, HOLDOUT_METRIC) else today(name)
        if metric.startswith("test/"):
            raise InputError(
                f"{where}: nothing is chosen on the test split, got the objective {shown(name)}: use {HOLDOUT}, or a "
                "validation/ or cost/ metric"
            )
        if metric not in (HOLDOUT_METRIC, *known):
            raise InputError(f"{where}: unknown objective {shown(name)}: {did_you_mean(name, known)}")
        objectives.append(SearchObjective(HOLDOUT if metric == HOLDOUT_METRIC else metric, metric, direction(metric)))
    for metric in {one.metric for one in objectives}:
        if sum(one.metric == metric for one in objectives) > 1:
            raise InputError(f"{where}: the objective {shown(metric)} is given twice: remove one")
    return tuple(objectives)


def require_measurable(
    objectives: Sequence[SearchObjective], validation: "pd.DataFrame", classes: Sequence[str]
) -> None:
    """Find out whether the validation clips have every metric that is to be optimised.

    Parameters
    ----------
    objectives
        The objectives.
    validation
        Validation rows of the clip table, whose ``scene`` is one of ``classes``.
    classes
        The classes of the task.

    Raises
    ------
    InputError
        If there is no validation split, or an objective is of a device, subset or scene that it lacks.
    """
    from asc_study.evaluation.objective import objective

    for one in objectives:
        if one.metric.startswith("cost/"):
            continue
        if validation.empty:
            raise InputError(
                f"the objective {one.name!r} needs a validation split, which these data do not give: no scene has "
                "two training locations; add recordings"
            )
        if one.metric.startswith("validation/"):
            try:
                objective(one.metric, validation, classes)
            except InputError:
                heard = ", ".join(sorted(validation["device"].unique()))
                raise InputError(
                    f"the validation clips do not have the objective {one.name!r}: they are of the devices {heard} "
                    f"and the classes {', '.join(classes)}; name another"
                ) from None


def mean_metrics(folds: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean over several trainings of the metrics that all of them have and of which a mean means something."""
    first = next(iter(folds.values()))
    if len(folds) == 1:
        return dict(first)
    shared = set.intersection(*(set(metrics) for metrics in folds.values()))
    return {
        name: sum(metrics[name] for metrics in folds.values()) / len(folds)
        for name in first
        if name in shared and not name.endswith(_OF_ONE_TRAINING)
    }
