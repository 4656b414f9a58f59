"""The settings of a run.

A run is one architecture x augmentation combination with one seed. `resolve` turns the plain mapping that a study file
gives into a `RunConfig`, in which every default is written out and augmentations and options are objects; they become
plain again (``model_dump``) where they are written to a file or a store. `identity` says when two runs are the same.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SerializeAsAny, field_validator

from asc_study.augmentation import OF_SPECTROGRAMS, batch_augmentations, waveform_augmentations
from asc_study.augmentation.batch import BatchAugmentation
from asc_study.augmentation.waveform import WaveformAugmentation
from asc_study.base.errors import InputError, shown
from asc_study.base.plugins import looking_beside
from asc_study.base.schema import Strict, did_you_mean, label, validate
from asc_study.base.taxonomy import CLASSES, known_devices
from asc_study.models import find_architecture
from asc_study.settings.continuation import ContinuationConfig, QuantisationConfig
from asc_study.settings.distillation import DistillationConfig
from asc_study.settings.features import FeatureConfig
from asc_study.settings.training import TrainingConfig, ValidationConfig

#: The task of a row where neither it nor the data set names one.
DEFAULT_TASK: Final = "ten_class"

#: What a row trains that names no architecture.
DEFAULT_ARCHITECTURE: Final = "fcnn"


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
    held_out, heard = written.validation.holdout_devices, written.training.devices or []
    for setting, devices in (("validation.holdout_devices", held_out), ("training.devices", heard)):
        for device in devices:
            if device not in known_devices():
                known = did_you_mean(device, list(known_devices()))
                raise InputError(f"{label(where)}unknown {setting} {device!r}: {known}")
    if both := sorted(set(held_out) & set(heard)):
        raise InputError(
            f"{label(where)}training.devices must not be held out, got {', '.join(both)} in "
            "validation.holdout_devices too: leave them out of one"
        )
    uncut = written.validation.share == 0 and not written.validation.folds
    if held_out and (written.training.data == "development" or uncut):
        raise InputError(
            f"{label(where)}validation.holdout_devices needs a validation split, got "
            f"{held_out} with training.data {written.training.data!r} and validation.share "
            f"{written.validation.share}: hold no device out, or cut validation from the train split"
        )
    _require_continuation(written, where)
    _require_spectra(written, where)
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


def _require_spectra(written: _Written, where: str) -> None:
    """Raise `InputError` if a row on embeddings is to be augmented, or trained, in a way that needs spectrograms."""
    if written.features.embeddings is None:
        return
    got = f"with features.embeddings {shown(written.features.embeddings)}"
    if heard := [name for name, chosen in written.waveform_augmentation.items() if chosen is not None]:
        raise InputError(
            f"{label(where)}waveform_augmentation makes sounds, whose embeddings are in no file, got {heard[0]} {got}: "
            f"leave it out ({heard[0]}: null)"
        )
    seen = [name for name in OF_SPECTROGRAMS if written.batch_augmentation.get(name) is not None]
    if seen:
        raise InputError(
            f"{label(where)}batch_augmentation.{seen[0]} is for spectrograms, got it {got}, whose values are no mel "
            f"bands: leave it out ({seen[0]}: null)"
        )
    if written.quantisation_aware:
        raise InputError(
            f"{label(where)}quantisation_aware trains what is deployed, which must hear sound, got it {got}: leave it "
            "out"
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
