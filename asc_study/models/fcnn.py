"""FCNN: a VGG-like fully convolutional network with channel attention (section 2.2; sizes of the authors' code)."""

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from asc_study.models.options import ModelOptions

if TYPE_CHECKING:
    import keras

#: Filters of the convolutions of each block, at width 1; every block ends in a 2x2 max pool.
_BLOCKS: Final = ((144, 144), (288, 288), (576, 576, 576, 576))


class FcnnOptions(ModelOptions):
    """Options of the FCNN.

    ``dropout`` is the rate after each convolution of the last block but its last; ``attention`` is the gate before the
    global pool.
    """

    dropout: float = Field(0.3, ge=0, lt=1)
    attention: bool = True


def build(input_shape: tuple[int, int | None, int], num_classes: int, options: FcnnOptions) -> "keras.Model":
    """Build the model; at width 1, with ten classes and three input channels it has 11,780,329 trainable parameters."""
    import keras
    from keras import layers

    from asc_study.models.blocks import channel_attention

    def convolve(x: Any, filters: int, kernel_size: int = 3, strides: int = 1) -> Any:
        # Padded by hand: "same" would pad a stride of two on one side only.
        x = layers.ZeroPadding2D(kernel_size // 2)(x)
        x = layers.Conv2D(filters, kernel_size, strides, use_bias=False, kernel_initializer="he_normal")(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=options.batch_norm_momentum)(x))

    inputs = keras.Input(input_shape, name="features")
    x = layers.BatchNormalization(momentum=options.batch_norm_momentum)(inputs)
    for block, sizes in enumerate(_BLOCKS):
        for position, base in enumerate(sizes):
            if block == position == 0:
                x = convolve(x, options.filters(base), kernel_size=5, strides=2)
            else:
                x = convolve(x, options.filters(base))
            if block == len(_BLOCKS) - 1 and position < len(sizes) - 1:
                x = layers.Dropout(options.dropout)(x)
        x = layers.MaxPooling2D(2)(x)

    x = layers.Conv2D(num_classes, 1, use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.ReLU()(layers.BatchNormalization(center=False, scale=False, momentum=options.batch_norm_momentum)(x))
    x = layers.BatchNormalization(center=False, scale=False, momentum=options.batch_norm_momentum)(x)
    if options.attention:
        x = channel_attention(x, units=max(1, num_classes // 2))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Softmax(name="probabilities")(x), name="fcnn")
