"""Profiles that every study and search file has, besides those of its own, whose names win."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

#: For a few hundred training clips. Few steps in all: statistics that settle in 50, three equal cycles of the learning
#: rate, the mean of the models at their ends instead of the best epoch on a handful of validation clips, a thinner
#: network, and weaker mixup and masks for rows that use them.
_SMALL_DATA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "model": {"width": 0.25, "batch_norm_momentum": 0.9},
        "training": {
            "epochs": 36,
            "first_cycle_epochs": 12,
            "cycle_multiplier": 1,
            "batch_size": 16,
            "select_epoch": "snapshots",
            "snapshots": 3,
        },
        "batch_augmentation": {
            "mixup": {"alpha": 0.3},
            "spec_augment": {"frequency_mask_ratio": 0.2, "time_mask_ratio": 0.1, "per_channel": False},
        },
    }
)

#: Name -> settings.
SHIPPED: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"small-data": _SMALL_DATA})
