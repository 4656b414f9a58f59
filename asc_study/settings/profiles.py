"""Profiles that every study and search file has, besides those of its own, whose names win."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from asc_study.base.errors import InputError
from asc_study.base.plugins import looking_beside
from asc_study.models import find_architecture
from asc_study.settings.run_config import DEFAULT_ARCHITECTURE

#: For a few hundred training clips. Few steps in all: statistics that settle in 50, three equal cycles of the learning
#: rate, the mean of the models at their ends instead of the best epoch on a handful of validation clips, a thinner
#: network, and weaker mixup and masks for rows that use them. No dropout and no channel attention: the paper's networks
#: normalise the map of each class before they average it, so that logits are small, and the gate and the dropout make
#: them smaller still; in so few steps the training loss then hardly falls (on 110 simulated clips a plain small-FCNN
#: was right on 38 % of the test clips with them and on 63 % without).
_SMALL_DATA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "model": {"width": 0.5, "batch_norm_momentum": 0.9, "dropout": 0.0, "attention": False},
        "training": {
            "epochs": 72,
            "first_cycle_epochs": 24,
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


def fitting(profile: Mapping[str, Any], row: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """A profile for a row: one of `SHIPPED` without options of the model that the row's architecture does not have.

    It is for all architectures; in a profile of one's own such an option is an error, most likely of spelling.
    ``folder`` is that of the study file, where architectures of one's own are looked for first.
    """
    if profile not in SHIPPED.values():
        return dict(profile)
    try:
        with looking_beside(folder):
            options = find_architecture(str(row.get("architecture", DEFAULT_ARCHITECTURE))).options_model.model_fields
    except InputError:  # told where the row is resolved
        return dict(profile)
    return {**profile, "model": {name: value for name, value in profile["model"].items() if name in options}}
