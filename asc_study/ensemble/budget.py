"""The best ensemble that fits: of all sets of candidates whose sizes sum to a budget at most, that of the best mean."""

import itertools
from collections.abc import Mapping

from asc_study.base.errors import InputError
from asc_study.ensemble.candidates import CandidatePool, Selection, rank
from asc_study.ensemble.select import MOST_CANDIDATES_FOR_EXHAUSTIVE
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.objective import objective


def select_within(
    sample: Stack, *, kilobytes: Mapping[str, float], budget: float, metric: str, max_members: int
) -> Selection:
    """Choose the best members that fit, of equal sets the one whose members overlap least, then the smallest.

    Parameters
    ----------
    sample
        The candidates' outputs on the clips that decide.
    kilobytes
        Candidate's name -> size of its file.
    budget
        What the files of the members may have together, in the same unit.
    metric, max_members
        See `asc_study.ensemble.select.select`.

    Raises
    ------
    InputError
        If there are too many candidates, or the smallest does not fit.
    """
    sample = sample.only(sorted(sample.names))
    sizes = [kilobytes[name] for name in sample.names]
    if len(sizes) > MOST_CANDIDATES_FOR_EXHAUSTIVE:
        raise InputError(
            f"the best set under a budget is sought among at most {MOST_CANDIDATES_FOR_EXHAUSTIVE} candidates, got "
            f"{len(sizes)}: name fewer"
        )
    if min(sizes) > budget:
        smallest = sample.names[sizes.index(min(sizes))]
        raise InputError(
            f"the members must fit in {budget:,.1f} kB, got {min(sizes):,.1f} kB of the smallest, "
            f"{smallest!r}: raise `max_kb`, or name smaller rows"
        )
    pool = CandidatePool(sample, objective(metric, sample.context, sample.classes))
    best: tuple[int, ...] = ()
    best_order: tuple[float, ...] = ()
    fitting = 0
    for count in range(1, min(max_members, len(sizes)) + 1):
        for members in itertools.combinations(range(len(sizes)), count):
            size_kb = sum(sizes[member] for member in members)
            if size_kb > budget:
                continue
            fitting += 1
            score = float(pool.parts(pool.mean(members)).sum())
            pairs = [pool.agreement[pair] for pair in itertools.combinations(members, 2)]
            alike = round(float(sum(pairs)) / len(pairs), 12) if pairs else 0.0
            order = (-rank(score), alike, size_kb)
            if not best or order < best_order:
                best_order, best = order, members
    ordered = sorted(best, key=lambda member: (-rank(float(pool.single[member])), member))
    ended = f"the best of {fitting} sets that fit in {budget:,.1f} kB, with {best_order[2]:,.1f} kB"
    return pool.selection(ordered, ended)
