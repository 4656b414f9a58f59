"""Fusions of named systems: several of one task, or ten-class and three-class ones in two stages (section 2.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pandas as pd

from asc_study.base.contract import Kind
from asc_study.base.errors import InputError, shown
from asc_study.base.metric_table import DEFAULT_OBJECTIVE, full_name
from asc_study.base.schema import did_you_mean
from asc_study.base.taxonomy import known_devices
from asc_study.ensemble.by_device import BY_DEVICE, RouteRule
from asc_study.ensemble.crossfit import Basis, Fused, fuse_splits
from asc_study.ensemble.fuse import find_fusion, fusion_settings
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.stack import Stack, pair
from asc_study.ensemble.two_stage import FittedTwoStage, TwoStage
from asc_study.evaluation.measure import measure
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.paired import paired_differences
from asc_study.store.records import RunRecord
from asc_study.store.references import find_each
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Identity
from asc_study.systems.members import Member, basis_of, load_members, require_untouched, stacks

#: From what has seen most to what has seen least.
_BASES: Final[tuple[Basis, ...]] = ("cross-fitted", "validation", "fixed")


@dataclass(frozen=True)
class FusionOptions:
    """How systems are fused.

    Attributes
    ----------
    fusion
        How systems of one task become one, see `asc_study.ensemble.fuse.FUSIONS`.
    join
        How the two stages are joined: ``product`` or ``learned``.
    exponent
        Of the coarse score in the product, at least 0; None: fitted.
    devices
        Of a system by device (``fusion`` is `BY_DEVICE`): device -> place of its system, of which the first is general.
    """

    fusion: str = "average"
    join: Literal["product", "learned"] = "product"
    exponent: float | None = 1.0
    devices: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.exponent is not None and not 0 <= self.exponent <= 100:
            raise InputError(f"--exponent must be in [0, 100] or fit, got {self.exponent:g}: 1 is the paper's")


@dataclass(frozen=True)
class Fusion:
    """A fusion: its parts by name with their metrics, what came out, and what it is measured against.

    ``change`` is the difference of each metric of test to that of the part in ``against``: the best one, chosen on
    validation by `DEFAULT_OBJECTIVE`, or on test (which is harder on the fusion) where a part has no validation; of a
    system by device the general one. Those
    of the columns of Table 1 have ``<metric>_lo`` and ``_hi``, the interval of the paired difference.
    """

    options: FusionOptions
    fine: Sequence[Member]
    coarse: Sequence[Member]
    basis: Basis
    parts: Mapping[str, Mapping[str, float]]
    tables: Mapping[str, pd.DataFrame]
    metrics: Mapping[str, float]
    change: Mapping[str, float]
    against: str
    learns: bool
    fitted: FusionRule | FittedTwoStage
    notes: Sequence[str]

    @property
    def system(self) -> str:
        """What it is in a few words."""
        if self.options.devices:
            return f"by device of {len(self.fine)}"
        kind = (
            f"two-stage {len(self.fine)}+{len(self.coarse)}"
            if self.coarse
            else f"{self.options.fusion} of {len(self.fine)}"
        )
        return kind + (", cross-fitted" if self.basis == "cross-fitted" else "")


def fuse_runs(
    tracker: Tracker, fine: Sequence[str], coarse: Sequence[str], *, fusion: str, join: str, exponent: str
) -> Fusion:
    """Fuse runs by name; the options are those of the command line.

    Raises
    ------
    InputError
        If a name stands for nothing, an option is wrong, or the systems do not go together.
    """
    options = FusionOptions(fusion, parse_join(join), parse_exponent(exponent))
    find_fusion(fusion)
    if not coarse and options != FusionOptions(fusion):
        raise InputError(
            f"--join and --exponent are for two stages, got {join} and {exponent} without --coarse: leave them out, or "
            "name three-class runs"
        )
    found = find_each(tracker, [*fine, *coarse])
    members, _ = load_members(tracker, [record for records in found for record in records])
    count = sum(map(len, found[: len(fine)]))
    return fuse(members[:count], members[count:], options)


def route_runs(tracker: Tracker, general: str, devices: Sequence[str]) -> Fusion:
    """Make a system by device of runs by name; the options are those of the command line.

    Parameters
    ----------
    tracker
        The store.
    general
        The run that hears devices without one of their own.
    devices
        ``DEVICE=RUN`` each.

    Raises
    ------
    InputError
        If a name stands for nothing or for several runs, a device is unknown or named twice, or the runs do not go
        together.
    """
    runs: dict[str, str] = {}
    for text in devices:
        device, _, run = text.partition("=")
        if not device or not run or device in runs:
            raise InputError(f"--device must be DEVICE=RUN, once for each device, got {shown(text)}: a=STUDY/ROW@SEED")
        runs[device] = run
    names = list(dict.fromkeys([general, *runs.values()]))
    found = find_each(tracker, names)
    for name, records in zip(names, found, strict=True):
        if len(records) > 1:
            raise InputError(
                f"a device is heard by one run, got {len(records)} of {shown(name)}: name one seed, {name}@0, or an "
                "ensemble of them"
            )
    members, _ = load_members(tracker, [record for records in found for record in records])
    for device, run in runs.items():  # of which data sets devices are known, the runs have told now
        if device not in known_devices():
            raise InputError(f"unknown device {shown(device)}: {did_you_mean(device, [*known_devices()])}")
        if run == general:
            raise InputError(f"--device {device} is heard by {shown(run)} anyway, as --general: leave it out")
    routes = {device: names.index(run) for device, run in sorted(runs.items())}
    return fuse(members, [], FusionOptions(BY_DEVICE, devices=routes))


def parse_join(text: str) -> Literal["product", "learned"]:
    """``product`` or ``learned``.

    Raises
    ------
    InputError
        If it is neither.
    """
    if text == "product":
        return "product"
    if text == "learned":
        return "learned"
    raise InputError(f"the join of two stages must be product or learned, got {text!r}: product is the paper's")


def parse_exponent(value: str | float) -> float | None:
    """A number, or None for ``fit``.

    Raises
    ------
    InputError
        If it is neither.
    """
    if value == "fit":
        return None
    try:
        return float(value)
    except ValueError:
        raise InputError(f"--exponent must be a number or fit, got {value!r}: 1 is the paper's") from None


def fuse(fine: Sequence[Member], coarse: Sequence[Member], options: FusionOptions) -> Fusion:
    """Fuse systems of one task, or, with ``coarse``, of both; or take of each clip that of its device.

    What learns is fitted on validation, or cross-fitted over the locations of test where there is no validation.

    Raises
    ------
    InputError
        If the systems do not go together or an option is unknown.
    """
    if options.devices:
        samples, notes = stacks(fine)
        return _measured(fine, coarse, options, fuse_splits(RouteRule(options.devices), samples), {}, notes)
    rule = find_fusion(options.fusion)
    if coarse:
        shared, notes = two_stage_stacks(fine, coarse)
        pairs = {split: pair(*both) for split, both in shared.items()}
        first, second = ({s: p.fine for s, p in pairs.items()}, {s: p.coarse for s, p in pairs.items()})
        two_stage = TwoStage(rule, rule, options.join, options.exponent)
        if two_stage.learns and "validation" not in pairs:
            require_untouched([*fine, *coarse])
        fused: Fused[Any] = fuse_splits(two_stage, pairs)
        stages = {
            _stage(fine, "fine", options): fuse_splits(rule, first),
            _stage(coarse, "coarse", options): fuse_splits(rule, second),
        }
    else:
        if len(fine) < 2:
            raise InputError(f"a fusion takes at least 2 runs, got {len(fine)}: name more, or add --coarse runs")
        samples, notes = stacks(fine)
        if rule.learns and "validation" not in samples:
            require_untouched(fine)
        fused = fuse_splits(rule, samples)
        stages = {}
    return _measured(fine, coarse, options, fused, stages, notes)


def two_stage_stacks(
    fine: Sequence[Member], coarse: Sequence[Member]
) -> tuple[dict[str, tuple[Stack, Stack]], list[str]]:
    """Fine and coarse systems by split; validation clips are those common to all."""
    first, notes = stacks(fine)
    second, more = stacks(coarse)
    shared = {split: (first[split], second[split]) for split in first if split in second}
    if "validation" in shared:
        one, other = shared["validation"]
        common = set(one.context["clip_id"]) & set(other.context["clip_id"])
        if common:
            keep = tuple(part.take(part.context["clip_id"].isin(common).to_numpy()) for part in (one, other))
            shared["validation"] = (keep[0], keep[1])
        else:
            del shared["validation"]
            more = [*more, "no validation clip is common to both stages: it is not used"]
    if not shared:
        raise InputError(
            f"the two stages must share a split, got {sorted(first)} (fine) and {sorted(second)} (coarse): name others"
        )
    return shared, [*notes, *more]


def _stage(members: Sequence[Member], name: str, options: FusionOptions) -> str:
    what = f"{options.fusion} of {len(members)}" if len(members) > 1 else members[0].name
    return f"{name}: {what}" + (" (3 classes)" if name == "coarse" else "")


def _measured(
    fine: Sequence[Member],
    coarse: Sequence[Member],
    options: FusionOptions,
    fused: Fused[Any],
    stages: Mapping[str, Fused[Stack]],
    notes: Sequence[str],
) -> Fusion:
    parts: dict[str, Mapping[str, float]] = {}
    for group in (fine, coarse):
        if len(group) > 1 or not coarse:
            parts |= {member.name: _test_metrics(member.tables) for member in group}
    parts |= {name: _test_metrics(stage.tables) for name, stage in stages.items()}
    tables = dict(fused.tables)
    if fused.basis == "validation" and any(basis_of(member.record) != "fixed" for member in (*fine, *coarse)):
        # Its parts have seen labels of other locations there; a rule fitted on them brings these back.
        tables.pop("validation", None)
    metrics = measure(tables)
    single = {member.name: member.tables for member in fine}
    of_stages = {name: stage.tables for name, stage in stages.items() if name.startswith("fine: ")}
    if options.devices:
        best = fine[0].name
        against = f"{best}, which hears devices without a model of their own"
    else:
        best, split = _best_part({name: known for name, known in (single | of_stages).items() if name in parts})
        against = f"{best}, the best part on {split}"
    change = _change((single | of_stages)[best], tables, metrics, parts[best])
    bases = {fused.basis, *(basis_of(member.record) for member in (*fine, *coarse))}
    basis: Basis = next(found for found in _BASES if found in bases)
    touched = [member.name for member in (*fine, *coarse) if basis_of(member.record) == "cross-fitted"]
    learns = fused.basis != "fixed"
    assert isinstance(fused.fitted, FusionRule | FittedTwoStage)
    notes = [*notes, f"cross-fitted parts: {', '.join(touched)}"] if touched else notes
    return Fusion(options, fine, coarse, basis, parts, tables, metrics, change, against, learns, fused.fitted, notes)


def _best_part(parts: Mapping[str, Mapping[str, pd.DataFrame]]) -> tuple[str, str]:
    """The part that is best by the default objective, and the split that says so; clips common to all parts count."""
    for split in ("validation", "test"):
        tables = {name: known[split] for name, known in parts.items() if split in known}
        common = set.intersection(*(set(table["clip_id"]) for table in tables.values())) if tables else set()
        if len(tables) == len(parts) and common:
            name = full_name(DEFAULT_OBJECTIVE, split)
            known = {part: table[table["clip_id"].isin(common)] for part, table in tables.items()}
            scores = {part: evaluate(table, intervals=False)[name] for part, table in known.items()}
            return max(scores, key=lambda part: scores[part]), split
    return next(iter(parts)), "no labelled split"


def _change(
    before: Mapping[str, pd.DataFrame],
    after: Mapping[str, pd.DataFrame],
    metrics: Mapping[str, float],
    known: Mapping[str, float],
) -> dict[str, float]:
    change = {name: metrics[name] - value for name, value in known.items() if name in metrics}
    if "test" in before and "test" in after:
        for name, found in paired_differences(before["test"], after["test"]).items():
            if found.low is not None and found.high is not None:
                change |= {f"{full_name(name, 'test')}_lo": found.low, f"{full_name(name, 'test')}_hi": found.high}
    return change


def _test_metrics(tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    return evaluate(tables["test"], intervals=False) if "test" in tables else {}


def fusion_identity(options: FusionOptions, fine: Sequence[RunRecord], coarse: Sequence[RunRecord]) -> Identity:
    """What makes a fusion the same: the options that count and its parts."""
    settings: dict[str, Any]
    if options.devices:
        settings = {"fusion": BY_DEVICE, "fine": len(fine), "devices": dict(options.devices)}
        return Identity(Kind.FUSION, settings, fine)
    settings = {**fusion_settings(options.fusion), "fine": len(fine)}
    if coarse:
        settings |= {"coarse": len(coarse), "join": options.join}
        if options.join == "product":
            settings["exponent"] = "fit" if options.exponent is None else options.exponent
    return Identity(Kind.FUSION, settings, [*fine, *coarse])
