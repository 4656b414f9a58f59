"""The catalogue: what each published system is built from, how large it is and what one clip costs it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from asc_study.base.text_table import text_table
from asc_study.models import build_model


@dataclass(frozen=True)
class ReferenceSystem:
    """One system of the paper or of the DCASE challenges, as its authors trained it.

    Attributes
    ----------
    system
        Name in its paper, with the number of classes where it has several.
    architecture, options
        What `build_model` builds it from; options that are not named have their defaults.
    classes
        Number of classes.
    channels
        Of the features: in the paper three (static, delta, delta-delta) for each channel of the audio.
    bands
        Mel bands (of the paper's systems: section 5.1); of a network on embeddings the values of one.
    crop_frames, clip_frames
        Frames that it is trained on, and those of a whole clip.
    """

    system: str
    architecture: str
    classes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    channels: int = 3
    bands: int = 128
    crop_frames: int = 400
    clip_frames: int = 423


@dataclass(frozen=True)
class CatalogueRow:
    """A published system with its size and its cost.

    Attributes
    ----------
    system, architecture, options, classes
        As in `ReferenceSystem`.
    input_shape
        Mel bands, frames and channels of a whole clip's features.
    crop_frames
        Frames of a training crop.
    trainable_parameters, other_parameters
        Values that training changes by gradients, and the running statistics of batch normalisation.
    crop_macs, clip_macs
        Multiply-accumulates of convolutions and dense layers for a training crop and for a whole clip.
    clip_torchinfo_macs
        Those for a whole clip by the rule of DCASE from 2022 on.
    float32_megabytes
        All parameters in float32, in units of 10^6 bytes.
    """

    system: str
    architecture: str
    options: Mapping[str, Any]
    classes: int
    input_shape: tuple[int, int, int]
    crop_frames: int
    trainable_parameters: int
    other_parameters: int
    crop_macs: int
    clip_macs: int
    clip_torchinfo_macs: int
    float32_megabytes: float


#: What `catalogue` found, as `to_json` gives it; written anew by ``tests/models/make_catalogue.py``.
STORED: Final = Path(__file__).with_name("catalogue.json")

#: Task 1b: two audio channels, and no cropping (section 3).
_TASK_1B: Final[Mapping[str, Any]] = {"classes": 3, "channels": 6, "crop_frames": 461, "clip_frames": 461}


def _challenge(system: str, architecture: str, bands: int, frames: int, **options: Any) -> ReferenceSystem:
    """A system of the DCASE challenges: ten classes, one channel, whole clips (of 1 s but in 2020)."""
    return ReferenceSystem(system, architecture, 10, options, 1, bands, crop_frames=frames, clip_frames=frames)


#: In the order of section 2.2, those of Task 1b last; then those of the challenges.
SYSTEMS: Final = (
    ReferenceSystem("FCNN, 10 classes", "fcnn", 10),
    ReferenceSystem("FCNN, 3 classes", "fcnn", 3),
    ReferenceSystem("fsFCNN", "fsfcnn", 10),
    ReferenceSystem("fsFCNN-s", "fsfcnn_s", 10),
    ReferenceSystem("Resnet, 10 classes", "resnet", 10),
    ReferenceSystem("Resnet-d", "resnet_d", 10),
    ReferenceSystem("Resnet, 3 classes", "resnet", 3),
    ReferenceSystem("small-FCNN", "small_fcnn", **_TASK_1B),
    ReferenceSystem(
        "small-FCNN, published weights",
        "small_fcnn",
        options={"block_filters": [36, 72, 96], "doubled_padding": True},
        **_TASK_1B,
    ),
    ReferenceSystem("MobNet", "mobnet", **_TASK_1B),
    _challenge("DCASE 2020 Task 1a baseline", "embedding_mlp", 512, 1),
    _challenge("DCASE 2020 Task 1b baseline", "dcase2020_task1b", 40, 500),
    _challenge("CP-Mobile-128K", "cp_mobile", 256, 64),
    _challenge("DCASE 2024 baseline", "cp_mobile", 256, 65, variant="dcase2024"),
    _challenge("BC-ResNet-ASC, c = 32", "bc_resnet_asc", 256, 65),
    _challenge("TF-SepNet-64", "tf_sepnet", 512, 64),
)


def catalogue(systems: Sequence[ReferenceSystem] = SYSTEMS) -> list[CatalogueRow]:
    """Build every system with initial weights and measure it; starts Keras and takes some seconds."""
    return [_measure(system) for system in systems]


def stored_catalogue() -> list[CatalogueRow]:
    """The catalogue as it was counted on the models, without building them: a test recomputes it."""
    read = json.loads(STORED.read_text(encoding="utf-8"))
    return [CatalogueRow(**{**row, "input_shape": tuple(row["input_shape"])}) for row in read["systems"]]


def render(rows: Sequence[CatalogueRow]) -> str:
    """Lay the catalogue out as a text table."""
    header = (
        *("System", "Architecture", "Options", "Classes", "Input"),
        *("Trainable", "Other", "Crop", "Clip", "Torchinfo", "MB"),
    )
    notes = [
        "Input: mel bands x frames of a whole clip x channels; Other: running statistics of batch normalisation",
        "embedding_mlp needs `features: {embeddings: FILE.npz}`: values x frames; the figures are of one frame",
        "Crop, Clip: 10^6 multiply-accumulates of a training crop, of a whole clip, by the kernels of convolutions and",
        "dense layers; Torchinfo: of a whole clip by the rule of DCASE from 2022 on (biases too, normalisation once)",
        "MB: float32 parameters, 10^6 bytes",
    ]
    return "\n".join([text_table([header, *map(_cells, rows)], left=range(header.index("Classes"))), *notes])


def to_json(rows: Sequence[CatalogueRow]) -> str:
    """The catalogue as JSON: one object a system, with the attributes of `CatalogueRow`."""
    return json.dumps({"systems": [asdict(row) for row in rows]}, indent=2)


def _measure(system: ReferenceSystem) -> CatalogueRow:
    from asc_study.models.cost import count_macs, model_cost

    clip = (system.bands, system.clip_frames, system.channels)
    model = build_model(
        system.architecture,
        input_shape=(system.bands, None, system.channels),
        num_classes=system.classes,
        **system.options,
    )
    cost = model_cost(model, clip)
    return CatalogueRow(
        system=system.system,
        architecture=system.architecture,
        options=system.options,
        classes=system.classes,
        input_shape=clip,
        crop_frames=system.crop_frames,
        trainable_parameters=cost.trainable_parameters,
        other_parameters=cost.parameters - cost.trainable_parameters,
        crop_macs=count_macs(model, (system.bands, system.crop_frames, system.channels)),
        clip_macs=cost.macs,
        clip_torchinfo_macs=cost.torchinfo_macs,
        float32_megabytes=4 * cost.parameters / 1e6,
    )


def _cells(row: CatalogueRow) -> tuple[str, ...]:
    return (
        row.system,
        row.architecture,
        ", ".join(f"{name}={json.dumps(value)}" for name, value in row.options.items()) or "-",
        str(row.classes),
        " x ".join(map(str, row.input_shape)),
        f"{row.trainable_parameters:,}",
        f"{row.other_parameters:,}",
        f"{row.crop_macs / 1e6:,.2f}",
        f"{row.clip_macs / 1e6:,.2f}",
        f"{row.clip_torchinfo_macs / 1e6:,.2f}",
        f"{row.float32_megabytes:.3f}",
    )
