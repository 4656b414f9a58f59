"""What a study will take: hours, disk and memory, from steps that are timed here and now. Logs and trains nothing."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asc_study.base.errors import InputError
from asc_study.base.paths import cache_dir
from asc_study.base.progress import progress_bar
from asc_study.data.identified import IdentifiedDataset
from asc_study.features.embeddings import missing_bytes, read_embeddings
from asc_study.features.packs import count_missing
from asc_study.features.store import entry_key
from asc_study.settings.run_config import canonical_json
from asc_study.settings.study_file import Study
from asc_study.study.effort import Effort
from asc_study.study.estimated import Estimate, Kind, Machine, seconds_of
from asc_study.study.limits import averaged
from asc_study.study.preflight import augmented_shape, usual_samples
from asc_study.training.run_data import Cuts, copies_of, data_key, input_shape, log_mel_settings, stored_shape
from asc_study.training.step_cost import StepCost, measure_apart

#: Settings that a network hangs on.
_OF_NETWORK: Final = {"architecture", "model", "features", "quantisation_aware"}

#: Settings of training that a step's time and memory hang on, besides the batch.
_OF_STEP: Final = {"optimizer", "precision", "xla", "batches", "threads"}

#: Bytes of a run's page of figures, of which plotly.js, where it is in the page, has most.
_PAGE_BYTES: Final = {"inline": 2_000_000, "cdn": 200_000}

#: Of a clip's line in the file of predictions, besides four for each class.
_CLIP_BYTES: Final = 24

#: Of a file of predictions without its lines.
_TABLE_BYTES: Final = 10_000


def estimate(
    study: Study,
    data: IdentifiedDataset,
    found: Sequence[Effort],
    runs: Mapping[str, int],
    machine: Machine,
    *,
    progress: bool = True,
) -> Estimate:
    """Time some steps of each kind of training that is due, and count the rest.

    Parameters
    ----------
    study, data
        A study that fits the data, and the data.
    found
        What a run of each row takes.
    runs
        Row -> how many of its runs are to be trained.
    machine
        What they are to be trained on.
    progress
        Show a progress bar on standard error.

    Raises
    ------
    InputError
        If a step does not fit into memory.
    """
    wanted = [effort for effort in found if runs.get(effort.row)]
    samples = usual_samples(data.dataset)
    alike: dict[str, list[Effort]] = {}
    for effort, key in zip(wanted, _keys(wanted, data, samples), strict=True):
        alike.setdefault(key, []).append(effort)
    threads = max(1, (os.cpu_count() or 1) // machine.jobs)
    kinds = []
    with progress_bar(len(alike), "timing steps", "kind", shown=progress, keep=False) as bar:
        for efforts in alike.values():
            first = efforts[0]
            batch = min(first.config.training.batch_size, first.samples)
            training = first.config.training.model_copy(update={"batch_size": batch})
            shape = stored_shape(first.config, data.dataset, samples)
            try:
                cost = measure_apart(first.config.model_copy(update={"training": training}), shape, threads)
            except InputError as error:
                raise InputError(f"row {first.row!r}: {error}") from None
            tested = int((data.dataset.clips["split"] == "test").sum())
            kinds.append(_kind(efforts, runs, tested, batch, _PAGE_BYTES[study.figures], cost))
            bar.update()
    return Estimate(machine, tuple(kinds), _features_bytes(wanted, data, samples))


def _keys(efforts: Sequence[Effort], data: IdentifiedDataset, samples: int) -> list[str]:
    """What the cost of a step hangs on, for each row."""
    known: dict[str, tuple[int, int, int]] = {}
    keys = []
    for effort in efforts:
        config = effort.config
        of_shape = canonical_json(config.model_dump(include={"features", "batch_augmentation"}))
        if of_shape not in known:
            whole = input_shape(config, data.dataset, samples)
            known[of_shape] = augmented_shape(config, whole)
        batch = min(config.training.batch_size, effort.samples)
        of_network = config.model_dump(mode="json", include=_OF_NETWORK)
        of_step = config.training.model_dump(include=_OF_STEP)
        keys.append(canonical_json([of_network, of_step, batch, known[of_shape], len(config.classes)]))
    return keys


def _kind(
    efforts: Sequence[Effort], runs: Mapping[str, int], tested: int, batch: int, page_bytes: int, cost: StepCost
) -> Kind:
    totals, checkpoint, logged, longest = [0, 0, 0, 0], 0, 0, 0.0
    for effort in efforts:
        config, networks, count = effort.config, averaged(effort.config), runs[effort.row]
        # After each epoch, and at the end with the model that was chosen.
        clips = (effort.epochs + config.trainings) * effort.validation + config.trainings * tested
        of_run = config.trainings, effort.epochs, effort.epochs * effort.steps_per_epoch, clips
        longest = max(longest, seconds_of(cost, *of_run))
        totals = [total + count * one for total, one in zip(totals, of_run, strict=True)]
        checkpoint = max(checkpoint, 2 * cost.state_bytes + networks * cost.weights_bytes)
        lines = effort.validation * max(config.folds, 1) + tested
        tables = 2 * _TABLE_BYTES + lines * (_CLIP_BYTES + 4 * len(config.classes))
        logged += count * (networks * cost.weights_bytes + tables + page_bytes)
    rows = tuple(effort.row for effort in efforts)
    trainings, epochs, steps, predicted = totals
    return Kind(
        rows=rows,
        runs=sum(runs[row] for row in rows),
        batch=batch,
        trainings=trainings,
        epochs=epochs,
        steps=steps,
        predicted=predicted,
        longest_seconds=longest,
        checkpoint_bytes=checkpoint,
        logged_bytes=logged,
        cost=cost,
    )


def _features_bytes(efforts: Sequence[Effort], data: IdentifiedDataset, samples: int) -> int:
    """Of the features that the cache lacks; rows whose settings and clips are the same share them."""
    dataset, cuts, cache = data.dataset, Cuts(data.dataset), cache_dir() / "features"
    clip_bytes: dict[str, int] = {}
    counted: dict[str, int] = {}
    for effort in efforts:
        config = effort.config
        if config.features.embeddings is not None:
            embeddings = read_embeddings(Path(config.features.embeddings))
            names = dataset.clips["clip_id"].tolist()
            counted[embeddings.digest] = missing_bytes(embeddings, names, cache)
            continue
        settings = log_mel_settings(config, dataset)
        of_features = settings.canonical_json()
        if of_features not in clip_bytes:
            itemsize = 2 if settings.dtype == "float16" else 4
            clip_bytes[of_features] = settings.n_mels * settings.frames(samples) * dataset.channels * itemsize
            keys = (entry_key(digest, settings) for digest in data.audio_digests)
            counted[of_features] = count_missing(cache, keys) * clip_bytes[of_features]
        for name, part in config.waveform_augmentation.items():
            alone = config.model_copy(update={"waveform_augmentation": {name: part}})
            if (of_copies := data_key(alone)) not in counted:
                counted[of_copies] = copies_of(cuts(alone), alone)[name] * clip_bytes[of_features]
    return sum(counted.values())
