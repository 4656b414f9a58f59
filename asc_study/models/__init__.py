"""The registry of architectures. Importing it does not import Keras; building a model does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from asc_study.errors import InputError
from asc_study.models import fcnn, resnet
from asc_study.schema import did_you_mean, validate

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Architecture:
    """A registered architecture: what builds it, and the model of its options.

    ``build(input_shape, num_classes, options)`` returns an uncompiled functional model that maps (batch, frequency,
    time, channel) to class probabilities.
    """

    build: Callable[[tuple[int, int | None, int], int, Any], "keras.Model"]
    options_model: type[BaseModel]
    #: Fewest frequency bands and frames that its pooling leaves something of.
    smallest_input: tuple[int, int]


#: Name -> architecture. A new one is one file and one line here.
ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {
        "fcnn": Architecture(fcnn.build, fcnn.FcnnOptions, (16, 16)),
        "resnet": Architecture(resnet.build, resnet.ResnetOptions, (2, 1)),
    }
)


def build_model(
    architecture: str, *, input_shape: tuple[int, int | None, int], num_classes: int, **options: Any
) -> "keras.Model":
    """Build an uncompiled model.

    Its initial weights and dropout draw from Keras' random state: call ``keras.utils.set_random_seed`` first.

    Parameters
    ----------
    architecture
        A name in `ARCHITECTURES`.
    input_shape
        Frequency bands, frames, channels. With None for the frames, crops train it and whole clips evaluate it.
    num_classes
        Width of the softmax output.
    **options
        Fields of the architecture's options model, such as ``width``.

    Raises
    ------
    InputError
        On an unknown architecture or option, or a value out of range.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"unknown architecture {architecture!r}: {did_you_mean(architecture, ARCHITECTURES)}")
    if num_classes < 2:
        raise InputError(f"`num_classes` must be at least 2, got {num_classes}: give the number of classes of the task")
    chosen = ARCHITECTURES[architecture]
    return chosen.build(input_shape, num_classes, validate(chosen.options_model, options, path=architecture))
