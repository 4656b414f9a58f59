"""Fitting a rule without looking at the labels of the clips that it is applied to.

Where there are validation predictions, a rule that learns is fitted on them and applied to test. Where there are none
(systems trained elsewhere), it is cross-fitted over locations: the clips of a fold of locations get their output from a
rule fitted on the other folds, so no label of a location, nor of its neighbours in the fold, has any influence on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.ensemble.stack import Probabilities, Sample
from asc_study.errors import InputError
from asc_study.evaluation.metrics import places_of

#: Folds of locations.
FOLDS: Final = 5

S = TypeVar("S", bound=Sample)
Basis = Literal["fixed", "validation", "cross-fitted"]


@dataclass(frozen=True)
class Fitted(Generic[S]):
    """A fitted rule: ``combine`` gives (n, classes) probabilities, ``learned`` says what was learned, as JSON types."""

    combine: Callable[[S], Probabilities]
    learned: Mapping[str, Any]


class Rule(Protocol[S]):
    """A way to combine systems."""

    @property
    def learns(self) -> bool:
        """Whether `fit` looks at labels."""
        ...

    @property
    def by_class(self) -> bool:
        """Whether it learns something of each class, so that a class it was not fitted on is lost."""
        ...

    def fit(self, sample: S) -> Fitted[S]:
        """Fit the rule on labelled clips."""
        ...


@dataclass(frozen=True)
class Fused:
    """What a rule makes of the splits that its systems share.

    ``basis`` says what the rule depends on: nothing (``fixed``), the validation split, or, ``cross-fitted``, the labels
    of other locations of the test split.
    """

    tables: dict[str, pd.DataFrame]
    learned: Mapping[str, Any]
    basis: Basis


def location_folds(context: pd.DataFrame, folds: int = FOLDS) -> npt.NDArray[np.int_]:
    """Number the fold of each clip, (n,); whole locations, about equally many clips a fold, labels play no part.

    Raises
    ------
    InputError
        If all clips are of one location.
    """
    place = places_of(context)
    clips = np.bincount(place)
    if len(clips) < 2:
        raise InputError(
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


def cross_fit_parts(rule: Rule[S], sample: S) -> list[tuple[npt.NDArray[np.bool_], Fitted[S]]]:
    """Fit the rule once a fold: the fold's clips as (n,) bool, and the rule fitted on the others."""
    fold = location_folds(sample.context)
    return [(fold == k, rule.fit(sample.take(fold != k))) for k in range(int(fold.max()) + 1)]


def cross_fit(rule: Rule[S], sample: S) -> Probabilities:
    """Cross-fitted output of a rule, (n, classes); of a rule that learns nothing, simply its output."""
    if not rule.learns:
        return rule.fit(sample).combine(sample)
    output = np.empty((len(sample.context), len(sample.classes)))
    for rows, fitted in cross_fit_parts(rule, sample):
        output[rows] = fitted.combine(sample.take(rows))
    return output


def fuse_splits(rule: Rule[S], samples: Mapping[str, S]) -> Fused:
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
        locations are too few for that: a single one, or a single one of a class if the rule learns by class.

    Raises
    ------
    InputError
        If the rule learns and there is no labelled split.
    """
    if not rule.learns:
        fitted = rule.fit(next(iter(samples.values())))
        return Fused({s: _table(x, fitted.combine(x)) for s, x in samples.items()}, fitted.learned, "fixed")
    basis: Basis = "validation" if "validation" in samples else "cross-fitted"
    labelled = "validation" if basis == "validation" else "test"
    if labelled not in samples:
        raise InputError(
            f"a rule that learns needs labelled predictions, got the splits {sorted(samples)}: use average or product"
        )
    fitted = rule.fit(samples[labelled])
    tables = {}
    for split, sample in samples.items():
        if split != labelled:
            tables[split] = _table(sample, fitted.combine(sample))
        elif basis == "cross-fitted" or _can_cross_fit(rule, sample.context):
            tables[split] = _table(sample, cross_fit(rule, sample))
    return Fused(tables, fitted.learned, basis)


def _can_cross_fit(rule: Rule[S], context: pd.DataFrame) -> bool:
    places = pd.Series(places_of(context))
    if rule.by_class:
        return bool((places.groupby(context["scene"].to_numpy()).nunique() > 1).all())
    return places.nunique() > 1


def _table(sample: Sample, probabilities: Probabilities) -> pd.DataFrame:
    columns = pd.DataFrame(probabilities.astype(np.float32), columns=list(sample.classes))
    return pd.concat([sample.context, columns], axis=1)


def describe(learned: Mapping[str, Any]) -> str:
    """What a rule learned, for people: ``weights a 0.25, b 0.75; exponent 1.31``."""
    parts = []
    for key, value in learned.items():
        if isinstance(value, Mapping):
            numbers = all(isinstance(inner, float) for inner in value.values())
            inside = ", ".join(f"{name} {weight:.2f}" for name, weight in value.items()) if numbers else describe(value)
            parts += [f"{key} {inside}"] if inside else []
        elif key != "members":
            parts.append(f"{key.replace('_', ' ')} {value:.3g}")
    return "; ".join(parts)
