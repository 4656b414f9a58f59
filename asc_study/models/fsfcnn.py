"""fsFCNN and fsFCNN-s: FCNNs that keep more of the frequency axis (section 2.2; sizes of the authors' code)."""

from typing import TYPE_CHECKING, Final

from pydantic import Field

from asc_study.models import Architecture
from asc_study.models.fcnn import FcnnOptions, Layout, Stage, build_layout, classify, convolutions

if TYPE_CHECKING:
    import keras

#: Time is subsampled 32 times, frequency 4 times.
_FSFCNN: Final = Layout(
    stages=(
        Stage((48, 48), (2, 2)),
        Stage((96, 96), (2, 2)),
        Stage((512, 512), (1, 2)),
        Stage((512, 512), (1, 2)),
        Stage((768, 768), None, dropouts=2),
    ),
    first_strides=(1, 2),
    same_padding=True,
    pool_size=3,
)

_JOINED_FILTERS: Final = 768


class FsfcnnOptions(FcnnOptions):
    """Options of the fsFCNN and fsFCNN-s.

    ``dropout`` is the rate after each convolution of the last block; ``attention`` is the gate before the global pool.
    """

    dropout: float = Field(0.5, ge=0, lt=1)


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: FsfcnnOptions) -> "keras.Model":
    """Build the fsFCNN; at width 1, with ten classes and three channels it has 16,531,913 trainable parameters."""
    return build_layout(_FSFCNN, input_shape, num_classes, options, name="fsfcnn")


def build_split(input_shape: tuple[int, int | None, int], num_classes: int, options: FsfcnnOptions) -> "keras.Model":
    """Build the fsFCNN-s: an fsFCNN for each half of the bands, joined before two more convolutions.

    The authors published no code of it, and their text leaves open how far the two streams run and what the last two
    convolutions are. Here each half of the bands passes the ten convolutions of an fsFCNN, with weights of its own; the
    maps are joined on the frequency axis, as in the authors' other models of two paths, and like in those the two
    further convolutions are 1x1: one to 768 filters with batch normalisation and ReLU, and one to the classes, followed
    by what follows it in the fsFCNN.
    """
    import keras
    from keras import layers

    from asc_study.models.blocks import frequency_halves

    inputs = keras.Input(input_shape, name="features")
    x = layers.Concatenate(axis=1)([convolutions(half, _FSFCNN, options) for half in frequency_halves(inputs)])
    x = layers.Conv2D(options.filters(_JOINED_FILTERS), 1, use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=options.batch_norm_momentum)(x))
    return keras.Model(inputs, classify(x, num_classes, options), name="fsfcnn_s")


FSFCNN: Final = Architecture(build, FsfcnnOptions, smallest_input=(1, 1), stem_filters=48)
FSFCNN_S: Final = Architecture(build_split, FsfcnnOptions, smallest_input=(2, 1), stem_filters=48)
