"""Which systems to combine: members are added one by one, and every step is kept as the selection's path.

A system is worth adding if it is good and errs elsewhere than the others (section 5.3: FCNN and fsFCNN of equal
accuracy decide differently on over 20 % of the clips). What counts is the overlap of errors: a system overlaps least in
its decisions if it is wrong most often. All methods decide on the clips that they are given and average the members'
probabilities while they do; `SelectionRule` makes a `Rule` of them, which is fitted on validation or cross-fitted.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from asc_study.base.errors import InputError
from asc_study.base.metric_table import DEFAULT_OBJECTIVE, require_objective
from asc_study.base.schema import did_you_mean
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.candidates import EQUAL, CandidatePool, Selection, rank
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.rules.weighted import Weighted
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.objective import objective

#: How members are chosen unless people say otherwise.
DEFAULT_METHOD: Final = "overlap"

#: More candidates have too many subsets to try.
MOST_CANDIDATES_FOR_EXHAUSTIVE: Final = 16

#: Draws of Caruana's selection with replacement; the best number of them is kept.
CARUANA_DRAWS: Final = 25

#: The members that a method chose, by number, and why it ended.
_Chosen = tuple[list[int], str]


def _greedy(pool: CandidatePool, max_members: int, _: float | None) -> _Chosen:
    """Add what raises the objective of the mean most, until nothing does.

    On few clips accuracies come in steps; a member that keeps the objective and lowers the log loss is added too.
    """
    names = pool.sample.names
    members: list[int] = []
    total = pool.nothing
    reached, loss = -np.inf, np.inf
    while len(members) < min(max_members, len(names)):
        scores, losses = pool.scores(total, len(members)), pool.losses(total, len(members))
        rest = [i for i in range(len(names)) if i not in members]
        best = pool.best(scores, members, rest)
        if scores[best] <= reached + EQUAL:
            equal = [i for i in rest if scores[i] >= reached - EQUAL and losses[i] < loss - EQUAL]
            if not equal:
                would = pool.shown(float(scores[best]))
                return members, f"no other member helps: the best, {names[best]}, would give {would:.4f}"
            best = pool.best(scores, members, equal)
        members.append(best)
        total, reached, loss = total + pool.sample.probabilities[best], scores[best], losses[best]
    return members, _full(max_members, len(names))


def _overlap(pool: CandidatePool, max_members: int, max_overlap: float | None) -> _Chosen:
    """Keep the best system; of those that help, add the one that is wrong least often together with a member.

    A candidate helps if it lowers the log loss of the mean (at the best temperature of each), and does not lower the
    objective by more than noise against the best step so far, so that small losses do not add up. One that is worse
    than the best system by more than noise must raise the objective: log loss falls by a weak one's doubts, too.
    """
    if max_overlap is not None:
        return _under(pool, max_members, max_overlap)
    count = len(pool.single)
    own = [pool.calibrated_loss(system) for system in pool.sample.probabilities]
    members = [min(range(count), key=lambda i: (-rank(float(pool.single[i])), own[i], i))]
    reached, loss = pool.single_parts[members[0]], own[members[0]]
    weak = [pool.is_worse(parts - reached) for parts in pool.single_parts]
    while len(members) < min(max_members, count):
        wrong, alike = pool.both_wrong(members), pool.mean_overlap(members)
        rest = [i for i in range(count) if i not in members]
        for candidate in sorted(rest, key=lambda i: (rank(float(wrong[i])), alike[i], own[i], i)):
            fused = pool.mean([*members, candidate])
            parts, fused_loss = pool.parts(fused), pool.calibrated_loss(fused)
            raised = float((parts - reached).sum()) > EQUAL
            if fused_loss < loss - EQUAL and (raised or not (weak[candidate] or pool.is_worse(parts - reached))):
                break
        else:
            return members, (
                f"none of the other {len(rest)} helps: they do not lower the log loss, or cost the objective more than "
                "noise, or are weak and do not raise it"
            )
        members.append(candidate)
        reached, loss = parts if raised else reached, fused_loss
    return members, _full(max_members, count)


def _under(pool: CandidatePool, max_members: int, max_overlap: float) -> _Chosen:
    """Keep the best system; add the next best whose overlap with every member stays under ``max_overlap``."""
    members: list[int] = []
    lowest = np.inf
    for candidate in sorted(range(len(pool.single)), key=lambda i: (-rank(float(pool.single[i])), i)):
        if len(members) == max_members:
            return members, _full(max_members, len(pool.single))
        highest = max((pool.agreement[candidate, member] for member in members), default=0.0)
        if highest < max_overlap:
            members.append(candidate)
        else:
            lowest = min(lowest, highest)
    if np.isfinite(lowest):
        ended = f"every other candidate overlaps with a member by {max_overlap:g} or more, by {lowest:.3f} at least"
        return members, ended
    return members, _full(max_members, len(pool.single))


def _exhaustive(pool: CandidatePool, max_members: int, _: float | None) -> _Chosen:
    """Try every subset; of equal ones the one of the lowest mean overlap, then the smallest."""
    count = len(pool.single)
    if count > MOST_CANDIDATES_FOR_EXHAUSTIVE:
        raise InputError(
            f"the exhaustive method takes at most {MOST_CANDIDATES_FOR_EXHAUSTIVE} candidates, got {count}: name fewer "
            "with --run, or use overlap"
        )
    # Subsets that differ in their last member are scored at once.
    best: tuple[int, ...] = ()
    best_order = (np.inf, np.inf, np.inf)
    for size in range(1, min(max_members, count) + 1):
        for head in itertools.combinations(range(count), size - 1):
            first = head[-1] + 1 if head else 0
            scores = pool.scores(pool.sample.probabilities[list(head)].sum(axis=0), len(head), first)
            within = pool.agreement[np.ix_(head, head)].sum() - len(head)
            for candidate in range(first, count):
                pairs = size * (size - 1)
                alike = (within + 2 * pool.agreement[candidate, list(head)].sum()) / pairs if pairs else 0.0
                order = (-rank(float(scores[candidate - first])), round(float(alike), 12), size)
                if order < best_order:
                    best_order, best = order, (*head, candidate)
    return sorted(best, key=lambda i: (-rank(float(pool.single[i])), i)), "the best of all subsets"


def _caruana(pool: CandidatePool, max_members: int, _: float | None) -> _Chosen:
    """Draw with replacement (Caruana et al. 2004): a member drawn more often weighs more."""
    members: list[int] = []
    total = pool.nothing
    reached: list[int] = []
    for _ in range(CARUANA_DRAWS):
        scores = pool.scores(total, len(members))
        distinct = sorted(set(members))
        allowed = distinct if len(distinct) == max_members else list(range(len(scores)))
        best = pool.best(scores, distinct, allowed)
        reached.append(rank(float(scores[best])))
        members.append(best)
        total = total + pool.sample.probabilities[best]
    kept = int(np.argmax(reached)) + 1  # the first of the best
    return members[:kept], f"the best of the first {CARUANA_DRAWS} draws with replacement"


def _full(max_members: int, count: int) -> str:
    return f"{max_members} members" if max_members < count else "no candidate is left"


#: Name of a method, as users write it -> the method.
METHODS: Final[Mapping[str, Callable[[CandidatePool, int, float | None], _Chosen]]] = MappingProxyType(
    {"overlap": _overlap, "greedy": _greedy, "exhaustive": _exhaustive, "caruana": _caruana}
)


def select(
    sample: Stack,
    *,
    method: str = DEFAULT_METHOD,
    metric: str = DEFAULT_OBJECTIVE,
    max_members: int = 5,
    max_overlap: float | None = None,
) -> Selection:
    """Choose members among the systems of ``sample``, by its labels.

    Parameters
    ----------
    sample
        The candidates' outputs on the clips that decide; never those of the test split, unless cross-fitted.
    method
        One of `METHODS`: ``overlap`` keeps the best system and adds, of those that lower the log loss and cost the
        objective no more than noise, the one that is wrong least often together with a member; ``greedy`` maximises the
        objective of the mean, on ties takes the lower overlap, and stops when nothing raises it, nor keeps it and
        lowers the log loss; ``exhaustive`` tries all subsets of up to 16 candidates; ``caruana`` draws with
        replacement.
    metric
        The objective, see `asc_study.evaluation.objective.objective`.
    max_members
        At least 1, different systems.
    max_overlap
        In (0, 1], for ``overlap``, which with it adds the next best system whose overlap of decisions with every member
        stays below, whether that helps or not.

    Raises
    ------
    InputError
        If an option is unknown or out of range, or there are too many candidates.
    """
    require_options(method, metric, max_members, max_overlap)
    sample = sample.only(sorted(sample.names))
    pool = CandidatePool(sample, objective(metric, sample.context, sample.classes))
    return pool.selection(*METHODS[method](pool, max_members, max_overlap))


def require_options(method: str, metric: str, max_members: int, max_overlap: float | None) -> None:
    """Raise `InputError` if an option of `select` is unknown or out of range."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: {did_you_mean(method, list(METHODS))}")
    require_objective(metric)
    if max_members < 1:
        raise InputError(f"--max-members must be at least 1, got {max_members}: raise it")
    if max_overlap is not None and not 0 < max_overlap <= 1:
        raise InputError(f"--max-overlap must be in (0, 1], got {max_overlap}: 0.8 keeps what differs on 20 % of clips")


@dataclass(frozen=True)
class FittedSelection:
    """A fitted `SelectionRule`: the path, and the fitted fusion of the members."""

    selection: Selection
    fusion: FusionRule

    @property
    def learned(self) -> Mapping[str, Any]:
        """What the fusion learned; the members are its systems."""
        return self.fusion.learned

    def combine(self, sample: Stack) -> Probabilities:
        """Fuse the members among the systems of a stack, (n, c)."""
        return self.fusion.combine(sample)

    def to_dict(self) -> dict[str, Any]:
        """The fusion of the members: the path is of no use to new clips."""
        return self.fusion.to_dict()


@dataclass(frozen=True)
class SelectionRule:
    """Select members, then fuse them: by the mean with the weights of the selection, or by a rule of their own.

    Attributes
    ----------
    choose
        Selects on labelled clips: `select`, or `asc_study.ensemble.budget.select_within`, with their options.
    fusion
        How the members are fused; None: by their mean.
    """

    choose: Callable[[Stack], Selection]
    fusion: type[FusionRule] | None = None
    learns: bool = True

    @property
    def by_class(self) -> bool:
        """Whether the fusion learns something of each class."""
        return self.fusion is not None and self.fusion.by_class

    def fit(self, sample: Stack) -> FittedSelection:
        """Select on the labelled clips of ``sample``, and fit the fusion of the members on them too."""
        selection = self.choose(sample)
        if self.fusion is None:
            return FittedSelection(selection, prefix_mean(selection))
        return FittedSelection(selection, self.fusion.fit(sample.only(list(selection.weights()))))


def prefix_mean(selection: Selection, steps: int | None = None) -> Weighted:
    """The weighted mean of the members after the first ``steps`` steps of the path (all by default)."""
    weights = selection.weights(steps)
    return Weighted(tuple(weights), tuple(weights.values()))
