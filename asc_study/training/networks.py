"""The networks of a run: the one that is trained, and the one that predicts."""

from collections.abc import Sequence

import keras

from asc_study.models import find_architecture
from asc_study.settings.run_config import RunConfig
from asc_study.training.checkpoint import Arrays
from asc_study.training.fake_quant import plain_network, rounded_network


def build_network(config: RunConfig, clip_shape: tuple[int, int, int]) -> keras.Model:
    """The network of a run for clips of (frequency, time, channel) and any length: it is trained on crops."""
    frequencies, _, channels = clip_shape
    shape = (frequencies, None, channels)
    return find_architecture(config.architecture).build(shape, len(config.classes), config.model)


def final_model(
    config: RunConfig, clip_shape: tuple[int, int, int], kept: Sequence[Arrays], *, called: str = "snapshot"
) -> keras.Model:
    """The model that predicts: without an optimiser, in float32; the mean of several if several were kept.

    Parameters
    ----------
    config
        The settings that the kept models were made by.
    clip_shape
        That of a whole clip: (frequency, time, channel).
    kept
        The weights of each.
    called
        What each of several is.
    """
    if config.quantisation_aware:
        (weights,) = kept
        rounded = rounded_network(build_network(config, clip_shape), config.quantisation_aware, 1)
        rounded.set_weights(weights)
        return plain_network(rounded)
    models = []
    for weights in kept:
        models.append(build_network(config, clip_shape))
        models[-1].set_weights(weights)
    if len(models) == 1:
        return models[0]
    name = f"{models[0].name}_{called}s"  # a dotted path's colon is not allowed in names
    for number, model in enumerate(models, 1):
        model.name = f"{called}_{number}"
    inputs = keras.Input(models[0].input_shape[1:], name="features")
    mean = keras.layers.Average(name="probabilities")([model(inputs) for model in models])
    return keras.Model(inputs, mean, name=name)
