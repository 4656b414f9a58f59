"""The settings of a run, their canonical JSON and the signatures made from it.

A run is one architecture x augmentation combination with one seed. `resolve` turns the plain mapping that a study file
gives into a `RunConfig` in which every default is written out; the run's identity is a digest of that.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from asc_study.augmentation import AUGMENTATIONS
from asc_study.errors import InputError
from asc_study.models import ARCHITECTURES
from asc_study.schema import Strict, did_you_mean, label, validate
from asc_study.taxonomy import CLASSES, DEVICES

#: Part of every signature: raise it when the meaning of a setting, or the code behind it, changes the results.
SCHEMA_VERSION: Final = 1

Task = Literal["ten_class", "three_class"]


class FeatureConfig(Strict):
    """Log-mel features (section 5.1); sizes in samples, ``n_mels`` in bands."""

    n_fft: int = Field(2048, ge=16, le=65536)
    hop_length: int = Field(1024, ge=1, le=65536)
    n_mels: int = Field(128, ge=4, le=1024)
    scale: Literal["min_max", "none"] = "min_max"
    dtype: Literal["float16", "float32"] = "float16"


class TrainingConfig(Strict):
    """SGD with warm restarts (section 5.2; the cycle form is the authors' code's).

    ``threads`` is the number of TensorFlow threads of the run: its results depend on it, so it is a setting and never
    follows from ``--jobs``.
    """

    batch_size: int = Field(32, ge=1, le=65536)
    epochs: int = Field(254, ge=1, le=100_000)
    lr_max: float = Field(0.1, gt=0)
    lr_min: float = Field(1e-5, ge=0)
    first_cycle_epochs: int = Field(2, ge=1)
    cycle_multiplier: int = Field(2, ge=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    select_epoch: Literal["best", "last"] = "best"
    threads: int = Field(2, ge=1, le=1024)


class ValidationConfig(Strict):
    """How validation is cut from train: a share of the locations, and devices that training never hears."""

    share: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    holdout_devices: list[str] = []


class RunConfig(Strict):
    """Everything that decides the result of one run, except the seed and the data."""

    task: Task = "ten_class"
    architecture: str = "fcnn"
    model: dict[str, Any] = {}
    features: FeatureConfig = FeatureConfig()
    batch_augmentation: dict[str, dict[str, Any] | None] = {}
    training: TrainingConfig = TrainingConfig()
    validation: ValidationConfig = ValidationConfig()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the task in column order."""
        return CLASSES[self.task]


def resolve(raw: Mapping[str, Any], *, where: str = "") -> RunConfig:
    """Validate a plain mapping and write out every default, the options of the architecture and augmentations included.

    Parameters
    ----------
    raw
        Nested settings, as a study file gives them after a row was merged into the base.
    where
        What to call it in an error, for example ``row 'fcnn-mixup'``.

    Raises
    ------
    InputError
        One line: the first broken rule, the value received, what to do.
    """
    config = validate(RunConfig, dict(raw), where=where)
    architecture = _named(ARCHITECTURES, config.architecture, "architecture", where)
    options = validate(architecture.options_model, config.model, where=where, path="model")
    augmentation: dict[str, dict[str, Any] | None] = {}
    for name, settings in config.batch_augmentation.items():
        model = _named(AUGMENTATIONS, name, "batch_augmentation", where).settings_model
        if settings is not None:  # null switches off what the base switched on
            path = f"batch_augmentation.{name}"
            augmentation[name] = validate(model, settings, where=where, path=path).model_dump()
    for device in config.validation.holdout_devices:
        _named(dict.fromkeys(DEVICES), device, "validation.holdout_devices", where)
    if config.training.lr_min >= config.training.lr_max:
        raise InputError(
            f"{label(where)}training.lr_min must be below training.lr_max, got {config.training.lr_min} and "
            f"{config.training.lr_max}: the learning rate falls from lr_max to lr_min in each cycle"
        )
    # The order in which devices are held out means nothing.
    devices = sorted(set(config.validation.holdout_devices))
    validation = config.validation.model_copy(update={"holdout_devices": devices})
    resolved = {"model": options.model_dump(), "batch_augmentation": augmentation, "validation": validation}
    return config.model_copy(update=resolved)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; equal settings give equal text. Raises ValueError on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def signature(config: RunConfig, dataset_digest: str, seed: int | None) -> str:
    """SHA-256 (64 hex digits) of the resolved config, the schema version, the data and the seed.

    Without a seed (None) it is the *combination signature*, by which the repeats of one row are grouped.
    """
    identity: dict[str, Any] = {"schema": SCHEMA_VERSION, "config": config.model_dump(), "dataset": dataset_digest}
    if seed is not None:
        identity["seed"] = seed
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; empty mappings are kept out."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _named(registry: Mapping[str, Any], name: str, key: str, where: str) -> Any:
    if name not in registry:
        raise InputError(f"{label(where)}unknown {key} {name!r}: {did_you_mean(name, registry)}")
    return registry[name]
