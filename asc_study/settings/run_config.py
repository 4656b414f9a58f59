"""The settings of a run, their canonical JSON and the signatures made from it.

A run is one architecture x augmentation combination with one seed. `resolve` turns the plain mapping that a study file
gives into a `RunConfig` in which every default is written out; the run's identity is a digest of that.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from asc_study.augmentation import AUGMENTATIONS, WAVEFORM_AUGMENTATIONS, batch_settings, waveform_settings
from asc_study.base.errors import InputError
from asc_study.base.plugins import source_digest
from asc_study.base.schema import Strict, did_you_mean, label, validate
from asc_study.base.taxonomy import CLASSES, DEVICES
from asc_study.models import ARCHITECTURES, find_architecture

#: Part of every signature: raise it when the meaning of a setting, or the code behind it, changes the results.
SCHEMA_VERSION: Final = 1

Found = TypeVar("Found")

Task = Literal["ten_class", "three_class"]


class FeatureConfig(Strict):
    """Log-mel features (section 5.1); sizes in samples, ``n_mels`` in bands."""

    n_fft: int = Field(2048, ge=16, le=65536)
    hop_length: int = Field(1024, ge=1, le=65536)
    n_mels: int = Field(128, ge=4, le=1024)
    scale: Literal["min_max", "none"] = "min_max"
    dtype: Literal["float16", "float32"] = "float16"


class TrainingConfig(Strict):
    """SGD with warm restarts (section 5.2).

    The cycles of the learning rate are ``first_cycle_epochs`` long, each ``cycle_multiplier`` times its predecessor: 2
    and 2 are the authors' code; the text names no lengths, a multiplier of 1 restarts regularly.

    ``data: development`` trains on all development data, the test split included: there is no validation and no test.
    ``clip_fraction`` trains on that share of the train clips, drawn by scene and device: a search tries settings on it.
    ``select_epoch`` keeps the best epoch on validation (on its devices that are not held out), the last one, or the
    mean output of the models at the last ``snapshots`` learning-rate minima (section 5.2, the final submission).
    ``threads`` is the number of TensorFlow threads of the run: its results depend on it, so it is a setting and never
    follows from ``--jobs``.
    """

    data: Literal["train", "development"] = "train"
    clip_fraction: float = Field(1, gt=0, le=1)
    batch_size: int = Field(32, ge=1, le=65536)
    balance_classes: bool = False
    epochs: int = Field(254, ge=1, le=100_000)
    lr_max: float = Field(0.1, gt=0)
    lr_min: float = Field(1e-5, ge=0)
    first_cycle_epochs: int = Field(2, ge=1)
    cycle_multiplier: int = Field(2, ge=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    select_epoch: Literal["best", "last", "snapshots"] = "best"
    snapshots: int = Field(3, ge=1, le=100)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    xla: bool | Literal["auto"] = "auto"
    threads: int = Field(2, ge=1, le=1024)

    @model_serializer(mode="wrap")
    def _without_default_fraction(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Younger than the runs that are in the stores: without it the signatures of whole data stay as they are.
        settings: dict[str, Any] = serialize(self)
        if self.clip_fraction == 1:
            settings.pop("clip_fraction", None)
        return settings

    @model_validator(mode="after")
    def _check_learning_rate(self) -> Self:
        if self.lr_min >= self.lr_max:
            raise ValueError(
                f"training.lr_min must be below training.lr_max, got {self.lr_min} and {self.lr_max}: the learning "
                "rate falls from lr_max to lr_min in each cycle"
            )
        if self.select_epoch == "snapshots" and self.epochs < self.first_cycle_epochs:
            raise ValueError(
                "training.select_epoch: snapshots needs at least one whole cycle of the learning rate, got "
                f"{self.epochs} epochs with first_cycle_epochs {self.first_cycle_epochs}: train longer"
            )
        return self


class ValidationConfig(Strict):
    """How validation is cut from train: a share of the locations, and devices that training never hears.

    A share of 0 cuts no location.
    """

    share: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    holdout_devices: list[str] = []


class RunConfig(Strict):
    """Everything that decides the result of one run, except the seed and the data."""

    task: Task = "ten_class"
    architecture: str = "fcnn"
    model: dict[str, Any] = {}
    features: FeatureConfig = FeatureConfig()
    waveform_augmentation: dict[str, dict[str, Any] | None] = {}
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
    architecture = _located(where, find_architecture, config.architecture)
    options = validate(architecture.options_model, config.model, where=where, path="model")
    for device in config.validation.holdout_devices:
        if device not in DEVICES:
            known = did_you_mean(device, list(DEVICES))
            raise InputError(f"{label(where)}unknown validation.holdout_devices {device!r}: {known}")
    if config.validation.holdout_devices and (config.training.data == "development" or config.validation.share == 0):
        raise InputError(
            f"{label(where)}validation.holdout_devices needs a validation split, got "
            f"{config.validation.holdout_devices} with training.data {config.training.data!r} and validation.share "
            f"{config.validation.share}: hold no device out, or cut validation from the train split"
        )
    # The order in which devices are held out means nothing.
    devices = sorted(set(config.validation.holdout_devices))
    resolved = {
        "model": options.model_dump(),
        "waveform_augmentation": _resolve_augmentations(config, "waveform_augmentation", waveform_settings, where),
        "batch_augmentation": _resolve_augmentations(config, "batch_augmentation", batch_settings, where),
        "validation": config.validation.model_copy(update={"holdout_devices": devices}),
    }
    return config.model_copy(update=resolved)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; equal settings give equal text. Raises ValueError on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def signature(config: RunConfig, dataset_digest: str, seed: int | None) -> str:
    """SHA-256 (64 hex digits) of the resolved config, the schema version, the data and the seed.

    The source files of parts that are not built in count too. Without a seed (None) it is the *combination signature*,
    by which the repeats of one row are grouped.
    """
    identity: dict[str, Any] = {"schema": SCHEMA_VERSION, "config": config.model_dump(), "dataset": dataset_digest}
    if code := _code_of_plugins(config):
        identity["code"] = code
    if seed is not None:
        identity["seed"] = seed
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


def _code_of_plugins(config: RunConfig) -> dict[str, str]:
    used: list[tuple[str, str, Mapping[str, Any]]] = [("architecture", config.architecture, ARCHITECTURES)]
    used += [("waveform_augmentation", name, WAVEFORM_AUGMENTATIONS) for name in config.waveform_augmentation]
    used += [("batch_augmentation", name, AUGMENTATIONS) for name in config.batch_augmentation]
    digests = {name: source_digest(kind, name, builtin) for kind, name, builtin in used}
    return {name: digest for name, digest in digests.items() if digest is not None}


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; empty mappings are kept out."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _resolve_augmentations(
    config: RunConfig, key: str, settings_of: Callable[[str], type[BaseModel]], where: str
) -> dict[str, dict[str, Any]]:
    resolved = {}
    for name, settings in getattr(config, key).items():
        model = _located(where, settings_of, name)
        if settings is not None:  # null switches off what the base switched on
            resolved[name] = validate(model, settings, where=where, path=f"{key}.{name}").model_dump()
    return resolved


def _located(where: str, find: Callable[[str], Found], name: str) -> Found:
    try:
        return find(name)
    except InputError as error:
        raise InputError(f"{label(where)}{error}") from None
