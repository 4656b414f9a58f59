"""An architecture of your own: copy this file, fill in `Options` and `build`, and check it.

    python own_architecture.py

A study file beside it names it ``own_architecture:OWN`` (own_parts.yaml). Announced by an installed package, it has a
name like the built-in ones. In its pyproject.toml:

    [project.entry-points."asc_study.architectures"]
    my-network = "own_architecture:OWN"
"""

from typing import Any

from pydantic import Field

from asc_study import Architecture, ModelOptions


class Options(ModelOptions):
    """What a study sets under `model`; `width` and `batch_norm_momentum` are inherited."""

    dropout: float = Field(0.2, ge=0, lt=1)


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: Options) -> Any:
    """Map (batch, frequency, time, channel) to class probabilities; frames may be open."""
    import keras  # here, so that `plan` starts without it
    from keras import layers

    inputs = keras.Input(input_shape, name="features")
    x = inputs
    for filters in (16, 32):
        x = layers.Conv2D(options.filters(filters), 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=options.batch_norm_momentum)(x))
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(options.dropout)(layers.GlobalAveragePooling2D()(x))
    # Probabilities are float32, whatever precision a study trains in.
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax", dtype="float32")(x), name="own")


OWN = Architecture(build, Options, smallest_input=(4, 4))  # fewest bands and frames that the pools leave something of

if __name__ == "__main__":
    from asc_study.testing import check_architecture

    check_architecture(OWN, options={"width": 0.5})
    print("OWN keeps the contract of an architecture")
