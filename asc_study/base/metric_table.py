"""The one table of metrics: what each is called, which way is better, its unit, its splits and its heading.

Below everything that names a metric: settings check objectives and published figures by it, `asc_study.evaluation`
computes the metrics, tables and figures take their headings from it. A new metric is one entry of `METRICS`; one that
is the mean or the difference of others needs nothing else, any other is computed in `asc_study.evaluation.metrics`,
`asc_study.evaluation.calibration` or `asc_study.models.cost`.

What names a device, a class or a subset of devices is a metric of every data set that has these words: `METRICS` holds
those of TAU's data sets, `BY_NAME` knows all.

Names in MLflow, which groups charts by the part before the slash: ``<split>/<name>``, where the split is ``test``,
``validation`` (what runs are chosen by) or ``holdout`` (devices kept out of a search's trainings), or ``cost`` and
``epoch`` for what is measured on none. ``<metric>_lo`` and ``<metric>_hi`` are the ends of an interval. Stores written
before this scheme hold other names: `today` gives those of now.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from asc_study.base.errors import InputError, shown
from asc_study.base.taxonomy import DEVICES, SCENE_GROUPS, SCENES, TAU, Taxonomy, known_devices, known_taxonomies

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name
        Without its split: ``acc_avg``, ``device_acc_s3``; of a metric of no split the whole name.
    direction
        Whether a higher or a lower value is better; None if neither is.
    unit
        ``share`` (in [0, 1], shown in per cent), ``nats``, or whatever else it counts.
    per_split
        Whether it is measured on each split that has labels; otherwise once for a run.
    heading
        Of its column; the name if it has none of its own.
    digits
        Decimals that people are shown, of a share in per cent.
    column
        Whether it is a column of the paper's Table 1.
    objective
        Whether systems can be chosen by it.
    mean_of
        It is the mean of the accuracies whose names begin so.
    difference_of
        It is the first of these accuracies minus the second.
    """

    name: str
    direction: Direction | None
    unit: str
    per_split: bool = True
    heading: str = ""
    digits: int = 1
    column: bool = False
    objective: bool = False
    mean_of: str = ""
    difference_of: tuple[str, str] | None = None

    @property
    def factor(self) -> int:
        """What a value is multiplied by to be shown: 100 for shares, which are shown in per cent."""
        return 100 if self.unit == "share" else 1

    @property
    def test_name(self) -> str:
        """What MLflow calls it for the test split."""
        return full_name(self.name, "test") if self.per_split else self.name

    @property
    def validation_name(self) -> str:
        """What MLflow calls it for the validation split."""
        return full_name(self.name, "validation") if self.per_split else self.name


@dataclass(frozen=True)
class Subset:
    """The clips of some devices, and the accuracy that is theirs."""

    name: str
    devices: tuple[str, ...]
    heading: str
    note: str = ""

    @property
    def metric(self) -> str:
        """The accuracy on these clips, without its split."""
        return f"acc_{self.name}"

    @property
    def title(self) -> str:
        """The heading with what should be known of the devices."""
        return f"{self.heading} ({self.note})" if self.note else self.heading

    @property
    def unseen(self) -> bool:
        """Whether training hears none of these devices."""
        return self.note == _UNSEEN

    @property
    def heard(self) -> str:
        """What training hears of these devices, in words; empty where it goes without saying."""
        return {_SEEN: "heard", _UNSEEN: "never heard"}.get(self.note, "")


def full_name(name: str, split: str) -> str:
    """The name that MLflow has for a metric of a split: ``validation/device_acc_s3`` for ``device_acc_s3``."""
    return f"{split}/{name}"


#: What names began with before every one began with its split, and what they begin with now.
_FORMERLY: Final = {
    "device/": "test/device_",
    "scene/": "test/scene_",
    "gap/": "test/gap_",
    "change/": "test/change_",
    "calibration/test_": "test/calibrated_",
    "calibration/": "validation/",
}


@lru_cache(maxsize=4096)  # 1,000 runs have 100,000 metrics
def today(name: str) -> str:
    """The present name of a metric that an earlier version logged: ``test/device_acc_a`` for ``device/acc_a``."""
    for former, present in _FORMERLY.items():
        if name.startswith(former):
            return present + name.removeprefix(former)
    return name


_SEEN: Final = "seen"
_UNSEEN: Final = "unseen"
_HEADINGS: Final = {"BC": "B&C"}
_NOTES: Final = {"s1-s3": _SEEN, "s4-s6": _UNSEEN}

ALL_CLIPS: Final = Subset("avg", DEVICES, "all clips")

#: The device subsets of Table 1, in the paper's order.
SUBSETS: Final = tuple(
    Subset(name, devices, _HEADINGS.get(name, name), _NOTES.get(name, "")) for name, devices in TAU.subsets
)


def subsets_of(taxonomy: Taxonomy) -> tuple[Subset, ...]:
    """The subsets that a data set reports, in its order."""
    if taxonomy.subsets == TAU.subsets:
        return SUBSETS
    return tuple(Subset(name, devices, name, _note(taxonomy, devices)) for name, devices in taxonomy.subsets)


def _note(taxonomy: Taxonomy, devices: tuple[str, ...]) -> str:
    seen = set(devices) & set(taxonomy.seen_devices)
    if not seen:
        return _UNSEEN
    return _SEEN if seen == set(devices) != {taxonomy.reference_device} else ""


def subsets_among(metrics: Iterable[str]) -> tuple[Subset, ...]:
    """The subsets of the data sets that a table is about, told by its metrics; TAU's if nothing tells.

    Where data sets share a subset's name, that of the data read last is meant.
    """
    named = {name.rpartition("/")[2] for name in metrics}
    found: dict[str, Subset] = {}
    for taxonomy in known_taxonomies():
        subsets = subsets_of(taxonomy)
        if any(subset.metric in named for subset in subsets):
            found |= {subset.name: subset for subset in subsets}
    return tuple(found.values()) or SUBSETS


def unseen_among(metrics: Iterable[str]) -> Subset | None:
    """The subset never heard by training that a table has the accuracy of; None if it has none."""
    named = {name.rpartition("/")[2] for name in metrics}
    return next((one for one in subsets_among(named) if one.unseen and one.metric in named), None)


def _accuracy(name: str, heading: str = "", *, column: bool = False, mean_of: str = "") -> Metric:
    return Metric(name, "maximize", "share", heading=heading, column=column, objective=True, mean_of=mean_of)


def _cost(name: str, unit: str, *, objective: bool = False) -> Metric:
    return Metric(f"cost/{name}", "minimize", unit, per_split=False, digits=0, objective=objective)


#: What is lost from device A to the devices never heard. `gap_of` says which metric other data sets have.
_GAP: Final = Metric("gap_A_to_unseen", "minimize", "share", objective=True, difference_of=("acc_A", "acc_s4-s6"))

#: Every metric; those of Table 1 are in the order of its columns.
METRICS: Final = (
    *(_accuracy(subset.metric, subset.heading, column=True) for subset in SUBSETS),
    Metric("log_loss", "minimize", "nats", heading="log loss", digits=2, column=True, objective=True),
    _accuracy(ALL_CLIPS.metric, "Avg acc.", column=True),
    _accuracy("acc_macro", mean_of="scene_acc_"),
    _accuracy("acc_device_macro", mean_of="device_acc_"),
    _GAP,
    Metric("gap_to_unseen", "minimize", "share", objective=True),
    *(_accuracy(f"device_acc_{device}", device) for device in DEVICES),
    *(_accuracy(f"scene_acc_{scene}", scene) for scene in (*SCENES, *SCENE_GROUPS)),
    Metric("ece", "minimize", "share"),
    Metric("agreement", "maximize", "share", heading="agreement"),
    Metric("validation/temperature", None, "", per_split=False, digits=2),
    Metric("test/calibrated_ece", "minimize", "share", per_split=False),
    Metric("test/calibrated_log_loss", "minimize", "nats", per_split=False, digits=2),
    _cost("parameters", "parameters", objective=True),
    _cost("model_kb", "kB", objective=True),
    _cost("nonzero_kb", "kB", objective=True),
    _cost("stored_kb", "kB"),
    _cost("file_kb", "kB"),
    _cost("macs", "multiply-accumulates", objective=True),
    _cost("torchinfo_macs", "multiply-accumulates", objective=True),
    _cost("latency_ms", "ms", objective=True),
    _cost("trial_seconds", "s"),
    _cost("trained_epochs", "epochs"),
    _cost("clips_seen", "clips"),
    Metric("holdout/acc", "maximize", "share", per_split=False),
    *(Metric(f"holdout/acc_{device}", "maximize", "share", per_split=False, heading=device) for device in DEVICES),
    Metric("epoch/chosen", None, "epoch", per_split=False, digits=0),
)


class _ByName(dict[str, Metric]):
    """Metrics by name without split; those of another data set's devices, classes and subsets are made of the name."""

    def __missing__(self, name: str) -> Metric:
        for start in ("device_acc_", "scene_acc_", "acc_"):
            if name.startswith(start):
                return _accuracy(name, name.removeprefix(start), column=start == "acc_")
        if name.startswith(_HOLDOUT):
            return Metric(name, "maximize", "share", per_split=False, heading=name.removeprefix(_HOLDOUT))
        raise KeyError(name)


#: Name without its split -> metric.
BY_NAME: Final = _ByName({metric.name: metric for metric in METRICS})

#: The columns of Table 1.
COLUMNS: Final = tuple(metric for metric in METRICS if metric.column)


def columns_among(metrics: Iterable[str]) -> tuple[Metric, ...]:
    """The columns of a table like Table 1 for the data sets that it is about, told by its metrics."""
    return (*(BY_NAME[subset.metric] for subset in subsets_among(metrics)), *COLUMNS[len(SUBSETS) :])


def gap_of(taxonomy: Taxonomy) -> Metric | None:
    """What is lost from the reference device to the subset never heard; None if there is not one such subset."""
    if taxonomy.subsets == TAU.subsets:
        return _GAP
    unseen = [subset.metric for subset in subsets_of(taxonomy) if subset.unseen]
    if len(unseen) != 1:
        return None
    return replace(BY_NAME["gap_to_unseen"], difference_of=(f"device_acc_{taxonomy.reference_device}", unseen[0]))


def gap_among(metrics: Iterable[str]) -> Metric | None:
    """The gap that a table has, with both accuracies that it is the difference of; None if it has none."""
    named = set(metrics)
    found = (gap_of(taxonomy) for taxonomy in reversed(known_taxonomies()))
    return next((gap for gap in found if gap and {gap.name, *(gap.difference_of or ())} <= named), None)


#: What systems are chosen by if nothing else is said: three quarters of the validation clips are of device A, and this
#: metric counts each device alike.
DEFAULT_OBJECTIVE: Final = "acc_device_macro"

_BY_FULL_NAME: Final = {name: metric for metric in METRICS for name in (metric.test_name, metric.validation_name)}

#: What a metric's name begins with that is of no split, or of one.
_HOLDOUT: Final = "holdout/acc_"
_SPLITS: Final = ("test/", "validation/")


def find_metric(name: str) -> Metric | None:
    """The metric that MLflow has under a name; None if there is none."""
    if name in _BY_FULL_NAME:
        return _BY_FULL_NAME[name]
    split = next((split for split in _SPLITS if name.startswith(split)), "")
    known = {metric.name: metric for metric in own_accuracies()}
    return known.get(name.removeprefix(split)) if split or name.startswith(_HOLDOUT) else None


def own_accuracies() -> list[Metric]:
    """The accuracies of subsets, devices and classes that are not TAU's, of all data sets that were read."""
    names: dict[str, None] = {}
    for taxonomy in known_taxonomies()[1:]:
        names |= dict.fromkeys(f"acc_{name}" for name, _ in taxonomy.subsets)
        names |= dict.fromkeys(f"scene_acc_{name}" for _, classes in taxonomy.tasks for name in classes)
    for device in known_devices():
        names |= dict.fromkeys((f"device_acc_{device}", f"{_HOLDOUT}{device}"))
    return [BY_NAME[name] for name in names if name not in BY_NAME]


def direction(metric: str) -> Direction:
    """Whether a higher or a lower value of ``metric`` is better, by the name that MLflow has.

    Raises
    ------
    InputError
        If the metric is unknown, or neither is better.
    """
    known = find_metric(metric) or find_metric(metric.removesuffix("_lo").removesuffix("_hi"))
    if known is None or known.direction is None:
        raise InputError(f"metric {shown(metric)} has no declared direction: use a test/, validation/ or cost/ metric")
    return known.direction


def require_objective(metric: str) -> str:
    """The name without its split of a metric that systems can be chosen by, whatever clips there are.

    Parameters
    ----------
    metric
        The name without its split, or as MLflow has it for validation.

    Raises
    ------
    InputError
        If the metric is unknown, or one of the test split.
    """
    from asc_study.base.schema import did_you_mean  # pydantic: the command line starts without it

    known = {entry.name: entry for entry in (*METRICS, *own_accuracies()) if entry.objective and entry.per_split}
    named = {entry.validation_name: name for name, entry in known.items()}
    metric = today(metric)
    name = named.get(metric, metric.removeprefix("validation/"))
    if name.startswith("test/"):
        raise InputError(f"nothing is chosen on the test split, got the objective {shown(metric)}: use {name[5:]!r}")
    if name not in known:
        raise InputError(f"the objective must be a known metric, got {shown(metric)}: {did_you_mean(name, known)}")
    return name
