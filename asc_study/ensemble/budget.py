"""The best ensemble that fits: of all sets of candidates whose sizes sum to a budget at most, that of the best mean."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from asc_study.base.errors import InputError
from asc_study.ensemble.candidates import CandidatePool, Selection, rank
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.select import MOST_CANDIDATES_FOR_EXHAUSTIVE, FittedSelection, prefix_mean
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.objective import objective


@dataclass(frozen=True)
class BudgetRule:
    """A `Rule` that selects members by what they score and weigh, then fuses them.

    Attributes
    ----------
    kilobytes
        Candidate's name -> size of its file.
    budget
        What the files of the members may have together, in the same unit.
    metric, max_members
        See `asc_study.ensemble.select.select`.
    fusion
        How the members are fused; None: by their mean.
    """

    kilobytes: Mapping[str, float]
    budget: float
    metric: str
    max_members: int
    fusion: type[FusionRule] | None = None
    learns: bool = True

    @property
    def by_class(self) -> bool:
        """Whether the fusion learns something of each class."""
        return self.fusion is not None and self.fusion.by_class

    def fit(self, sample: Stack) -> FittedSelection:
        """Select on the labelled clips of ``sample``, and fit the fusion of the members on them too."""
        selection = self._select(sample.only(sorted(sample.names)))
        if self.fusion is None:
            return FittedSelection(selection, prefix_mean(selection))
        return FittedSelection(selection, self.fusion.fit(sample.only(list(selection.weights()))))

    def _select(self, sample: Stack) -> Selection:
        """Of equal sets the one whose members overlap least, then the smallest."""
        sizes = [self.kilobytes[name] for name in sample.names]
        if len(sizes) > MOST_CANDIDATES_FOR_EXHAUSTIVE:
            raise InputError(
                f"the best set under a budget is sought among at most {MOST_CANDIDATES_FOR_EXHAUSTIVE} candidates, got "
                f"{len(sizes)}: name fewer"
            )
        if min(sizes) > self.budget:
            smallest = sample.names[sizes.index(min(sizes))]
            raise InputError(
                f"the members must fit in {self.budget:,.1f} kB, got {min(sizes):,.1f} kB of the smallest, "
                f"{smallest!r}: raise `max_kb`, or name smaller rows"
            )
        pool = CandidatePool(sample, objective(self.metric, sample.context, sample.classes))
        best: tuple[int, ...] = ()
        best_order: tuple[float, ...] = ()
        fitting = 0
        for size in range(1, min(self.max_members, len(sizes)) + 1):
            for members in itertools.combinations(range(len(sizes)), size):
                kilobytes = sum(sizes[member] for member in members)
                if kilobytes > self.budget:
                    continue
                fitting += 1
                score = float(pool.parts(pool.mean(members)).sum())
                pairs = [pool.agreement[pair] for pair in itertools.combinations(members, 2)]
                alike = round(float(sum(pairs)) / len(pairs), 12) if pairs else 0.0
                order = (-rank(score), alike, kilobytes)
                if not best or order < best_order:
                    best_order, best = order, members
        ordered = sorted(best, key=lambda member: (-rank(float(pool.single[member])), member))
        ended = f"the best of {fitting} sets that fit in {self.budget:,.1f} kB, with {best_order[2]:,.1f} kB"
        return pool.selection(ordered, ended)
