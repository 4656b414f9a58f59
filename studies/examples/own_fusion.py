"""A fusion rule of your own: copy this file, fill in `fit` and `apply`, and check it.

    python own_fusion.py
    asc-study fuse --fine demo/fcnn-plain --fine demo/fcnn-mixup --fusion own_fusion:ByAccuracy

A study file beside it names it ``own_fusion:ByAccuracy`` as the `fusion` of an ensemble (own_parts.yaml). Announced by
an installed package, it has a name like the built-in ones. In its pyproject.toml:

    [project.entry-points."asc_study.fusion_rules"]
    my-rule = "own_fusion:ByAccuracy"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from asc_study import FusionRule


@dataclass(frozen=True)
class ByAccuracy(FusionRule):
    """The mean, each system weighted by its accuracy on the clips that it is fitted on; `systems` is inherited."""

    learns: ClassVar[bool] = True  # it looks at labels, so that it is never fitted on the clips that it is judged by

    weights: tuple[float, ...]  # what was learned: fields of text, numbers and tuples of them, which JSON can hold

    @classmethod
    def fit(cls, sample: Any) -> Self:
        """Learn from probabilities (systems, clips, classes) and labels (clips,); without learning, no `fit`."""
        right = (sample.probabilities.argmax(axis=-1) == sample.label).sum(axis=1) + 1.0
        return cls(sample.names, tuple((right / right.sum()).tolist()))

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Map (systems, clips, classes) to (clips, classes), each clip for itself; rows sum to 1. NumPy alone."""
        return np.tensordot(self.weights, probabilities, axes=1)

    @property
    def learned(self) -> Mapping[str, Any]:
        """What people are shown of it."""
        return {"weights": dict(zip(self.systems, self.weights, strict=True))}


if __name__ == "__main__":
    from asc_study.testing import check_fusion

    check_fusion(ByAccuracy)
    print("ByAccuracy keeps the contract of a fusion rule")
