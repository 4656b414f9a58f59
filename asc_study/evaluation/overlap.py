"""Prediction overlap: how often two systems decide alike (section 6: that of FCNN and fsFCNN is 77 %)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Overlap:
    """Pairwise overlap of m systems; both matrices are symmetric, (m, m), shares of all clips in [0, 1].

    Attributes
    ----------
    decisions
        Share of the clips on which both decide for the same class, right or wrong; 1 on the diagonal.
    errors
        Share of the clips on which both make the same error; the diagonal is each system's error rate.
    """

    decisions: Shares
    errors: Shares

    def ordered(self, places: list[int]) -> "Overlap":
        """The systems at these places, in their order."""
        chosen = np.ix_(places, places)
        return Overlap(self.decisions[chosen], self.errors[chosen])

    def to_frame(self, names: list[str]) -> pd.DataFrame:
        """Every pair as a row: ``first, second, equal_decisions, equal_errors``."""
        rows = [
            (names[i], names[j], self.decisions[i, j], self.errors[i, j])
            for i in range(len(names))
            for j in range(i + 1, len(names))
        ]
        return pd.DataFrame(rows, columns=["first", "second", "equal_decisions", "equal_errors"])


def double_fault(probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int_]) -> Shares:
    """Share of the clips on which both of two systems are wrong, (m, m), in [0, 1] (Giacinto and Roli 2001).

    The parameters are those of `overlap`; the diagonal is each system's error rate. Unlike other measures of diversity
    it is low only for systems that are good as well as different.
    """
    wrong = (probabilities.argmax(axis=-1) != label).astype(np.float64)
    both: Shares = wrong @ wrong.T / wrong.shape[1]
    return both


def alike_order(decisions: Shares) -> list[int]:
    """An order of m systems in which those that decide alike stand together.

    Average linkage of the share of clips that two decide differently, with the leaves so that neighbours are near
    (Bar-Joseph, Gifford and Jaakkola 2001).

    Parameters
    ----------
    decisions
        (m, m) as `Overlap` has it.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(decisions) < 3:
        return list(range(len(decisions)))
    apart = squareform(1 - decisions, checks=False)
    return [int(place) for place in leaves_list(linkage(apart, "average", optimal_ordering=True))]


def overlap(probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int_]) -> Overlap:
    """Measure the overlap of m systems on n clips.

    Parameters
    ----------
    probabilities
        (m, n, classes).
    label
        (n,) column of each clip's true class.
    """
    decided = probabilities.argmax(axis=-1)
    count = decided.shape[1]
    decisions, errors = np.empty((2, len(decided), len(decided)))
    for i, own in enumerate(decided):
        equal = decided == own
        decisions[i] = equal.sum(axis=1) / count
        errors[i] = (equal & (own != label)).sum(axis=1) / count
    return Overlap(decisions, errors)
