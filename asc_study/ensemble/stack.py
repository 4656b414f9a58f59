"""The predictions of several systems for the same clips, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import Taxonomy, taxonomy_for
from asc_study.ensemble.arrays import Probabilities
from asc_study.evaluation.metrics import labels_of
from asc_study.evaluation.predictions import CONTEXT_COLUMNS, classes_of


class Sample(Protocol):
    """What a fusion rule is fitted on and applied to: clips with the outputs of systems."""

    @property
    def context(self) -> pd.DataFrame:
        """The context columns of the n clips."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are decided between."""
        ...

    def take(self, rows: npt.NDArray[np.bool_]) -> Self:
        """The chosen clips alone."""
        ...


@dataclass(frozen=True)
class Stack:
    """Outputs of m systems for the same n clips.

    Attributes
    ----------
    names
        The systems' names, m of them.
    context
        Context columns of the clips, sorted by ``clip_id``.
    classes
        The class columns, c of them.
    probabilities
        (m, n, c) float64; rows sum to 1.
    """

    names: tuple[str, ...]
    context: pd.DataFrame
    classes: tuple[str, ...]
    probabilities: Probabilities

    @cached_property
    def label(self) -> npt.NDArray[np.int_]:
        """The column of each clip's true class, (n,)."""
        return labels_of(self.context, self.classes)

    def take(self, rows: npt.NDArray[np.bool_]) -> "Stack":
        """The chosen clips alone."""
        context = self.context[rows].reset_index(drop=True)
        return replace(self, context=context, probabilities=self.probabilities[:, rows])

    def only(self, names: Sequence[str]) -> "Stack":
        """The named systems alone, in the order of ``names``."""
        if tuple(names) == self.names:
            return self
        chosen = [self.names.index(name) for name in names]
        return replace(self, names=tuple(names), probabilities=self.probabilities[chosen])


@dataclass(frozen=True)
class Pair:
    """What two-stage fusion takes: ten-class systems and three-class systems on the same clips."""

    fine: Stack
    coarse: Stack

    @property
    def context(self) -> pd.DataFrame:
        """The context columns of the clips, with the ten-class labels."""
        return self.fine.context

    @property
    def classes(self) -> tuple[str, ...]:
        """The scenes."""
        return self.fine.classes

    @property
    def group_columns(self) -> tuple[int, ...]:
        """The column of each scene's group among the coarse classes."""
        return _taxonomy(self.fine).group_columns

    def take(self, rows: npt.NDArray[np.bool_]) -> "Pair":
        """The chosen clips alone."""
        return Pair(self.fine.take(rows), self.coarse.take(rows))


def stack(tables: Mapping[str, pd.DataFrame]) -> Stack:
    """Align the predictions tables of several systems, all of one split.

    Parameters
    ----------
    tables
        System's name -> predictions table, the rows in any order.

    Raises
    ------
    InputError
        If they are of different tasks, hold other clips or disagree on what is known of a clip.
    """
    first_name, first = next(iter(tables.items()))
    classes = classes_of(first)
    context = first[list(CONTEXT_COLUMNS)].sort_values("clip_id", ignore_index=True).astype(str)
    outputs = []
    for name, table in tables.items():
        if classes_of(table) != classes:
            raise InputError(
                f"systems that are combined must be of one task, got {first_name!r} with {len(classes)} classes and "
                f"{name!r} with {len(classes_of(table))}: combine ten-class systems, or three-class ones"
            )
        ordered = table.sort_values("clip_id", ignore_index=True)
        other = ordered[list(CONTEXT_COLUMNS)].astype(str)
        _require_same_clips(first_name, context["clip_id"], name, other["clip_id"])
        differs = (other.to_numpy() != context.to_numpy()).any(axis=1)
        if differs.any():
            row = int(differs.argmax())
            raise InputError(
                f"systems that are combined must agree on labels and devices, got {context.to_numpy()[row].tolist()} "
                f"of {first_name!r} and {other.to_numpy()[row].tolist()} of {name!r}: were they made from one data set?"
            )
        values = ordered[list(classes)].to_numpy(np.float64)
        outputs.append(values / values.sum(axis=1, keepdims=True))  # tables hold float32, whose sums are not quite 1
    return Stack(tuple(tables), context, classes, np.stack(outputs))


def pair(fine: Stack, coarse: Stack) -> Pair:
    """Put ten-class and three-class systems together.

    Raises
    ------
    InputError
        If the systems are of other tasks, hold other clips, or a clip's scene is not in its group.
    """
    taxonomy = _taxonomy(fine)
    if coarse.classes != taxonomy.group_names or fine.classes == coarse.classes:
        raise InputError(
            "two-stage fusion takes ten-class systems (--fine) and three-class systems (--coarse), got "
            f"{', '.join(fine.names)} with {len(fine.classes)} classes and {', '.join(coarse.names)} with "
            f"{len(coarse.classes)}: exchange or replace them"
        )
    _require_same_clips(fine.names[0], fine.context["clip_id"], coarse.names[0], coarse.context["clip_id"])
    wrong = (fine.context["scene"].map(dict(taxonomy.groups)).fillna("") != coarse.context["scene"]).to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"the scene of a clip must be in its group, got {fine.context['scene'][row]!r} and "
            f"{coarse.context['scene'][row]!r} for {fine.context['clip_id'][row]!r}: were they made from one data set?"
        )
    return Pair(fine, coarse)


def _taxonomy(fine: Stack) -> Taxonomy:
    return taxonomy_for(fine.context["device"].unique(), fine.classes)


def _require_same_clips(first_name: str, first: "pd.Series[str]", name: str, other: "pd.Series[str]") -> None:
    if first.equals(other):
        return
    lacking, more = sorted(set(first) - set(other)), sorted(set(other) - set(first))
    raise InputError(
        f"systems that are combined must have predicted the same clips, got {name!r} without {len(lacking)} of the "
        f"{len(first)} clips of {first_name!r} and with {len(more)} others (e.g. {(lacking + more)[0]!r}): combine "
        "runs on one data set and one validation cut"
    )
