"""Training by folds: one model a fold, which predicts the locations that it did not hear."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from asc_study.settings.run_config import RunConfig
from asc_study.training.checkpoint import Arrays
from asc_study.training.fit import EpochReport, Training, TrainingResult
from asc_study.training.networks import final_model
from asc_study.training.run_data import RunData


def train_folds(
    config: RunConfig,
    data: Sequence[RunData],
    seed: int,
    *,
    checkpoint: Path,
    signature: str = "",
    on_start: Callable[[Sequence[dict[str, float]]], None] = lambda history: None,
    on_epoch: EpochReport = lambda epoch, metrics: None,
) -> TrainingResult:
    """Train the models of a run by folds one after the other, or go on from their checkpoints.

    The validation predictions are those of all training clips, each by the model whose fold its location is in. Test
    is predicted by the mean of the models, or by one more that was trained on all of them (``validation.final``).
    Epochs are counted through all models, in ``history`` and ``chosen_epochs`` too.

    Parameters
    ----------
    config
        The resolved settings, with ``folds``.
    data
        Clips and features of each model that is trained: those of every fold, then those of the one on all clips.
    seed
        The run's; each model draws from a seed of its own that follows from it.
    checkpoint
        File whose name those of the models begin with; each is read if it exists, rewritten after every epoch.
    signature, on_start, on_epoch
        See `asc_study.training.fit.train`.
    """
    epochs = config.training.epochs
    history: list[dict[str, float]] = []
    kept: dict[int, Arrays] = {}
    validated: list[pd.DataFrame] = []
    started = False
    for fold, part in enumerate(data):
        own = config if fold < config.folds else _without_choice(config)
        training = Training(own, part.clips, part.store, _seed_of(seed, fold), teacher=part.teacher)
        file = checkpoint.with_name(f"{checkpoint.stem}.fold{fold}{checkpoint.suffix}")
        training.load(file, signature)
        if not started and training.finished_epochs < epochs:
            on_start([*history, *training.history])
            started = True
        for epoch in range(training.finished_epochs, epochs):
            on_epoch(fold * epochs + epoch, training.train_epoch())
            training.save(file, signature)
        history += training.history
        if fold < config.folds:
            own_model = final_model(own, training.input_shape, list(training.kept.values()))
            validated += training.predict(own_model, ("validation",)).values()
        if fold == config.folds:  # the one on all clips predicts, the others have measured
            kept.clear()
        kept |= {fold * epochs + epoch: weights for epoch, weights in training.kept.items()}
    if not started:
        on_start(history)
    model = final_model(config, training.input_shape, list(kept.values()), called="part")
    predictions = training.predict(model, ("test",))
    if validated:
        predictions = {"validation": pd.concat(validated, ignore_index=True), **predictions}
    return TrainingResult(model, predictions, history, tuple(kept), training.input_shape)


def _without_choice(config: RunConfig) -> RunConfig:
    """The settings of the model that is trained on all clips: there is no validation to choose an epoch by."""
    if config.training.select_epoch != "best":
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"select_epoch": "last"})})


def _seed_of(seed: int, fold: int) -> int:
    return int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])
