"""Preflight: whether every row of a study can be trained on a data set, found out before anything runs."""

from typing import Final

import numpy as np
import pandas as pd

from asc_study.acoustics.recordings import usual_info
from asc_study.augmentation import compose
from asc_study.base.compiled import loops_left_out
from asc_study.base.errors import InputError
from asc_study.base.progress import Say, tell_nobody
from asc_study.base.taxonomy import label_column
from asc_study.data.clips import Dataset
from asc_study.ensemble.fuse import FUSIONS, find_fusion
from asc_study.evaluation.objective import objective
from asc_study.features.audio import require_sound
from asc_study.models import find_architecture
from asc_study.models.backend import require_backend
from asc_study.settings.run_config import RunConfig, canonical_json
from asc_study.settings.study_file import Study
from asc_study.study.limits import require_limits, require_roundable
from asc_study.training.cycles import require_warmup
from asc_study.training.fused import require_fusable
from asc_study.training.run_data import Cuts, data_key, deciding, input_shape, steps_of_epoch, train_samples

#: Settings of training that decide whether its clips suffice.
_OF_CLIPS: Final = {
    "select_epoch",
    "select_by",
    "batch_size",
    "warmup_steps",
    "schedule",
    "epochs",
    "first_cycle_epochs",
}


def check_fit(study: Study, dataset: Dataset, say: Say = tell_nobody, cuts: Cuts | None = None) -> None:
    """Find out before anything runs whether every row can be trained on the data set, and ensembles can be fused.

    ``cuts`` are those of the data set, if others need them too.

    Raises
    ------
    InputError
        One line that names the row, what it asks for and what the data has.
    """
    if not (dataset.clips["split"] == "test").any():
        raise InputError(f"{dataset.root} has no test clips: name some in evaluation_setup/fold1_evaluate.csv")
    require_backend()
    samples, cuts = usual_samples(dataset), cuts or Cuts(dataset)
    shaped: set[str] = set()
    validated: dict[str, bool] = {}
    for row in study.rows:
        of_shapes, of_clips = _of_shapes(row.config), _of_clips(row.config)
        try:
            if row.config.task not in dataset.format.tasks:
                known = ", ".join(dataset.format.tasks)
                raise InputError(f"the data set has labels for the task {known} only: set task: {dataset.task}")
            if row.config.training.batches == "device":
                require_fusable(compose(row.config.batch_augmentation), deltas=row.config.features.deltas)
            if of_shapes not in shaped:
                _try_shapes(row.config, dataset, samples)
                shaped.add(of_shapes)
            if of_clips not in validated:
                validated[of_clips] = _try_clips(row.config, cuts)
        except InputError as error:
            raise InputError(f"row {row.name!r}: {error}") from None
    require_limits(study.rows, dataset, samples, say)
    require_roundable(study.rows, dataset, samples)
    for ensemble in study.ensembles:
        try:
            find_fusion(ensemble.fusion)
        except InputError as error:
            raise InputError(f"ensemble {ensemble.name!r}: {error}") from None
    _require_bundled(study)
    _require_taught(study)
    if not all(validated.values()):
        say("note: no scene has two training locations, so there is no validation split: the last epoch is kept")


def _require_bundled(study: Study) -> None:
    """Raise `InputError` if a bundle cannot carry a system's rule or features, or would undo a training for int8."""
    trained = {row.name: row.config for row in study.rows}
    aware = {row.name for row in study.rows if row.config.quantisation_aware}
    known = {row.name: row for row in study.ensembles}
    for system in study.systems:
        parts = [system.part, *system.candidates]
        while parts:
            part = parts.pop()
            if part in trained:
                trained[part].features.require_sound(f"system {system.name!r}: {part!r}")
            if part in aware and system.scheme != "int8":
                raise InputError(
                    f"system {system.name!r}: {part!r} is quantisation-aware, trained for int8, got scheme "
                    f"{system.scheme}: set it to int8"
                )
            ensemble = known.get(part)
            if ensemble is not None and ensemble.fusion not in FUSIONS:
                raise InputError(
                    f"system {system.name!r}: a bundle carries the fusion rules {', '.join(sorted(FUSIONS))}, got "
                    f"{ensemble.fusion!r} in {ensemble.name!r}: fuse with one of them"
                )
            parts += [*ensemble.fine, *ensemble.coarse] if ensemble else []


def _require_taught(study: Study) -> None:
    """Raise `InputError` if a row learns from a teacher that cannot tell of all of its clips."""
    trained = {row.name: row.config for row in study.rows}
    known = {row.name: row for row in study.ensembles}
    for row in study.rows:
        parts = [row.config.distillation.teacher] if row.config.distillation else []
        while parts:
            part = parts.pop()
            if part in trained and trained[part].features.embeddings and row.config.waveform_augmentation:
                raise InputError(
                    f"row {row.name!r}: its teacher {part!r} on embeddings knows no augmented copies, got "
                    f"{', '.join(row.config.waveform_augmentation)}: leave them out, or name another teacher"
                )
            parts += known[part].parts if part in known else []


def _of_shapes(config: RunConfig) -> str:
    """All that `_try_shapes` reads of the settings: rows that agree in it are tried once."""
    return canonical_json(config.model_dump(include={"architecture", "features", "batch_augmentation"}))


def _of_clips(config: RunConfig) -> str:
    """All that `_try_clips` reads of the settings."""
    return canonical_json([data_key(config), config.task, config.training.model_dump(include=_OF_CLIPS)])


def _try_clips(config: RunConfig, cuts: Cuts) -> bool:
    """Whether there is validation where it is to be cut; raises `InputError` if an epoch cannot be chosen by it."""
    validation = False
    for fold in range(max(config.folds, 1)):
        clips = cuts(config, fold)
        heard = clips[clips["split"] == "validation"]
        validation |= not heard.empty
        _require_selection(config, heard)
        _require_warmup(config, clips)
    return not config.cuts_validation or validation


def _require_selection(config: RunConfig, validation: pd.DataFrame) -> None:
    """Raise `InputError` if validation cannot tell the best epoch by the metric wanted."""
    heard = deciding(validation, config)
    if config.training.select_epoch == "best" and config.training.devices and heard.empty and not validation.empty:
        raise InputError(
            "training.select_epoch: best needs validation clips of training.devices, got none of "
            f"{', '.join(config.training.devices)}: keep the last epoch, or raise validation.share"
        )
    if config.training.select_epoch == "best" and len(heard):
        heard = heard.assign(scene=heard[label_column(config.task)])
        try:
            objective(config.training.select_by, heard, config.classes)
        except InputError as error:
            raise InputError(f"training.select_by: {error}") from None


def _require_warmup(config: RunConfig, clips: pd.DataFrame) -> None:
    """Raise `InputError` if the learning rate would still rise when its first cycle is over."""
    if config.training.warmup_steps:
        steps = steps_of_epoch(train_samples(clips, config), config.training.batch_size)
        require_warmup(config.training.warmup_steps, steps, config.training.first_cycle)


def usual_samples(dataset: Dataset) -> int:
    """Samples of a clip; raises `InputError` for a recording that is not like most, before settings are blamed."""
    audio = usual_info(dataset.clips["path"].tolist())
    path = dataset.clips["path"].iloc[0]
    require_sound(path, (audio.samplerate, audio.channels), (dataset.sample_rate, dataset.channels))
    return int(audio.frames)


def _try_shapes(config: RunConfig, dataset: Dataset, samples: int) -> None:
    """Raise `InputError` if what the augmentations leave of a clip is too small for the network."""
    shape = input_shape(config, dataset, samples)
    least, got = find_architecture(config.architecture).smallest_input, augmented_shape(config, shape)[:2]
    if got[0] < least[0] or got[1] < least[1]:
        raise InputError(
            f"{config.architecture} needs at least {least[0]} mel bands and {least[1]} frames, got {got[0]} and "
            f"{got[1]} after augmentation: raise features.n_mels or random_crop.frames, or lower features.hop_length"
        )


def augmented_shape(config: RunConfig, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """What the batch augmentations of a run make of clips of a shape, found out with one batch of zeros.

    Raises
    ------
    InputError
        If they cannot be applied to it.
    """
    pipeline = compose(config.batch_augmentation)
    one_hot = np.eye(len(config.classes), dtype=np.float32)[[0] * pipeline.clips_per_sample]
    batch = np.zeros((len(one_hot), *shape), np.float32)
    with loops_left_out():
        bands, frames, channels = pipeline(batch, one_hot, np.random.default_rng(0))[0].shape[1:]
    return bands, frames, channels
