"""The candidates of a selection as its methods see them, and what a selection is: members, path, what is noise.

What is noise. The change of an objective from one mean to another is a weighted sum over the clips, and its interval
that of `asc_study.evaluation.bootstrap`, both means on the same draw of locations; the weights stay those of all clips.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.bootstrap import LocationDraws, interval
from asc_study.evaluation.calibration import calibrated_log_loss
from asc_study.evaluation.metrics import places_of
from asc_study.evaluation.objective import Objective, objective
from asc_study.evaluation.overlap import double_fault, overlap

#: Scores nearer than this are equal: sums of shares round.
EQUAL: Final = 1e-9

#: Draws of locations that tell a change from noise, and their seed.
_RESAMPLES: Final = 2000
_SEED: Final = 0

Shares = npt.NDArray[np.float64]


def rank(score: float) -> int:
    """A score as a number in which equal scores are equal."""
    return round(score / EQUAL)


@dataclass(frozen=True)
class Step:
    """One step of a selection's path.

    Attributes
    ----------
    added
        The system that is added.
    score
        The objective of the mean of all members so far.
    log_loss
        Of that mean on all clips at the temperature that suits them best, in nats.
    overlap, both_wrong
        Mean share of the clips on which the added system and a member before it decide alike, and are both wrong (NaN
        for the first).
    low, high
        Ends of the 95 % interval of the score's change against the step before; None for the first, and where all clips
        are of one location.
    """

    added: str
    score: float
    log_loss: float
    overlap: float
    both_wrong: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A system that could be chosen: its own score, and how it overlaps with the other members, as `Step` has it."""

    name: str
    score: float
    overlap: float
    both_wrong: float
    taken: bool


@dataclass(frozen=True)
class Selection:
    """What a method chose.

    Attributes
    ----------
    path
        The members, the first chosen first; one twice if it counts twice.
    ended
        Why it ended there.
    candidates
        All systems, in alphabetical order.
    noise
        Differences of the objective below this are noise: half the width of the 95 % interval of the difference of a
        candidate and the first member, the median over the candidates; None where there is no interval.
    """

    path: tuple[Step, ...]
    ended: str
    candidates: tuple[Candidate, ...] = ()
    noise: float | None = None

    def weights(self, steps: int | None = None) -> dict[str, float]:
        """Weight of each member after the first ``steps`` steps (all by default); they sum to 1."""
        counted = Counter(step.added for step in self.path[:steps])
        return {name: count / counted.total() for name, count in counted.items()}


class CandidatePool:
    """The candidates as a method sees them; the better of two equal ones is the first by name."""

    def __init__(self, sample: Stack, measure: Objective) -> None:
        self.sample, self._measure = sample, measure
        self._log_loss = objective("log_loss", sample.context, sample.classes)
        self.agreement = overlap(sample.probabilities, sample.label).decisions
        self._double_fault = double_fault(sample.probabilities, sample.label)
        self.nothing = np.zeros(sample.probabilities.shape[1:])
        self.single = self.scores(self.nothing, 0)

    @cached_property
    def _draws(self) -> LocationDraws:
        return LocationDraws.resampled(places_of(self.sample.context), _RESAMPLES, _SEED)

    def scores(self, total: Probabilities, count: int, first: int = 0) -> Shares:
        """The signed objective (higher is better) when a candidate joins ``count`` members of the sum ``total``.

        One value for each candidate from the number ``first`` on.
        """
        fused = (total + self.sample.probabilities[first:]) / (count + 1)
        return self._measure.sign * self._measure(fused, self.sample.label)

    def shown(self, score: float) -> float:
        """A signed score as people know the metric."""
        return self._measure.sign * score

    def losses(self, total: Probabilities, count: int) -> Shares:
        """The log loss when each candidate joins ``count`` members of the sum ``total``."""
        return self._log_loss((total + self.sample.probabilities) / (count + 1), self.sample.label)

    def mean(self, members: Sequence[int]) -> Probabilities:
        """The mean of the members, (n, classes)."""
        mean: Probabilities = self.sample.probabilities[list(members)].mean(axis=0)
        return mean

    def parts(self, probabilities: Probabilities) -> Shares:
        """What each clip adds to the signed objective, (..., n)."""
        return self._measure.sign * self._measure.parts(probabilities, self.sample.label)

    def calibrated_loss(self, probabilities: Probabilities) -> float:
        """The log loss at the best temperature: a mean is less sure than its members, which is no fault of theirs."""
        return calibrated_log_loss(probabilities, self.sample.label, precision=1e-3)[1]

    def changes(self, difference: Shares) -> tuple[float, float] | None:
        """The interval of the sum of a difference of `parts`, (n,); None where all clips are of one location."""
        return interval(self._draws.sums(difference)) if self._draws.locations > 1 else None

    def is_worse(self, difference: Shares) -> bool:
        """Whether a difference of `parts` is below 0 by more than noise; any, where all clips are of one location."""
        ends = self.changes(difference)
        return (ends[1] if ends else float(difference.sum())) < -EQUAL

    def best(self, scores: Shares, members: Sequence[int], allowed: Sequence[int]) -> int:
        """The allowed candidate of the best score; of equal ones, the one that overlaps least with the members."""
        ties = self.mean_overlap(members)
        order = sorted(allowed, key=lambda i: (-rank(float(scores[i])), ties[i], self.sample.names[i]))
        return order[0]

    def mean_overlap(self, members: Sequence[int]) -> Shares:
        """Mean overlap of each candidate with the members; 0 without members."""
        return _mean_over(self.agreement, members)

    def both_wrong(self, members: Sequence[int]) -> Shares:
        """Mean share of the clips on which each candidate and a member are both wrong; 0 without members."""
        return _mean_over(self._double_fault, members)

    def selection(self, members: Sequence[int], ended: str) -> Selection:
        """The members as a `Selection`, in the given order."""
        halves = [
            (ends[1] - ends[0]) / 2
            for other in range(len(self.single))
            if other != members[0] and (ends := self.changes(self.single_parts[other] - self.single_parts[members[0]]))
        ]
        candidates = tuple(self.candidate(number, members) for number in range(len(self.single)))
        return Selection(self._path(members), ended, candidates, float(np.median(halves)) if halves else None)

    @cached_property
    def single_parts(self) -> Shares:
        """What each clip adds to the signed objective of each candidate alone, (m, n)."""
        return self.parts(self.sample.probabilities)

    def _path(self, members: Sequence[int]) -> tuple[Step, ...]:
        steps: list[Step] = []
        before: Shares | None = None
        for count, member in enumerate(members):
            fused = self.mean(members[: count + 1])
            parts = self._measure.parts(fused, self.sample.label)
            ends = None if before is None else self.changes(parts - before)
            alike, faults = self._overlaps(member, sorted(set(members[:count])))
            score, loss = float(self._measure(fused, self.sample.label)), self.calibrated_loss(fused)
            steps.append(Step(self.sample.names[member], score, loss, alike, faults, *(ends or ())))
            before = parts
        return tuple(steps)

    def candidate(self, number: int, members: Sequence[int]) -> Candidate:
        """A system as it stands to the members, of which it may be one."""
        alike, faults = self._overlaps(number, sorted(set(members) - {number}))
        score = self.shown(float(self.single[number]))
        return Candidate(self.sample.names[number], score, alike, faults, number in members)

    def _overlaps(self, number: int, others: Sequence[int]) -> tuple[float, float]:
        if not others:
            return float("nan"), float("nan")
        return float(self.mean_overlap(others)[number]), float(self.both_wrong(others)[number])


def _mean_over(matrix: Shares, members: Sequence[int]) -> Shares:
    if not members:
        return np.zeros(len(matrix))
    mean: Shares = matrix[:, list(members)].mean(axis=1)
    return mean
