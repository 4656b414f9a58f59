"""The one training loop: from a clip table and its features to predictions."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.augmentation import compose
from asc_study.config import RunConfig, TrainingConfig
from asc_study.errors import TrainingFailure
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import predictions_table
from asc_study.features.store import FeatureStore
from asc_study.models import build_model
from asc_study.training.batches import EvaluationBatches, TrainingBatches
from asc_study.training.checkpoint import Arrays, TrainingState, load_checkpoint, save_checkpoint
from asc_study.training.schedule import WarmRestarts, minima

#: Called after every epoch with its index (from 0) and its metrics.
EpochReport = Callable[[int, dict[str, float]], None]


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
    on_epoch: EpochReport = lambda epoch, metrics: None,
    watch: Collection[str] = (),
) -> TrainingResult:
    """Train one model, or go on from its checkpoint, and predict validation and test as far as there are any.

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
    checkpoint
        File of the unfinished training; read if it exists, rewritten after every epoch.
    on_epoch
        Told the metrics of every finished epoch.
    watch
        Metrics of the validation split (``validation/...``) to tell ``on_epoch`` besides.

    Raises
    ------
    TrainingFailure
        If the loss is not finite.
    """
    settings = config.training
    split = {name: clips[clips["split"] == name] for name in ("train", "validation", "test")}
    training = _set_up(config, split["train"], store, seed)
    model, batches = training.model, training.batches
    state = load_checkpoint(checkpoint, model)

    for epoch in range(len(state.history), settings.epochs):
        metrics = _train_epoch(training, epoch)
        if len(split["validation"]):
            measured = evaluate(_predict(model, split["validation"], store, config), intervals=False)
            metrics |= {
                "validation_acc": measured["validation/acc_avg"],
                "validation_loss": measured["validation/log_loss"],
            }
            metrics |= {name: measured[name] for name in watch if name in measured}
        state.history.append(metrics)
        _keep(state, model, settings)
        on_epoch(epoch, metrics)  # first: an epoch that a checkpoint counts has been told
        save_checkpoint(checkpoint, model, state)

    final = _final_model(config, batches.input_shape, list(state.kept.values()))
    predictions = {
        name: _predict(final, split[name], store, config) for name in ("validation", "test") if len(split[name])
    }
    return TrainingResult(final, predictions, state.history, tuple(state.kept), batches.input_shape)


@dataclass(frozen=True)
class _Training:
    """What every epoch works with: the compiled model, its batches and its learning rate."""

    model: keras.Model
    batches: TrainingBatches
    schedule: WarmRestarts


class _StopAtNonFiniteLoss(keras.callbacks.Callback):  # type: ignore[misc]
    """End the epoch at once; Keras' own ``TerminateOnNaN`` does that too, but prints to standard output."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True


def _set_up(config: RunConfig, clips: pd.DataFrame, store: FeatureStore, seed: int) -> _Training:
    """Make everything that the epochs need from the training clips; the run's random streams begin here."""
    settings = config.training
    weights_seed, batches_seed = (int(part) for part in np.random.SeedSequence(seed).generate_state(2))
    keras.utils.clear_session()
    keras.utils.set_random_seed(weights_seed)
    batches = TrainingBatches(
        store,
        clips.index.to_numpy(),
        _one_hot(clips, config),
        batch_size=settings.batch_size,
        augmentation=compose(config.batch_augmentation),
        seed=batches_seed,
        balance_classes=settings.balance_classes,
    )
    schedule = WarmRestarts(
        steps_per_epoch=len(batches),
        **settings.model_dump(include={"epochs", "lr_max", "lr_min", "first_cycle_epochs", "cycle_multiplier"}),
    )
    keras.config.set_dtype_policy(settings.precision)
    try:
        model = _build(config, batches.input_shape)
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = keras.optimizers.SGD(schedule, momentum=settings.momentum)
    model.compile(optimizer, loss="categorical_crossentropy", jit_compile=settings.xla)
    model.optimizer.build(model.trainable_variables)
    return _Training(model, batches, schedule)


def _build(config: RunConfig, clip_shape: tuple[int, int, int]) -> keras.Model:
    frequencies, _, channels = clip_shape
    return build_model(
        config.architecture,
        input_shape=(frequencies, None, channels),  # trained on crops, evaluated on whole clips
        num_classes=len(config.classes),
        **config.model,
    )


def _train_epoch(training: _Training, epoch: int) -> dict[str, float]:
    start = time.perf_counter()
    training.batches.set_epoch(epoch)
    fitted = training.model.fit(
        training.batches,
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
    """Remember the weights if the newest epoch is to be kept; never is an epoch chosen on test."""
    newest = len(state.history) - 1
    if settings.select_epoch == "snapshots":
        lowest = minima(settings.epochs, settings.first_cycle_epochs, settings.cycle_multiplier)
        if newest in lowest[-settings.snapshots :]:
            state.kept[newest] = model.get_weights()
        return
    accuracy = [metrics.get("validation_acc") for metrics in state.history]
    if settings.select_epoch == "best" and accuracy[newest] is not None:
        best = max((accuracy[epoch] for epoch in state.kept), default=None)  # type: ignore[type-var]
        if best is not None and accuracy[newest] < best:  # type: ignore[operator]
            return
    state.kept = {newest: model.get_weights()}


def _final_model(config: RunConfig, clip_shape: tuple[int, int, int], kept: Sequence[Arrays]) -> keras.Model:
    """The model that predicts: without an optimiser, in float32; the mean of several if several were kept."""
    models = []
    for weights in kept:
        models.append(_build(config, clip_shape))
        models[-1].set_weights(weights)
    if len(models) == 1:
        return models[0]
    name = f"{models[0].name}_snapshots"  # a dotted path's colon is not allowed in names
    for number, model in enumerate(models, 1):
        model.name = f"snapshot_{number}"
    inputs = keras.Input(models[0].input_shape[1:], name="features")
    mean = keras.layers.Average(name="probabilities")([model(inputs) for model in models])
    return keras.Model(inputs, mean, name=name)


def _predict(model: keras.Model, clips: pd.DataFrame, store: FeatureStore, config: RunConfig) -> pd.DataFrame:
    batches = EvaluationBatches(store, clips.index.to_numpy(), batch_size=config.training.batch_size)
    return predictions_table(clips, model.predict(batches, verbose=0), config.task)


def _one_hot(clips: pd.DataFrame, config: RunConfig) -> npt.NDArray[np.float32]:
    label = clips["scene" if config.task == "ten_class" else "scene_group"]
    one_hot: npt.NDArray[np.float32] = (label.to_numpy()[:, None] == np.asarray(config.classes)).astype(np.float32)
    return one_hot
