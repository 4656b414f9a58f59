"""Ensembles: choose members among the systems of a study and fuse them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Final, Literal

import numpy as np
import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, DEFAULT_OBJECTIVE, columns_among
from asc_study.base.taxonomy import label_column
from asc_study.ensemble.budget import select_within
from asc_study.ensemble.candidates import Selection, Step
from asc_study.ensemble.crossfit import Basis, Fitted, Fused, fuse_splits
from asc_study.ensemble.fuse import find_fusion, fusion_settings
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.select import (
    DEFAULT_METHOD,
    FittedSelection,
    SelectionRule,
    prefix_mean,
    require_options,
    select,
)
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.metrics import evaluate, places_of
from asc_study.evaluation.overlap import Overlap, overlap
from asc_study.store.records import RunRecord
from asc_study.store.references import current_rows, find_each
from asc_study.store.tracking import Tracker
from asc_study.systems.deployed import FILE_KB
from asc_study.systems.derived import Identity
from asc_study.systems.members import Member, load_members, require_untouched, stacks, with_same_test_clips

#: What the identity of an ensemble holds for the bound that its method does not know: runs of earlier versions keep it.
_NO_MAX_OVERLAP: Final = 0.8


@dataclass(frozen=True)
class EnsembleOptions:
    """How members are chosen and fused; see `asc_study.ensemble.select.select`."""

    method: str = DEFAULT_METHOD
    metric: str = DEFAULT_OBJECTIVE
    max_members: int = 5
    max_overlap: float | None = None
    fusion: str = "average"

    def __post_init__(self) -> None:
        require_options(self.method, self.metric, self.max_members, self.max_overlap)
        find_fusion(self.fusion)

    def rule(self) -> SelectionRule:
        """The options as a rule to be fitted."""
        options = asdict(self)
        fusion = options.pop("fusion")
        return SelectionRule(partial(select, **options), _fusion_of_members(fusion))


@dataclass(frozen=True)
class BudgetOptions:
    """How members are chosen among quantised networks by a budget, and fused; see `asc_study.ensemble.budget`.

    ``max_kb`` is what the files of the members may have together with those of ``beside``.
    """

    metric: str
    max_members: int
    max_kb: float
    beside: Sequence[RunRecord] = ()
    fusion: str = "average"
    method: Literal["budget"] = "budget"

    def rule(self, members: Sequence[Member]) -> SelectionRule:
        """The options as a rule to be fitted."""
        kilobytes = {member.name: member.record.metrics[FILE_KB] for member in members}
        left = self.max_kb - sum(record.metrics[FILE_KB] for record in self.beside)
        choose = partial(
            select_within, kilobytes=kilobytes, budget=left, metric=self.metric, max_members=self.max_members
        )
        return SelectionRule(choose, _fusion_of_members(self.fusion))


def _fusion_of_members(name: str) -> type[FusionRule] | None:
    """How members are fused; None: by their mean with the weights of the selection."""
    return None if name == "average" else find_fusion(name)


@dataclass(frozen=True)
class Ensemble:
    """A chosen ensemble.

    Attributes
    ----------
    options
        How it was chosen.
    candidates
        What it was chosen from.
    basis
        ``validation``, or ``cross-fitted`` over the locations of test: then ``selection`` is the one on all clips, for
        new data, and the figures are those of selections that did not see the labels of the clips they are for.
    selection
        The members and the path.
    overlap
        Of the candidates, in their order, on the split that decides.
    prefixes
        Test metrics of the mean of the members after each step; empty unless people asked to see them.
    tables
        Predictions of the ensemble by split.
    fusion
        The fitted fusion of the members.
    clips, locations
        How many decided.
    notes
        What people should know.
    """

    options: EnsembleOptions | BudgetOptions
    candidates: Sequence[Member]
    basis: Basis
    selection: Selection
    overlap: Overlap
    prefixes: Sequence[Mapping[str, float]]
    tables: Mapping[str, pd.DataFrame]
    fusion: FusionRule
    clips: int
    locations: int
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def members(self) -> list[Member]:
        """The chosen systems, the first chosen first."""
        by_name = {member.name: member for member in self.candidates}
        return [by_name[name] for name in self.selection.weights()]


def gather_candidates(
    tracker: Tracker, study: str, *, references: Sequence[str] = (), task: str | None = None
) -> tuple[list[Member], list[str]]:
    """The systems that an ensemble of a study can be chosen from: trained and imported ones of one task and data set.

    Parameters
    ----------
    tracker, study
        The store and the study.
    references
        The runs to choose from, instead of all of the study.
    task
        Which, such as ``ten_class`` or ``three_class``; by default that of the scenes if there are such runs.

    Returns
    -------
    (members, notes)
        ``notes`` says what was left out.

    Raises
    ------
    InputError
        If there are fewer than two.
    """
    if references:
        records = [record for found in find_each(tracker, references) for record in found]
        orphans = 0
    else:
        runs = current_rows(tracker, study)
        records, orphans = _candidates(runs.current), len(_candidates(runs.orphans))
    tasks = {record.tags[Tag.TASK] for record in records}
    task = task or min(tasks, key=lambda one: (label_column(one) != "scene", one), default="ten_class")
    of_task = [record for record in records if record.tags[Tag.TASK] == task]
    if references and len(of_task) < len(records):
        others = [record.label for record in records if record.tags[Tag.TASK] != task]
        raise InputError(
            f"members are of one task, {task}, got {', '.join(others)} with --run: leave them out or set --task"
        )
    # The first one logged first; a run that lost its predictions hinders nobody, unless it was named.
    members, broken = load_members(tracker, of_task[::-1], leave_out_broken=not references)
    members, others_count = with_same_test_clips(members)
    if not references:
        members, unvalidated = with_validation(members)
        if unvalidated:
            broken = [*broken, f"no validation predictions: {', '.join(unvalidated)} (name the candidates with --run)"]
    if len(members) < 2:
        raise InputError(
            f"an ensemble is chosen from at least 2 finished {task} systems tested on the same clips, study {study!r} "
            f"has {len(members)}: run or import more, or name runs with --run"
        )
    notes = [f"{others_count} runs were tested on other clips: left out"] if others_count else []
    if orphans:
        notes.append(f"{orphans} orphaned runs (other settings, code or data than the study has now): left out")
    return members, notes + [f"left out: {reason}" for reason in broken]


def with_validation(members: Sequence[Member]) -> tuple[list[Member], list[str]]:
    """The members that have validation predictions, if several have, and the names of the others.

    One without them would make all decide on test.
    """
    validated = [member for member in members if "validation" in member.tables]
    if len(validated) < 2:
        return list(members), []
    return validated, [member.name for member in members if "validation" not in member.tables]


def _candidates(records: Sequence[RunRecord]) -> list[RunRecord]:
    return [r for r in records if r.tags[Tag.KIND] in (Kind.TRAIN, Kind.IMPORTED) and has_test(r)]


def has_test(record: RunRecord) -> bool:
    """Whether a run was tested."""
    return BY_NAME[ALL_CLIPS.metric].test_name in record.metrics


def choose(
    members: Sequence[Member],
    options: EnsembleOptions | BudgetOptions,
    notes: Sequence[str] = (),
    *,
    show_test: bool = False,
) -> Ensemble:
    """Choose an ensemble on validation, or, where there is none, cross-fitted over the locations of test.

    Parameters
    ----------
    members
        The candidates.
    options
        How to choose.
    notes
        What people should know of the candidates.
    show_test
        Whether to measure every step on test. Whoever looks at it and then chooses options has chosen on test, so that
        the run says so.

    Raises
    ------
    InputError
        If an option is wrong, or the systems do not go together.
    """
    samples, found = stacks(members)
    if "validation" not in samples:
        require_untouched(members)
    if not {"validation", "test"} & set(samples):
        raise InputError(
            f"members are chosen on validation or, cross-fitted, on test, got systems with {sorted(samples)} alone: "
            "name the members and fuse them"
        )
    deciding = samples.get("validation", samples.get("test"))
    assert deciding is not None
    rule = options.rule(members) if isinstance(options, BudgetOptions) else options.rule()
    fused = fuse_splits(rule, samples)
    selection = _fitted(fused.fitted).selection
    return Ensemble(
        options=options,
        candidates=members,
        basis=fused.basis,
        selection=selection,
        overlap=overlap(deciding.probabilities, deciding.label),
        prefixes=_prefix_metrics(fused, samples["test"], len(selection.path))
        if show_test and "test" in samples
        else [],
        tables=fused.tables,
        fusion=_fitted(fused.fitted).fusion,
        clips=len(deciding.context),
        locations=len(np.unique(places_of(deciding.context))),
        notes=(*notes, *found),
    )


def _fitted(fitted: Fitted[Stack]) -> FittedSelection:
    assert isinstance(fitted, FittedSelection)
    return fitted


def _prefix_metrics(fused: Fused[Stack], test: Stack, steps: int) -> list[dict[str, float]]:
    """Test metrics of the mean after each step; cross-fitted, each fold's clips follow the path of the other folds."""
    metrics = []
    for count in range(1, steps + 1):
        mean = np.empty(test.probabilities.shape[1:])
        for rows, part in fused.test_parts:
            mean[rows] = prefix_mean(_fitted(part).selection, count).combine(test.take(rows))
        table = pd.concat([test.context, pd.DataFrame(mean, columns=list(test.classes))], axis=1)
        metrics.append(evaluate(table, intervals=False))
    return metrics


def ensemble_identity(options: EnsembleOptions | BudgetOptions, candidates: Sequence[RunRecord]) -> Identity:
    """What makes an ensemble the same: the options and the candidates, in any order."""
    if isinstance(options, BudgetOptions):
        settings = asdict(replace(options, beside=())) | {"beside": len(options.beside)}
        return Identity(Kind.ENSEMBLE, settings | fusion_settings(options.fusion), [*candidates, *options.beside])
    settings = asdict(options)
    if options.method != "overlap" and options.max_overlap is None:
        settings["max_overlap"] = _NO_MAX_OVERLAP
    return Identity(Kind.ENSEMBLE, settings | fusion_settings(options.fusion), candidates, ordered=False)


def steps_of(ensemble: Ensemble) -> list[tuple[Step, Mapping[str, float]]]:
    """The steps of the path, each with its test metrics, if they are shown."""
    prefixes = ensemble.prefixes or [{}] * len(ensemble.selection.path)
    return list(zip(ensemble.selection.path, prefixes, strict=True))


def path_frame(ensemble: Ensemble) -> pd.DataFrame:
    """The path as a table: the fields of a step and, if they are shown, its test metrics in the columns of Table 1."""
    rows = []
    for step, metrics in steps_of(ensemble):
        known = {
            column.name: metrics[column.test_name] for column in columns_among(metrics) if column.test_name in metrics
        }
        rows.append(asdict(step) | {f"test_{name}": value for name, value in known.items()})
    return pd.DataFrame(rows).astype({"low": float, "high": float})
