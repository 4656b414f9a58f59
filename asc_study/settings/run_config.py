"""The settings of a run.

A run is one architecture x augmentation combination with one seed. `resolve` turns the plain mapping that a study file
gives into a `RunConfig`, in which every default is written out and augmentations and options are objects; they become
plain again (``model_dump``) where they are written to a file or a store. `identity` says when two runs are the same.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field, SerializeAsAny, field_validator, model_validator

from asc_study.augmentation import batch_augmentations, waveform_augmentations
from asc_study.augmentation.batch import BatchAugmentation
from asc_study.augmentation.waveform import WaveformAugmentation
from asc_study.base.errors import InputError, shown
from asc_study.base.metric_table import ALL_CLIPS, DEFAULT_OBJECTIVE, require_objective
from asc_study.base.plugins import looking_beside
from asc_study.base.schema import Strict, did_you_mean, label, validate
from asc_study.base.taxonomy import CLASSES, known_devices
from asc_study.models import find_architecture
from asc_study.settings.continuation import ContinuationConfig, QuantisationConfig
from asc_study.settings.distillation import DistillationConfig
from asc_study.settings.features import FeatureConfig

#: The task of a row where neither it nor the data set names one.
DEFAULT_TASK: Final = "ten_class"

#: What a row trains that names no architecture.
DEFAULT_ARCHITECTURE: Final = "fcnn"


class TrainingConfig(Strict):
    """SGD with warm restarts (section 5.2), or another optimiser and schedule.

    The cycles of the learning rate are ``first_cycle_epochs`` long, each ``cycle_multiplier`` times its predecessor: 2
    and 2 are the authors' code; the text names no lengths, a multiplier of 1 restarts regularly. With ``schedule:
    cosine`` there is one, as long as the training. In the first ``warmup_steps`` steps the rate rises to ``lr_max``
    along a line (2,000 in the baselines of DCASE 2024 and 2025, with ``adamw`` at 0.005). ``weight_decay`` is that of
    AdamW: what each step takes off every parameter, times the learning rate.

    ``data: development`` trains on all development data, the test split included: there is no validation and no test.
    ``subset`` trains, and cuts validation, of the clips of train that a list of the data set of this name has, such as
    ``split25``.
    ``clip_fraction`` trains on that share of the train clips, drawn by scene and device: a search tries settings on it.
    ``select_epoch`` keeps the best epoch on validation (on its devices that are not held out), the last one, or the
    mean output of the models at the last ``snapshots`` learning-rate minima (section 5.2, the final submission).
    ``select_by`` is the metric by which the best epoch is told: three quarters of the validation clips are of device A,
    so by default each device counts alike.
    ``batches: device`` keeps the features in the memory of the accelerator, where batches are made from the same drawn
    values as on the host.
    ``threads`` is the number of TensorFlow threads of the run: its results depend on it, so it is a setting and never
    follows from ``--jobs``.
    """

    data: Literal["train", "development"] = "train"
    subset: str | None = None
    clip_fraction: float = Field(1, gt=0, le=1)
    batch_size: int = Field(32, ge=1, le=65536)
    balance_classes: bool = False
    epochs: int = Field(254, ge=1, le=100_000)
    lr_max: float = Field(0.1, gt=0)
    lr_min: float = Field(1e-5, ge=0)
    first_cycle_epochs: int = Field(2, ge=1)
    cycle_multiplier: int = Field(2, ge=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0, lt=1)
    schedule: Literal["restarts", "cosine"] = "restarts"
    warmup_steps: int = Field(0, ge=0)
    select_epoch: Literal["best", "last", "snapshots"] = "best"
    select_by: str = DEFAULT_OBJECTIVE
    snapshots: int = Field(3, ge=1, le=100)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    xla: bool | Literal["auto"] = "auto"
    batches: Literal["host", "device"] = "host"
    threads: int = Field(2, ge=1, le=1024)

    @model_validator(mode="after")
    def _check_learning_rate(self) -> Self:
        if self.lr_min >= self.lr_max:
            raise ValueError(
                f"training.lr_min must be below training.lr_max, got {self.lr_min} and {self.lr_max}: the learning "
                "rate falls from lr_max to lr_min in each cycle"
            )
        if self.subset is not None and self.data == "development":
            raise ValueError(
                f"training.subset names a part of train, got {shown(self.subset)} with training.data development: "
                "leave one of them out"
            )
        if self.select_epoch == "snapshots" and self.schedule == "cosine":
            raise ValueError(
                "training.select_epoch: snapshots needs cycles of the learning rate, got schedule cosine, which has "
                "one: set training.schedule to restarts, or select_epoch to best or last"
            )
        if self.select_epoch == "snapshots" and self.epochs < self.first_cycle_epochs:
            raise ValueError(
                "training.select_epoch: snapshots needs at least one whole cycle of the learning rate, got "
                f"{self.epochs} epochs with first_cycle_epochs {self.first_cycle_epochs}: train longer"
            )
        return self

    @field_validator("select_by")
    @classmethod
    def _check_metric(cls, name: str) -> str:
        return require_objective(name)

    @property
    def first_cycle(self) -> int:
        """Epochs of the first cycle of the learning rate."""
        return self.epochs if self.schedule == "cosine" else self.first_cycle_epochs

    def identity(self) -> dict[str, Any]:
        """Without the number of snapshots where none are kept, the growth of cycles that never come, and no subset.

        Optimiser, schedule, warm-up and batches are left out where they are as before there was a choice, and with them
        what only the others have. The metric that the best epoch is chosen by is left out where none is
        chosen, and where it is ``acc_avg``: runs that were made before there was a choice went by it, and stay what
        they are.
        """
        settings = super().identity()
        if self.select_epoch != "best" or self.select_by == ALL_CLIPS.metric:
            del settings["select_by"]
        if self.subset is None:
            del settings["subset"]
        if self.select_epoch != "snapshots":
            del settings["snapshots"]
        del settings["momentum" if self.optimizer == "adamw" else "weight_decay"]
        if self.first_cycle >= self.epochs:
            del settings["cycle_multiplier"]
        if self.schedule == "cosine":
            del settings["first_cycle_epochs"]
        for name, before in (
            ("optimizer", "sgd"),
            ("schedule", "restarts"),
            ("warmup_steps", 0),
            ("batches", "host"),
        ):
            if settings[name] == before:
                del settings[name]
        return settings


class ValidationConfig(Strict):
    """How validation is cut from train: a share of the locations, and devices that training never hears.

    A share of 0 cuts no location.

    ``folds`` of 2 or more cross-validate by location instead: a run trains so many models, each without the locations
    of a fold, and its validation predictions are those of all training clips, each by the model that did not hear its
    location. ``final`` says what predicts other clips: the ``mean`` of these models, or one more that is trained on
    ``all`` training clips (its last epoch, as there is nothing to choose by).
    """

    share: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    holdout_devices: list[str] = []
    folds: int = Field(0, ge=0, le=100)
    final: Literal["mean", "all"] = "mean"

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("validation.folds must be at least 2, or 0 for one cut, got 1: write 5")
        return folds

    def identity(self) -> dict[str, Any]:
        """Without what has no effect; one cut is what it was before there were folds."""
        unused = ("share",) if self.folds else ("folds", "final")
        return {name: value for name, value in super().identity().items() if name not in unused}


class _Plain(Strict):
    """The settings of a run whose form depends on nothing else."""

    task: str = DEFAULT_TASK
    architecture: str = DEFAULT_ARCHITECTURE
    features: FeatureConfig = FeatureConfig()
    training: TrainingConfig = TrainingConfig()
    validation: ValidationConfig = ValidationConfig()
    distillation: DistillationConfig | None = None
    continues: ContinuationConfig | None = None
    quantisation_aware: QuantisationConfig | None = None

    @field_validator("task")
    @classmethod
    def _check_task(cls, task: str) -> str:
        if task not in CLASSES:
            known = did_you_mean(task, list(CLASSES))
            raise ValueError(f"`task` must be one of {', '.join(CLASSES)}, got {shown(task)}: {known}")
        return task


class _Written(_Plain):
    """The settings of a run as a study file has them; what `model` and the augmentations may hold depends on names."""

    model: dict[str, Any] = {}
    waveform_augmentation: dict[str, dict[str, Any] | None] = {}
    batch_augmentation: dict[str, dict[str, Any] | None] = {}


class RunConfig(_Plain):
    """Everything that decides the result of one run, except the seed and the data; made by `resolve`.

    Attributes
    ----------
    model
        Options of the architecture.
    waveform_augmentation, batch_augmentation
        Name -> the augmentation itself; one that is switched off is not there.
    """

    model: SerializeAsAny[BaseModel]
    waveform_augmentation: dict[str, SerializeAsAny[WaveformAugmentation]]
    batch_augmentation: dict[str, SerializeAsAny[BatchAugmentation]]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the task in column order."""
        return CLASSES[self.task]

    @property
    def cuts_validation(self) -> bool:
        """Whether locations are cut from train for validation."""
        return self.training.data == "train" and (self.validation.share > 0 or self.folds > 0)

    @property
    def folds(self) -> int:
        """Folds that cross-validate the run; 0 if there is one cut, or none."""
        return self.validation.folds if self.training.data == "train" else 0

    @property
    def trainings(self) -> int:
        """How many models the run trains one after the other, each for all epochs."""
        return self.folds + (self.validation.final == "all") if self.folds else 1

    def identity(self) -> dict[str, Any]:
        """What of the settings decides the result; see `Strict.identity`."""
        training, validation = self.training.identity(), self.validation.identity()
        if not self.cuts_validation:
            if self.training.select_epoch == "best":  # nothing to choose by: the last is kept
                training["select_epoch"] = "last"
                training.pop("select_by", None)
            validation = {"seed": self.validation.seed} if self.training.clip_fraction < 1 else {}
        model = self.model.identity() if isinstance(self.model, Strict) else self.model.model_dump(mode="json")
        return {
            "task": self.task,
            "architecture": self.architecture,
            "model": model,
            "features": self.features.identity(),
            "waveform_augmentation": {name: part.identity() for name, part in self.waveform_augmentation.items()},
            "batch_augmentation": {name: part.identity() for name, part in self.batch_augmentation.items()},
            "training": training,
            "validation": validation,
            **{name: part.identity() for name, part in self._additions.items() if part},
        }

    @property
    def _additions(self) -> dict[str, Strict | None]:
        """The groups of settings that a run may do without."""
        return {name: getattr(self, name) for name in ("distillation", "continues", "quantisation_aware")}

    @property
    def needs(self) -> dict[str, str]:
        """Setting -> the row that it names, which is trained or made before this one."""
        named = {
            "distillation.teacher": self.distillation and self.distillation.teacher,
            "continues.row": self.continues and self.continues.row,
        }
        return {setting: row for setting, row in named.items() if row}


def resolve(raw: Mapping[str, Any], *, where: str = "", folder: Path | None = None) -> RunConfig:
    """Validate a plain mapping and write out every default, the options of the architecture and augmentations included.

    Parameters
    ----------
    raw
        Nested settings, as a study file gives them after a row was merged into the base.
    where
        What to call it in an error, for example ``row 'fcnn-mixup'``.
    folder
        That of the study file, in which parts of one's own are looked for first.

    Raises
    ------
    InputError
        One line: the first broken rule, the value received, what to do.
    """
    with looking_beside(folder):
        return _resolve(raw, where)


def _resolve(raw: Mapping[str, Any], where: str) -> RunConfig:
    written = validate(_Written, dict(raw), where=where)
    try:
        architecture = find_architecture(written.architecture)
    except InputError as error:
        raise InputError(f"{label(where)}{error}") from None
    held_out = written.validation.holdout_devices
    for device in held_out:
        if device not in known_devices():
            known = did_you_mean(device, list(known_devices()))
            raise InputError(f"{label(where)}unknown validation.holdout_devices {device!r}: {known}")
    uncut = written.validation.share == 0 and not written.validation.folds
    if held_out and (written.training.data == "development" or uncut):
        raise InputError(
            f"{label(where)}validation.holdout_devices needs a validation split, got "
            f"{held_out} with training.data {written.training.data!r} and validation.share "
            f"{written.validation.share}: hold no device out, or cut validation from the train split"
        )
    _require_continuation(written, where)
    return RunConfig(
        task=written.task,
        architecture=written.architecture,
        model=validate(architecture.options_model, written.model, where=where, path="model"),
        features=written.features,
        waveform_augmentation=waveform_augmentations(
            written.waveform_augmentation, where=where, path="waveform_augmentation"
        ),
        batch_augmentation=batch_augmentations(written.batch_augmentation, where=where, path="batch_augmentation"),
        training=written.training,
        # The order in which devices are held out means nothing.
        validation=written.validation.model_copy(update={"holdout_devices": sorted(set(held_out))}),
        distillation=written.distillation,
        continues=written.continues,
        quantisation_aware=written.quantisation_aware,
    )


def _require_continuation(written: _Plain, where: str) -> None:
    """Raise `InputError` if a row cannot go on from one network, or cannot be trained for 8 bits."""
    training = written.training
    if written.quantisation_aware and not written.continues:
        raise InputError(
            f"{label(where)}quantisation_aware needs a trained network to begin with, got no `continues`: name a row "
            "of the same network, such as continues: {row: plain}"
        )
    if written.quantisation_aware and training.precision != "float32":
        raise InputError(
            f"{label(where)}quantisation_aware computes in float32, got training.precision {training.precision}: set "
            "it to float32"
        )
    if written.continues and (written.validation.folds or training.select_epoch == "snapshots"):
        got = "validation.folds" if written.validation.folds else "training.select_epoch: snapshots"
        raise InputError(
            f"{label(where)}`continues` trains one network, got {got}, which keeps several: use one cut, and keep the "
            "best or the last epoch"
        )


def in_words(config: RunConfig) -> str:
    """A combination as people say it, ``fcnn + mixup 0.4 + masks``: an augmentation with its number if it has one."""
    parts = [config.architecture]
    for name, part in (*config.waveform_augmentation.items(), *config.batch_augmentation.items()):
        numbers = [v for v in part.model_dump().values() if isinstance(v, float)]
        parts.append(f"{name} {numbers[0]:g}" if len(numbers) == 1 else name)
    if config.distillation:
        parts.append(f"taught by {config.distillation.teacher}")
    if config.continues:
        parts.append(f"continues {config.continues.row}")
    if config.quantisation_aware:
        parts.append("quantisation-aware")
    return " + ".join(parts)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; equal settings give equal text. Raises ValueError on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; empty mappings are kept out."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
