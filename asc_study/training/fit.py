"""The one training loop: from a clip table and its features to predictions."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import pandas as pd

from asc_study.augmentation import compose
from asc_study.base.errors import InputError, TrainingFailure
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, DEFAULT_OBJECTIVE, full_name
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import predictions_table
from asc_study.features.store import FeatureStore
from asc_study.models.cost import count_macs
from asc_study.settings.run_config import RunConfig
from asc_study.settings.training import TrainingConfig
from asc_study.training.batches import EvaluationBatches, TrainingBatches
from asc_study.training.checkpoint import Arrays, TrainingState, load_checkpoint, save_checkpoint
from asc_study.training.cycles import minima
from asc_study.training.device_batches import on_device
from asc_study.training.distillation import labels_and_loss
from asc_study.training.fake_quant import rounded_network
from asc_study.training.networks import build_network, final_model
from asc_study.training.optimisers import make_optimiser
from asc_study.training.run_data import deciding
from asc_study.training.runtime import forget_gradients
from asc_study.training.schedule import WarmRestarts

#: Called after every epoch with its index (from 0) and its metrics.
EpochReport = Callable[[int, dict[str, float]], None]

#: Metric of an epoch by which the best is chosen: `training.select_by` on the clips that `deciding` leaves.
_SELECTION: Final = "selection"


@dataclass(frozen=True)
class TrainingResult:
    """A trained model (not compiled, weights of the chosen epochs) and its predictions by split.

    ``chosen_epochs`` are counted from 0; if there are several, the model gives the mean of their models' outputs.
    ``input_shape`` is that of a whole clip: (frequency, time, channel).
    """

    model: keras.Model
    predictions: dict[str, pd.DataFrame]
    history: list[dict[str, float]]
    chosen_epochs: tuple[int, ...]
    input_shape: tuple[int, int, int]


def train(
    config: RunConfig,
    clips: pd.DataFrame,
    store: FeatureStore,
    seed: int,
    *,
    checkpoint: Path,
    signature: str = "",
    teacher: pd.DataFrame | None = None,
    origin: Arrays | None = None,
    on_start: Callable[[Sequence[dict[str, float]]], None] = lambda history: None,
    on_epoch: EpochReport = lambda epoch, metrics: None,
) -> TrainingResult:
    """Train one model, or go on from its checkpoint, and predict validation and test as far as there are any.

    Parameters
    ----------
    config, clips, store, seed, teacher, origin
        See `Training`.
    checkpoint
        File of the unfinished training; read if it exists, rewritten after every epoch.
    signature
        Of the run: a checkpoint of another one is not gone on from.
    on_start
        Told the metrics of the epochs that are finished already, before the first batch.
    on_epoch
        Told the metrics of every finished epoch.

    Raises
    ------
    InputError
        If the model's cost cannot be counted.
    TrainingFailure
        If the loss is not finite.
    """
    training = Training(config, clips, store, seed, teacher=teacher, origin=origin)
    training.load(checkpoint, signature)
    on_start(training.history)
    for epoch in range(training.finished_epochs, config.training.epochs):
        on_epoch(epoch, training.train_epoch())  # first: an epoch that a checkpoint counts has been told
        training.save(checkpoint, signature)
    return training.result()


class Training:
    """A model in training, an epoch at a time; several may take turns in a process.

    Parameters
    ----------
    config
        The resolved settings.
    clips
        The clip table after the validation cut; its index is the clip's position in ``store``.
    store
        Static log-mel features of the clips.
    seed
        The run's seed; every random stream (weights, batches) is spawned from it.
    watch
        Metrics of the validation split (``validation/...``) to measure after each epoch besides accuracy and loss.
    teacher
        Where ``config`` has distillation: the teacher's probabilities of the train clips, by the index of ``clips``.
    origin
        Where ``config`` continues another row: the weights that it begins with.
    """

    def __init__(
        self,
        config: RunConfig,
        clips: pd.DataFrame,
        store: FeatureStore,
        seed: int,
        *,
        watch: Collection[str] = (),
        teacher: pd.DataFrame | None = None,
        origin: Arrays | None = None,
    ) -> None:
        self._config, self._store, self._watch = config, store, watch
        self._split = {name: clips[clips["split"] == name] for name in ("train", "validation", "test")}
        self._parts = set_up(config, self._split["train"], store, seed, teacher, origin)
        self._state = TrainingState()

    @property
    def finished_epochs(self) -> int:
        """How many epochs are trained."""
        return len(self._state.history)

    @property
    def history(self) -> list[dict[str, float]]:
        """The metrics of the finished epochs."""
        return list(self._state.history)

    @property
    def kept(self) -> dict[int, Arrays]:
        """The epochs (from 0) that are chosen so far, with the model's weights after them."""
        return self._state.kept

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """That of a whole clip: (frequency, time, channel)."""
        return self._parts.batches.input_shape

    def load(self, checkpoint: Path, signature: str = "") -> None:
        """Go on from a checkpoint, if the file exists and is that of the run."""
        self._state = load_checkpoint(checkpoint, self._parts.model, signature)

    def save(self, checkpoint: Path, signature: str = "") -> None:
        """Replace the checkpoint by the present state."""
        save_checkpoint(checkpoint, self._parts.model, self._state, signature)

    def train_epoch(self) -> dict[str, float]:
        """Train one more epoch and measure it on validation.

        Raises
        ------
        TrainingFailure
            If the loss is not finite.
        """
        metrics = _train_epoch(self._parts, self.finished_epochs)
        if len(self._split["validation"]):
            metrics |= self._validate()
        self._state.history.append(metrics)
        _keep(self._state, self._parts.model, self._config.training)
        return metrics

    def result(self) -> TrainingResult:
        """The model at the chosen epochs, and what it predicts."""
        final = final_model(self._config, self.input_shape, list(self.kept.values()))
        predictions = self.predict(final, ("validation", "test"))
        return TrainingResult(final, predictions, self.history, tuple(self.kept), self.input_shape)

    def predict(self, model: keras.Model, splits: Collection[str]) -> dict[str, pd.DataFrame]:
        """What a model predicts for those of the splits that have clips."""
        return {
            name: _predict(model, self._split[name], self._store, self._config)
            for name in splits
            if len(self._split[name])
        }

    def _validate(self) -> dict[str, float]:
        predictions = _predict(self._parts.model, self._split["validation"], self._store, self._config)
        measured = evaluate(predictions, intervals=False)
        metrics = {
            "validation_acc": measured[full_name(ALL_CLIPS.metric, "validation")],
            "validation_acc_device_macro": measured[full_name(DEFAULT_OBJECTIVE, "validation")],
            "validation_loss": measured[full_name("log_loss", "validation")],
        }
        if self._config.training.select_epoch == "best":
            heard = deciding(predictions, self._config)
            chosen_by = full_name(self._config.training.select_by, "validation")
            values = evaluate(heard, intervals=False) if 0 < len(heard) < len(predictions) else measured
            if len(heard) and chosen_by in values:
                metrics[_SELECTION] = values[chosen_by]
        return metrics | {name: measured[name] for name in self._watch if name in measured}


@dataclass(frozen=True)
class Parts:
    """What every epoch works with: the compiled model, its batches and its learning rate.

    ``fitted`` is what Keras fits, on ``fed``: the model on its batches, or what makes the batches on the device too.
    """

    model: keras.Model
    batches: TrainingBatches
    schedule: WarmRestarts
    fitted: keras.Model
    fed: keras.utils.PyDataset


class _StopAtNonFiniteLoss(keras.callbacks.Callback):  # type: ignore[misc]
    """End the epoch at once; Keras' own ``TerminateOnNaN`` does that too, but prints to standard output."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True


def set_up(
    config: RunConfig,
    clips: pd.DataFrame,
    store: FeatureStore,
    seed: int,
    teacher: pd.DataFrame | None,
    origin: Arrays | None,
) -> Parts:
    """Make everything that the epochs need from the training clips; the run's random streams begin here."""
    settings = config.training
    weights_seed, batches_seed = (int(part) for part in np.random.SeedSequence(seed).generate_state(2))
    keras.utils.clear_session()
    forget_gradients()
    keras.utils.set_random_seed(weights_seed)
    labels, loss = labels_and_loss(config, clips, teacher)
    batches = TrainingBatches(
        store,
        clips.index.to_numpy(),
        labels,
        batch_size=settings.batch_size,
        augmentation=compose(config.batch_augmentation),
        seed=batches_seed,
        balance_classes=settings.balance_classes,
    )
    schedule = WarmRestarts(
        steps_per_epoch=len(batches),
        first_cycle_epochs=settings.first_cycle,
        **settings.model_dump(include={"epochs", "lr_max", "lr_min", "cycle_multiplier", "warmup_steps"}),
    )
    keras.config.set_dtype_policy(settings.precision)
    try:
        model = build_network(config, batches.input_shape)
    finally:
        keras.config.set_dtype_policy("float32")
    count_macs(model, batches.input_shape)  # what it refuses would else be found after the last epoch
    if config.continues:
        if origin is None:
            raise InputError("`continues` needs the weights of the row that it names, got none: run it in a study")
        model.set_weights(origin)
    if config.quantisation_aware:
        model = rounded_network(model, config.quantisation_aware, settings.epochs * len(batches))
    model.compile(make_optimiser(settings, schedule), loss=loss, jit_compile=settings.xla)
    model.optimizer.build(model.trainable_variables)
    fitted, fed = (on_device(batches, model) if settings.batches == "device" else None) or (model, batches)
    if fitted is not model:
        fitted.compile(model.optimizer, loss=loss, jit_compile=settings.xla)
    # Where the loss is not built yet, Keras takes a batch to build it, and on JAX goes on with the batches after it.
    fitted.compute_loss(y=labels[:1], y_pred=np.full((1, len(config.classes)), 1 / len(config.classes), np.float32))
    return Parts(model, batches, schedule, fitted, fed)


def _train_epoch(training: Parts, epoch: int) -> dict[str, float]:
    start = time.perf_counter()
    training.batches.set_epoch(epoch)
    fitted = training.fitted.fit(
        training.fed,
        epochs=epoch + 1,
        initial_epoch=epoch,
        shuffle=False,  # the batches shuffle themselves, from the run's seed
        verbose=0,
        callbacks=[_StopAtNonFiniteLoss()],
    )
    loss = float(fitted.history["loss"][-1])
    if not math.isfinite(loss):
        raise TrainingFailure(
            f"the loss became {loss} in epoch {epoch + 1}: lower training.lr_max or check the features"
        )
    # The optimiser's own value is already that of the next step, which may begin a new cycle.
    rate = float(keras.ops.convert_to_numpy(training.schedule((epoch + 1) * len(training.batches) - 1)))
    return {"train_loss": loss, "learning_rate": rate, "seconds": time.perf_counter() - start}


def _keep(state: TrainingState, model: keras.Model, settings: TrainingConfig) -> None:
    """Remember the weights if the newest epoch is to be kept: the last, or the best one, of equal ones the later."""
    newest = len(state.history) - 1
    if settings.select_epoch == "snapshots":
        lowest = minima(settings.epochs, settings.first_cycle, settings.cycle_multiplier)
        if newest in lowest[-settings.snapshots :]:
            state.kept[newest] = model.get_weights()
        return
    if settings.select_epoch == "best":
        sign = -1 if BY_NAME[settings.select_by].direction == "minimize" else 1
        rivals = [sign * state.history[epoch][_SELECTION] for epoch in state.kept if _SELECTION in state.history[epoch]]
        if rivals and sign * state.history[newest][_SELECTION] < max(rivals):
            return
    state.kept = {newest: model.get_weights()}


def _predict(model: keras.Model, clips: pd.DataFrame, store: FeatureStore, config: RunConfig) -> pd.DataFrame:
    batches = EvaluationBatches(store, clips.index.to_numpy(), batch_size=config.training.batch_size)
    return predictions_table(clips, model.predict(batches, verbose=0), config.task)
