"""The registries of augmentations, and the one place that fixes the order in which those of a batch are applied.

A new augmentation is one file in ``batch/`` or ``waveform/``, whose package holds the contract, and its line here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from asc_study.augmentation.batch import BatchAugmentation, FloatArray
from asc_study.augmentation.waveform import WaveformAugmentation
from asc_study.base.errors import InputError
from asc_study.base.plugins import Parts
from asc_study.base.schema import Strict, label, validate

Part = TypeVar("Part", bound=Strict)

#: Name -> batch augmentation (a model whose fields are its settings and whose call applies it), in the order of
#: application whatever the order in a study file: what stands for a change of the sound, masks on the whole clip, the
#: channel swap, the crop, what mixes clips, mixup (for the paper's the authors' order for Task 1a). A new one gets its
#: line where it is to be applied. Those that are not built in follow, in the order of their names, right before mixup.
AUGMENTATIONS: Final = Parts[type[BatchAugmentation]](
    "batch_augmentation",
    BatchAugmentation,
    {
        "time_roll": "asc_study.augmentation.batch.time_roll:TimeRoll",
        "frequency_jitter": "asc_study.augmentation.batch.frequency_jitter:FrequencyJitter",
        "spec_augment": "asc_study.augmentation.batch.spec_augment:SpecAugment",
        "channel_confusion": "asc_study.augmentation.batch.channel_confusion:ChannelConfusion",
        "random_crop": "asc_study.augmentation.batch.random_crop:RandomCrop",
        "freq_mixstyle": "asc_study.augmentation.batch.freq_mixstyle:FreqMixStyle",
        "cutmix": "asc_study.augmentation.batch.cutmix:CutMix",
        "mixup": "asc_study.augmentation.batch.mixup:Mixup",
    },
    subclasses=True,
)

#: Those of a batch that are for spectrograms alone: values of an embedding are no bands of a device's sound, have no
#: order and one channel. The others act on frames, or on clips as they are.
OF_SPECTROGRAMS: Final = ("frequency_jitter", "spec_augment", "channel_confusion", "freq_mixstyle")

#: Name -> waveform augmentation: a model whose fields are its settings and whose call makes one copy of a clip.
WAVEFORM_AUGMENTATIONS: Final = Parts[type[WaveformAugmentation]](
    "waveform_augmentation",
    WaveformAugmentation,
    {
        "pitch_shift": "asc_study.augmentation.waveform.pitch_shift:PitchShift",
        "speed_change": "asc_study.augmentation.waveform.speed_change:SpeedChange",
        "noise": "asc_study.augmentation.waveform.noise:Noise",
        "mix": "asc_study.augmentation.waveform.mix:Mix",
        "spectrum_correction": "asc_study.augmentation.waveform.spectrum_correction:SpectrumCorrection",
        "reverb_drc": "asc_study.augmentation.waveform.reverb_drc:ReverbDRC",
        "device_impulse_response": ("asc_study.augmentation.waveform.device_impulse_response:DeviceImpulseResponse"),
    },
    subclasses=True,
)


#: Samples that are augmented together where no augmentation needs more: their clips stay in the processor's cache from
#: the first step to the last, which a whole batch would not. Part of what the random values of a batch mean.
_SAMPLES_AT_A_TIME: Final = 2


@dataclass(frozen=True)
class Pipeline:
    """Augmentations applied one after the other; without any, batches pass unchanged."""

    steps: tuple[BatchAugmentation, ...] = ()

    @property
    def clips_per_sample(self) -> int:
        """Clips that have to be passed in for each sample that comes out."""
        return math.prod(step.clips_per_sample for step in self.steps)

    def samples_at_a_time(self, batch_size: int) -> int:
        """How many samples of a batch one call makes; the last call of a batch makes what is left."""
        return batch_size if any(step.needs_whole_batch for step in self.steps) else min(_SAMPLES_AT_A_TIME, batch_size)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Augment the clips of some samples, or of a batch, under the contract of `asc_study.augmentation.batch`."""
        for step in self.steps:
            features, one_hot = step(features, one_hot, rng)
        return features, one_hot


def compose(augmentations: Mapping[str, BatchAugmentation]) -> Pipeline:
    """Make the pipeline of a run from its augmentations by name, in the order of `AUGMENTATIONS`."""
    own = sorted(set(augmentations).difference(AUGMENTATIONS))
    order = [name for name in AUGMENTATIONS if name != "mixup"] + own + ["mixup"]
    return Pipeline(tuple(augmentations[name] for name in order if name in augmentations))


def batch_augmentations(
    settings: Mapping[str, Mapping[str, Any] | None], *, where: str = "", path: str = ""
) -> dict[str, BatchAugmentation]:
    """The batch augmentations that settings name; what is left out of them has its default, None switches one off.

    Parameters
    ----------
    settings
        Augmentation name -> its settings.
    where, path
        What to call the file, and the section of the settings, in an error.

    Raises
    ------
    InputError
        On an unknown name or setting, or a value out of range.
    """
    return _read(settings, batch_settings, where, path)


def waveform_augmentations(
    settings: Mapping[str, Mapping[str, Any] | None], *, where: str = "", path: str = ""
) -> dict[str, WaveformAugmentation]:
    """The waveform augmentations that settings name; see `batch_augmentations`."""
    return _read(settings, waveform_settings, where, path)


def _read(
    settings: Mapping[str, Mapping[str, Any] | None], settings_of: Callable[[str], type[Part]], where: str, path: str
) -> dict[str, Part]:
    read = {}
    for name, chosen in settings.items():
        try:
            model = settings_of(name)  # an unknown name is an error even if it is switched off
        except InputError as error:
            raise InputError(f"{label(where)}{error}") from None
        if chosen is not None:
            read[name] = validate(model, dict(chosen), where=where, path=f"{path}.{name}" if path else name)
    return read


def batch_settings(name: str) -> type[BatchAugmentation]:
    """The batch augmentation of that name; raises `InputError` if there is none."""
    return AUGMENTATIONS.find(name)


def waveform_settings(name: str) -> type[WaveformAugmentation]:
    """The waveform augmentation of that name; raises `InputError` if there is none."""
    return WAVEFORM_AUGMENTATIONS.find(name)
