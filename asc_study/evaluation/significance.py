"""Paired comparison of two systems on the same clips: ``compare(first, second) -> Comparison``.

Conventions, intervals and the test are those of `asc_study.evaluation.paired`. One seed a side makes a statement on two
trainings; with several a side the seeds are drawn as well, and it is one on the two ways to train.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS, subsets_among
from asc_study.base.text_table import some, text_table
from asc_study.evaluation.paired import LOG_LOSS, Difference, Panel, Sums, aligned, decisions


@dataclass(frozen=True)
class SubsetComparison:
    """Two systems on the clips of one subset.

    ``name`` is the accuracy's (``acc_avg``, ``acc_A`` ...). ``low`` and ``high`` are None where all clips are of one
    location. ``b`` clips are right with more of the first side's seeds, ``c`` clips with more of the second's.
    """

    name: str
    clips: int
    locations: int
    accuracy_first: float
    accuracy_second: float
    difference: float
    low: float | None
    high: float | None
    b: int
    c: int
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0 and the permutation test agrees."""
        return Difference(self.difference, self.low, self.high, self.p_value).significant


@dataclass(frozen=True)
class Comparison:
    """Two systems on the clips of one split; ``subsets`` opens with ``acc_avg``, the log loss is of all clips.

    ``same_copies`` says of each side whether all its seeds hear the same augmented copies: their spread leaves out the
    draw of these, and so does the interval.
    """

    clips: int
    seeds_first: int
    seeds_second: int
    split: str
    subsets: tuple[SubsetComparison, ...]
    log_loss_first: float
    log_loss_second: float
    log_loss_difference: float
    log_loss_low: float | None
    log_loss_high: float | None
    log_loss_p_value: float
    same_copies: tuple[bool, bool] = (False, False)


def compare(
    first: Sequence[pd.DataFrame], second: Sequence[pd.DataFrame], *, resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Compare two systems clip by clip, on all clips and on each device subset.

    Parameters
    ----------
    first, second
        One predictions table for each seed of the system, all of the same clips in any order, and of one split.
    resamples
        Number of bootstrap draws.
    seed
        Of the draws, so that the same tables give the same interval.

    Raises
    ------
    InputError
        If a side has no table, a table breaks the contract of predictions tables, or the tables differ in task, split,
        clips, or in what they say of a clip.
    """
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}: 2000 is usual")
    for side, tables in (("first", first), ("second", second)):
        if not tables:
            raise InputError(f"each side of a comparison needs at least one predictions table, the {side} has none")
    tables = aligned([*first, *second])
    right, loss = decisions(tables)
    here, there = slice(None, len(first)), slice(len(first), None)
    panel = Panel(tables[0], resamples=resamples, seed=seed)
    sides = [panel.sums(right[side], loss[side]) for side in (here, there)]
    shares = [right[side].mean(axis=0) for side in (here, there)]
    log_loss = panel.difference(sides[0], sides[1], LOG_LOSS)
    return Comparison(
        clips=len(tables[0]),
        seeds_first=len(first),
        seeds_second=len(second),
        split=str(tables[0]["split"].iloc[0]),
        subsets=tuple(_subset(name, panel, sides, shares) for name in panel.masks if name != LOG_LOSS),
        log_loss_first=panel.mean(sides[0], LOG_LOSS)[0],
        log_loss_second=panel.mean(sides[1], LOG_LOSS)[0],
        log_loss_difference=log_loss.value,
        log_loss_low=log_loss.low,
        log_loss_high=log_loss.high,
        log_loss_p_value=log_loss.p_value,
    )


def _subset(
    name: str, panel: Panel, sides: Sequence[Sums], shares: "Sequence[np.typing.NDArray[np.float64]]"
) -> SubsetComparison:
    mask, found = panel.masks[name], panel.difference(sides[0], sides[1], name)
    first, second = (share[mask] for share in shares)
    even = np.isclose(first, second)
    return SubsetComparison(
        name=name,
        clips=int(mask.sum()),
        locations=panel.locations(name),
        accuracy_first=float(first.mean()),
        accuracy_second=float(second.mean()),
        difference=found.value,
        low=found.low,
        high=found.high,
        b=int((~even & (first > second)).sum()),
        c=int((~even & (first < second)).sum()),
        p_value=found.p_value,
    )


def to_frame(comparison: Comparison) -> pd.DataFrame:
    """One row a subset: the fields of `SubsetComparison` and ``significant``; an interval that is absent is NaN."""
    rows = [asdict(subset) | {"significant": subset.significant} for subset in comparison.subsets]
    return pd.DataFrame(rows).astype({"low": float, "high": float})


def render(comparison: Comparison, first_name: str, second_name: str) -> str:
    """Lay the comparison out as a text table, per cent with one decimal, and say what it means."""
    header = ["Subset", "Clips", "Locations", first_name, second_name, "Difference [95 %]", "p", "Ahead 1st/2nd"]
    lines = [header]
    titles = _titles(comparison)
    for subset in comparison.subsets:
        change = _change(100 * subset.difference, _scaled(subset.low), _scaled(subset.high), 1)
        lines.append(
            [
                titles[subset.name],
                str(subset.clips),
                str(subset.locations),
                f"{100 * subset.accuracy_first:.1f}",
                f"{100 * subset.accuracy_second:.1f}",
                f"{change} {'*' if subset.significant else ' '}",
                _p(subset.p_value),
                f"{subset.b}/{subset.c}",
            ]
        )
    log_loss = Difference(
        comparison.log_loss_difference, comparison.log_loss_low, comparison.log_loss_high, comparison.log_loss_p_value
    )
    lines.append(
        [
            "log loss",
            str(comparison.clips),
            str(comparison.subsets[0].locations),
            f"{comparison.log_loss_first:.3f}",
            f"{comparison.log_loss_second:.3f}",
            f"{_change(log_loss.value, log_loss.low, log_loss.high, 3)} {'*' if log_loss.significant else ' '}",
            _p(log_loss.p_value),
            "",
        ]
    )
    title = (
        f"{second_name} against {first_name} ({comparison.split} split, {comparison.clips} clips; "
        f"seeds: {comparison.seeds_second} against {comparison.seeds_first})"
    )
    notes = [
        "accuracy in %, log loss in nats; difference: second minus first; p: permutation test over locations",
        "*: more than noise: the interval excludes 0 and p < 0.05 (not corrected for looking at several subsets)",
    ]
    copied = [name for name, same in zip((first_name, second_name), comparison.same_copies, strict=True) if same]
    if copied:
        notes.append(same_copies_note(copied))
    return "\n".join([title, text_table(lines), *notes, *sentences(comparison, first_name, second_name)])


def same_copies_note(names: Sequence[str]) -> str:
    """What is said of systems of several seeds that all hear the same augmented copies."""
    return f"all seeds of {some(names)} hear the same augmented copies: their spread leaves out that draw"


def sentences(comparison: Comparison, first_name: str, second_name: str) -> list[str]:
    """One plain sentence a subset on which system is better and whether that is noise, then what it is said of."""
    first = first_name if comparison.seeds_first > 1 else f"this run of {first_name}"
    second = second_name if comparison.seeds_second > 1 else f"this run of {second_name}"
    titles = _titles(comparison)
    said = [_sentence(subset, titles[subset.name], first, second) for subset in comparison.subsets]
    single = [
        name
        for name, seeds in ((first_name, comparison.seeds_first), (second_name, comparison.seeds_second))
        if seeds == 1
    ]
    if len(single) == 2:
        said.append("One run a side: this speaks of these two trainings only; other seeds may differ, train more.")
    elif single:
        said.append(f"One run of {single[0]}: this speaks of that training only, other seeds may differ.")
    else:
        said.append("Seeds and locations were both resampled: this speaks of the two ways to train.")
    return said


def _titles(comparison: Comparison) -> dict[str, str]:
    """The accuracy of each subset -> what the subset is called."""
    return {one.metric: one.title for one in (ALL_CLIPS, *subsets_among(one.name for one in comparison.subsets))}


def _sentence(subset: SubsetComparison, title: str, first: str, second: str) -> str:
    where = f"On {title}"
    difference = f"{_change(100 * subset.difference, _scaled(subset.low), _scaled(subset.high), 1)} points"
    if subset.low is None:
        return f"{where}: the clips are of one location, nothing can be said beyond them ({difference})."
    if not subset.significant:
        return f"{where}: no difference that is more than noise ({second} minus {first}: {difference})."
    better, worse = (second, first) if subset.difference > 0 else (first, second)
    return f"{where}: {better} is better than {worse}, and that is more than noise ({difference})."


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _scaled(end: float | None) -> float | None:
    return None if end is None else 100 * end


def _change(value: float, low: float | None, high: float | None, digits: int) -> str:
    """A difference with its sign and interval; a rounded -0 is written +0."""
    shown, *ends = (f"{round(x, digits) + 0.0:+.{digits}f}" for x in (value, low, high) if x is not None)
    return f"{shown} [{', '.join(ends)}]" if ends else f"{shown} [no interval]"
