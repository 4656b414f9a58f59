"""The registry of batch augmentations, and the one place that fixes the order in which they are applied."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from asc_study.augmentation.batch import BatchAugmentation, ChannelConfusion, FloatArray, Mixup, RandomCrop, SpecAugment
from asc_study.errors import InputError
from asc_study.schema import did_you_mean, validate


@dataclass(frozen=True)
class Augmentation:
    """A registered augmentation: a model whose fields are its settings and whose call applies it."""

    settings_model: type[BatchAugmentation]


#: Name -> augmentation, in the order of application whatever the order in a study file: masks on the whole clip, the
#: channel swap, the crop, mixup (the authors' order for Task 1a). A new one gets its line where it is to be applied.
AUGMENTATIONS: Final[Mapping[str, Augmentation]] = MappingProxyType(
    {
        "spec_augment": Augmentation(SpecAugment),
        "channel_confusion": Augmentation(ChannelConfusion),
        "random_crop": Augmentation(RandomCrop),
        "mixup": Augmentation(Mixup),
    }
)


@dataclass(frozen=True)
class Pipeline:
    """Augmentations applied one after the other; without any, batches pass unchanged."""

    steps: tuple[BatchAugmentation, ...] = ()

    @property
    def clips_per_sample(self) -> int:
        """Clips that have to be passed in for each sample that comes out."""
        return math.prod(step.clips_per_sample for step in self.steps)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Augment one batch, under the contract of `asc_study.augmentation.batch`."""
        for step in self.steps:
            features, one_hot = step(features, one_hot, rng)
        return features, one_hot


def compose(settings: Mapping[str, Mapping[str, Any] | None]) -> Pipeline:
    """Make the pipeline of a run, in the order of `AUGMENTATIONS`.

    Parameters
    ----------
    settings
        Augmentation name -> its settings; what is left out of them has its default, None switches one off.

    Raises
    ------
    InputError
        On an unknown name or setting, or a value out of range.
    """
    for name in settings:
        if name not in AUGMENTATIONS:
            raise InputError(f"unknown augmentation {name!r}: {did_you_mean(name, AUGMENTATIONS)}")
    steps = []
    for name, augmentation in AUGMENTATIONS.items():
        chosen = settings.get(name)
        if chosen is not None:
            steps.append(validate(augmentation.settings_model, dict(chosen), path=name))
    return Pipeline(tuple(steps))
