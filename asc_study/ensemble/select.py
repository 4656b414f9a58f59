"""Which systems to combine: members are added one by one, and every step is kept as the selection's path.

A system is worth adding if it is good and errs elsewhere than the others (section 5.3: FCNN and fsFCNN of equal
accuracy decide differently on over 20 % of the clips). All methods decide on the clips that they are given and average
the members' probabilities while they do; `SelectionRule` makes a `Rule` of them, which is fitted on validation or
cross-fitted.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.errors import InputError
from asc_study.base.metric_table import DEFAULT_OBJECTIVE, require_objective
from asc_study.base.schema import did_you_mean
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.rules.weighted import Weighted
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.objective import Objective, objective
from asc_study.evaluation.overlap import overlap

#: More candidates have too many subsets to try.
MOST_CANDIDATES_FOR_EXHAUSTIVE: Final = 16

#: Draws of Caruana's selection with replacement; the best number of them is kept.
CARUANA_DRAWS: Final = 25

#: Scores nearer than this are equal: sums of shares round.
_EQUAL: Final = 1e-9

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """One step of a selection's path.

    Attributes
    ----------
    added
        The system that is added.
    score
        The objective of the mean of all members so far.
    overlap
        Mean share of equal decisions of the added system and the members before it (NaN for the first).
    """

    added: str
    score: float
    overlap: float


@dataclass(frozen=True)
class Selection:
    """What a method chose: the path (a member twice if it counts twice) and why it ended there."""

    path: tuple[Step, ...]
    ended: str

    def weights(self, steps: int | None = None) -> dict[str, float]:
        """Weight of each member after the first ``steps`` steps (all by default); they sum to 1."""
        counted = Counter(step.added for step in self.path[:steps])
        return {name: count / counted.total() for name, count in counted.items()}


class _Search:
    """The candidates as a method sees them; the better of two equal ones is the first by name."""

    def __init__(self, sample: Stack, measure: Objective) -> None:
        self.sample, self._measure = sample, measure
        self._log_loss = objective("log_loss", sample.context, sample.classes)
        self.agreement = overlap(sample.probabilities, sample.label).decisions
        self.single = self.scores(np.zeros(sample.probabilities.shape[1:]), 0)

    def scores(self, total: Probabilities, count: int, first: int = 0) -> Shares:
        """The signed objective (higher is better) when a candidate joins ``count`` members of the sum ``total``.

        One value for each candidate from the number ``first`` on.
        """
        fused = (total + self.sample.probabilities[first:]) / (count + 1)
        return self._measure.sign * self._measure(fused, self.sample.label)

    def losses(self, total: Probabilities, count: int) -> Shares:
        """The log loss when each candidate joins ``count`` members of the sum ``total``."""
        return self._log_loss((total + self.sample.probabilities) / (count + 1), self.sample.label)

    def best(self, scores: Shares, members: Sequence[int], allowed: Sequence[int]) -> int:
        """The allowed candidate of the best score; of equal ones, the one that overlaps least with the members."""
        ties = self.mean_overlap(members)
        order = sorted(allowed, key=lambda i: (-_rank(float(scores[i])), ties[i], self.sample.names[i]))
        return order[0]

    def mean_overlap(self, members: Sequence[int]) -> Shares:
        """Mean overlap of each candidate with the members; 0 without members."""
        if not members:
            return np.zeros(len(self.agreement))
        mean: Shares = self.agreement[:, list(members)].mean(axis=1)
        return mean

    def step(self, candidate: int, members: Sequence[int], score: float) -> Step:
        """A step of the path; ``score`` is signed."""
        alike = float(self.mean_overlap(members)[candidate]) if members else float("nan")
        return Step(self.sample.names[candidate], self._measure.sign * score, alike)

    def path(self, members: Sequence[int]) -> tuple[Step, ...]:
        """The path of members in the given order."""
        steps, total = [], np.zeros(self.sample.probabilities.shape[1:])
        for count, member in enumerate(members):
            steps.append(self.step(member, members[:count], float(self.scores(total, count)[member])))
            total += self.sample.probabilities[member]
        return tuple(steps)


def _greedy(search: _Search, max_members: int, _: float) -> Selection:
    """Add what raises the objective of the mean most, until nothing does.

    On few clips accuracies come in steps; a member that keeps the objective and lowers the log loss is added too.
    """
    names = search.sample.names
    members: list[int] = []
    steps: list[Step] = []
    total = np.zeros(search.sample.probabilities.shape[1:])
    reached, loss = -np.inf, np.inf
    while len(members) < min(max_members, len(names)):
        scores, losses = search.scores(total, len(members)), search.losses(total, len(members))
        rest = [i for i in range(len(names)) if i not in members]
        best = search.best(scores, members, rest)
        if scores[best] <= reached + _EQUAL:
            equal = [i for i in rest if scores[i] >= reached - _EQUAL and losses[i] < loss - _EQUAL]
            if not equal:
                would = search.step(best, members, float(scores[best])).score
                return Selection(
                    tuple(steps), f"no other member helps: the best, {names[best]}, would give {would:.4f}"
                )
            best = search.best(scores, members, equal)
        steps.append(search.step(best, members, float(scores[best])))
        members.append(best)
        total, reached, loss = total + search.sample.probabilities[best], scores[best], losses[best]
    return Selection(tuple(steps), _full(max_members, len(names)))


def _overlap(search: _Search, max_members: int, max_overlap: float) -> Selection:
    """Keep the best system; add the next best whose overlap with every member stays under ``max_overlap``."""
    members: list[int] = []
    lowest = np.inf
    for candidate in sorted(range(len(search.single)), key=lambda i: (-_rank(float(search.single[i])), i)):
        if len(members) == max_members:
            return Selection(search.path(members), _full(max_members, len(search.single)))
        highest = max((search.agreement[candidate, member] for member in members), default=0.0)
        if highest < max_overlap:
            members.append(candidate)
        else:
            lowest = min(lowest, highest)
    if np.isfinite(lowest):
        ended = f"every other candidate overlaps with a member by {max_overlap:g} or more, by {lowest:.3f} at least"
        return Selection(search.path(members), ended)
    return Selection(search.path(members), _full(max_members, len(search.single)))


def _exhaustive(search: _Search, max_members: int, _: float) -> Selection:
    """Try every subset; of equal ones the one of the lowest mean overlap, then the smallest."""
    count = len(search.single)
    if count > MOST_CANDIDATES_FOR_EXHAUSTIVE:
        raise InputError(
            f"the exhaustive method takes at most {MOST_CANDIDATES_FOR_EXHAUSTIVE} candidates, got {count}: name fewer "
            "with --run, or use greedy"
        )
    # Subsets that differ in their last member are scored at once.
    best: tuple[int, ...] = ()
    best_rank = (np.inf, np.inf, np.inf)
    for size in range(1, min(max_members, count) + 1):
        for head in itertools.combinations(range(count), size - 1):
            first = head[-1] + 1 if head else 0
            scores = search.scores(search.sample.probabilities[list(head)].sum(axis=0), len(head), first)
            within = search.agreement[np.ix_(head, head)].sum() - len(head)
            for candidate in range(first, count):
                pairs = size * (size - 1)
                alike = (within + 2 * search.agreement[candidate, list(head)].sum()) / pairs if pairs else 0.0
                rank = (-_rank(float(scores[candidate - first])), round(float(alike), 12), size)
                if rank < best_rank:
                    best_rank, best = rank, (*head, candidate)
    members = sorted(best, key=lambda i: (-_rank(float(search.single[i])), i))
    return Selection(search.path(members), "the best of all subsets")


def _caruana(search: _Search, max_members: int, _: float) -> Selection:
    """Draw with replacement (Caruana et al. 2004): a member drawn more often weighs more."""
    members: list[int] = []
    steps: list[Step] = []
    total = np.zeros(search.sample.probabilities.shape[1:])
    reached: list[int] = []
    for _ in range(CARUANA_DRAWS):
        scores = search.scores(total, len(members))
        distinct = sorted(set(members))
        allowed = distinct if len(distinct) == max_members else list(range(len(scores)))
        best = search.best(scores, distinct, allowed)
        steps.append(search.step(best, distinct, float(scores[best])))
        reached.append(_rank(float(scores[best])))
        members.append(best)
        total += search.sample.probabilities[best]
    kept = int(np.argmax(reached)) + 1  # the first of the best
    return Selection(tuple(steps[:kept]), f"the best of the first {CARUANA_DRAWS} draws with replacement")


def _rank(score: float) -> int:
    """A score as a number in which equal scores are equal."""
    return round(score / _EQUAL)


def _full(max_members: int, count: int) -> str:
    return f"{max_members} members" if max_members < count else "no candidate is left"


#: Name of a method, as users write it -> the method.
METHODS: Final[Mapping[str, Callable[[_Search, int, float], Selection]]] = MappingProxyType(
    {"greedy": _greedy, "overlap": _overlap, "exhaustive": _exhaustive, "caruana": _caruana}
)


def select(
    sample: Stack,
    *,
    method: str = "greedy",
    metric: str = DEFAULT_OBJECTIVE,
    max_members: int = 5,
    max_overlap: float = 0.8,
) -> Selection:
    """Choose members among the systems of ``sample``, by its labels.

    Parameters
    ----------
    sample
        The candidates' outputs on the clips that decide; never those of the test split, unless cross-fitted.
    method
        One of `METHODS`: ``greedy`` maximises the objective of the mean, on ties takes the lower overlap, and stops
        when nothing raises it, nor keeps it and lowers the log loss; ``overlap`` keeps the best system and adds the
        next best whose overlap with every member stays under ``max_overlap``; ``exhaustive`` tries all subsets of up to
        16 candidates; ``caruana`` draws with replacement.
    metric
        The objective, see `asc_study.evaluation.objective.objective`.
    max_members
        At least 1, different systems.
    max_overlap
        In (0, 1], for ``overlap``.

    Raises
    ------
    InputError
        If an option is unknown or out of range, or there are too many candidates.
    """
    require_options(method, metric, max_members, max_overlap)
    sample = sample.only(sorted(sample.names))
    search = _Search(sample, objective(metric, sample.context, sample.classes))
    return METHODS[method](search, max_members, max_overlap)


def require_options(method: str, metric: str, max_members: int, max_overlap: float) -> None:
    """Raise `InputError` if an option of `select` is unknown or out of range."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: {did_you_mean(method, list(METHODS))}")
    require_objective(metric)
    if max_members < 1:
        raise InputError(f"--max-members must be at least 1, got {max_members}: raise it")
    if not 0 < max_overlap <= 1:
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
    """Select members, then fuse them: by the mean with the weights of the selection, or by a rule of their own."""

    options: Mapping[str, Any]
    fusion: type[FusionRule] | None = None
    learns: bool = True

    @property
    def by_class(self) -> bool:
        """Whether the fusion learns something of each class."""
        return self.fusion is not None and self.fusion.by_class

    def fit(self, sample: Stack) -> FittedSelection:
        """Select on the labelled clips of ``sample``, and fit the fusion of the members on them too."""
        selection = select(sample, **self.options)
        if self.fusion is None:
            return FittedSelection(selection, prefix_mean(selection))
        return FittedSelection(selection, self.fusion.fit(sample.only(list(selection.weights()))))


def prefix_mean(selection: Selection, steps: int | None = None) -> Weighted:
    """The weighted mean of the members after the first ``steps`` steps of the path (all by default)."""
    weights = selection.weights(steps)
    return Weighted(tuple(weights), tuple(weights.values()))
