"""The registry of architectures. Importing it does not import Keras; building a model does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from asc_study.base.errors import InputError
from asc_study.base.plugins import Parts
from asc_study.base.schema import validate

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


#: Name -> architecture. A new one is one file, which ends in its `Architecture`, and one line here.
ARCHITECTURES: Final = Parts[Architecture](
    "architecture",
    Architecture,
    {
        "fcnn": "asc_study.models.fcnn:FCNN",
        "fsfcnn": "asc_study.models.fsfcnn:FSFCNN",
        "fsfcnn_s": "asc_study.models.fsfcnn:FSFCNN_S",
        "resnet": "asc_study.models.resnet:RESNET",
        "resnet_d": "asc_study.models.resnet:RESNET_D",
        "small_fcnn": "asc_study.models.fcnn:SMALL_FCNN",
        "mobnet": "asc_study.models.mobnet:MOBNET",
        "cp_mobile": "asc_study.models.cp_mobile:CP_MOBILE",
        "bc_resnet_asc": "asc_study.models.bc_resnet_asc:BC_RESNET_ASC",
        "tf_sepnet": "asc_study.models.tf_sepnet:TF_SEPNET",
        "dcase2020_task1b": "asc_study.models.dcase2020_task1b:DCASE2020_TASK1B",
        "embedding_mlp": "asc_study.models.embedding_mlp:EMBEDDING_MLP",
    },
)


def find_architecture(name: str) -> Architecture:
    """The architecture of that name, built in or not; raises `InputError` if there is none."""
    return ARCHITECTURES.find(name)


def build_model(
    architecture: str, *, input_shape: tuple[int, int | None, int], num_classes: int, **options: Any
) -> "keras.Model":
    """Build an uncompiled model.

    Its initial weights and dropout draw from Keras' random state: call ``keras.utils.set_random_seed`` first.

    Parameters
    ----------
    architecture
        A name in `ARCHITECTURES`, an installed one, or ``module:object``.
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
    from asc_study.models.backend import import_keras

    chosen = find_architecture(architecture)
    if num_classes < 2:
        raise InputError(f"`num_classes` must be at least 2, got {num_classes}: give the number of classes of the task")
    import_keras()
    return chosen.build(input_shape, num_classes, validate(chosen.options_model, options, path=architecture))
