"""Fitting a rule without looking at the labels of the clips that it is applied to.

Where there are validation predictions, a rule that learns is fitted on them and applied to test. Where there are none
(systems trained elsewhere), it is cross-fitted over locations: the clips of a fold of locations get their output from a
rule fitted on the other folds, so no label of a location, nor of its neighbours in the fold, has any influence on it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.progress import progress_bar
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.stack import Sample
from asc_study.evaluation.metrics import places_of
from asc_study.evaluation.predictions import as_float32

#: Folds of locations.
FOLDS: Final = 5

#: Seconds of cross-fitting without a word.
_SHOWN_AFTER: Final = 2

S = TypeVar("S", bound=Sample)
S_contra = TypeVar("S_contra", bound=Sample, contravariant=True)
Basis = Literal["fixed", "validation", "cross-fitted"]


class Fitted(Protocol[S_contra]):
    """A fitted rule: plain values, so that it can be written down and rebuilt."""

    @property
    def learned(self) -> Mapping[str, Any]:
        """What was learned, for people, in the types of JSON."""
        ...

    def combine(self, sample: S_contra) -> Probabilities:
        """The output for the clips of a sample, (n, classes)."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """All of it, in the types of JSON."""
        ...


class Rule(Protocol[S_contra]):
    """A way to combine systems."""

    @property
    def learns(self) -> bool:
        """Whether `fit` looks at labels."""
        ...

    @property
    def by_class(self) -> bool:
        """Whether it learns something of each class, so that a class it was not fitted on is lost."""
        ...

    def fit(self, sample: S_contra) -> Fitted[S_contra]:
        """Fit the rule on labelled clips."""
        ...


@dataclass(frozen=True)
class Fused(Generic[S]):
    """What a rule makes of the splits that its systems share.

    Attributes
    ----------
    tables
        Split -> predictions table.
    fitted
        The rule, fitted on all clips that it may see.
    basis
        What the rule depends on: nothing (``fixed``), the validation split, or, ``cross-fitted``, the labels of other
        locations of the test split.
    test_parts
        The rules that made the test table and the clips of each, (n,) bool: one, or one a fold.
    """

    tables: dict[str, pd.DataFrame]
    fitted: Fitted[S]
    basis: Basis
    test_parts: Sequence[tuple[npt.NDArray[np.bool_], Fitted[S]]] = ()


class TooFewLocations(InputError):
    """Clips of too few locations to be cross-fitted on."""


def location_folds(context: pd.DataFrame, folds: int = FOLDS) -> npt.NDArray[np.int_]:
    """Number the fold of each clip, (n,); whole locations, about equally many clips a fold, labels play no part.

    Raises
    ------
    TooFewLocations
        If all clips are of one location.
    """
    place = places_of(context)
    clips = np.bincount(place)
    if len(clips) < 2:
        raise TooFewLocations(
            f"cross-fitting needs clips of at least 2 locations, got {len(clips)}: use a rule that learns nothing, "
            "such as average"
        )
    order = np.random.default_rng(0).permutation(len(clips))
    order = order[np.argsort(-clips[order], kind="stable")]  # large locations first, equal ones shuffled
    fold_of, size = np.zeros(len(clips), int), np.zeros(min(folds, len(clips)))
    for location in order:
        fold_of[location] = int(size.argmin())
        size[fold_of[location]] += clips[location]
    return fold_of[place]


def cross_fit_parts(rule: Rule[S], sample: S, *, shown: bool = False) -> list[tuple[npt.NDArray[np.bool_], Fitted[S]]]:
    """Fit the rule once a fold: the fold's clips as (n,) bool, and the rule fitted on the others.

    With ``shown`` people see how far it is where it takes long: two stages fit hundreds of regressions in each fold.

    Raises
    ------
    TooFewLocations
        If all clips are of one location, or all those of a class are in one fold and the rule learns by class.
    """
    fold = location_folds(sample.context)
    if rule.by_class:
        folds_of = pd.Series(fold).groupby(sample.context["scene"].to_numpy()).nunique()
        if (folds_of < 2).any():
            raise TooFewLocations(
                f"a rule that learns by class is cross-fitted on clips of several locations of each class, got too few "
                f"of {', '.join(map(str, folds_of.index[folds_of < 2]))}: use average, weighted or product"
            )
    folds, parts = range(int(fold.max()) + 1), []
    with progress_bar(len(folds), "cross-fitting", "fold", shown=shown, keep=False, delay_seconds=_SHOWN_AFTER) as bar:
        for k in folds:
            parts.append((fold == k, rule.fit(sample.take(fold != k))))
            bar.update()
    return parts


def cross_fit(rule: Rule[S], sample: S) -> Probabilities:
    """Cross-fitted output of a rule, (n, classes); of a rule that learns nothing, simply its output."""
    if not rule.learns:
        return rule.fit(sample).combine(sample)
    return _assembled(sample, cross_fit_parts(rule, sample))


def _assembled(sample: S, parts: Sequence[tuple[npt.NDArray[np.bool_], Fitted[S]]]) -> Probabilities:
    output = np.empty((len(sample.context), len(sample.classes)))
    for rows, fitted in parts:
        output[rows] = fitted.combine(sample.take(rows))
    return output


def fuse_splits(rule: Rule[S], samples: Mapping[str, S]) -> Fused[S]:
    """Combine the systems on every split; test labels never influence a rule that can be fitted on validation.

    Parameters
    ----------
    rule
        How to combine them.
    samples
        Split -> the systems' outputs: any of validation, test and evaluation (without labels).

    Returns
    -------
    Fused
        The validation table of a rule that learns is cross-fitted, so that it does not flatter; it is left out if the
        locations are too few for that.

    Raises
    ------
    InputError
        If the rule learns and there is no labelled split, or it learns by class and validation lacks one.
    TooFewLocations
        If it has to be cross-fitted, and cannot be.
    """
    if not rule.learns:
        fitted = rule.fit(next(iter(samples.values())))
        tables = {split: _table(sample, fitted.combine(sample)) for split, sample in samples.items()}
        return Fused(tables, fitted, "fixed", _whole(samples, fitted))
    basis: Basis = "validation" if "validation" in samples else "cross-fitted"
    labelled = "validation" if basis == "validation" else "test"
    if labelled not in samples:
        raise InputError(
            f"a rule that learns needs labelled predictions, got the splits {sorted(samples)}: use average or product"
        )
    lacking = sorted(set(samples[labelled].classes) - set(samples[labelled].context["scene"]))
    if rule.by_class and basis == "validation" and lacking:
        raise InputError(
            f"a rule that learns by class needs validation clips of every class, got none of {', '.join(lacking)}: use "
            "average, weighted or product"
        )
    fitted = rule.fit(samples[labelled])
    tables = {s: _table(x, fitted.combine(x)) for s, x in samples.items() if s != labelled}
    if basis == "cross-fitted":
        parts = cross_fit_parts(rule, samples["test"], shown=True)
        return Fused(
            tables | {"test": _table(samples["test"], _assembled(samples["test"], parts))}, fitted, basis, parts
        )
    with suppress(TooFewLocations):
        sample = samples["validation"]
        tables["validation"] = _table(sample, _assembled(sample, cross_fit_parts(rule, sample, shown=True)))
    return Fused(tables, fitted, basis, _whole(samples, fitted))


def _whole(samples: Mapping[str, S], fitted: Fitted[S]) -> list[tuple[npt.NDArray[np.bool_], Fitted[S]]]:
    return [(np.ones(len(samples["test"].context), bool), fitted)] if "test" in samples else []


def _table(sample: Sample, probabilities: Probabilities) -> pd.DataFrame:
    rounded = as_float32(probabilities, probabilities.argmax(axis=1))
    return pd.concat([sample.context, pd.DataFrame(rounded, columns=list(sample.classes))], axis=1)


def describe(learned: Mapping[str, Any]) -> str:
    """What a rule learned, for people: ``weights a 0.25, b 0.75; exponent 1.31``."""
    parts = []
    for key, value in learned.items():
        if isinstance(value, Mapping):
            weights = ", ".join(f"{name} {weight:.2f}" for name, weight in value.items()) if key == "weights" else ""
            inside = weights or describe(value)
            parts += [f"{key} {inside}"] if inside else []
        else:
            parts.append(f"{key.replace('_', ' ')} {value:.3g}")
    return "; ".join(parts)
