"""The registry of architectures. Importing it does not import Keras; building a model does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from asc_study.base.errors import InputError
from asc_study.base.plugins import find
from asc_study.base.schema import validate
from asc_study.models import fcnn, fsfcnn, mobnet, resnet

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
    #: Filters of the first convolution at width 1, from which the width of imported weights is inferred.
    stem_filters: int = 0


#: Name -> architecture. A new one is one file and one line here.
ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {
        "fcnn": Architecture(fcnn.build, fcnn.FcnnOptions, (15, 15), 144),
        "fsfcnn": Architecture(fsfcnn.build, fsfcnn.FsfcnnOptions, (1, 1), 48),
        "fsfcnn_s": Architecture(fsfcnn.build_split, fsfcnn.FsfcnnOptions, (2, 1), 48),
        "resnet": Architecture(resnet.build, resnet.ResnetOptions, (2, 1), 24),
        "resnet_d": Architecture(resnet.build_d, resnet.ResnetOptions, (2, 1), 48),
        "small_fcnn": Architecture(fcnn.build_small, fcnn.SmallFcnnOptions, (15, 15), 48),
        "mobnet": Architecture(mobnet.build, mobnet.MobnetOptions, (2, 1), 32),
    }
)


def find_architecture(name: str) -> Architecture:
    """The architecture of that name, built in or not; raises `InputError` if there is none."""
    found: Architecture = find("architecture", name, ARCHITECTURES, Architecture)
    return found


def build_model(
    architecture: str, *, input_shape: tuple[int, int | None, int], num_classes: int, **options: Any
) -> "keras.Model":
    """Build an uncompiled model.

    Its initial weights and dropout draw from Keras' random state: call ``keras.utils.set_random_seed`` first.

    Parameters
    ----------
    architecture
        A name in `ARCHITECTURES`, an installed one, or a dotted path.
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
    chosen = find_architecture(architecture)
    if num_classes < 2:
        raise InputError(f"`num_classes` must be at least 2, got {num_classes}: give the number of classes of the task")
    return chosen.build(input_shape, num_classes, validate(chosen.options_model, options, path=architecture))
